"""Skeletons that lack joints or name them otherwise: prefixes, case, toes, spine joints, CMU's thorax."""

import numpy as np
import pytest
import test_reader_bvh
from cases import for_each
from test_reader_asfamc import write_asf

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.joint_maps import match_map, missing_thorax, to_skeleton
from motiongpt.data.missing_joints import FOOT
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import bvh
from motiongpt.procedural.clips import generate_clip

MIXAMO = test_reader_bvh.NAMES["mixamo"]
INDEX = {name: j for j, name in enumerate(HUMANML3D.joints)}


def as_mixamo(name):
    """The joint of a Mixamo skeleton that is a joint of the 22."""
    return next(iter(test_reader_bvh.MAPS["mixamo"][name]))


@pytest.fixture(scope="module")
def clip():
    return generate_clip(2, 0).joints


def mapped(joints, names):
    notes = []
    return to_skeleton(RawClip(joints, tuple(names), 20.0), HUMANML3D, say=notes.append), notes


@for_each(
    "rename",
    [lambda name, prefix=prefix: prefix + name for prefix in
     ("mixamorig", "mixamorig_", "mixamorig1_", "Character1_", "mixamorig:", "ns:mixamorig2_", "")]
    + [str.upper, str.lower, lambda name: f"MixamoRig_{name.lower()}"],
)  # fmt: skip
def test_a_shared_prefix_and_case_are_ignored(clip, rename):
    names = [rename(as_mixamo(name)) for name in HUMANML3D.joints]
    joints, notes = mapped(clip, names)
    np.testing.assert_array_equal(joints, clip)
    assert notes == []
    # what the prefix is not before does not matter: a root above the body, a prop
    more = np.concatenate([np.zeros_like(clip[:, :1]), clip, clip[:, :1]], axis=1)
    np.testing.assert_array_equal(mapped(more, ["Armature", *names, "sword"])[0], clip)


def test_names_that_fit_as_they_are_come_first(clip):
    """A second skeleton in the file, under a prefix, is another body."""
    names = [as_mixamo(name) for name in HUMANML3D.joints]
    both = np.concatenate([clip + 5, clip], axis=1)
    np.testing.assert_array_equal(mapped(both, [f"twin_{name}" for name in names] + names)[0], clip)
    smpl = [name.capitalize() for name in HUMANML3D.joints]  # Left_hip, as smpl2bvh writes it
    assert match_map(smpl)[0] == "smpl"


def test_a_prefix_before_half_of_the_joints_fits_nothing():
    names = [f"a_{name}" if j % 2 else name for j, name in enumerate(MIXAMO)]
    with pytest.raises(ValueError, match="no built-in joint map.*--joint-map"):
        match_map(names)


def test_the_map_of_chests_and_collars(clip):
    sides = {"hip": "Hip", "knee": "Knee", "ankle": "Ankle", "foot": "Toe", "collar": "Collar",
             "shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist"}  # fmt: skip
    theirs = {f"{side}_{ours}": side.capitalize() + name for side in ("left", "right") for ours, name in sides.items()}
    theirs |= {"pelvis": "Hips", "spine1": "Chest", "spine2": "Chest2", "spine3": "Chest3", "neck": "Neck",
               "head": "Head"}  # fmt: skip
    names = [theirs[name] for name in HUMANML3D.joints]
    assert match_map(names)[0] == "chest"
    np.testing.assert_array_equal(mapped(clip, names)[0], clip)
    # most such files have a single Chest and no toes
    kept = [j for j, name in enumerate(names) if name not in ("Chest2", "Chest3", "LeftToe", "RightToe")]
    joints, (note,) = mapped(clip[:, kept], [names[j] for j in kept])
    assert match_map([names[j] for j in kept])[0] == "chest"
    assert note == (
        "joint map: chest; placed by proportion, for the file lacks them: spine2, spine3, left_foot, right_foot"
    )
    placed = [INDEX[name] for name in ("spine2", "spine3", "left_foot", "right_foot")]
    np.testing.assert_array_equal(np.delete(joints, placed, 1), np.delete(clip, placed, 1))


