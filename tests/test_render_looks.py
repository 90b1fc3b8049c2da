"""The look body, the camera and the floor, against closed forms: capsules, azimuth, depth, sides, shadows."""

import dataclasses

import numpy as np
import pytest
from cases import for_each
from test_render import standing

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26
from motiongpt.features.smplx import stand_in_joints
from motiongpt.render.body_look import COLOURS, BodyScene, draw_capsules, foremost_ball
from motiongpt.render.camera import Camera, front
from motiongpt.render.film import at_times, moments, own_rate
from motiongpt.render.floor import Floor
from motiongpt.render.mannequin import mannequin
from motiongpt.render.stick_figure import StickScene
from motiongpt.render.view import Shown, View

UP = np.array([0.0, 1.0, 0.0])


def body(joints, skeleton=HUMANML3D, size=240, **view):
    return BodyScene(Shown(joints, skeleton, skeleton.fps), View(**view), (size, size))


def drawn(*capsules, colours=None, size=200):
    """Which capsules are seen (size, size), by their colour on paper; ends are (x, y, height, radius)."""
    picture = np.full((size, size, 4), 255, dtype=np.uint8)
    if colours is None:
        colours = np.zeros((len(capsules), 3))
        colours[:, 0] = 40  # dark, so that light does not whiten it
    draw_capsules(picture, np.array(capsules, dtype=float), np.asarray(colours, dtype=np.float32), UP, 1.0)
    return picture[..., :3]


def area(picture):
    """Pixels that are covered, partly ones in part: green is 0 in the figure (but for gloss) and 255 on paper."""
    return (picture.min(axis=-1) < 200).sum()


