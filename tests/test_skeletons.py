"""Skeletons: facts of the built-in ones, JSON both ways, errors that name what is wrong."""

import dataclasses
import json
import math

import numpy as np
import pytest
from cases import for_each
from mutations import check_mutations

from motiongpt.body.skeletons import (
    HUMANML3D,
    KIT,
    MYOSKELETON,
    MYOSKELETON_26,
    Skeleton,
    get_skeleton,
    guess_skeleton,
    load_skeleton,
    save_skeleton,
)


def test_built_in_facts():
    assert (HUMANML3D.num_joints, HUMANML3D.feature_dim, HUMANML3D.fps) == (22, 263, 20.0)
    assert (KIT.num_joints, KIT.feature_dim, KIT.fps) == (21, 251, 12.5)
    names = {j: HUMANML3D.joints[j] for j in HUMANML3D.face + HUMANML3D.feet_left + HUMANML3D.feet_right}
    assert list(names.values()) == (
        "right_hip left_hip right_shoulder left_shoulder left_ankle left_foot right_ankle right_foot".split()
    )
    assert [HUMANML3D.joints[j] for j in HUMANML3D.leg] == ["right_knee", "right_ankle"]
    assert HUMANML3D.index("right_wrist") == 21 and KIT.index("RF") == 20
    assert KIT.joints[KIT.parents[KIT.index("LS")]] == "BLN"  # the arms hang on the upper spine, not on the root


def test_myoskeleton_adds_six_tips_to_humanml3d():
    assert (MYOSKELETON.num_joints, MYOSKELETON.fps, MYOSKELETON.metres_per_unit) == (28, 20.0, 1.0)
    assert MYOSKELETON.joints[:22] == HUMANML3D.joints and MYOSKELETON.parents[:22] == HUMANML3D.parents
    tips = {MYOSKELETON.joints[j]: MYOSKELETON.joints[MYOSKELETON.parents[j]] for j in range(22, 28)}
    assert tips == {
        "left_toe_tip": "left_foot", "right_toe_tip": "right_foot", "left_hand_tip": "left_wrist",
        "right_hand_tip": "right_wrist", "chest": "spine3", "head_top": "head",
    }  # fmt: skip
    assert get_skeleton("myoskeleton") is MYOSKELETON


def test_myoskeleton_26_is_a_body():
    J = MYOSKELETON_26.index
    assert (MYOSKELETON_26.num_joints, MYOSKELETON_26.fps, MYOSKELETON_26.has_lengths) == (26, 20.0, False)
    assert get_skeleton("myoskeleton-26") is MYOSKELETON_26
    for path in (
        "skull cervical_spine_4 thoracic_spine lumbar_spine_3 pelvis myoskeleton_root",
        "proximal_phalanx_2_l lunate_l ulna_l humerus_l clavicle_l thoracic_spine",
        "foot_r tibia_r femur_r hip_r pelvis",
    ):
        joints = path.split()
        assert [MYOSKELETON_26.joints[MYOSKELETON_26.parents[J(joint)]] for joint in joints[:-1]] == joints[1:]
    assert MYOSKELETON_26.feet_left == (J("foot_l"), J("foot_l"))


def test_sides_by_any_usual_name():
    names = ["root", "upper_leg_l", "upper_leg_r", "Thigh.L", "Thigh.R", "l_toe", "r_toe", "lumbar_l5", "Lower", "Row"]
    own = dataclasses.replace(HUMANML3D, joints=(*names, *(f"x{i}" for i in range(12))))
    assert own.mirror_pairs == ((1, 2), (3, 4), (5, 6))


@for_each("skeleton, middle", [(HUMANML3D, 6), (KIT, 5), (MYOSKELETON, 8), (MYOSKELETON_26, 6)])
def test_mirror_pairs_by_name(skeleton, middle):
    paired = [j for pair in skeleton.mirror_pairs for j in pair]
    assert len(set(paired)) == len(paired) == skeleton.num_joints - middle  # spine, neck and head stay
    for left, right in skeleton.mirror_pairs:
        a, b = skeleton.joints[left], skeleton.joints[right]
        assert b in (a.replace("left", "right"), "R" + a[1:], a[:-2] + "_r")
        parents = skeleton.parents[left], skeleton.parents[right]
        assert parents in skeleton.mirror_pairs or parents[0] == parents[1]  # the tree is symmetric too


def test_offsets_are_humanml3ds_target(shared_data):
    target = np.load(shared_data / "golden" / "tgt_offsets_t2m.npy")
    np.testing.assert_allclose(HUMANML3D.offsets, target, rtol=0, atol=1e-6)  # six decimals are written down


