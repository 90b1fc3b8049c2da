"""Stick figures: colours and sides, camera and zoom, GIFs frame by frame, contact sheets, any caption, bad input."""

import dataclasses
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from cases import at_most, for_each
from PIL import Image, ImageColor

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.render.figure_parts import heels
from motiongpt.render.lettering import INK
from motiongpt.render.pictures import draw
from motiongpt.render.stick_figure import LEFT, RIGHT, SPINE, TRAIL, StickScene, _limbs
from motiongpt.render.view import Shown, View


def standing(F=20, skeleton=HUMANML3D, walk=0.0, scale=1.0):
    """(F, J, 3): the rest pose, arms out a little, moved `walk` units per frame along z."""
    pose = np.zeros((skeleton.num_joints, 3))
    for j, parent in enumerate(skeleton.parents):
        if parent >= 0:
            pose[j] = pose[parent] + np.array(skeleton.offsets[j])
    pose[:, 1] -= pose[:, 1].min()
    joints = np.repeat(pose[None], F, axis=0)
    joints[:, :, 2] += walk * np.arange(F)[:, None]
    joints[:, :, 0] += 0.02 * np.sin(np.arange(F))[:, None]
    return scale * joints


def draw_frames(joints, skeleton, *, title="", caption="", size=480, fps=20.0, frames=None):
    """One picture (H, W, 3) per frame, or of some frames."""
    scene = StickScene(Shown(joints, skeleton, fps, caption), View(title), (size, size))
    return (scene.draw(frame)[..., :3].copy() for frame in (range(scene.F) if frames is None else frames))


def render_gif(joints, skeleton, path, *, fps=20.0, title="", caption="", size=480):
    """A GIF of the motion's own frames."""
    return draw(path, [Shown(joints, skeleton, fps, caption)], View(title, size=size, fps=fps))


def render_png(joints, skeleton, path, *, fps=20.0, title="", caption="", size=320):
    return draw(path, [Shown(joints, skeleton, fps, caption)], View(title, size=size))


def pixels_of(picture, colour):
    """Coordinates (rows, columns) of the pixels that have a colour exactly."""
    return np.nonzero((picture == ImageColor.getrgb(colour)).all(axis=-1))


def gif_frames(path):
    with Image.open(path) as image:
        for i in range(image.n_frames):
            image.seek(i)
            yield np.asarray(image.convert("RGB")), image.info["duration"]


def test_left_and_right_have_their_colours_and_sides():
    (picture,) = draw_frames(standing(F=1), HUMANML3D)
    assert picture.shape == (480, 480, 3) and picture.dtype == np.uint8
    left, right, spine = (pixels_of(picture, colour) for colour in (LEFT, RIGHT, SPINE))
    assert min(len(left[0]), len(right[0]), len(spine[0])) > 300
    assert left[1].mean() > right[1].mean()  # facing us, the person's left is on the right of the picture
    assert spine[0].mean() < left[0].mean()  # y is up: the torso and head are above the mean of arms and legs


def test_collarbones_and_hips_are_torso():
    torso, *limbs = _limbs(HUMANML3D)
    bones = set(zip(torso.joints[::2], torso.joints[1::2], strict=True))
    assert {(9, 13), (13, 16), (9, 14), (14, 17), (0, 1), (0, 2)} <= bones  # chest - collar - shoulder; pelvis - hip
    assert [limb.joints[0] for limb in limbs] == [2, 1, 17, 16]  # legs from the hip, arms from the shoulder
    assert [limb.colour for limb in limbs] == [RIGHT, LEFT, RIGHT, LEFT]
    (picture,) = draw_frames(standing(F=1), HUMANML3D)
    scene = StickScene(Shown(standing(F=1), HUMANML3D, 20.0), View(), (480, 480))
    for collar, shoulder in ((13, 16), (14, 17)):
        x, y = scene.body[0, [collar, shoulder]].mean(axis=0)
        assert tuple(picture[int(480 - y), int(x)]) == ImageColor.getrgb(SPINE)


def test_feet_have_a_heel_under_the_ankle():
    joints = standing(F=2)
    joints[:, [7, 8], 1] += 0.06  # the rest pose has its ankles on the ground; a person's are above it
    joints[0, [10, 11], 1] -= 1.0  # a dancer's pointed toes
    below = heels(joints, HUMANML3D, ground=-2.0)
    ankles, toes = joints[:, [7, 8]], joints[:, [10, 11]]
    behind_toes = np.linalg.norm((toes - below)[1], axis=-1)
    assert (behind_toes > np.linalg.norm((toes - ankles)[1], axis=-1)).all()  # a sole is longer than ankle to toe
    assert (ankles[1, :, 1] - below[1, :, 1] > 0.05).all() and (below[1, :, 2] < ankles[1, :, 2]).all()
    # a heel belongs to its foot: turned and moved along, it keeps its place on the foot
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(heels(joints @ turn + 1.0, HUMANML3D, ground=-9.0), below @ turn + 1.0, atol=1e-9)
    assert heels(joints, HUMANML3D, ground=0.01)[1, :, 1].min() == 0.01  # and never under the ground
    feet = standing(F=2, skeleton=KIT)
    np.testing.assert_array_equal(heels(feet, KIT, ground=-1.0), feet[:, [19, 14]])  # two bones: it has a sole


