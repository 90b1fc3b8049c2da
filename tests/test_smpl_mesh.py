"""Meshes of SMPL, SMPL-H and SMPL-X: they equal the smplx package's, and files that cannot give one say why."""

import pickle

import numpy as np
import pytest
import torch
from cases import for_each
from tiny_body_models import body_arrays, smplx_forward, write_model, write_models

from motiongpt.body import smpl_mesh
from motiongpt.body.body_model import MODEL_JOINTS, candidates, find_body_model, load_body_model
from motiongpt.body.smpl_mesh import MeshModel, full_pose, load_mesh_model, mesh_vertices
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_WIDTH, smplx_mesh

KINDS = pytest.mark.parametrize("kind", MODEL_JOINTS)
TOLERANCE = 1e-5  # metres; ours is in float32, of numbers up to about 3


def model_of(tmp_path, kind, **changes) -> MeshModel:
    return load_mesh_model(write_model(tmp_path / "model.npz", body_arrays(kind) | changes), kind)


def motion(kind, frames=5, seed=0) -> dict[str, np.ndarray]:
    """Named random parts of a pose, betas that change, and translations."""
    rng = np.random.default_rng(seed)
    hand = 3 if kind == "smpl" else 45
    widths = {"global_orient": 3, "body_pose": 63, "left_hand_pose": hand, "right_hand_pose": hand, "transl": 3}
    widths |= {"betas": 10} | ({"jaw_pose": 3, "leye_pose": 3, "reye_pose": 3} if kind == "smplx" else {})
    made = {name: rng.normal(size=(frames, width)) / 2 for name, width in widths.items()}
    made["body_pose"][0] = 0  # rotations without a direction
    return made | ({"expression": rng.normal(size=(frames, 10))} if kind == "smplx" else {})


def theirs(kind, arrays, parts, monkeypatch, tmp_path, flat_hand_mean=False):
    order = ["global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose"]
    poses = np.concatenate([parts[name] for name in order if name in parts], axis=1)
    inputs = poses, parts["betas"], parts["transl"], monkeypatch, tmp_path
    return smplx_forward(kind, arrays, *inputs, parts.get("expression"), flat_hand_mean)


# 1) Vertices.


@KINDS
def test_the_small_models_are_closed_surfaces_with_sound_weights(kind):
    arrays = body_arrays(kind)
    vertices, faces, weights = arrays["v_template"], arrays["f"].astype(int), arrays["weights"]
    assert 300 <= len(vertices) <= 600 and np.unique(faces).size == len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = set(map(tuple, edges))
    # closed and consistently wound: every edge is passed once in each direction
    assert len(directed) == len(edges) and all((b, a) in directed for a, b in directed)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert np.einsum("fi,fi->", a, np.cross(b, c)) > 0  # six times the volume: seen from outside, counter-clockwise
    assert np.allclose(weights.sum(1), 1) and (weights >= 0).all() and ((weights > 0).sum(1) <= 4).all()
    assert np.allclose(arrays["J_regressor"].sum(1), 1) and np.abs(arrays["posedirs"]).min(axis=(0, 1)).max() > 0


@pytest.mark.parametrize("flat", [False, True])
@KINDS
def test_vertices_and_joints_equal_the_smplx_packages(kind, flat, tmp_path, monkeypatch):
    parts, arrays = motion(kind), body_arrays(kind)
    their_vertices, their_joints = theirs(kind, arrays, parts, monkeypatch, tmp_path, flat)
    vertices, joints = mesh_vertices(model_of(tmp_path, kind), flat_hand_mean=flat, **parts)
    assert vertices.dtype == joints.dtype == np.float32
    assert np.abs(vertices - their_vertices).max() < TOLERANCE and np.abs(joints - their_joints).max() < TOLERANCE
    assert np.ptp(their_vertices, axis=0).max() > 0.5  # it moves
    if kind != "smpl":  # the mean hand counts
        other, _ = mesh_vertices(model_of(tmp_path, kind), flat_hand_mean=not flat, **parts)
        assert np.abs(vertices - other).max() > 0.01


