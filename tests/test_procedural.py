"""The embedded dataset: the body keeps its bones, feet stay planted, captions say what the clip does."""

import collections
import re

import numpy as np
import pytest

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smoothing import smooth
from motiongpt.procedural import sentences as grammar
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.clips import MAX_FRAMES, MIN_FRAMES, generate_clips, make_clip
from motiongpt.procedural.edits import make_pair
from motiongpt.procedural.kinematics import arm_directions, arm_pose, ease, reach, rotation, through
from motiongpt.procedural.performer import STYLES
from motiongpt.procedural.recipes import make_recipe_clip
from motiongpt.procedural.wordings.sayings import sayings

FPS = 20
LEGS = (("left_hip", "left_knee", "left_ankle", "left_foot"), ("right_hip", "right_knee", "right_ankle", "right_foot"))


def joint(clip, name):
    return clip.joints[:, HUMANML3D.index(name)].astype(np.float64)


@pytest.fixture(scope="module")
def clips():
    return list(generate_clips(240, seed=3))


@pytest.fixture(scope="module")
def every_action():
    """Each action once per tempo, and small and large if its size can be seen, in changing styles."""
    made = []
    for index, name in enumerate(ACTIONS):
        for k, tempo in enumerate(("slow", "normal", "quick")):
            rng = np.random.default_rng([index, k])
            made.append(make_clip((name,), rng, STYLES[(index + k) % len(STYLES)], (tempo,), id=f"{name}-{tempo}"))
        for k, size in enumerate(("small", "large") if grammar.family(name) in grammar.SIZED else ()):
            rng = np.random.default_rng([index, 3 + k])
            tempo, style = ("slow", "normal", "quick")[(index + k) % 3], STYLES[(index + 3 * k) % len(STYLES)]
            made.append(make_clip((name,), rng, style, (tempo,), (size,), id=f"{name}-{tempo}-{size}"))
    return made


def test_shapes_lengths_and_start(clips, every_action):
    for clip in clips + every_action:
        F = len(clip.joints)
        assert clip.joints.shape == (F, 22, 3) and clip.joints.dtype == np.float32
        assert MIN_FRAMES <= F <= MAX_FRAMES and clip.planted.shape == (F, 2)
        assert np.isfinite(clip.joints).all()
        np.testing.assert_allclose(clip.joints[0, 0, [0, 2]], 0.0, atol=1e-6)  # float32 rounding
        across = joint(clip, "left_hip")[0] - joint(clip, "right_hip")[0]
        assert abs(np.arctan2(-across[2], across[0])) < 0.01  # radians: it faces +z, the hips lie along x


def test_bone_lengths_are_the_skeletons(clips, every_action):
    lengths = np.linalg.norm(HUMANML3D.offsets, axis=1)[1:]
    parents = list(HUMANML3D.parents[1:])
    for clip in clips + every_action:
        bones = np.linalg.norm(clip.joints[:, 1:].astype(float) - clip.joints[:, parents].astype(float), axis=-1)
        assert np.abs(bones - lengths).max() < 1e-4, clip.id  # metres; float32 at 10 m resolves 1e-6


def test_nobody_sinks_or_floats(clips, every_action):
    for clip in clips + every_action:
        assert clip.joints[..., 1].min() > -0.01, clip.id  # 1 cm
        lowest = clip.joints[..., 1].min(axis=1)
        assert abs(lowest[0]) < 0.01 and abs(lowest[-1]) < 0.01, clip.id
        standing = clip.planted.any(axis=1)
        assert lowest[standing].max() < 0.01, clip.id
        assert standing.mean() > 0.35, clip.id  # quick jumps are in the air for about half of the time


def test_planted_feet_do_not_slide(clips, every_action):
    for clip in clips + every_action:
        for side, (_, _, _, foot) in enumerate(LEGS):
            toe = joint(clip, foot)
            speed = np.linalg.norm(np.diff(toe[:, [0, 2]], axis=0), axis=1) * FPS  # m/s
            low = (toe[:-1, 1] < 0.03) & (toe[1:, 1] < 0.03)
            planted = clip.planted[:-1, side] & clip.planted[1:, side]
            assert (speed * planted).max() < 0.02, (clip.id, clip.actions)
            assert (speed * low).max() < 0.05, (clip.id, clip.actions)  # also while only brushing the floor


