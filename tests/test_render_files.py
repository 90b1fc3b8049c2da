"""GIF, MP4 and PNG files of `draw`, read back by PIL and PyAV: frames, durations, sizes, sides; and any bad input."""

import sys
from fractions import Fraction

import numpy as np
import pytest
from cases import for_each
from PIL import Image, ImageColor
from test_render import gif_frames, pixels_of, standing

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.render.film import Film
from motiongpt.render.mp4 import write_mp4
from motiongpt.render.pictures import draw
from motiongpt.render.stick_figure import LEFT, RIGHT, StickScene
from motiongpt.render.view import Shown, View


def motion(F=10, text="", skeleton=HUMANML3D, **kwargs):
    return Shown(standing(F=F, skeleton=skeleton, **kwargs), skeleton, skeleton.fps, text)


def video(path):
    """Frames (n, H, W, 3), frames per second and seconds of an MP4, by PyAV."""
    av = pytest.importorskip("av", reason="PyAV reads the MP4 back")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, float(stream.average_rate), float(stream.duration * stream.time_base)


def test_the_slowest_mp4(tmp_path):
    """Without a bound PyAV shows a picture of ten hours for a 24th of a second."""
    av = pytest.importorskip("av", reason="PyAV writes the MP4")
    path = write_mp4(tmp_path / "a.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2, 1e-5)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(1, 1000)


def near(picture, colour):
    """Pixels that have a colour, up to what a video makes of it."""
    return np.nonzero(np.abs(picture.astype(int) - ImageColor.getrgb(colour)).max(axis=-1) < 40)


@for_each("look, rate", [("skeleton", 40), ("body", 100 / 3)])
def test_gif_is_smooth_by_itself(tmp_path, look, rate):
    """20 fps become more; the whole lasts as long as the motion."""
    path = draw(tmp_path / "x.gif", [motion(F=12, text="hello", walk=0.05)], View(look=look, size=96))
    frames = list(gif_frames(path))
    assert len(frames) == round(0.6 * rate) and {picture.shape for picture, _ in frames} == {(96, 96, 3)}
    assert abs(sum(duration for _, duration in frames) - 600) <= 10  # one tick
    assert [p.name for p in tmp_path.iterdir()] == ["x.gif"]


@for_each("fps, expected", [(10, 5), (20, 10), (50, 25), (120, 25)])
def test_fps_of_a_gif(tmp_path, fps, expected):
    frames = list(gif_frames(draw(tmp_path / "x.gif", [motion()], View(fps=fps, size=64))))
    assert len(frames) == expected and sum(duration for _, duration in frames) == 500


@for_each("look, size, fps", [("skeleton", 97, None), ("body", 96, 25.0)])
def test_mp4_is_read_back(tmp_path, look, size, fps):
    path = draw(tmp_path / "x.mp4", [motion(F=8, text="left is blue")], View(look=look, size=size, fps=fps, azim=0))
    frames, rate, seconds = video(path)
    assert frames.shape == (round(0.4 * (fps or 40)), size + size % 2, size + size % 2, 3)
    assert rate == (fps or 40) and seconds == pytest.approx(0.4, abs=0.001)
    if look == "skeleton":  # the video shows what the scene draws, neither mirrored nor upside down
        picture = StickScene(Shown(standing(F=8), HUMANML3D, 20.0, "left is blue"), View(azim=0), (97, 97)).draw(0)
        assert np.abs(frames[0, :97, :97].astype(int) - picture[..., :3]).mean() < 6  # half the colour resolution
        assert near(frames[0], LEFT)[1].mean() > near(frames[0], RIGHT)[1].mean() + 5


def test_mp4_without_pyav_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r'pip install "motiongpt\[viz\]"'):
        draw(tmp_path / "x.mp4", [motion()], View(size=64))
    assert not list(tmp_path.iterdir())


