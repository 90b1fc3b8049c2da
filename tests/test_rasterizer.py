"""The rasteriser against closed forms, and the scene of a mesh: where it is drawn, its light, and what is refused."""

import numpy as np
import pytest
from cases import for_each
from PIL import Image
from tiny_body_models import body_arrays, write_model

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smpl_mesh import load_mesh_model, mesh_vertices
from motiongpt.render import mesh_scene, rasterizer
from motiongpt.render.film import Film, film_gif
from motiongpt.render.mesh_scene import MeshScene
from motiongpt.render.rasterizer import rasterize, vertex_normals
from motiongpt.render.sheets import write_sheet, write_timelapse
from motiongpt.render.view import Shown, View

ONE = np.array([[0, 1, 2]])


def covered(points, depth=None, faces=ONE, W=40, H=30) -> np.ndarray:
    """(H, W) which face is seen, the upper row first; -1 for none."""
    points = np.asarray(points, dtype=float)
    seen = rasterize(points, np.ones(len(points)) if depth is None else np.array(depth, float), faces, W, H)
    picture = np.full(W * H, -1)
    picture[seen.pixels] = seen.faces
    return picture.reshape(H, W)


def ball(rings=24, radius=1.0) -> tuple[np.ndarray, np.ndarray]:
    """A sphere of triangles, counter-clockwise seen from outside."""
    n = 2 * rings
    down, around = np.meshgrid(
        np.pi * np.arange(1, rings) / rings, 2 * np.pi * np.arange(n) / n, indexing="ij"
    )  # (rings - 1, n)
    points = np.stack([np.sin(down) * np.sin(around), np.cos(down), np.sin(down) * np.cos(around)], -1).reshape(-1, 3)
    points = radius * np.concatenate([points, [[0, 1, 0], [0, -1, 0]]])
    i = np.arange(n)
    j = (i + 1) % n
    top, last = len(points) - 2, (rings - 2) * n
    faces = [np.stack([0 * i + top, i, j], 1), np.stack([0 * i + top + 1, last + j, last + i], 1)]
    for ring in range(0, last, n):
        faces += [np.stack([ring + i, ring + n + i, ring + n + j], 1), np.stack([ring + i, ring + n + j, ring + j], 1)]
    return points, np.concatenate(faces)


# 1) Which pixels.


def test_a_triangle_covers_its_area():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b, c = points = rng.uniform(0, 400, (3, 2))
        (ux, uy), (vx, vy) = b - a, c - a
        area = (ux * vy - uy * vx) / 2
        seen = covered(points if area > 0 else points[::-1], W=400, H=400)
        perimeter = sum(np.linalg.norm(points[i] - points[i - 1]) for i in range(3))
        # centres inside minus area is at most about half a pixel per pixel of outline, and mostly cancels out
        assert abs((seen == 0).sum() - abs(area)) < 0.1 * perimeter + 2


def test_a_pixel_belongs_to_the_face_that_has_its_centre():
    points = np.array([[3.2, 2.1], [35.7, 8.4], [12.9, 27.6]])
    seen = covered(points)
    for row in range(30):
        for column in range(40):
            centre = np.array([column + 0.5, 29.5 - row])
            sides = [
                np.cross(np.append(points[i - 2] - points[i], 0), np.append(centre - points[i], 0))[2] for i in range(3)
            ]
            if min(map(abs, sides)) > 0.5:  # places are rounded to 1/256 pixel, times edges of 40 pixels
                assert (seen[row, column] == 0) == (min(sides) > 0)
    # edges through centres: the left and the lower one count, the right and the upper one do not
    square = [[2.5, 2.5], [6.5, 2.5], [6.5, 6.5], [2.5, 6.5]]
    seen = covered(square, faces=np.array([[0, 1, 2], [0, 2, 3]]), W=10, H=10)
    assert (seen >= 0).sum() == 16 and (seen[4:8, 2:6] >= 0).all()


def test_no_gaps_and_no_overlap_between_neighbours():
    """A square cut at random, as a fan and as a grid: each pixel is in exactly one face, whatever their order."""
    rng = np.random.default_rng(0)
    n = 10
    grid = np.stack(np.meshgrid(np.arange(n + 1), np.arange(n + 1)), axis=-1).astype(float)  # (n + 1, n + 1, 2)
    grid[1:-1, 1:-1] += rng.uniform(-0.35, 0.35, (n - 1, n - 1, 2))
    points = 2 + 56 * grid.reshape(-1, 2) / n
    i = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    faces = np.concatenate([np.stack([i, i + 1, i + n + 2], 1), np.stack([i, i + n + 2, i + n + 1], 1)])
    whole = np.zeros((60, 60), bool)
    whole[2:58, 2:58] = True
    assert ((covered(points, faces=faces, W=60, H=60) >= 0) == whole).all()
    times = np.zeros((60, 60), int)
    for face in faces:
        times += covered(points, faces=np.roll(face, rng.integers(3))[None], W=60, H=60) >= 0
    assert (times == whole).all()