def test_motion_is_smooth(clips, every_action):
    for clip in clips + every_action:
        x = clip.joints.astype(float)
        speed = np.linalg.norm(np.diff(x, axis=0), axis=-1).max() * FPS
        acceleration = np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).max() * FPS**2
        assert speed < 11.0, (clip.id, clip.actions)  # m/s; the fastest is the swinging foot of a run
        assert acceleration < 180.0, (clip.id, clip.actions)  # m/s^2; a jump of one joint by 1 cm in one frame adds 4
        pelvis = np.linalg.norm(np.diff(x[:, 0], 2, axis=0), axis=-1).max() * FPS**2
        assert pelvis < 40.0, (clip.id, clip.actions)


def test_knees_bend_forward_and_are_never_locked(clips, every_action):
    for clip in clips + every_action:
        left = joint(clip, "left_hip") - joint(clip, "right_hip")
        for hip, knee, ankle, _ in LEGS:
            thigh, shin = joint(clip, knee) - joint(clip, hip), joint(clip, ankle) - joint(clip, knee)
            cosine = (thigh * shin).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shin, axis=-1)
            assert ((np.cross(thigh, shin) * left).sum(-1) > 0).all(), (clip.id, clip.actions)
            assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).min() > 4.0, (clip.id, clip.actions)


@pytest.mark.slow
def test_promises_hold_for_rare_and_extreme_clips():
    """More clips, pairs, and the corners that random draws seldom reach: large and in a hurry, in every style."""
    many = list(generate_clips(300, seed=11))
    for index, name in enumerate(name for name in ACTIONS if grammar.family(name) in grammar.SIZED):
        for k, style in enumerate(STYLES):
            for tempo in ("normal", "quick"):
                rng = np.random.default_rng([index, k])
                id = f"{name}-{tempo}-large-{style.name}"
                many.append(make_clip((name,), rng, style, (tempo,), ("large",), id=id))
    for pair in (make_pair(index, seed=11) for index in range(60)):
        many += [make_recipe_clip(pair.source), make_recipe_clip(pair.target)]
    test_shapes_lengths_and_start(many[-120:], [])
    test_performed_covers_the_clip(many[-120:])
    test_captions_are_true(many[-120:], [])
    test_bone_lengths_are_the_skeletons(many, [])
    test_nobody_sinks_or_floats(many, [])
    test_planted_feet_do_not_slide(many, [])
    test_motion_is_smooth(many, [])
    test_knees_bend_forward_and_are_never_locked(many, [])


def test_clip_depends_on_seed_and_index_only():
    few, many = list(generate_clips(4, seed=5)), list(generate_clips(7, seed=5))
    for a, b in zip(few, many, strict=False):
        assert a.id == b.id and a.captions == b.captions and a.performed == b.performed
        np.testing.assert_array_equal(a.joints, b.joints)
    other = next(generate_clips(1, seed=6))
    assert other.joints.shape != few[0].joints.shape or not np.array_equal(other.joints, few[0].joints)


@pytest.mark.slow
def test_splits_styles_sides_and_pairs_are_balanced():
    N = 1200
    made = list(generate_clips(N, seed=1))
    splits = collections.Counter(clip.split for clip in made)
    assert 0.87 < splits["train"] / N < 0.93 and splits["val"] > 30 and splits["test"] > 30
    assert len({clip.id for clip in made}) == N
    assert {clip.participant for clip in made} == {style.name for style in STYLES}
    assert 0.2 < np.mean([len(clip.actions) == 2 for clip in made]) < 0.32  # 0.26, four standard deviations
    names = collections.Counter(name for clip in made for name in clip.actions)
    assert set(names) == set(ACTIONS)
    left = sum(n for name, n in names.items() if name.endswith("_left"))
    right = sum(n for name, n in names.items() if name.endswith("_right"))
    assert abs(left - right) < 4 * np.sqrt(left + right)  # four standard deviations of a fair coin
    said = collections.Counter(caption for clip in made for caption in clip.captions)
    assert said["a person walks forward"] >= 8 and said["a person waves the right hand"] >= 3
    assert 0.08 < np.mean([len(clip.actions) == 3 for clip in made]) < 0.16  # 0.12
    assert 0.1 < np.mean(["while_" in clip.performed[0].facts for clip in made]) < 0.21  # 0.17