def test_a_video_that_fails_leaves_the_old_file(tmp_path):
    pytest.importorskip("av", reason="PyAV writes the MP4")
    path = tmp_path / "x.mp4"
    path.write_bytes(b"old")

    def pictures():
        yield np.zeros((64, 64, 4), dtype=np.uint8)
        raise RuntimeError("the second picture fails")

    with pytest.raises(RuntimeError, match="second"):
        write_mp4(path, pictures(), 30.0)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_motions_beside_each_other_are_in_step_and_at_one_scale(tmp_path):
    """The shorter one holds its last frame; each has its caption; a child stays as large as the adult beside it."""
    long, short = motion(F=20, walk=0.02), motion(F=10, text="short")
    jump = Shown(long.joints.copy(), HUMANML3D, 20.0, "long")
    jump.joints[5] += (0, 1.5, 0)  # needs a smaller zoom
    path = draw(tmp_path / "x.gif", [jump, short], View(size=128, fps=20, title="two"))
    pictures = [picture for picture, _ in gif_frames(path)]
    H, W = pictures[0].shape[:2]
    assert len(pictures) == 20 and W == 256 and H > 128  # with the title
    left, right = zip(*((p[:, :128], p[:, 128:]) for p in pictures), strict=True)
    assert all((half == right[9]).all() for half in right[10:]) and (right[8] != right[9]).any()
    assert (left[18] != left[19]).any()
    heights = [np.ptp(pixels_of(half, LEFT)[0]) for half in (left[0], right[0])]
    assert abs(heights[0] - heights[1]) <= 2
    assert all((half[H - 128 : H - 110] < 120).all(axis=-1).sum() > 5 for half in (left[0], right[0]))  # captions


@for_each("count, columns, rows", [(1, 1, 1), (3, 3, 1), (4, 2, 2), (9, 3, 3)])
def test_many_motions_make_a_grid(count, columns, rows):
    film = Film([motion(F=2)] * count, View(size=64), StickScene)
    assert film.draw(0).shape == (64 * rows, 64 * columns, 4)
    pictures = film.draw(1)[:, :, :3]
    for y in range(rows):
        for x in range(columns):
            part = pictures[64 * y : 64 * y + 64, 64 * x : 64 * x + 64]
            assert (len(pixels_of(part, LEFT)[0]) > 20) == (y * columns + x < count)


def test_time_lapse_is_one_scene_of_poses(tmp_path):
    """A walk keeps its way; who stands still is drawn side by side; the last pose has its full colours."""
    for name, walk, look in (("walk", 0.12, "skeleton"), ("stay", 0.0, "skeleton"), ("body", 0.0, "body")):
        view = View(still="timelapse", look=look, size=240, title="t", dpi=150)
        with Image.open(draw(tmp_path / f"{name}.png", [motion(F=60, walk=walk, text="poses")], view)) as image:
            assert image.size == (432, 240) and image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
            picture = np.asarray(image)
        if look == "skeleton":
            full = pixels_of(picture, LEFT)[1]
            assert len(full) > 50
            bluish = picture[..., 2].astype(int) - picture[..., 0] > 25  # all tints of the left side
            occupied = np.flatnonzero(bluish.any(axis=0))
            gaps = (np.diff(occupied) > 4).sum()
            assert gaps >= 5 and np.ptp(occupied) > 0.6 * 432  # seven figures over the width
            assert np.ptp(full) < 0.25 * 432  # one of them in full colours


def test_sheets_of_several_motions_are_below_each_other(tmp_path):
    one = Image.open(draw(tmp_path / "1.png", [motion()], View(size=96)))
    two = Image.open(draw(tmp_path / "2.png", [motion(), motion(F=2)], View(size=96, dpi=200)))
    assert one.size == (4 * 72, 2 * 96) and two.size == (4 * 72, 3 * 96)
    assert "dpi" not in one.info and two.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_options_change_the_picture(tmp_path):
    base = {"size": 96, "fps": 20}
    shown = [motion(F=2, text="turn")]

    def first(**options):
        return next(gif_frames(draw(tmp_path / "x.gif", shown, View(**base | options))))[0].astype(int)

    plain = first()
    for options in ({"azim": 120}, {"elev": 60}, {"title": "A title"}, {"look": "body"}, {"dpi": 200}):
        assert np.abs(first(**options) - plain).mean() > 1, options
    assert first(size=128).shape == (128, 128, 3)
    banners = [StickScene(shown[0], View(dpi=dpi), (200, 200)).banner for dpi in (100, 200)]
    assert banners[1] == pytest.approx(2 * banners[0], abs=2)  # lines of letters twice as large


