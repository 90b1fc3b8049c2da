"""What the motions of the embedded dataset show: dance, yoga, gestures on top of a walk, moods, starts and rests."""

import collections

import numpy as np
import pytest

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.faithfulness.judge import does, performs
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.clips import DEGREES, MOODY, draw_plan, generate_clip, make_clip
from motiongpt.procedural.kinematics import Track, solve
from motiongpt.procedural.layers import BASES, LEAST, OVERLAYS, overlay
from motiongpt.procedural.moods import MOODS
from motiongpt.procedural.performer import EVEN, FPS, STYLES, Director, draw_stance
from motiongpt.procedural.sentences import family

SIDED = (("left", "right", 1), ("right", "left", -1))  # a side, the other one, and the sign of x on it


def at(clip, name):
    """(F, 3) of a joint."""
    return clip.joints[:, HUMANML3D.index(name)].astype(np.float64)


def some(name, count=4, **known):
    """Clips of one action in several styles and stances."""
    for k in range(count):
        rng = np.random.default_rng([k, 17])
        yield make_clip((name,), rng, STYLES[(3 * k) % 8], stance=draw_stance(rng), **known)


def apart(clip, one, other):
    return np.linalg.norm(at(clip, one) - at(clip, other), axis=-1)


def yaw(clip, left="left_hip", right="right_hip"):
    """(F,) degrees turned to the left."""
    across = at(clip, left) - at(clip, right)
    return np.degrees(np.unwrap(np.arctan2(-across[:, 2], across[:, 0])))


def above(clip, joint, other):
    """(F,) metres a joint is above another one."""
    return at(clip, joint)[:, 1] - at(clip, other)[:, 1]


# ---- the actions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "other", "sign"), SIDED)
def test_poses_of_one_side(side, other, sign):
    for clip in some(f"tree_pose_{side}"):
        held = above(clip, f"{other}_ankle", f"{side}_ankle") > 0.25
        assert held.sum() > 15 and apart(clip, "left_wrist", "right_wrist")[held].min() < 0.12
        knee = (at(clip, f"{other}_knee") - at(clip, f"{other}_hip"))[held, 0] * -sign
        assert knee.max() > 0.25  # to the side, not ahead
    for clip in some(f"warrior_pose_{side}"):
        low = at(clip, "pelvis")[:, 1].argmin()
        assert (at(clip, f"{side}_foot") - at(clip, f"{other}_foot"))[low, 2] > 0.5
        wrists = (at(clip, "left_wrist") - at(clip, "right_wrist"))[low]
        assert np.linalg.norm(wrists) > 1.2 and abs(wrists[1]) < 0.2 and abs(wrists[2]) > abs(wrists[0])
    for clip in some(f"side_bend_{side}"):
        head = at(clip, "head")[:, 0] - at(clip, "pelvis")[:, 0]
        assert (sign * head).max() > 0.2 and above(clip, f"{other}_wrist", "head").max() > 0.05
        assert abs(at(clip, "head")[:, 2] - at(clip, "head")[0, 2]).max() < 0.2
    for clip in some(f"look_{side}"):
        assert (sign * yaw(clip, "left_shoulder", "right_shoulder")).max() > 25
        assert abs(yaw(clip)).max() < 20  # the hips hardly turn
    for name, higher in (("salute", 0.0), ("drink", -0.1)):
        for clip in some(f"{name}_{side}"):
            near = apart(clip, f"{side}_wrist", "head").argmin()
            assert apart(clip, f"{side}_wrist", "head")[near] < 0.24
            assert above(clip, f"{side}_wrist", "head")[near] > higher
            assert apart(clip, f"{other}_wrist", "head").min() > 0.45
    for clip in some(f"spin_{side}"):
        assert 325 < sign * yaw(clip)[-1] < 395 and np.ptp(at(clip, "pelvis")[:, [0, 2]], axis=0).max() < 0.3