@for_each(
    "missing, low, high", [("spine3", "spine2", "neck"), ("spine2", "spine1", "spine3"), ("spine1", "pelvis", "spine2")]
)
def test_a_spine_joint_lies_between_its_neighbours_at_humanml3ds_fraction(clip, missing, low, high):
    kept = [name for name in HUMANML3D.joints if name != missing]
    joints, (note,) = mapped(clip[:, [INDEX[name] for name in kept]], [as_mixamo(name) for name in kept])
    assert note.endswith(f"lacks them: {missing}")
    lengths = np.linalg.norm(HUMANML3D.offsets, axis=-1)
    share = lengths[INDEX[missing]] / (lengths[INDEX[missing]] + lengths[INDEX[high]])
    want = (1 - share) * clip[:, INDEX[low]] + share * clip[:, INDEX[high]]
    np.testing.assert_allclose(joints[:, INDEX[missing]], want, atol=1e-6)
    assert np.linalg.norm(joints - clip, axis=-1).max() < 0.08  # of a bent back


def test_toes_are_ahead_of_the_shin_or_where_the_tip_is(clip):
    feet = [INDEX["left_foot"], INDEX["right_foot"]]
    kept = [j for j in range(22) if j not in feet]
    names = [as_mixamo(HUMANML3D.joints[j]) for j in kept]
    joints, (note,) = mapped(clip[:, kept], names)
    assert note.endswith("lacks them: left_foot, right_foot")
    for side, foot in zip(("left", "right"), feet, strict=True):
        ankle, knee = clip[:, INDEX[f"{side}_ankle"]], clip[:, INDEX[f"{side}_knee"]]
        way = joints[:, foot] - ankle
        shin = np.linalg.norm(knee - ankle, axis=-1)
        np.testing.assert_allclose(np.linalg.norm(way, axis=-1), FOOT * shin, rtol=1e-4)
        true = clip[:, foot] - ankle
        cosine = (way * true).sum(-1) / np.linalg.norm(way, axis=-1) / np.linalg.norm(true, axis=-1)
        assert np.median(cosine) > 0.85  # it points ahead
    # the End Site of a foot says where it points
    tips = clip[:, [INDEX["left_ankle"], INDEX["right_ankle"]]] + np.float32([0.2, -0.1, 0.1])
    joints, _ = mapped(np.concatenate([clip[:, kept], tips], axis=1), [*names, "LeftFoot_end", "RightFoot_end"])
    way = joints[:, feet[0]] - clip[:, INDEX["left_ankle"]]
    np.testing.assert_allclose(
        way / np.linalg.norm(way, axis=-1, keepdims=True) * 0.06**0.5, [[0.2, -0.1, 0.1]] * len(way), atol=1e-4
    )


def without_toes(path, prefix=""):
    """A standing adult as BVH: Mixamo's names, no toes, and an End Site at each foot."""
    order = [j for j in test_reader_bvh.depth_first(HUMANML3D.parents) if not HUMANML3D.joints[j].endswith("_foot")]
    parents = [-1 if HUMANML3D.parents[j] < 0 else order.index(HUMANML3D.parents[j]) for j in order]
    offsets = [HUMANML3D.offsets[j] for j in order]
    names = [prefix + as_mixamo(HUMANML3D.joints[j]) for j in order]
    ends = [(names.index(prefix + f"{side}Foot"), [0.0, -0.1, 0.2]) for side in ("Left", "Right")]
    row = [0.0, 0.95, 0.0] + [0.0] * 63
    channels = [test_reader_bvh.ROOT6] + [test_reader_bvh.ROT3] * (len(order) - 1)
    return test_reader_bvh.write(
        path, names, parents, offsets, channels, [row[: 6 + 3 * (len(order) - 1)]] * 4, ends=ends
    )