def test_the_lowest_joint_touches_the_ground_and_its_shadow():
    joints = standing(F=3)
    joints[1] += (0.0, 0.5, 0.0)
    joints[0, 10, 1] -= 0.04
    scene = StickScene(Shown(joints + 7.0, HUMANML3D, 20.0), View(), (480, 480))
    toes = scene.points[:, 10]
    shadow, height = zip(*(scene.floor.fall(toe[None], np.zeros(3)) for toe in toes), strict=True)
    gap = np.linalg.norm(np.concatenate(shadow) - toes[:, [0, 2]], axis=-1)  # of the left toe, on the floor
    np.testing.assert_allclose(np.concatenate(height), [0, 0.54, 0.04], atol=1e-9)
    assert gap[0] < 1e-5 < 0.01 < gap[2] < gap[1]  # float32: seven digits of 7 m


def test_every_joint_is_inside_and_the_unit_does_not_matter():
    wild = standing(F=12)
    wild[6] += (0.0, 1.0, 0.0)
    for scale in (1.0, 1000.0):
        tops = [pixels_of(p, SPINE)[0].min() for p in draw_frames(scale * wild, HUMANML3D, caption="a jump")]
        assert min(tops) == tops[6] > 480 * 0.05  # the highest head is below the caption
    small, large = (list(draw_frames(scale * wild, HUMANML3D, frames=[3]))[0] for scale in (1.0, 1024.0))
    # A power of two scales every float exactly, but the spacing of the grid is chosen anew: compare the figure only.
    for colour in (LEFT, RIGHT, SPINE):
        np.testing.assert_array_equal(pixels_of(small, colour), pixels_of(large, colour))


def test_camera_follows_the_root():
    columns = [
        pixels_of(p, SPINE)[1].mean()
        for p in draw_frames(standing(F=200, walk=0.06), HUMANML3D, frames=range(0, 200, 25))
    ]
    # 12 m of walking, while the figure stays within the lag of the smoothing: far less than half a picture.
    assert max(columns) - min(columns) < 120