def test_poses_of_both_sides():
    for clip in some("touch_toes"):
        low = at(clip, "head")[:, 1].argmin()
        assert above(clip, "pelvis", "left_foot")[low] > 0.7  # the legs stay straight
        for side in ("left", "right"):
            assert apart(clip, f"{side}_wrist", f"{side}_foot")[low] < 0.3
    for clip in some("shrug"):
        shoulders = above(clip, "left_shoulder", "spine3") + above(clip, "right_shoulder", "spine3")
        assert shoulders.max() - shoulders[0] > 0.07
    for clip in some("wave_both"):
        high = (above(clip, "left_wrist", "left_shoulder") > 0.1) & (above(clip, "right_wrist", "right_shoulder") > 0.1)
        assert high.sum() > 15 and np.ptp(at(clip, "left_wrist")[high, 0]) > 0.2
    for clip in some("stand_still"):
        assert np.abs(clip.joints - clip.joints[0]).max() < 0.12 and clip.planted.all()


def test_boxers_punch_with_one_hand_after_the_other():
    for clip in some("boxing"):
        events = []
        for side in ("left", "right"):
            ahead = (at(clip, f"{side}_wrist") - at(clip, "pelvis"))[:, 2]
            peaks = (ahead[1:-1] > 0.45) & (ahead[1:-1] > ahead[:-2]) & (ahead[1:-1] >= ahead[2:])
            events += [(int(frame), side) for frame in np.flatnonzero(peaks)]
        sides = [side for _, side in sorted(events)]
        assert len(sides) >= 4 and all(a != b for a, b in zip(sides, sides[1:], strict=False))


def test_dances_use_arms_and_hips_and_differ():
    clips = list(some("dance", 8))
    for clip in clips:
        turn = yaw(clip, "left_shoulder", "right_shoulder") - yaw(clip)
        hips = np.ptp(at(clip, "pelvis")[:, 0])
        assert hips > 0.06 or np.ptp(turn) > 30
        bob = np.abs(np.diff(np.sign(np.diff(at(clip, "pelvis")[:, 1])))).sum() / 2
        assert bob > 2 * len(clip.joints) / FPS  # up and down more than once a second
    assert sum(above(clip, "left_wrist", "head").max() > 0.1 for clip in clips) >= 3
    assert sum(np.ptp(at(clip, "left_foot")[:, 0]) > 0.2 for clip in clips) >= 2


def test_kinds_of_walk():
    walk, march, tiptoe, sneak = (list(some(f)) for f in ("walk_forward", "march_forward", "tiptoe", "sneak"))
    middle = slice(25, -25)
    knee = [max(above(c, "left_knee", "left_hip").max() for c in clips) for clips in (walk, march)]
    assert min(above(c, "left_knee", "left_hip").max() for c in march) > knee[0] + 0.05
    for clip in tiptoe:
        ankles = clip.joints[middle, [HUMANML3D.index("left_ankle")], 1]
        assert ankles.min() > 0.09 > at(walk[0], "left_ankle")[middle, 1].min()
    for clip in sneak:
        assert at(clip, "pelvis")[middle, 1].max() < 0.85 and at(clip, "pelvis")[-1, 2] > 0.8


def test_degrees_of_a_turn():
    for degrees in DEGREES:
        for clip in some("turn_left", 3, degrees=(degrees,)):
            assert abs(yaw(clip)[-1] - degrees) < 0.08 * degrees + 3
            assert clip.performed[0].facts.get("degrees", 90) == degrees
            assert ("degrees" in clip.performed[0].facts) == (degrees != 90)


def test_heads_move_the_trunk_too():
    """A tokenizer loses what one joint does alone: a nod moves the shoulders, a shake turns them."""
    for clip in some("nod"):
        assert np.ptp(at(clip, "head")[:, 2]) > 0.08 and np.ptp(at(clip, "left_shoulder")[:, 2]) > 0.02
    for clip in some("shake_head"):
        assert np.ptp(yaw(clip, "left_shoulder", "right_shoulder")) > 14