def test_a_bvh_without_toes_keeps_the_tips_of_its_feet_only(tmp_path):
    clip = bvh.read(without_toes(tmp_path / "a.bvh", "mixamorig_"), unit=1.0, up="y")
    assert [name for name in clip.names if name.endswith("_end")] == [
        "mixamorig_LeftFoot_end",
        "mixamorig_RightFoot_end",
    ]
    joints, notes = mapped(clip.joints, clip.names)
    way = joints[0, INDEX["left_foot"]] - joints[0, INDEX["left_ankle"]]
    np.testing.assert_allclose(way / way[2], [0, -0.5, 1], atol=1e-5)
    assert len(notes) == 1
    assert any("joint map: mixamo" in line for line in bvh.explain(tmp_path / "a.bvh"))


# The thorax of CMU's subject 2, in the unit of the files, of which 0.45 are an inch.
CMU_UNIT = 0.0254 / 0.45
LOWER, UPPER = [0.01961, 2.05450, -0.14112], [0.01021, 2.06436, -0.05921]
THORAX = 2.06807 * np.array([0.000729686, 0.999992, 0.00388603])  # of 02.asf


def cmu(path, thorax=(0, 0, 0), frames=6):
    """The tree of cgspeed's conversion, bent forward in every spine joint."""
    tree = {
        "Hips": (None, [0, 0, 0]), "LowerBack": ("Hips", [0, 0, 0]), "Spine": ("LowerBack", LOWER),
        "Spine1": ("Spine", UPPER), "Neck": ("Spine1", thorax), "Neck1": ("Neck", [0.007, 1.567, 0.15]),
        "Head": ("Neck1", [0.034, 1.56, -0.1]),
    }  # fmt: skip
    for side, sign in (("Left", 1), ("Right", -1)):
        tree |= {
            f"{side}Shoulder": ("Spine1", thorax), f"{side}Arm": (f"{side}Shoulder", [3.5 * sign, 0.9, -0.17]),
            f"{side}ForeArm": (f"{side}Arm", [4.9 * sign, 0, 0]),
            f"{side}Hand": (f"{side}ForeArm", [3.36 * sign, 0, 0]),
            f"{side}UpLeg": ("Hips", [1.65 * sign, -1.8, 0.62]), f"{side}Leg": (f"{side}UpLeg", [2.6 * sign, -7.1, 0]),
            f"{side}Foot": (f"{side}Leg", [2.5 * sign, -6.8, 0]), f"{side}ToeBase": (f"{side}Foot", [0.2, -0.5, 2.1]),
        }  # fmt: skip
    names = list(tree)
    given = [-1 if parent is None else names.index(parent) for parent, _ in tree.values()]
    order = test_reader_bvh.depth_first(given)
    parents = [-1 if given[j] < 0 else order.index(given[j]) for j in order]
    names = [names[j] for j in order]
    offsets = [tree[name][1] for name in names]
    channels = [test_reader_bvh.ROOT6] + [test_reader_bvh.ROT3] * (len(names) - 1)
    rows = [[10.0, 17.0, t] + [5.0] * (3 * len(names)) for t in range(frames)]
    return test_reader_bvh.write(path, names, parents, offsets, channels, rows, step="0.0083333")


def test_the_thorax_that_cgspeeds_conversion_leaves_out_is_put_back(tmp_path):
    whole = bvh.read(cmu(tmp_path / "whole.bvh", THORAX), up="y")
    clip = bvh.read(cmu(tmp_path / "short.bvh"), up="y")
    (note,) = [note for note in clip.notes if note.startswith("thorax")]
    assert float(note.split()[1]) == pytest.approx(np.linalg.norm(THORAX) * CMU_UNIT, abs=0.002)  # 0.1167 m
    assert not any(note.startswith("thorax") for note in whole.notes)
    assert any(line.startswith("thorax: 0.11") for line in bvh.explain(tmp_path / "short.bvh"))
    got, want = (to_skeleton(x, HUMANML3D) for x in (clip, whole))
    assert np.linalg.norm(got - want, axis=-1).max() < 0.0025
    low = ["pelvis", "spine1", "spine2", "left_knee", "right_foot"]
    np.testing.assert_array_equal(got[:, [INDEX[x] for x in low]], want[:, [INDEX[x] for x in low]])
    # before it was put back, spine3 was in the lower end of the chest
    chest = np.linalg.norm(got[:, INDEX["spine3"]] - got[:, INDEX["spine2"]], axis=-1)
    np.testing.assert_allclose(chest, 0.1177, atol=1e-3)