@for_each("suffix, F", [(suffix, F) for suffix in (".gif", ".mp4", ".png") for F in (1, 2)])
def test_short_motions(tmp_path, suffix, F):
    if suffix == ".mp4":
        pytest.importorskip("av", reason="PyAV writes the MP4")
    for look, still in (("skeleton", "sheet"), ("body", "timelapse")):
        path = draw(tmp_path / f"{look}{suffix}", [motion(F=F, skeleton=KIT)], View(size=64, look=look, still=still))
        assert path.stat().st_size > 100


def test_a_long_motion_keeps_its_own_rate():
    film = Film([motion(F=10_000, walk=0.03)], View(size=64), StickScene, 50.0, 40.0)
    assert (film.F, film.rate) == (10_000, 20.0) and film.draw(9_999).shape == (64, 64, 4)
    assert Film([motion(F=10)], View(size=64), StickScene, 50.0, 40.0).rate == 40.0


@for_each("text", ["<b>bold</b> &amp; $x^2$ \\frac{1}{2}", "$x^2$", "walk " * 60, "\u4eba\u304c\u6b69\u304f " * 30])
def test_markup_and_long_captions(tmp_path, text):
    path = draw(tmp_path / "x.png", [motion(F=1, text=text)], View(size=128, title=text))
    picture = np.asarray(Image.open(path))
    assert (picture[:30] < 120).any()  # there are letters


def test_markup_is_shown_as_it_is_typed(tmp_path):
    """`$x^2$` is as wide as its five letters, not as a formula of two."""

    def width(text):
        view = View(size=320)
        picture = np.asarray(Image.open(draw(tmp_path / "x.png", [motion(F=1, text=text)], view)))
        return np.ptp(np.nonzero((picture[:34] < 120).all(axis=-1))[1])

    assert width("$x^2$") > 1.8 * width("x2") and width("<b>x</b>") > 2.5 * width("x2")


@for_each(
    "suffix, shown, view, message",
    [
        (".gif", [], {}, "no motion"),
        (".bmp", [motion()], {}, r"cannot draw x.bmp: supported are .gif .mp4 .png"),
        (".gif", [Shown(np.full((3, 22, 3), np.nan), HUMANML3D, 20.0)], {}, "NaN.*3 frames.*frame 0"),
        (".mp4", [Shown(np.zeros((0, 22, 3)), HUMANML3D, 20.0)], {}, "F > 0"),
        (".png", [Shown(np.zeros((3, 21, 3)), HUMANML3D, 20.0)], {}, "21 joints.*humanml3d-22 has 22"),
        (".gif", [Shown(np.zeros((100_001, 22, 3), np.float16), HUMANML3D, 20.0)], {}, "100001 frames are too many"),
        (".gif", [motion()], {"look": "mesh"}, "look .* must be one of skeleton, body"),
        (".png", [motion()], {"still": "film"}, "still .* must be one of sheet, timelapse"),
        (".gif", [motion()], {"fps": 0}, "fps .* must be 1 to 120"),
        (".gif", [motion()], {"fps": float("nan")}, "fps .* must be"),
        (".gif", [motion()], {"elev": 91}, "elev .* must be -90 to 90"),
        (".gif", [motion()], {"size": 30}, "size .* must be 64 to 4096"),
        (".gif", [motion()] * 30, {"size": 2000}, "30 motions of 2000 pixels.*at most 8192"),
    ],
)
def test_bad_input_has_a_message_and_leaves_no_file(tmp_path, suffix, shown, view, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / f"x{suffix}", shown, View(**view))
    assert not list(tmp_path.iterdir())