def test_kick_heights_differ_clearly():
    def heights(size):
        return [at(clip, "right_foot")[:, 1].max() for clip in some("kick_right", sizes=(size,))]

    small, normal, large = heights("small"), heights("normal"), heights("large")
    assert max(small) + 0.1 < min(normal) and max(normal) + 0.1 < min(large)


# ---- gestures on top of a walk ----------------------------------------------------------------------------------


def walking(name):
    director = Director(np.random.default_rng(4), STYLES[1], least=LEAST)
    return ACTIONS[name](director), director


@pytest.mark.parametrize("base", BASES)
def test_a_gesture_changes_the_upper_body_alone(base):
    for name in OVERLAYS:
        plain, _ = walking(base)
        track, director = walking(base)
        overlay(track, name, ACTIONS[name], director)
        for channel in ("root", "yaw", "lift", "pelvis", "toes", "foot_yaw", "foot_pitch", "planted"):
            np.testing.assert_array_equal(getattr(track, channel), getattr(plain, channel), err_msg=name)
        moved = np.linalg.norm(solve(track) - solve(plain), axis=-1).max(axis=1)  # (F,) metres
        assert (moved > 0.03).mean() > 0.4 and moved[0] == moved[-1] == 0, (base, name)
        assert director.facts["while_"] == name and "count" not in director.facts


def test_a_gesture_is_seen_while_walking():
    for base in ("walk_forward", "run", "jog_in_place"):
        for clip in some(base, 3, over=("raise_arm_left",)):
            up = above(clip, "left_wrist", "head") > 0.2
            feet = np.ptp(clip.joints[:, HUMANML3D.index("left_foot"), 1][up])
            assert up.sum() > 18 and feet > 0.05, base  # the arm is up for a second in which feet go on
            assert not (above(clip, "right_wrist", "right_shoulder") > 0.2).any()
        for clip in some(base, 3, over=("clap",)):
            hands = apart(clip, "left_wrist", "right_wrist")
            assert (hands < 0.12).sum() >= 3
            assert clip.performed[0].facts["while_"] == "clap"


def test_a_gesture_needs_room():
    short = Director(np.random.default_rng(0), STYLES[0])
    track = short.stand(30)
    with pytest.raises(ValueError, match="does not fit on 30 frames; ask for a longer walk"):
        overlay(track, "wave_left", ACTIONS["wave_left"], short)


@pytest.mark.parametrize("name", ("wave_right", "clap", "nod", "drink_left"))
def test_gestures_on_a_seat(name):
    for k in range(2):
        rng = np.random.default_rng([k, 5])
        clip = make_clip(("sit_down", name), rng, STYLES[3 * k], stance=draw_stance(rng))
        start = clip.performed[1].start
        assert does(("sit_down", name), clip.joints)
        seat = at(clip, "pelvis")[start:]
        assert seat[:, 1].max() < 0.6 and np.ptp(seat, axis=0).max() < 0.04  # it stays on the seat
        assert clip.planted.all() and np.abs(np.diff(at(clip, "left_foot"), axis=0)).max() < 1e-3
        np.testing.assert_allclose(clip.joints[start], clip.joints[start - 1], atol=0.03)  # no jump where the two meet


# ---- moods ------------------------------------------------------------------------------------------------------