def test_only_faces_that_run_counter_clockwise_are_seen():
    points = np.array([[2, 2], [30, 5], [10, 25]])
    assert (covered(points) == 0).sum() > 200
    assert (covered(points[::-1]) == -1).all() and (covered(points[[0, 0, 1]]) == -1).all()


def test_nearer_hides_farther_in_any_order():
    back, front = [[0, 0], [40, 0], [0, 60]], [[5, 5], [25, 5], [5, 20]]
    alone = covered(front) == 0
    depth = [2.0] * 3 + [1.0] * 3
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    first = covered(back + front, depth, faces)
    second = covered(back + front, depth, faces[::-1])
    assert (first[alone] == 1).all() and (first[(covered(back) == 0) & ~alone] == 0).all()
    assert (second[first >= 0] == 1 - first[first >= 0]).all()
    assert (covered(back + front, [1.0] * 3 + [2.0] * 3, faces) != 1).all()


def test_faces_that_cut_each_other_meet_where_their_depths_are_equal():
    """Two squares, one sloping from depth 1 to 3, one at depth 2.1: 1 / depth is linear over the picture."""
    square = [[0, 0], [40, 0], [40, 30], [0, 30]]
    depth = [1.0, 3.0, 3.0, 1.0] + [2.1] * 4
    quads = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    seen = covered(square + square, depth, quads)
    meet = 40 * (1 - 1 / 2.1) / (1 - 1 / 3)  # 1 / depth = 1 - (1 - 1/3) x / 40
    assert (seen[:, : int(meet)] < 2).all() and (seen[:, int(meet) :] >= 2).all() and 0 < meet < 40