@KINDS
def test_frames_together_equal_frames_alone(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(smpl_mesh, "CHUNK", 3)  # 7 frames: two full chunks and a rest
    model, parts = model_of(tmp_path, kind), motion(kind, 7)
    together, _ = mesh_vertices(model, **parts)
    for i in range(7):
        alone, _ = mesh_vertices(model, **{name: values[i : i + 1] for name, values in parts.items()})
        # a matrix of 3 rows and one of 1 row are multiplied in another order
        assert np.abs(together[i] - alone[0]).max() < 1e-6
    constant = parts | {"betas": parts["betas"][0]}
    rows = parts | {"betas": np.tile(parts["betas"][:1], (7, 1))}
    assert (mesh_vertices(model, **constant)[0] == mesh_vertices(model, **rows)[0]).all()
    none = {name: values[:0] for name, values in parts.items()}
    assert mesh_vertices(model, **none)[0].shape == (0, model.num_vertices, 3)


@KINDS
def test_the_22_joints_and_ten_betas_are_enough(kind, tmp_path, monkeypatch):
    """What a fit of joints has: hands, face and eyes stay at rest, and fewer betas count as zeros."""
    parts = {name: values for name, values in motion(kind).items() if name in ("global_orient", "body_pose", "transl")}
    whole = {name: np.zeros_like(values) for name, values in motion(kind).items()} | parts
    whole["betas"][:, :4] = 1.5
    expected, their_joints = theirs(kind, body_arrays(kind), whole, monkeypatch, tmp_path)
    model = model_of(tmp_path, kind)
    vertices, joints = mesh_vertices(model, betas=np.full(4, 1.5), **parts)
    assert np.abs(vertices - expected).max() < TOLERANCE
    # the joints alone, with gradients, without any vertex
    pose = full_pose(model, **{name: parts[name] for name in ("global_orient", "body_pose")}).requires_grad_()
    shape = torch.full((1, 4), 1.5, requires_grad=True)
    made, _, _ = model.transforms(pose, shape, torch.from_numpy(parts["transl"]).float())
    assert np.abs(made.detach().numpy() - their_joints).max() < TOLERANCE
    made.square().sum().backward()
    # the rotations of zero in frame 0 too; a joint without children moves none by turning
    parents = [j for j in model.parents if j >= 0]
    assert torch.isfinite(pose.grad).all() and pose.grad[0, parents].abs().sum(-1).min() > 0
    assert shape.grad.abs().min() > 0
    # the same rest joints as those that the readers use
    body = load_body_model(tmp_path / "model.npz", kind)
    at_rest = model.transforms(torch.zeros(1, MODEL_JOINTS[kind], 3), shape, torch.zeros(1, 3))[0]
    assert np.abs(at_rest.detach().numpy()[0, :22] - body.rest_joints(np.full(4, 1.5))).max() < TOLERANCE


def test_the_182_parameters_become_an_upright_mesh(tmp_path, monkeypatch):
    model, parts = model_of(tmp_path, "smplx"), motion("smplx")
    parts = {name: values / 4 for name, values in parts.items() if name in SMPLX_COLUMNS}
    parameters = np.concatenate([parts[name] for name in SMPLX_COLUMNS], axis=1)
    whole = parts | {"leye_pose": np.zeros((5, 3)), "reye_pose": np.zeros((5, 3))}
    expected, their_joints = theirs("smplx", body_arrays("smplx"), whole, monkeypatch, tmp_path)
    vertices, joints = smplx_mesh(parameters, model)
    low = (0, expected[..., 1].min(), 0)
    assert vertices.dtype == joints.dtype == np.float32 and abs(vertices[..., 1].min()) < TOLERANCE
    assert np.abs(vertices - (expected - low)).max() < TOLERANCE
    assert np.abs(joints - (their_joints[:, :22] - low)).max() < TOLERANCE
    # heads down, as from a camera whose y points down: the same body, turned about x
    down = parameters.copy()
    down[:, SMPLX_COLUMNS["global_orient"]] = 0
    up = smplx_mesh(down, model)
    down[:, SMPLX_COLUMNS["global_orient"]] = (np.pi, 0, 0)
    down[:, SMPLX_COLUMNS["transl"]] *= (1, -1, -1)
    for ours, same in zip(smplx_mesh(down, model), up, strict=True):
        # the pelvis turns about itself, not about the origin, so each frame is shifted by what its betas do to it
        assert np.ptp(ours - same, axis=1).max() < TOLERANCE
    for array, match in (
        (parameters[:, 1:], r"\(F, 182\) with F > 0, got \(5, 181\)"),
        (parameters[:0], "F > 0"),
        (np.where(np.arange(SMPLX_WIDTH) == 70, np.nan, parameters), "body_pose is NaN or infinite in 5 frames.*0"),
    ):
        with pytest.raises(ValueError, match=match):
            smplx_mesh(array, model)
    with pytest.raises(ValueError, match="parameters are SMPL-X's, the body model is SMPL"):
        smplx_mesh(parameters, model_of(tmp_path / "smpl", "smpl"))


@for_each(
    "change, match",
    [
        ({"body_pose": np.zeros((5, 66))}, r"body_pose must be numbers \(5, 63\), got float64 \(5, 66\)"),
        ({"body_pose": None}, "a pose needs body_pose"),
        ({"transl": np.zeros((4, 3))}, r"transl must be numbers \(5, 3\)"),
        ({"jaw_pose": np.zeros((5, 3))}, "SMPLH has no jaw_pose: its poses are global_orient, body_pose, left_hand"),
        ({"betas": np.zeros(17)}, "17 betas for a model of 16"),
        (
            {"betas": np.zeros((3, 10)) + np.arange(3)[:, None]},
            r"betas must be numbers \(5, 10\), got float64 \(3",
        ),
        ({"expression": np.zeros((5, 10))}, "10 expressions for a model of SMPLH with 0"),
        ({"left_hand_pose": np.full((5, 15, 3), np.inf)}, "left_hand_pose is NaN or infinite in 5 frames"),
        ({"global_orient": np.array([["x"] * 3] * 5)}, "global_orient must be numbers"),
        ({"global_orient": np.float32(1)}, r"global_orient must be numbers \(1, 3\), got float32 \(\)"),
    ],
)
def test_wrong_parameters_are_named(change, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        mesh_vertices(model_of(tmp_path, "smplh"), **(motion("smplh") | change))


def test_more_vertices_than_memory_are_refused_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(smpl_mesh, "MAX_BYTES", 5 * 336 * 12)
    with pytest.raises(ValueError, match="6 frames of 336 vertices take more than 2 GB: cut the motion to 5 frames"):
        mesh_vertices(model_of(tmp_path, "smpl"), **motion("smpl", 6))


# 2) Files.


def test_a_pickle_and_an_npz_give_the_same_mesh(tmp_path):
    """body_models/smpl/SMPL_NEUTRAL.pkl as published: a sparse regressor, faces of uint32, text beside the arrays."""
    sparse = pytest.importorskip("scipy.sparse")
    arrays = body_arrays("smpl")
    published = arrays | {"J_regressor": sparse.csc_matrix(arrays["J_regressor"]), "bs_style": "lbs", "J": np.ones(3)}
    path = write_model(tmp_path / "body_models/smpl/SMPL_NEUTRAL.pkl", published)
    for folder in (tmp_path / "body_models", tmp_path / "body_models/smpl"):
        assert find_body_model(folder, "smpl", "neutral") == path
    ours = MeshModel.load(tmp_path / "body_models", "smpl")
    parts = motion("smpl")
    same, _ = mesh_vertices(model_of(tmp_path, "smpl"), **parts)
    assert (mesh_vertices(ours, **parts)[0] == same).all() and (ours.faces == arrays["f"]).all()
    # what a pickle would run is not run, and Python objects in an .npz stay where they are
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match=r"SMPL_NEUTRAL.pkl: refuses to load os.system.*smpl\.is\.tue\.mpg\.de"):
        load_mesh_model.__wrapped__(path, "smpl")
    objects = {"joint2num": np.array({"pelvis": 0}, object), "part2num": np.array({"head": 1}, object)}
    assert model_of(tmp_path / "x", "smplx", **objects).num_vertices == 432 + 8


def test_the_full_file_of_smplx_has_its_face_at_300(tmp_path):
    arrays = body_arrays("smplx")
    wide = np.zeros((*arrays["shapedirs"].shape[:2], 400))
    wide[..., :10], wide[..., 300:310] = arrays["shapedirs"][..., :10], arrays["shapedirs"][..., 10:]
    parts = motion("smplx")
    short, _ = mesh_vertices(model_of(tmp_path / "a", "smplx"), **parts)
    model = model_of(tmp_path / "b", "smplx", shapedirs=wide)
    full, _ = mesh_vertices(model, **parts)
    assert (model.num_betas, model.num_expressions) == (16, 10) and np.abs(short - full).max() < 1e-6
    assert np.abs(short - mesh_vertices(model, **parts | {"expression": None})[0]).max() > 1e-3


def test_a_missing_model_says_where_it_was_looked_for_and_where_it_comes_from(tmp_path):
    with pytest.raises(
        ValueError, match=r"SMPLX.*--smplx-dir DIR or.*SMPLX_MODEL_DIR.*https://smpl-x\.is\.tue\.mpg\.de"
    ):
        MeshModel.load(None)
    models = write_models(tmp_path / "models", ("smplh",))
    (tmp_path / "models/smplx").mkdir()
    write_model(tmp_path / "models/smplx/SMPLX_MALE.npz", body_arrays("smplx"))
    places = r": looked for smplx/SMPLX_NEUTRAL\.npz, .* licence at https://smpl-x\.is\.tue\.mpg\.de$"
    for folder, found in (
        (models, r" \(it has SMPLH male, SMPLH female, SMPLH neutral, SMPLX male\)"),
        (tmp_path / "none", r" \(there is no such folder\)"),
        (models / "smplx/SMPLX_MALE.npz", r" \(it is a file: give the folder it lies in\)"),
        (tmp_path, ""),
    ):
        with pytest.raises(FileNotFoundError, match="no SMPLX body model for neutral in .*" + found + places) as caught:
            MeshModel.load(folder)
        assert f" in {folder}{' (' if found else ': '}" in str(caught.value) and "\n" not in str(caught.value)
    for kind, gender in (("mano", "male"), ("smplx", "other")):
        with pytest.raises(ValueError, match=f"kind '{kind}' and gender '{gender}': there are smpl, smplh, smplx"):
            MeshModel.load(models, kind, gender)
    assert all(len(set(candidates(kind, "male"))) == len(candidates(kind, "male")) for kind in MODEL_JOINTS)


@for_each(
    "content, match",
    [
        (lambda: body_arrays("smplh"), r"of SMPLX must be \(55, \d+\), got \(52, \d+\): it is a file of SMPLH"),
        (lambda: {"J_regressor": np.zeros((16, 9)), "v_template": np.zeros((9, 3)), "shapedirs": np.zeros((9, 3, 10)),
                  "kintree_table": np.zeros((2, 16))}, "it is a file of MANO"),
        (lambda: {k: v for k, v in body_arrays("smplx").items() if k not in ("f", "posedirs")},
         "has joints of SMPLX but no mesh: it lacks f, posedirs"),
        (lambda: body_arrays("smplx") | {"weights": np.zeros((440, 22))},
         r"weights of SMPLX must be \(440, 55\), got \(440, 22\)"),
        (lambda: body_arrays("smplx") | {"posedirs": np.full((440, 3, 486), np.nan)}, "posedirs has NaN"),
        (lambda: body_arrays("smplx") | {"f": np.array([[0, 1, 440]])}, "f must be whole numbers from 0 to 439"),
        (lambda: body_arrays("smplx") | {"f": np.array([0, 1, 2])}, r"f of SMPLX must be \(3, 3\), got \(3,\)"),
        (lambda: body_arrays("smplx") | {"hands_meanl": np.zeros(12)}, r"of SMPLX must be \(45,\), got \(12,\)"),
        (lambda: body_arrays("smplx") | {"kintree_table": swapped()}, "kintree_table has a joint before its parent"),
        (lambda: body_arrays("smplx") | {"kintree_table": swapped(20.5)}, "kintree_table has a joint before"),
        (lambda: {"betas": np.zeros(10)}, "is no SMPLX body model: it lacks J_regressor, v_template"),
    ],
)  # fmt: skip
def test_a_file_without_a_mesh_says_what_is_wrong(content, match, tmp_path):
    for suffix in (".npz", ".pkl"):
        path = write_model(tmp_path / f"model{suffix}", content())
        with pytest.raises(ValueError, match=match) as caught:
            load_mesh_model.__wrapped__(path, "smplx")
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def swapped(parent=40) -> np.ndarray:
    table = body_arrays("smplx")["kintree_table"].astype(np.float64)
    table[0, 25] = parent
    return table


@for_each(
    "suffix, damage, match",
    [
        (".npz", lambda data: data[: len(data) // 2], "is damaged or no .npz"),
        (".npz", lambda data: b"<html>please sign in</html>", "is damaged or no .npz"),
        (".npz", lambda data: b"", "is damaged or no .npz"),
        (".pkl", lambda data: data[: len(data) // 2], "is damaged, cut short or no pickle"),
        (
            ".pkl",
            lambda data: b"<html>please sign in</html>",
            "it is a web page or XML.*: download it again",
        ),
        (".pkl", lambda data: pickle.dumps([1, 2]), "is no SMPL body model: it lacks all keys"),
        (".pkl", lambda data: pickle.dumps(np.float64), "refuses to load"),
        (".pkl", lambda data: pickle.dumps(body_arrays("smpl") | {"f": [[1, 2], [3]]}), "f must be numbers .*inhomog"),
    ],
)
def test_a_damaged_file_is_named_with_its_source(suffix, damage, match, tmp_path):
    path = write_model(tmp_path / f"SMPL_MALE{suffix}", body_arrays("smpl"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=match) as caught:
        load_mesh_model.__wrapped__(path, "smpl")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "numbers" in match or "all keys" in match or "smpl.is.tue.mpg.de" in str(caught.value)