def seen(mood):
    """Mean over four walks: head pitch and trunk pitch in degrees, m/s, arm swing and bob in metres."""
    rows = []
    for clip in some("walk_forward", mood=mood):
        trunk = (at(clip, "neck") - at(clip, "pelvis"))[20:-20]
        head = (at(clip, "head") - at(clip, "neck"))[20:-20]
        pitch = [np.degrees(np.arctan2(v[:, 2], v[:, 1])).mean() for v in (head, trunk)]
        way = at(clip, "pelvis")[:, 2]
        swing = np.ptp((at(clip, "left_wrist") - at(clip, "left_shoulder"))[20:-20, 2])
        rows.append([*pitch, np.diff(way).max() * FPS, swing, np.ptp(at(clip, "pelvis")[20:-20, 1])])
    return dict(zip(("head", "trunk", "speed", "swing", "bob"), np.mean(rows, axis=0), strict=True))


def test_moods_are_seen():
    calm, happy, sad, tired, old, angry, proud, sneaky, energetic = (
        seen(mood) for mood in ("", "happy", "sad", "tired", "old", "angry", "proud", "sneaky", "energetic")
    )
    assert happy["bob"] > 1.4 * calm["bob"] and happy["swing"] > 1.2 * calm["swing"]
    assert sad["head"] > calm["head"] + 20 and sad["speed"] < 0.8 * calm["speed"] and sad["swing"] < 0.6 * calm["swing"]
    assert tired["trunk"] > calm["trunk"] + 8 and tired["speed"] < 0.8 * calm["speed"]
    assert old["trunk"] > calm["trunk"] + 20 and old["speed"] < 0.6 * calm["speed"]
    assert angry["speed"] > 1.15 * calm["speed"] and angry["trunk"] > calm["trunk"] + 6
    assert proud["trunk"] < calm["trunk"] - 6
    assert sneaky["trunk"] > calm["trunk"] + 15 and energetic["speed"] > 1.2 * calm["speed"]


def test_every_mood_suits_every_action():
    """Bodies stay whole: no penetration, no planted foot that slides, whatever is done in whatever mood."""
    for index, name in enumerate(ACTIONS):
        mood = tuple(MOODS)[index % len(MOODS)]
        rng = np.random.default_rng(index)
        clip = make_clip((name,), rng, STYLES[index % 8], mood=mood, stance=draw_stance(rng))
        assert clip.performed[0].facts["mood"] == mood and clip.participant == STYLES[index % 8].name
        assert clip.joints[..., 1].min() > -0.01, (name, mood)
        for side, foot in enumerate(("left_foot", "right_foot")):
            steps = np.linalg.norm(np.diff(at(clip, foot)[:, [0, 2]], axis=0), axis=1) * FPS
            assert (steps * (clip.planted[1:, side] & clip.planted[:-1, side])).max() < 0.02, (name, mood)
    assert "mood" not in make_clip(("bow",), np.random.default_rng(0)).performed[0].facts


@pytest.mark.parametrize(
    ("mood", "names"),
    (
        ("old", ("raise_arm_left", "punch_right", "look_left", "salute_right", "wave_both")),
        ("sneaky", ("jump", "jump_forward", "nod", "salute_left", "point_right")),
        ("nervous", ("nod", "shake_head", "look_right", "point_left")),
        ("happy", ("nod", "stand_still", "look_left")),
        ("proud", ("nod", "stand_still", "punch_left")),
        ("relaxed", ("nod", "stand_still", "look_right")),
    ),
)
def test_a_mood_leaves_the_action_readable(mood, names):
    for name in names:
        for clip in some(name, 2, mood=mood):
            assert performs(name, clip.joints), (name, clip.participant)


def test_tempos_of_claps_differ():
    def period(tempo):
        clip = next(some("clap", 1, tempos=(tempo,)))
        hands = apart(clip, "left_wrist", "right_wrist")
        meet = np.flatnonzero((hands[1:-1] < hands[:-2]) & (hands[1:-1] <= hands[2:]) & (hands[1:-1] < 0.12))
        assert len(meet) == clip.performed[0].facts["count"]
        return np.diff(meet).mean()

    quick, normal, slow = (period(tempo) for tempo in ("quick", "normal", "slow"))
    assert 6.5 < quick < 8.8 < 9.8 < normal < 12.5 < 13.5 < slow < 17