def test_performed_covers_the_clip(clips):
    for clip in clips:
        assert tuple(p.name for p in clip.performed) == clip.actions
        assert clip.performed[0].start == 0 and clip.performed[-1].end == len(clip.joints)
        assert all(a.end == b.start for a, b in zip(clip.performed, clip.performed[1:], strict=False))
        for part in clip.performed:
            if part.name.endswith(("_left", "_right")):
                assert part.facts["side"] == part.name.rsplit("_", 1)[1]


def test_captions_are_true(clips, every_action):
    """Of what was performed; the words of the grammar have tests of their own."""
    # whole sentences that name the other side too: "the left knee rests on the ground, the right foot is in front"
    texts = [text for several in sayings().values() for text in several if "{other}" in text]
    named = (re.escape(text.format(side="left", other="right", wise="counterclockwise")) for text in texts)
    both_sides = re.compile("|".join(named))
    numbers = dict(zip(("twice", "two times", "three times", "four times", "five times"), (2, 2, 3, 4, 5), strict=True))
    for clip in clips + every_action:
        facts = [p.facts for p in clip.performed]
        assert len(clip.captions) >= 3 and len(set(clip.captions)) == len(clip.captions)
        sides = {
            side for p in clip.performed for side in (p.facts.get("side"), p.facts.get("while_", "").split("_")[-1])
        }
        for caption in clip.captions:
            assert "{" not in caption and "  " not in caption and caption == caption.strip().lower()
            words = set(re.findall(r"[a-z]+", caption))
            assert not words & {"slowly", "unhurriedly"} or any(f["tempo"] == "slow" for f in facts), caption
            assert not words & {"quickly", "fast", "rapidly"} or any(f["tempo"] == "quick" for f in facts), caption
            for word, count in numbers.items():
                assert word not in caption or count in {f.get("count") for f in facts}, (caption, facts)
            # "lifts the other leg" and "left and right" are true of them
            if "left" in sides and not any(re.match("balance|tree_pose|hop|shake_head", name) for name in clip.actions):
                rest = both_sides.sub("", caption)
                assert "right" in sides or not re.search(r"\bright\b", rest), caption


def test_sizes_show(every_action):
    def pair(name, measure):
        style, seeds = STYLES[0], range(4)
        return [
            [measure(make_clip((name,), np.random.default_rng(k), style, None, (size,))) for k in seeds]
            for size in ("small", "normal", "large")
        ]

    measures = {
        "walk_forward": lambda c: np.linalg.norm(np.diff(c.joints[:, 0], axis=0), axis=1).max(),
        "jump": lambda c: c.joints[:, 0, 1].max(),
        "squat": lambda c: -c.joints[:, 0, 1].min(),
        "bow": lambda c: -joint(c, "head")[:, 1].min(),
        "kick_left": lambda c: joint(c, "left_foot")[:, 1].max(),
        "wave_right": lambda c: np.ptp(joint(c, "right_wrist")[20:-20, 0]),
    }
    for name, measure in measures.items():
        small, normal, large = pair(name, measure)
        assert max(small) < min(normal) and max(normal) < min(large), (name, small, normal, large)


def displacement(clip):
    return clip.joints[-1, 0] - clip.joints[0, 0]


def only(every_action, name):
    return [clip for clip in every_action if clip.actions == (name,)]