def test_paths_walk_the_tree():
    J = HUMANML3D.num_joints
    bones = np.random.default_rng(0).normal(size=(J, 3))
    joints = np.zeros((J, 3))
    for joint, parent in enumerate(HUMANML3D.parents[1:], 1):
        joints[joint] = joints[parent] + bones[joint]
    # 1e-12: float64 sums of at most six terms of size one
    np.testing.assert_allclose(np.array(HUMANML3D.paths) @ bones[1:], joints, rtol=0, atol=1e-12)


def test_arms_are_relative_to_the_root():
    before = dict(zip(HUMANML3D.joints[1:], HUMANML3D.chain_predecessors, strict=True))
    assert before["left_collar"] == before["left_hip"] == before["spine1"] == 0
    assert before["left_shoulder"] == HUMANML3D.index("left_collar")


@for_each("skeleton", [HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26])
def test_json_both_ways(skeleton, tmp_path):
    assert Skeleton.from_json(skeleton.to_json()) == skeleton
    path = tmp_path / "mine.json"
    path.write_text(skeleton.to_json())
    assert get_skeleton(path) == get_skeleton(skeleton.name) == skeleton


def test_json_takes_joint_names():
    record = json.loads(HUMANML3D.to_json())
    record["feet_left"] = ["left_ankle", "left_foot"]
    record["parents"] = [-1] + [HUMANML3D.joints[p] for p in HUMANML3D.parents[1:]]
    assert Skeleton.from_json(json.dumps(record)) == HUMANML3D
    record["leg"] = ["right_knee", "right_ankel"]
    with pytest.raises(ValueError, match="right_ankel"):
        Skeleton.from_json(json.dumps(record))


def test_lookup_refusals(tmp_path):
    with pytest.raises(ValueError, match="humanml3d-22.*kit-21"):
        get_skeleton("mixamo")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        get_skeleton(tmp_path / "nowhere.json")
    (tmp_path / "bad.json").write_text('{"name": "x",\n // hm\n}')
    with pytest.raises(ValueError, match="bad.json.*line 2"):
        get_skeleton(tmp_path / "bad.json")
    with pytest.raises(ValueError, match="left_hip"):
        HUMANML3D.index("hip_left")
    with pytest.raises(ValueError, match="missing keys.*'parents'"):
        Skeleton.from_json('{"name": "x", "joints": ["root"]}')