def test_bad_manners_say_so():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown mood jolly; known: happy, sad"):
        make_clip(("run",), rng, mood="jolly")
    with pytest.raises(ValueError, match="no gesture goes on top of squat; use one of walk_forward"):
        make_clip(("squat",), rng, over=("clap",))
    with pytest.raises(ValueError, match="one of wave_left"):
        make_clip(("run",), rng, over=("bow",))
    with pytest.raises(ValueError, match="degrees must be one of"):
        make_clip(("turn_left",), rng, degrees=(60,))


# ---- stances, rests, shares -------------------------------------------------------------------------------------


def test_starts_differ_and_one_clip_keeps_its_stance():
    first = np.array([generate_clip(index, seed=2).joints[0] for index in range(24)])
    first = first[first[:, 0, 1] > 0.8]  # without those who sit
    assert first[:, HUMANML3D.index("left_wrist")].std(axis=0).max() > 0.03
    ahead = first[:, HUMANML3D.index("left_foot"), 2] - first[:, HUMANML3D.index("right_foot"), 2]
    assert (np.abs(ahead) > 0.025).sum() >= 4 and (np.abs(ahead) < 1e-3).sum() >= 4
    lean = first[:, HUMANML3D.index("left_hip"), 1] - first[:, HUMANML3D.index("right_hip"), 1]
    assert (lean > 0.002).sum() >= 2 and (lean < -0.002).sum() >= 2  # weight on either leg
    rng = np.random.default_rng(1)
    stance = draw_stance(rng)
    assert stance != EVEN and stance != draw_stance(rng)
    directors = [Director(np.random.default_rng(k), STYLES[2], stance=stance) for k in range(2)]
    ends: list[Track] = [ACTIONS[name](d) for name, d in zip(("walk_forward", "clap"), directors, strict=True)]
    for channel in ("spine", "head", "arms", "foot_pitch"):
        np.testing.assert_allclose(getattr(ends[0], channel)[-1], getattr(ends[1], channel)[0], atol=0.02)


def test_bodies_seldom_just_stand():
    """Little time is spent standing before and after the movement."""
    rests = []
    for index in range(40):
        clip = generate_clip(index, seed=8)
        if clip.actions != ("stand_still",):
            speed = np.linalg.norm(np.diff(clip.joints.astype(float), axis=0), axis=-1).max(axis=-1) * FPS
            moving = np.flatnonzero(speed > 0.25)
            rests.append((moving[0] + len(speed) - 1 - moving[-1]) / FPS)
    assert np.mean(rests) < 0.7 and np.median(rests) < 0.6


@pytest.mark.slow
def test_shares_of_the_plans():
    rng = np.random.default_rng(0)
    N = 6000
    plans = [draw_plan(rng, float(rng.random()), "", EVEN) for _ in range(N)]
    several = collections.Counter("over" if any(plan.over) else len(plan.actions) for plan in plans)
    for kind, share in ((1, 0.45), (2, 0.26), (3, 0.12), ("over", 0.17)):
        assert abs(several[kind] / N - share) < 0.03, kind
    names = collections.Counter(name for plan in plans for name in set(plan.actions))
    assert set(names) == set(ACTIONS)
    families = collections.Counter(f for plan in plans for f in {family(name) for name in plan.actions})
    assert min(families.values()) > 0.008 * N, families.most_common()[-3:]
    assert all(0.3 < names[name] / families[family(name)] < 0.7 for name in ACTIONS if name.endswith(("left", "right")))
    over = collections.Counter(gesture for plan in plans for gesture in plan.over if gesture)
    assert set(over) == set(OVERLAYS) and min(over.values()) > 0.003 * N
    moods = [generate_clip(index, seed=3).performed[0].facts.get("mood") for index in range(60)]
    assert 0 < sum(mood is not None for mood in moods) < 2.5 * MOODY * 60