def test_actions_do_what_their_names_say(every_action):
    for clip in only(every_action, "walk_forward") + only(every_action, "run"):
        assert displacement(clip)[2] > 1.2
    assert all(displacement(clip)[2] < -0.8 for clip in only(every_action, "walk_backward"))
    for side, sign in (("left", 1), ("right", -1)):
        assert all(sign * displacement(clip)[0] > 0.35 for clip in only(every_action, f"walk_sideways_{side}"))
        for clip in only(every_action, f"wave_{side}"):
            other = "right" if side == "left" else "left"
            assert (joint(clip, f"{side}_wrist") - joint(clip, f"{side}_shoulder"))[:, 1].max() > 0.05
            assert (joint(clip, f"{other}_wrist") - joint(clip, f"{other}_shoulder"))[:, 1].max() < -0.2
        for clip in only(every_action, f"turn_{side}"):
            across = joint(clip, "left_hip")[-1] - joint(clip, "right_hip")[-1]
            yaw = np.degrees(np.arctan2(-across[2], across[0]))
            assert 75 < sign * yaw < 105
        for clip in only(every_action, f"kick_{side}"):
            assert joint(clip, f"{side}_ankle")[:, 1].max() > (
                0.3 if clip.performed[0].facts["size"] == "small" else 0.35
            )
        for clip in only(every_action, f"walk_circle_{side}"):
            across = joint(clip, "left_hip") - joint(clip, "right_hip")
            yaw = np.degrees(np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))) * sign
            assert yaw[-1] > 180 and yaw[25] > 5  # it turns from the first step on
    for clip in only(every_action, "jump"):
        assert clip.joints[..., 1].min(axis=1).max() > 0.08  # both feet off the floor
    for clip in only(every_action, "sit_down"):
        assert clip.joints[-1, 0, 1] < 0.55 < 0.85 < clip.joints[0, 0, 1]
    for clip in only(every_action, "clap"):
        hands = np.linalg.norm(joint(clip, "left_wrist") - joint(clip, "right_wrist"), axis=-1)
        closed = (hands[1:-1] < hands[:-2]) & (hands[1:-1] <= hands[2:]) & (hands[1:-1] < 0.1)
        assert closed.sum() == clip.performed[0].facts["count"]


def test_bad_requests_say_so():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown action fly; known: walk_forward"):
        make_clip(("fly",), rng)
    with pytest.raises(ValueError, match="none given"):
        make_clip((), rng)
    with pytest.raises(ValueError, match="slow, normal, quick"):
        make_clip(("jump",), rng, tempos=("medium",))
    with pytest.raises(ValueError, match="small, normal, large"):
        make_clip(("jump",), rng, sizes=("huge",))
    with pytest.raises(ValueError, match="one size only"):
        make_clip(("sit_down",), rng, sizes=("large",))
    with pytest.raises(ValueError, match="at most 196"):
        make_clip(("kneel_and_rise_left",) * 3, rng, tempos=("slow",) * 3)
    with pytest.raises(ValueError, match="0 or more"):
        next(generate_clips(-1))


def test_arm_poses_are_invertible_and_reach_the_hand():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(200, 2, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    upper, fore = arm_directions(arm_pose(directions[:, 0], directions[:, 1]))
    np.testing.assert_allclose(np.stack([upper, fore], 1), directions, atol=1e-6)  # arccos near 1 costs half the digits
    hands = rng.uniform(-0.28, 0.28, size=(50, 3))
    hands = hands[np.linalg.norm(hands, axis=1) > 0.15]
    upper, fore = arm_directions(reach(hands))
    lengths = np.linalg.norm(HUMANML3D.offsets, axis=1)
    a, b = (lengths[[HUMANML3D.index(f"{side}_{x}") for side in ("left", "right")]].mean() for x in ("elbow", "wrist"))
    np.testing.assert_allclose(a * upper + b * fore, hands, atol=1e-6)


def test_curves():
    values = through(21, [0, 10, 20], [0.0, 1.0, 0.0])
    assert values[0] == 0 and values[10] == 1 and values.max() == 1  # through the keys, no overshoot
    assert ease(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 0.5, 1, 1]
    np.testing.assert_allclose(smooth(np.ones((9, 2)), 1.5), 1.0)
    zero = np.zeros(1)
    np.testing.assert_allclose(rotation(zero + np.pi / 2, zero, zero)[0] @ [0, 1, 0], [0, 0, 1], atol=1e-12)  # forward
    np.testing.assert_allclose(rotation(zero, zero + np.pi / 2, zero)[0] @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # left