def test_values_are_blended_in_perspective():
    points, depth, W, H = np.array([[0.0, 0], [64, 0], [0, 64]]), np.array([1.0, 4.0, 2.0]), 64, 64
    seen = rasterize(points, depth, ONE, W, H)
    assert np.allclose(seen.weights.sum(1), 1, atol=1e-6) and seen.weights.min() > -1e-6
    # places in space, from the corners' own: x = column times depth
    space = np.concatenate([points * depth[:, None], depth[:, None]], axis=1)
    x, y, z = seen.blend(space, ONE).T
    assert np.allclose(x / z, seen.pixels % W + 0.5, atol=1e-3)  # float32 of 64 pixels
    assert np.allclose(y / z, H - 0.5 - seen.pixels // W, atol=1e-3)


def test_a_ball_has_the_silhouette_of_a_circle_and_normals_of_a_ball():
    points, faces = ball(40)
    away, focal, W = 4.0, 300.0, 200
    depth = away - points[:, 2]
    flat = W / 2 + focal * points[:, :2] / depth[:, None]
    seen = rasterize(flat, depth, faces, W, W)
    row, column = np.divmod(seen.pixels, W)
    radius = focal / np.sqrt(away**2 - 1)  # the rays that touch a ball of radius 1 make a cone with this tangent
    assert np.hypot(row - 99.5, column - 99.5).max() < radius + 0.5
    assert abs(len(row) - np.pi * radius**2) < 0.01 * np.pi * radius**2  # the polyhedron lies inside the ball
    # the normal in a pixel is the point of the unit ball that its ray meets
    normals = seen.blend(vertex_normals(points, faces), faces)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    x, y = (column - 99.5) / focal, (99.5 - row) / focal
    inside = np.hypot(x, y) < 0.9 * radius / focal
    square = x**2 + y**2
    with np.errstate(invalid="ignore"):
        t = (away - np.sqrt(away**2 - (1 + square) * (away**2 - 1))) / (1 + square)
    expected = np.stack([t * x, t * y, away - t], axis=1)
    # flat faces of 4.5 degrees: a chord is up to 0.3% inside the ball
    assert np.abs(normals - expected)[inside].max() < 0.02
    # seen from inside, or wound the other way, the far half is seen
    assert rasterize(flat, depth, faces[:, ::-1], W, W).blend(points, faces[:, ::-1])[:, 2].max() < 0.3


@for_each(
    "points, depth",
    [
        ([[-500, -500], [900, -500], [20, 900]], [1, 1, 1]),  # all around the picture
        ([[-1e6, -1e6], [1e6, -1e6], [0, 1e6]], [1, 1, 1]),
    ],
)
def test_a_face_may_reach_beyond_the_picture(points, depth):
    assert (covered(points, depth) == 0).all()


@for_each(
    "points, depth",
    [
        ([[-30, 5], [-2, 5], [-10, 20]], [1, 1, 1]),
        ([[50, 5], [90, 5], [60, 20]], [1, 1, 1]),
        ([[5, 40], [30, 40], [10, 60]], [1, 1, 1]),
        ([[5, 5], [30, 5], [10, 20]], [1, np.nan, 1]),  # a vertex behind the camera
        ([[5, 5], [np.nan, np.nan], [10, 20]], [1, np.nan, 1]),
        ([[5, 5], [5.2, 5], [5, 5.2]], [1, 1, 1]),  # between centres
    ],
)
def test_what_is_not_in_the_picture_is_not_drawn(points, depth):
    assert (covered(points, depth) == -1).all()


def test_memory_is_taken_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    points, depth, faces = rng.uniform(0, 60, (300, 2)), rng.uniform(1, 2, 300), np.arange(300).reshape(100, 3)
    whole = covered(points, depth, faces, 60, 60)
    monkeypatch.setattr(rasterizer, "_AT_ONCE", 50)
    assert len(np.unique(whole)) > 10 and (covered(points, depth, faces, 60, 60) == whole).all()


# 2) The scene.


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Shown:
    """A small body of SMPL that lifts an arm while it walks 2 m."""
    path = tmp_path_factory.mktemp("model") / "SMPL_NEUTRAL.npz"
    model = load_mesh_model(write_model(path, body_arrays("smpl")), "smpl")
    F = 12
    pose = np.zeros((F, 21, 3))
    pose[:, HUMANML3D.index("left_shoulder") - 1, 2] = np.linspace(-1.2, 1.2, F)
    transl = np.linspace((0, 0, 0), (0, 0, 2), F)
    vertices, joints = mesh_vertices(model, global_orient=np.zeros((F, 3)), body_pose=pose, transl=transl)
    return Shown(joints[:, :22], HUMANML3D, 20.0, "a person <walks> & lifts an arm", vertices, model.faces)


def changed(shown, **changes) -> Shown:
    return Shown(**{**shown.__dict__, **changes})


def test_a_scene_draws_the_mesh_where_the_camera_sees_it(shown):
    scene, bare = (MeshScene(shown, View(), (160, 160)) for _ in range(2))
    bare.paint = lambda *_: None
    assert scene.F == 12
    for frame in (0, 6, 11):
        picture = scene.draw(frame).copy()
        assert picture.shape == (160, 160, 4) and picture.dtype == np.uint8 and (picture[..., 3] == 255).all()
        places, _ = scene.camera.project(shown.vertices[frame].astype(float), scene.camera.target[frame])
        low, high = places.min(axis=0), places.max(axis=0)
        # in the box between the text and the bar, and as far as the mesh, to a pixel
        assert low.min() > 0 and high[0] < 160 and high[1] < 160 - scene.banner
        rows, columns = np.nonzero((picture != bare.draw(frame)).any(axis=-1))
        assert abs(columns.min() - low[0]) < 2 and abs(columns.max() + 1 - high[0]) < 2
        assert abs(160 - rows.min() - high[1]) < 2 and abs(159 - rows.max() - low[1]) < 3
        assert (scene.draw(frame) == picture).all()  # nothing is left of the frame before
    # between the person and the edge of the picture lies a shadow: darker than the floor without a caster
    lit = MeshScene(shown, View(), (160, 160))
    lit.capsules = lambda frame: (*(np.full((1, 3), 1e3) for _ in range(2)), np.zeros(1), np.zeros(1))
    darker = scene.draw(0)[..., 1].astype(int) < lit.draw(0)[..., 1].astype(int) - 20
    assert 20 < darker.sum() < 3000


def test_the_outline_is_smooth(shown, monkeypatch):
    """On white paper, pixels that are partly mesh are lighter than its lightest colour, and not white."""

    def between() -> int:
        scene = MeshScene(shown, View(), (160, 160))
        scene.floor.paint = lambda *_: None
        red = scene.draw(0)[scene.banner : 160 - scene.bar, :, 0]
        return ((red > 255 * mesh_scene.SKIN[0] * 1.35) & (red < 255)).sum()

    smooth = between()
    monkeypatch.setattr(mesh_scene, "FINE", 1)
    assert between() == 0 and smooth > 30


def test_light_comes_from_the_lamp(shown):
    """A ball on the floor: the brightest pixel has the normal that points between the lamp, the sky and the eye."""
    points, faces = ball(24, 0.5)
    still = changed(shown, joints=np.repeat(shown.joints[:1], 2, 0), vertices=np.stack([points, points]), faces=faces)
    scene = MeshScene(still, View(elev=0, azim=0), (200, 200))
    flat, depth = scene.camera.project(points, scene.camera.target[0])
    values = np.concatenate([vertex_normals(points, faces), np.tile(scene.camera.axes[:, 2], (len(points), 1))], axis=1)
    light = scene._light(values.astype(np.float32))
    assert light.shape == (len(points), 3) and light.max() <= 1 and light.min() > 0.1
    towards = points @ scene.lamp
    assert light[towards.argmax()].mean() > 1.4 * light[towards.argmin()].mean()
    # the upper half is lighter than the lower one in the picture too
    picture = scene.draw(0)[..., 1].astype(int)
    row, column = (199 - flat[-2:, 1]).astype(int), flat[-2:, 0].astype(int)  # of the two poles
    assert picture[row[0] + 4, column[0]] > picture[row[1] - 4, column[1]] + 30


def test_several_poses_in_one_picture(shown):
    three = changed(shown, vertices=shown.vertices[::4], joints=shown.joints[::4])
    scene = MeshScene(three, View(), (160, 160), stays=np.inf)
    full, pale = (scene.draw_together([tint] * 3)[..., 0].astype(int) for tint in (1.0, 0.2))
    assert (pale > full + 40).sum() > 300 and (full > pale + 8).sum() == 0


def test_a_mesh_becomes_a_gif_and_still_pictures(shown, tmp_path):
    film = Film([shown, shown], View(size=96, fps=20), MeshScene)
    image = Image.open(film_gif(tmp_path / "a.gif", film))
    assert image.n_frames == film.F == 12
    for frame in (0, 11):
        image.seek(frame)
        read = np.array(image.convert("RGB")).astype(int)
        # a palette of 256 colours: the mean error is below two shades of the skin's 24
        assert read.shape[:2] == (96, 192) and np.abs(read - film.draw(frame)[..., :3]).mean() < 4
    for write in (write_sheet, write_timelapse):
        picture = np.array(Image.open(write(tmp_path / "a.png", [shown], View(size=120), MeshScene)).convert("RGB"))
        skin = picture[..., 2].astype(int) - picture[..., 0] > 25  # bluer than any floor
        assert skin.mean() > 0.01


@for_each(
    "changes, match",
    [
        ({"vertices": None}, "no mesh: a mesh needs vertices and faces"),
        ({"faces": np.array([[0, 1, 999]])}, "vertices from 0 to 999, the mesh has 336: 0 to 335"),
        ({"faces": np.array([[0, 1, -1]])}, "vertices from -1 to 1"),
        ({"faces": np.array([[0.0, 1, 2]])}, r"faces must be whole numbers \(N, 3\), got float64 \(1, 3\)"),
        ({"faces": np.zeros((0, 3), int)}, "faces must be whole numbers"),
        ({"vertices": np.zeros((11, 336, 3))}, r"vertices must be numbers \(12, V, 3\).* got float64 \(11, 336, 3\)"),
        ({"vertices": np.zeros((12, 0, 3))}, "vertices must be numbers"),
        ({"vertices": np.where(np.arange(12) == 7, np.nan, 0.0)[:, None, None] + np.zeros((12, 336, 3))},
         "vertices are NaN or infinite in 1 frames, the first is frame 7"),
        ({"vertices": np.full((12, 336, 3), 1000.0)}, "far from the joints in frame 0: both need the same coordinates"),
        ({"joints": np.zeros((0, 22, 3)), "vertices": np.zeros((0, 336, 3))}, "F > 0"),
        ({"joints": np.full((12, 22, 3), np.inf)}, "joints are NaN or infinite in 12 frames"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(changes, match, shown):
    with pytest.raises(ValueError, match=match):
        MeshScene(changed(shown, **changes), View(), (160, 160))


def test_one_frame_and_a_flat_mesh_are_drawn(shown):
    one = changed(shown, joints=shown.joints[:1], vertices=shown.vertices[:1])
    assert MeshScene(one, View(title="x" * 300), (160, 160)).draw(0).shape == (160, 160, 4)
    still = changed(one, joints=np.zeros((1, 22, 3)), vertices=np.zeros((1, 336, 3)))
    assert MeshScene(still, View(), (64, 64)).draw(0).shape == (64, 64, 4)