def bone(name, parent, way):
    return name, parent, np.array(way) / np.linalg.norm(way), float(np.linalg.norm(way)), (0, 0, 0), "rx ry rz"


def test_the_subjects_own_skeleton_says_it_exactly(tmp_path):
    """02.asf beside 02_01.bvh or above it, if the bones below the thorax are the same in both."""
    trunk = [
        bone("lowerback", "root", LOWER),
        bone("upperback", "lowerback", UPPER),
        bone("thorax", "upperback", THORAX),
    ]
    write_asf(tmp_path / "02.asf", trunk)
    (tmp_path / "bvh").mkdir()
    want = to_skeleton(bvh.read(cmu(tmp_path / "whole.bvh", THORAX), up="y"), HUMANML3D)
    for place in (tmp_path, tmp_path / "bvh"):
        clip = bvh.read(cmu(place / "02_01.bvh"), up="y")
        assert any(note.startswith("thorax: 0.1167 m put back from 02.asf") for note in clip.notes)
        np.testing.assert_allclose(to_skeleton(clip, HUMANML3D), want, atol=1e-5)
    for content in (
        trunk[:2] + [bone("other", "upperback", THORAX)],
        [trunk[0], bone("upperback", "lowerback", [0, 2, 1])],
    ):
        write_asf(tmp_path / "02.asf", content)
        assert any("m put back by proportion" in note for note in bvh.read(tmp_path / "02_01.bvh", up="y").notes)
    write_asf(tmp_path / "02.asf", [trunk[0], bone("upperback", "lowerback", [0, 2, 1]), trunk[2]])
    assert any("02.asf is of another body" in note for note in bvh.read(tmp_path / "02_01.bvh", up="y").notes)
    (tmp_path / "02.asf").write_text("no skeleton")
    assert any("m put back by proportion" in note for note in bvh.read(tmp_path / "02_01.bvh", up="y").notes)


def test_cmus_places_on_the_spine_and_the_clavicles(tmp_path):
    clip = bvh.read(cmu(tmp_path / "whole.bvh", THORAX), unit=1.0, up="y")
    joints = dict(zip(HUMANML3D.joints, to_skeleton(clip, HUMANML3D)[0], strict=True))
    theirs = dict(zip(clip.names, clip.joints[0], strict=True))
    for ours, name in (("spine1", "Spine"), ("spine2", "Spine1"), ("spine3", "Neck"), ("neck", "Neck1")):
        np.testing.assert_array_equal(joints[ours], theirs[name])
    collar = theirs["LeftShoulder"] + 0.35 * (theirs["LeftArm"] - theirs["LeftShoulder"])
    np.testing.assert_allclose(joints["left_collar"], collar, atol=1e-5)


def test_other_skeletons_have_no_thorax_to_put_back():
    names = ["Hips", "LowerBack", "Spine", "Spine1", "Neck", "LeftShoulder", "RightShoulder"]
    parents = [-1, 0, 1, 2, 3, 3, 3]
    positions = np.array([[0, 0, 0], [0, 0, 0], LOWER, UPPER, [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    added = missing_thorax(names, parents, positions)
    assert np.linalg.norm(added[4] - THORAX) < 0.04 and not added[:4].any()
    np.testing.assert_array_equal(added[5:], added[[4, 4]])
    positions[5] = 1, 0, 0
    assert missing_thorax(names, parents, positions) is None
    assert missing_thorax(MIXAMO, [-1] * len(MIXAMO), np.zeros((len(MIXAMO), 3))) is None
    assert missing_thorax(names, [-1, 0, 1, 2, 2, 2, 2], np.zeros((7, 3))) is None