def test_gif_has_every_frame_its_time_and_its_colours(tmp_path):
    path = render_gif(standing(F=23, walk=0.05), HUMANML3D, tmp_path / "walk.gif", caption="a person walks")
    frames = list(gif_frames(path))
    assert len(frames) == 23 and {duration for _, duration in frames} == {50}
    for picture, _ in frames:
        assert picture.shape == (480, 480, 3)
        assert all(len(pixels_of(picture, colour)[0]) > 300 for colour in (LEFT, RIGHT, SPINE))
    with Image.open(path) as image:
        assert image.info["loop"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["walk.gif"]


def test_gif_pixels_are_the_drawn_ones(tmp_path):
    joints = standing(F=6, walk=0.1)
    path = render_gif(joints, HUMANML3D, tmp_path / "walk.gif", caption="a person walks", size=256)
    drawn = draw_frames(joints, HUMANML3D, caption="a person walks", size=256)
    for (stored, _), picture in zip(gif_frames(path), drawn, strict=True):
        error = np.abs(stored.astype(int) - picture)
        # 64 colours and 5 bits per channel before the look-up: edges are off, areas are not. The floor fades over half
        # of the picture in 12 greys, 15 levels apart: an error of up to 7 there.
        assert error.mean() < 1.7 and (error.max(axis=-1) > 48).mean() < 0.002


@pytest.mark.parametrize("fps, F, expected", [(30, 30, 1000), (12.5, 25, 2000), (60, 61, 1020), (120, 240, 2000)])
def test_gif_lasts_as_long_as_the_motion(tmp_path, fps, F, expected):
    path = render_gif(standing(F=F), HUMANML3D, tmp_path / "x.gif", fps=fps, size=64)
    durations = [duration for _, duration in gif_frames(path)]
    assert abs(sum(durations) - expected) <= 10  # one tick
    assert min(durations) >= 20 and max(durations) - min(durations) <= 20


def test_gif_of_one_frame_and_of_a_frozen_motion(tmp_path):
    assert len(list(gif_frames(render_gif(standing(F=1), HUMANML3D, tmp_path / "one.gif", size=96)))) == 1
    frozen = np.repeat(standing(F=1), 150, axis=0)  # more frames than the progress bar has pixels
    assert len(list(gif_frames(render_gif(frozen, HUMANML3D, tmp_path / "frozen.gif", size=96)))) == 150


def test_png_is_a_sheet_of_panels(tmp_path):
    sheet = np.asarray(Image.open(render_png(standing(F=40), HUMANML3D, tmp_path / "x.png", size=200)))
    assert sheet.shape == (2 * 200, 4 * 150, 3)
    for top in (0, 200):
        for left in range(0, 600, 150):
            assert len(pixels_of(sheet[top : top + 200, left : left + 150], LEFT)[0]) > 30
    few = Image.open(render_png(standing(F=3), HUMANML3D, tmp_path / "few.png", size=200, title="t", caption="c"))
    assert few.width == 3 * 150 and few.height > 200


@pytest.mark.parametrize("walk, moves", [(0.01, True), (0.06, False)])
def test_png_camera_stands_still_on_a_short_way(tmp_path, walk, moves):
    """2 m of walking cross the panel and 12 m are followed; either way the trail grows and the figure stays inside."""
    path = render_png(standing(F=200, walk=walk), HUMANML3D, tmp_path / "x.png")
    sheet = np.asarray(Image.open(path)).astype(int)
    panels = [
        sheet[top : top + 312, left : left + 240] for top in (0, 320) for left in range(0, 960, 240)
    ]  # without the progress bar
    columns = [pixels_of(panel, SPINE)[1].mean() for panel in panels]
    assert (np.ptp(columns) > 60) == moves
    trails = [(np.abs(panel - ImageColor.getrgb(TRAIL)).max(axis=-1) < 35).sum() for panel in panels]
    assert trails[0] < 10 < 50 < trails[-1]
    assert min(len(pixels_of(panel, colour)[0]) for panel in panels for colour in (LEFT, RIGHT, SPINE)) > 30


@for_each(
    "caption",
    [
        "",
        " ",
        "x" * 10_000,
        "walk " * 2_000,
        "💃🕺 dances",
        "人が歩く",
        "رجل يمشي",
        "$x_1^{",
        "a\x00b\ud800\n\tc",
        "\\frac",
        "ﷺ" * 50,
    ],
)
def test_any_caption(caption):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (picture,) = draw_frames(standing(F=1), HUMANML3D, title=caption, caption=caption, size=200)
    assert picture.shape == (200, 200, 3)
    assert len(pixels_of(picture, LEFT)[0]) > 50  # the text leaves room for the figure


def test_long_captions_wrap_and_stay_inside():
    def ink(caption):
        return pixels_of(next(iter(draw_frames(standing(F=1), HUMANML3D, caption=caption, size=960))), INK)

    rows, columns = ink("a person walks")
    assert abs((columns.min() + columns.max()) / 2 - 480) < 10  # centred
    # legible on a thumbnail of a tenth: the letters with a stem are 3 pixels high there
    assert np.ptp(rows) > 30
    rows_of_three, _ = ink("a person walks forward and then turns around to the left " * 3)
    assert np.ptp(rows_of_three) > 2 * np.ptp(rows)  # three lines, of smaller letters
    for endless in ("w" * 500, "walk " * 2_000):
        rows, columns = ink(endless)
        assert columns.min() > 10 and columns.max() < 950 and rows.max() < 0.18 * 960


def test_other_skeletons_and_degenerate_bodies():
    picture = next(iter(draw_frames(standing(F=2, skeleton=KIT), KIT)))
    assert all(len(pixels_of(picture, colour)[0]) > 200 for colour in (LEFT, RIGHT, SPINE))
    assert len(list(draw_frames(np.zeros((2, 22, 3)), HUMANML3D))) == 2  # all joints in one point
    far = standing(F=30, walk=5.0)  # runs past the camera: its trail goes behind it
    assert len(list(draw_frames(far, HUMANML3D, size=128))) == 30
    nameless = dataclasses.replace(HUMANML3D, joints=tuple(f"j{j}" for j in range(22)))
    picture = next(iter(draw_frames(standing(F=1), nameless)))
    assert len(pixels_of(picture, SPINE)[0]) > 1000  # no names, no sides: one colour


@for_each(
    "joints, options, message",
    [
        (np.full((3, 22, 3), np.nan), {}, "NaN.*3 frames.*frame 0"),
        (np.zeros((3, 21, 3)), {}, "21 joints.*humanml3d-22 has 22"),
        (np.zeros((3, 66)), {}, "shape"),
        (np.zeros((0, 22, 3)), {}, "F > 0"),
        (standing(F=2), {"fps": 0}, "fps"),
        (standing(F=2), {"size": 10}, "40 x 40"),
    ],
)
def test_errors(tmp_path, joints, options, message):
    with pytest.raises(ValueError, match=message):
        draw_frames(joints, HUMANML3D, **options)  # at the call, not at the first frame
    if not options:  # those of a picture are tested with the files
        for suffix in (".gif", ".png"):
            with pytest.raises(ValueError, match=message):
                draw(tmp_path / f"x{suffix}", [Shown(joints, HUMANML3D, 20.0)], View())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_importing_it_does_not_import_matplotlib():
    code = "import sys, motiongpt.motion; assert not {'matplotlib', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[1])


def test_real_clip_in_time(tmp_path, shared_data):
    """196 frames of real motion capture. The bound is five times what one core needs, for busy machines."""
    joints = next(np.load(p) for p in sorted((shared_data / "humanml3d_folder" / "new_joints").glob("*.npy")))
    joints = np.concatenate([joints] * 5)[:196]
    with at_most(seconds=5):
        path = render_gif(joints, HUMANML3D, tmp_path / "real.gif", caption="a person moves")
    assert path.stat().st_size < 4_000_000