@for_each(
    "change, message",
    [
        ({"joints": ("pelvis",) * 22}, "unique"),
        ({"parents": (-1,) * 21}, "21 parents"),
        ({"parents": (-1, 5) + HUMANML3D.parents[2:]}, "joint before it"),
        ({"chains": HUMANML3D.chains[:-1]}, "every bone"),
        ({"feet_left": (7, 22)}, "feet_left"),
        ({"offsets": ((0.0, 0.0, 0.0),) * 22}, "left_hip"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HUMANML3D, **change)


def test_kit_gets_lengths_only_from_the_caller():
    assert not KIT.has_lengths
    longer = KIT.with_offsets(2 * np.array(KIT.offsets))
    assert longer.has_lengths and longer.offsets[1] == (0.0, 2.0, 0.0)


def test_a_folder_keeps_a_skeleton_that_is_not_built_in(tmp_path):
    save_skeleton(HUMANML3D, tmp_path)
    assert not list(tmp_path.iterdir()) and load_skeleton(tmp_path, "humanml3d-22") is HUMANML3D
    own = dataclasses.replace(HUMANML3D, name="mine", fps=30.0)
    with pytest.raises(ValueError, match="skeleton.json is missing: skeleton 'mine' is none of"):
        load_skeleton(tmp_path, "mine")
    save_skeleton(own, tmp_path)
    assert load_skeleton(tmp_path, "mine") == own
    tall = KIT.with_offsets([[2 * x for x in offset] for offset in KIT.offsets])  # a built-in's name, not its body
    save_skeleton(tall, tmp_path)
    assert load_skeleton(tmp_path, tall.name) == tall != KIT
    save_skeleton(KIT, tmp_path)  # and the file of the other skeleton is gone
    assert load_skeleton(tmp_path, KIT.name) is KIT


def test_guess_by_the_number_of_joints():
    assert (guess_skeleton(22), guess_skeleton(21), guess_skeleton(23)) == (HUMANML3D, KIT, None)


def test_joints_and_parents_are_enough():
    """Chains follow from the tree, and roles from the names in the style of several rigs; nothing is made up."""
    short = Skeleton.from_json(json.dumps({"joints": HUMANML3D.joints, "parents": HUMANML3D.parents}))
    assert sorted(map(len, short.chains)) == sorted(map(len, HUMANML3D.chains)) and not short.has_lengths
    assert (short.feet_left, short.feet_right) == (HUMANML3D.feet_left, HUMANML3D.feet_right)
    assert short.face == HUMANML3D.face and short.leg == HUMANML3D.leg
    names = "Hips L_Thigh L_Shin L_Foot L_Toe R_Thigh R_Shin R_Foot Spine L_Arm R_Arm".split()
    rig = Skeleton.from_json(json.dumps({"joints": names, "parents": [-1, 0, 1, 2, 3, 0, 5, 6, 0, 8, 8]}))
    assert rig.chains == ((0, 1, 2, 3, 4), (0, 5, 6, 7), (0, 8, 9), (8, 10))
    assert (rig.feet_left, rig.feet_right, rig.face, rig.leg) == ((3, 4), (7, 7), (5, 1, 10, 9), (6, 7))
    with pytest.raises(ValueError, match="no joint is named like a left ankle; give feet_left: 2 joints"):
        Skeleton.from_json('{"joints": ["a", "b"], "parents": [-1, 0]}')


def test_limits_are_kept_and_change_nothing(tmp_path):
    limited = dataclasses.replace(HUMANML3D, limits={"left_knee": [0, 150]})
    assert limited == HUMANML3D and hash(limited) == hash(HUMANML3D)
    save_skeleton(limited, tmp_path)
    assert load_skeleton(tmp_path, "humanml3d-22").limits == {"left_knee": [0, 150]}
    with pytest.raises(ValueError, match="limits must be an object"):
        Skeleton.from_json(json.dumps(json.loads(HUMANML3D.to_json()) | {"limits": [1]}))


ODD = (None, True, -1, 1e400, float("nan"), [], [None], [[]], [[[1]]], {}, {"a": 1}, ["x"], [{}], 10**30)


@pytest.mark.slow
def test_values_of_another_kind_are_refused(tmp_path):
    """A key that is missing or holds something else, whole or in its first item, is named with the file."""
    path = tmp_path / "skeleton.json"
    good = json.loads(MYOSKELETON.to_json())
    copies = [good | {key: odd} for key in good for odd in ODD if (key, odd) != ("has_lengths", True)]
    lists = [key for key in good if isinstance(good[key], list)]
    copies += [good | {key: [odd, *good[key][1:]]} for key in lists for odd in ODD if (key, odd) != ("parents", -1)]
    taken = []
    for copy in copies:
        path.write_text(json.dumps(copy))
        try:
            get_skeleton(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            taken += [f"{key} {copy[key]!r:.40}" for key in good if copy[key] != good[key]]
    assert all(line.startswith("parents [None") for line in taken), taken  # the root has no parent


@for_each(
    "key, value, message",
    [
        ("chains", [*HUMANML3D.chains, []], "two joints or more"),
        ("chains", [*HUMANML3D.chains, [3]], "two joints or more"),
        ("feet_left", [7.5, 10], "a whole number, got 7.5"),
        ("feet_left", [8, 11], "other joints"),  # those of the right
        ("feet_right", [8, 0], "not the root"),
        ("face", [2, 2, 17, 16], "two hips and two shoulders"),
        ("face", [2, 1, 16, 16], "two hips and two shoulders"),
        ("leg", [0, 8], "a knee and an ankle"),
        ("leg", [8, 8], "a knee and an ankle"),
        ("offsets", [[0, 0], *HUMANML3D.offsets[1:]], "offset of pelvis"),
        ("offsets", [[0, math.nan, 0], *HUMANML3D.offsets[1:]], "offset of pelvis"),
        ("offsets", ["000", *HUMANML3D.offsets[1:]], "rows of three numbers"),
        ("offsets", [[0, 0, 0], ["1", 0, 0], *HUMANML3D.offsets[2:]], "rows of three numbers"),
        ("offsets", [[0, 0, 0], [True, 0, 0], *HUMANML3D.offsets[2:]], "rows of three numbers"),
        ("offsets", [[0, 0, 0], [0, 0, 0], *HUMANML3D.offsets[2:]], "left_hip must have a length"),
        ("offsets", [[0, 0, 0], [1e300, 0, 0], *HUMANML3D.offsets[2:]], "offset of left_hip"),
    ],
)
def test_values_of_the_right_kind_that_cannot_be_right(key, value, message, tmp_path):
    path = tmp_path / "skeleton.json"
    path.write_text(json.dumps(json.loads(HUMANML3D.to_json()) | {key: value}))
    with pytest.raises(ValueError, match=f"skeleton.json: .*{message}"):
        get_skeleton(path)


@pytest.mark.slow
def test_damaged_files_are_refused_or_sound(tmp_path):
    path = tmp_path / "skeleton.json"
    path.write_text(MYOSKELETON.to_json())

    def sound(skeleton):
        return skeleton.num_joints == 28 and np.isfinite(np.array(skeleton.offsets)).all()

    check_mutations(path, lambda: get_skeleton(path), sound=sound, least=25)