def turned(joints, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return joints @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # about y, from +z towards +x


def hue(picture, side):
    """Which pixels (H, W) have the hue of a side: red or blue predominates as in its colour."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return red - blue > 45 if COLOURS[side][0] > COLOURS[side][2] else blue - red > 25


@for_each(
    "a, b, expected",
    [
        (
            (60, 100, 0, 20),
            (140, 100, 0, 20),
            2 * 20 * 80 + np.pi * 400,
        ),  # lying across: a rectangle and two half discs
        ((60, 60, 0, 20), (140, 140, 0, 20), 2 * 20 * 80 * 2**0.5 + np.pi * 400),
        ((100, 100, 50, 30), (100, 100, -50, 30), np.pi * 900),  # towards the viewer: a disc
        ((100, 100, -50, 10), (100, 100, 50, 30), np.pi * 900),  # the smaller end is hidden
        ((60, 100, 0, 30), (140, 100, 0, 0.01), 30 * 80 * (1 - 0.375**2) ** 0.5 + 900 * (np.pi - np.arccos(0.375))),
    ],
)
def test_silhouettes_have_the_area_of_the_closed_form(a, b, expected):
    """The last one is a drop: two tangents of length sqrt(80^2 - 30^2) and the rest of a disc of radius 30."""
    assert area(drawn((a, b))) == pytest.approx(expected, rel=0.025)  # a rim of half a pixel


def test_a_capsule_covers_its_pixels_and_no_others():
    picture = drawn(((50, 120, 0, 10), (150, 120, 0, 10)))
    covered = picture.min(axis=-1) < 200
    rows, columns = np.nonzero(covered)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (110, 129, 40, 159)
    assert covered[120, 41:159].all() and not covered[111, 41] and (picture[:100] == 255).all()


def test_foremost_ball_is_the_highest_of_all_balls():
    """Against trying 4001 balls along the capsule."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 4001)
    for _ in range(40):
        along = rng.normal(size=4) * (20, 20, 20, 3)
        radius = 4 + 8 * rng.random() + max(0.0, -along[3])
        x, y = rng.uniform(-25, 25, size=2)
        best_t, g = foremost_ball(np.array([x]), np.array([[y]]), along, radius)
        gs = (radius + along[3] * t) ** 2 - (x - along[0] * t) ** 2 - (y - along[1] * t) ** 2
        assert (g.item() >= 0) == (gs.max() >= 0) or abs(gs.max()) < 0.5  # 0.5: between two of the balls
        if gs.max() > 0.5:
            height = best_t.item() * along[2] + np.sqrt(max(g.item(), 0))
            # the rays between the discs of a capsule that points at the viewer meet a wall, which is left out
            slack = 0.02 if along[3] ** 2 < along[0] ** 2 + along[1] ** 2 else 5.0
            assert height == pytest.approx(
                np.where(gs >= 0, along[2] * t + np.sqrt(np.maximum(gs, 0)), -np.inf).max(), abs=slack
            )


def test_the_nearer_capsule_hides_the_farther_one():
    for near, far in ((0, 1), (1, 0)):
        heights = {near: 40, far: -40}
        cross = (
            ((50, 100, heights[0], 15), (150, 100, heights[0], 15)),
            ((100, 50, heights[1], 15), (100, 150, heights[1], 15)),
        )
        middle = drawn(*cross, colours=[(200, 0, 0), (0, 0, 200)])[100, 100].astype(int)
        assert (middle[0] > middle[2] + 50) == (near == 0)


def test_light_comes_from_above_and_the_left():
    ball = drawn(((100, 100, 0, 40), (100, 100.1, 0, 40)), colours=[(150, 150, 150)]).astype(int).sum(axis=-1)
    assert ball[75, 85] > ball[100, 100] > ball[130, 115]


@for_each("skeleton", [HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26])
def test_every_skeleton_gets_a_body(skeleton):
    """Radii follow the size of the body, and the picture does not depend on the unit."""
    joints = standing(F=2, skeleton=skeleton)
    joints += np.random.default_rng(0).normal(scale=0.02, size=joints.shape)  # no two joints in one place
    small, large = mannequin(joints, skeleton), mannequin(1000 * joints, skeleton)
    np.testing.assert_allclose(large.radii, 1000 * small.radii)
    assert np.isfinite(small.points).all() and set(small.sides) == {-1, 0, 1}
    assert (small.sides == 1).sum() == (small.sides == -1).sum() >= 4  # arm and leg of two bones each
    picture = body(joints, skeleton).draw(0)
    assert min(hue(picture, side).sum() for side in (1, -1)) > 100


def test_smplx_stand_in_gets_a_body():
    joints = stand_in_joints(np.zeros((2, 182), dtype=np.float32))
    assert hue(body(joints).draw(0), 1).sum() > 100


def test_left_and_right_are_not_mirrored():
    """Who faces us has the left side on the right of the picture, in both looks; from behind it is on the left."""
    joints = standing(F=1)
    for azim, sign in ((0, 1), (30, 1), (180, -1)):
        picture = body(joints, azim=azim).draw(0)
        columns = [np.nonzero(hue(picture, side))[1].mean() for side in (1, -1)]
        assert sign * (columns[0] - columns[1]) > 15
        scene = StickScene(Shown(joints, HUMANML3D, 20.0), View(azim=azim), (240, 240))
        assert sign * (scene.body[0, 16, 0] - scene.body[0, 17, 0]) > 15  # left and right shoulder
    raised = joints.copy()
    raised[:, [19, 21]] += (0, 0.6, 0)  # the right forearm
    higher = body(raised).draw(0)
    assert np.nonzero(hue(higher, -1))[0].min() < np.nonzero(hue(higher, 1))[0].min()


def test_the_camera_looks_from_where_the_person_faces():
    """The same person turned anywhere gives the same picture, and `azim` is counted from its front to its left."""
    joints = standing(F=1)
    assert front(joints[0], HUMANML3D) == pytest.approx(0)
    for degrees in (40, -130):
        assert np.degrees(front(turned(joints, degrees)[0], HUMANML3D)) == pytest.approx(degrees)
        scenes = [StickScene(Shown(j, HUMANML3D, 20.0), View(), (240, 240)) for j in (joints, turned(joints, degrees))]
        np.testing.assert_allclose(scenes[0].body, scenes[1].body, atol=1e-6)
    left = Camera(joints, HUMANML3D, 20.0, azim=90, elev=0)
    np.testing.assert_allclose(left.axes[:, 2], (1, 0, 0), atol=1e-12)  # the camera is at the person's left, +x
    above = Camera(joints, HUMANML3D, 20.0, elev=90)
    np.testing.assert_allclose(above.axes[:, 2], (0, 1, 0), atol=1e-12)


def test_a_reach_ahead_is_seen():
    """An arm of 0.5 m stretched forward is at least two thirds as long in the picture as one stretched upward."""
    ahead, above = (standing(F=1) for _ in range(2))
    for joints, way in ((ahead, (0, 0, 1)), (above, (0, 1, 0))):
        for j, length in ((18, 0.25), (20, 0.5)):
            joints[0, j] = joints[0, 16] + length * np.array(way)
    lengths = []
    for joints in (ahead, above):
        scene = StickScene(Shown(joints, HUMANML3D, 20.0), View(), (480, 480))
        lengths.append(np.linalg.norm(scene.body[0, 20] - scene.body[0, 16]) / scene.camera.zoom)
    assert lengths[0] > 0.66 * lengths[1]


def test_projection_and_rays_are_inverse():
    joints = standing(F=1)
    camera = Camera(joints, HUMANML3D, 20.0)
    camera.fit(joints, (0, 0, 300, 200))
    pixels, depth = camera.project(joints[0], camera.target[0])
    for (x, y), z, joint in zip(pixels, depth, joints[0], strict=True):
        eye, way = camera.rays(np.array([y]), np.array([x]))
        np.testing.assert_allclose(camera.target[0] + eye + z * way[0, 0], joint, atol=1e-9)
    assert (pixels > 0).all() and (pixels < (300, 200)).all()


def test_tiles_lie_still_in_the_world_and_shadows_are_below():
    """Moved on by two tiles with its camera, the floor looks the same; by one tile, light and dark change places."""
    joints = standing(F=1)
    camera = Camera(joints, HUMANML3D, 20.0)
    camera.fit(joints, (0, 0, 240, 240))
    floor = Floor(camera, 240, 240)
    pictures = []
    for tiles in (0, 2, 1):
        pictures.append(np.full((240, 240, 4), 255, dtype=np.uint8))
        floor.paint(pictures[-1], camera.target[0] + (tiles * floor.step, 0, 0))
    start, two, one = (picture[200:, :, 1].astype(int) for picture in pictures)
    assert np.abs(start - two).max() <= 2 and np.corrcoef(start.ravel(), one.ravel())[0, 1] < -0.9

    # a ball that touches the floor darkens it around the point of contact, the higher the less and the farther away
    def darkest(height):
        picture = np.full((240, 240, 4), 255, dtype=np.uint8)
        ball = np.array([[0.0, camera.ground + height, 0.0]])
        floor.paint(picture, camera.target[0], (ball, ball, np.array([0.08]), np.array([0.08])))
        loss = pictures[0][..., 1].astype(int) - picture[..., 1]
        return loss.max(), np.unravel_index(loss.argmax(), loss.shape)

    (low, place), (high, other) = darkest(0.0), darkest(1.0)
    pixel, _ = camera.project(np.array([0.0, camera.ground, 0.0]), camera.target[0])
    assert low > 1.4 * high > 20
    assert np.hypot(place[1] - pixel[0], 240 - place[0] - pixel[1]) < 12 < abs(other[1] - pixel[0])


def test_looks_survive_bodies_that_are_none():
    flat = np.zeros((2, 22, 3))
    far = standing(F=12, walk=5.0)
    torn = standing(F=2)
    torn[1, 20] += 50.0
    for joints in (flat, far, torn):
        scene = body(joints, size=96)
        assert all(scene.draw(frame).shape == (96, 96, 4) for frame in range(scene.F))
    nameless = dataclasses.replace(HUMANML3D, joints=tuple(f"j{j}" for j in range(22)))
    assert set(mannequin(standing(F=1), nameless).sides) == {0}


@for_each("view", [{"elev": 90}, {"elev": -30}, {"elev": -90}, {"azim": -200}, {"dpi": 300}])
def test_any_view_of_both_looks(view):
    for look in (BodyScene, StickScene):
        picture = look(Shown(standing(F=1), HUMANML3D, 20.0, "up"), View(**view), (120, 120)).draw(0)
        assert picture[..., :3].std() > 5


def test_interpolation_is_exact_on_cubics_and_keeps_frames():
    """A parabola is its own Catmull-Rom curve away from the ends; whole times are the frames, bit for bit."""
    x = np.arange(12.0)[:, None]
    times = np.arange(1.0, 10.0, 0.3)
    np.testing.assert_allclose(at_times(x**2 - 3 * x, times), (times**2 - 3 * times)[:, None], atol=1e-9)
    noise = np.random.default_rng(0).normal(size=(130, 4)).astype(np.float32)
    np.testing.assert_array_equal(at_times(noise, np.arange(130.0)), noise)
    np.testing.assert_array_equal(at_times(noise[:1], np.zeros(3)), noise[[0, 0, 0]])


@for_each("fps, rate", [(20, 40), (12.5, 50), (30, 60), (24, 48), (60, 60), (100, 50), (120, 60), (35, 50), (17, 51)])
def test_rates_show_every_frame_of_the_motion(fps, rate):
    assert own_rate(fps) == pytest.approx(rate)
    times = moments(40, fps, rate)
    assert len(times) == round(40 * rate / fps) and times.max() <= 39
    if fps != 35 and rate > fps:
        assert set(range(40)) <= set(times.round(9))
