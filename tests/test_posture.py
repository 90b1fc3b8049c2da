"""Warnings about what retargeting hides (units, axes, mirror images, orders of joints) advise only flags that help."""

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26
from motiongpt.data.joint_maps import to_skeleton
from motiongpt.data.posture import measure_posture, warnings
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import records
from motiongpt.procedural.clips import generate_clip

TURNS = {
    "y": lambda x: x,
    "z": lambda x: x[..., [0, 2, 1]] * [1, -1, 1],
    "-z": lambda x: x[..., [0, 2, 1]] * [1, 1, -1],
    "-y": lambda x: x * [1, -1, -1],
    "x": lambda x: x[..., [1, 0, 2]] * [1, -1, 1],
}


@pytest.fixture(scope="module")
def bodies():
    return [generate_clip(index, 0).joints.astype(np.float64) for index in range(9)]


def said(joints, skeleton=HUMANML3D, **given):
    return warnings([measure_posture(x, skeleton) for x in joints], **given)


@for_each(
    "up, given, words",
    [
        ("y", {}, None),
        ("z", {}, "give --up z"),
        ("z", {"up": "y"}, "give --up z"),
        ("z", {"flags": ()}, "unusual"),
        ("-z", {}, "give --up y"),
        ("-z", {"up": "y"}, "unusual"),  # it was given already
        ("-y", {}, "unusual"),
        ("x", {}, "unusual"),
    ],
)
def test_only_flags_that_help_are_named(bodies, up, given, words):
    lines = said(map(TURNS[up], bodies), **given)
    assert len(lines) == bool(words)
    if words:
        assert "above the feet" in lines[0] and words in lines[0] and ("--up" in lines[0]) == ("--up" in words)


def test_a_unit_is_named_where_it_can_be_given(bodies):
    assert "m tall, expected 0.4 to 2.5: check --unit" in said([100 * x for x in bodies])[0]
    (line,) = said([100 * x for x in bodies], flags={"input", "mirror"})
    assert "m tall, expected" in line and "--" not in line


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirror_image_is_named(bodies, axis):
    flip = np.where(np.arange(3) == axis, -1, 1)
    assert sum("left and right are exchanged" in line for line in said([x * flip for x in bodies])) == 1


def test_exchanged_sides_and_another_order_are_named(bodies):
    order = np.arange(22)
    for left, right in HUMANML3D.mirror_pairs:
        order[[left, right]] = right, left
    assert ["left and right" in line for line in said([x[:, order] for x in bodies])] == [True]
    assert ["another order?" in line for line in said([x[:, ::-1] for x in bodies])] == [True]


def test_a_root_that_never_moves_is_named_of_three_clips(bodies):
    still = [x - x[:, :1] for x in bodies]
    assert ["the root never moves" in line for line in said(still)] == [True]
    assert said(still[:2]) == said([*still, bodies[-1] + np.linspace(0, 1, len(bodies[-1]))[:, None, None]]) == []


def test_what_a_skeleton_does_not_have_is_not_judged():
    """KIT-ML is stored mirrored, the 26 joints have no toes; neither is a reason for a warning."""
    for skeleton in (KIT, MYOSKELETON_26):
        joints = np.random.default_rng(0).normal(size=(20, skeleton.num_joints, 3))
        assert measure_posture(joints, skeleton)[6] is None and measure_posture(joints, skeleton)[4] is not None


def test_nothing_is_said_of_no_clips():
    assert warnings([]) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "folder", "skeleton"),
    [
        ("bvh", "bvh_samples", HUMANML3D),
        ("kit-xml", "kit_mmm_samples", HUMANML3D),
        ("kit-xml", "kit_mmm_samples", KIT),
        ("myoskeleton", "myoskeleton", MYOSKELETON),
        ("joints", "humanml3d_folder", HUMANML3D),
        ("procedural", None, HUMANML3D),
    ],
)
def test_real_motion_passes(shared_data, source, folder, skeleton):
    found, _, _ = records(source, folder and shared_data / folder, Options(skeleton, count=100))
    measures = []
    for record in found:
        try:
            clip = record.load()
        except (ValueError, OSError):  # the folder of joints lists clips that it does not have
            continue
        measures.append(
            measure_posture(clip if isinstance(clip, np.ndarray) else to_skeleton(clip, skeleton), skeleton)
        )
    assert len(measures) >= 3 and warnings(measures) == []
