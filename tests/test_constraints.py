"""Loops, motions in place, and all constraints of a motion together: what holds, what stays, what is reported."""

import math

import numpy as np
import pytest
from cases import for_each
from test_jumps import unpacked

from motiongpt.body.limbs import limbs
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.constraints.apply import apply_constraints
from motiongpt.constraints.ground import ground, headings, largest_steps, put_on_ground, turned
from motiongpt.constraints.in_place import stay_in_place
from motiongpt.constraints.loop import Move, best_cut, close_loop, play, without_turn
from motiongpt.constraints.path import TOLERANCE as PATH_TOLERANCE
from motiongpt.constraints.path import follow_path, path_errors
from motiongpt.constraints.reach import TOLERANCE as REACH_TOLERANCE
from motiongpt.constraints.reach import reach_targets
from motiongpt.constraints.score import violation
from motiongpt.constraints.spec import Constraints, Reach, Waypoint
from motiongpt.features.humanml3d import canonicalise
from motiongpt.procedural.clips import generate_clip, make_clip

FPS = 20.0
BONES = list(HUMANML3D.parents[1:])
ABOVE = [j for j, name in enumerate(HUMANML3D.joints) if not any(part in name for part in ("knee", "ankle", "foot"))]


def walk(seed=0):
    return make_clip(("walk_forward",), np.random.default_rng(seed)).joints


def bones(joints):
    joints = np.asarray(joints, np.float64)
    return np.linalg.norm(joints[:, 1:] - joints[:, BONES], axis=-1)


def moved(joints, turn, step):
    """A motion elsewhere in the room."""
    return Move(turn, step).apply(np.asarray(joints, np.float64))


def elsewhere(constraints, turn, step):
    """The same wishes elsewhere in the room."""
    ways = [Move(turn, step).apply(np.array([p.x, 0.0, p.z])) for p in constraints.path]
    return Constraints(
        tuple(Waypoint(p.time, w[0], w[2]) for p, w in zip(constraints.path, ways, strict=True)),
        tuple(Reach(r.joint, r.time, tuple(Move(turn, step).apply(np.array(r.target)))) for r in constraints.reach),
        constraints.loop,
    )


def random_path(joints, rng):
    """A way of about the motion's own length, with three waypoints on a bent line to any side."""
    T = (len(joints) - 1) / FPS
    root = ground(joints[:, 0].astype(float))
    side = rng.uniform(-math.pi, math.pi)
    way = root[[len(root) // 2, -1]] * np.exp(1j * np.array([side, side + rng.uniform(-1, 1)])) * rng.uniform(0.8, 1.2)
    return (Waypoint(0.0, 0.0, 0.0), *(Waypoint(t, w.imag, w.real) for t, w in zip((T / 2, T), way, strict=True)))


def random_reach(joints, rng, name):
    limb = limbs(HUMANML3D)[name]
    frame = int(rng.integers(len(joints)))
    way = rng.normal(size=3)
    most = 0.95 * bones(joints[frame : frame + 1])[0, [limb.middle - 1, limb.end - 1]].sum()
    target = joints[frame, limb.start] + way / np.linalg.norm(way) * rng.uniform(0.15, most)
    return frame, Reach(name, frame / FPS, tuple(map(float, target)))


def cyclic(turn=0.0, step=0.0, period=30, F=100):
    """A made-up body that repeats itself exactly: joints swing with a period while the body turns and goes on."""
    pose = canonicalise(walk()[:1].repeat(2, axis=0), HUMANML3D, retargeted=True)[0].astype(float)
    t = np.arange(F)
    swing = 0.1 * np.sin(2 * np.pi * t / period)[:, None] * np.linspace(-1, 1, 22)
    local = np.repeat(pose[None], F, axis=0)
    local[..., 1] += swing * np.linspace(0, 1, 22)
    way = np.concatenate([[0], np.cumsum(step * np.exp(1j * turn * t))[:-1]])
    local = turned(local, (turn * t)[:, None])
    return put_on_ground(local, ground(local) + way[:, None])


# 1) The ground.


def test_the_ground_turns_as_headings_do():
    joints = walk()
    np.testing.assert_allclose(ground(np.array([0.0, 5.0, 1.0])), 1.0)
    np.testing.assert_allclose(turned(np.array([0.0, 5.0, 1.0]), np.pi / 2), [1.0, 5.0, 0.0], atol=1e-15)  # to the left
    turn = headings(turned(joints, 0.7), HUMANML3D) - headings(joints, HUMANML3D)
    np.testing.assert_allclose(turn, 0.7)
    np.testing.assert_array_equal(put_on_ground(joints, ground(joints)), joints)


# 2) Loops, and motions in place.


@for_each("turn, step", [(0.0, 0.0), (0.0, 0.05), (0.02, 0.05), (-0.03, 0.02)])
def test_an_exact_cycle_is_found_and_closed_without_a_change(turn, step):
    joints = cyclic(turn, step)
    loop = close_loop(joints, FPS, HUMANML3D)
    N = len(loop.joints)
    assert N % 30 == 0 and loop.distance < 0.01
    np.testing.assert_allclose(np.angle(np.exp(1j * (loop.move.turn - turn * N))), 0, atol=1e-9)
    twice = play(loop.joints, loop.move, 2)
    # the motion itself goes on so: what was cut off is what the second time shows
    rest = joints[loop.start : loop.start + 2 * N]
    np.testing.assert_allclose(twice[: len(rest)], rest, atol=2e-3)  # velocities at the ends are one-sided


def test_loops_of_all_kinds_are_played_twice_without_a_jump():
    for i in range(20):
        joints = generate_clip(i).joints
        loop = close_loop(joints, FPS, HUMANML3D)
        N = len(loop.joints)
        twice = play(loop.joints, loop.move, 2)
        steps = largest_steps(twice)
        assert steps[N - 1] == pytest.approx(loop.seam) and loop.seam < loop.limit, i
        assert loop.limit == np.percentile(largest_steps(joints.astype(np.float64)), 99)
        np.testing.assert_allclose(bones(loop.joints), bones(joints)[loop.start : loop.start + N], atol=1e-6)
        assert N >= FPS
        # only the end is bent
        early = N // 2 - 1
        np.testing.assert_array_equal(loop.joints[:early], joints[loop.start : loop.start + early].astype(np.float64))


def test_poses_and_velocities_meet_at_the_seam():
    """Pieces of clips have no equal poses; a bent end must not arrive with a jerk all the same."""
    jerks = []
    for i in range(12):
        joints = generate_clip(i).joints[14:50].astype(np.float64)
        loop = close_loop(joints, FPS, HUMANML3D)
        twice, N = play(loop.joints, loop.move, 2), len(loop.joints)
        change = np.linalg.norm(np.diff(twice, n=2, axis=0), axis=-1).max(axis=-1)
        own = np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).max()
        jerks.append(change[N - 2 : N].max() / own)
    # 0.35 as it is, 0.9 if only poses met
    assert np.median(jerks) < 0.5, jerks


def test_a_held_root_stays_above_its_way():
    joints = generate_clip(7).joints[14:50].astype(np.float64)
    free = close_loop(joints, FPS, HUMANML3D)
    held = close_loop(joints, FPS, HUMANML3D, hold_root=True)
    own = ground(joints[held.start : held.start + len(held.joints), 0])
    np.testing.assert_allclose(ground(held.joints[:, 0]), own, atol=1e-12)
    assert np.abs(ground(free.joints[:, 0]) - own).max() > 1e-4


def test_a_loop_in_place_has_no_turn_left():
    loop = close_loop(cyclic(turn=0.01), FPS, HUMANML3D)
    assert loop.move.turn > 0.5
    straight = without_turn(loop)
    steps = largest_steps(np.concatenate([straight.joints] * 2))
    assert straight.move == Move() and steps[len(straight.joints) - 1] < 1.5 * np.median(steps)


def test_a_cut_keeps_what_is_asked_for():
    joints = generate_clip(0).joints
    F = len(joints)
    start, end, _ = best_cut(joints, FPS, HUMANML3D, keep=[5, F - 3])
    assert start <= 5 and end > F - 3
    with pytest.raises(ValueError, match="loop: a cycle has at least 1 s.*after .* the last time asked for"):
        best_cut(joints, FPS, HUMANML3D, keep=[F - 1])
    with pytest.raises(
        ValueError, match=r"loop: a cycle has at least 1 s, .* the motion has 1 s: ask for a longer one"
    ):
        best_cut(joints[:20], FPS, HUMANML3D)


def test_a_loop_is_the_same_everywhere_in_the_room():
    joints = generate_clip(7).joints
    here, there = close_loop(joints, FPS, HUMANML3D), close_loop(moved(joints, 2.0, 1 - 3j), FPS, HUMANML3D)
    np.testing.assert_allclose(there.joints, moved(here.joints, 2.0, 1 - 3j), atol=1e-9)
    np.testing.assert_allclose(
        play(there.joints, there.move, 3), moved(play(here.joints, here.move, 3), 2.0, 1 - 3j), atol=1e-9
    )


def test_in_place_the_root_stays_and_the_pose_with_it():
    joints = walk()
    out = stay_in_place(joints)
    np.testing.assert_array_equal(out[:, 0, [0, 2]], 0.0)
    np.testing.assert_allclose(out - out[:, :1], joints - joints[:, :1].astype(np.float64), atol=1e-6)
    np.testing.assert_array_equal(out[..., 1], joints[..., 1])


@for_each("action", ["walk_forward", "walk_circle_left", "run", "wave_left"])
def test_a_loop_in_place_repeats_without_being_moved(action):
    joints = make_clip((action,), np.random.default_rng(0)).joints
    out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints(loop=True, in_place=True))
    steps = largest_steps(np.concatenate([out, out]))
    assert steps[len(out) - 1] <= np.percentile(largest_steps(stay_in_place(joints)), 99)
    np.testing.assert_allclose(out[:, 0, [0, 2]], 0.0, atol=1e-6)
    assert f"loop: {len(joints) - len(out)} of {len(joints)} frames cut, seam" in report[1]


# 3) All together.


def test_everything_at_once():
    joints = walk()
    asked = Constraints(
        (Waypoint(0, 0, 0), Waypoint(2, 0.3, 1.5)), (Reach("left_wrist", 2.0, (0.55, 1.3, 1.8)),), loop=True
    )
    out, report = apply_constraints(joints, FPS, HUMANML3D, asked)
    assert out.dtype == np.float32 and np.isfinite(out).all()
    assert path_errors(out, FPS, asked.path).max() < PATH_TOLERANCE
    assert np.linalg.norm(out[40, HUMANML3D.index("left_wrist")] - asked.reach[0].target) < REACH_TOLERANCE
    assert [line.split()[0] for line in report] == ["path:", "path:", "reach", "loop:", "loop:"]
    np.testing.assert_allclose(bones(out), bones(joints)[: len(out)], atol=1e-5)


def test_nothing_asked_is_nothing_done():
    joints = walk()
    out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints())
    np.testing.assert_array_equal(out, joints)
    assert report == []


def test_a_loop_that_was_cut_at_its_start_begins_at_the_origin():
    joints = np.concatenate(
        [make_clip(("jump",), np.random.default_rng(0)).joints[8:20], walk()]
    )  # a start unlike any end
    out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints(loop=True))
    assert "it starts at frame" in report[0]
    np.testing.assert_allclose(out[0, 0, [0, 2]], 0.0, atol=1e-6)
    np.testing.assert_allclose(headings(out[:1], HUMANML3D), 0.0, atol=1e-6)


def test_times_stay_those_of_the_motion_when_its_start_is_cut_off():
    joints = np.concatenate([make_clip(("jump",), np.random.default_rng(0)).joints[8:20], walk()])
    wrist = HUMANML3D.index("left_wrist")
    target = tuple(map(float, joints[50, wrist] + [0.1, 0.2, 0.1]))
    out, report = apply_constraints(
        joints, FPS, HUMANML3D, Constraints(reach=(Reach("left_wrist", 2.5, target),), loop=True)
    )
    start = int(report[1].split("it starts at frame ")[1])
    assert 0 < start <= 50 and report[0].startswith("reach left_wrist at 2.5 s: 0.0 cm away")
    np.testing.assert_allclose(out[50 - start, wrist], target, atol=1e-5)  # and it is not moved to the origin


def test_joints_of_another_skeleton_are_refused():
    with pytest.raises(ValueError, match=r"joints must be finite and \(F, 22, 3\) for humanml3d-22, got \(5, 21, 3\)"):
        apply_constraints(np.zeros((5, 21, 3)), FPS, HUMANML3D, Constraints())
    with pytest.raises(ValueError, match="ask for 9 s, the motion has 3.8 s"):
        apply_constraints(walk(), FPS, HUMANML3D, Constraints(path=(Waypoint(9, 0, 0),)))


def test_violation_is_what_is_missing_in_metres():
    joints = walk()
    root, wrist = joints[40, 0], joints[40, HUMANML3D.index("left_wrist")].astype(float)
    path = (Waypoint(0, 0, 0), Waypoint(2.0, float(root[0]), float(root[2]) + 0.5))
    reach = (Reach("left_wrist", 2.0, tuple(wrist + [0.0, 0.3, 0.4])),)
    assert violation(joints, FPS, HUMANML3D, Constraints(path)) == pytest.approx(0.25, abs=1e-6)
    assert violation(joints, FPS, HUMANML3D, Constraints(reach=reach)) == pytest.approx(0.5, abs=1e-6)
    assert violation(joints, FPS, HUMANML3D, Constraints(path, reach)) == pytest.approx(0.75, abs=1e-6)
    assert violation(joints, FPS, HUMANML3D, Constraints(in_place=True)) == pytest.approx(
        np.hypot(*joints[-1, 0, [0, 2]]), abs=1e-6
    )
    assert violation(joints, FPS, HUMANML3D, Constraints(loop=True)) == best_cut(joints, FPS, HUMANML3D)[2]
    assert violation(joints, FPS, HUMANML3D, Constraints()) == 0.0
    assert violation(joints[:30], FPS, HUMANML3D, Constraints(path)) == math.inf
    assert violation(joints[:15], FPS, HUMANML3D, Constraints(loop=True)) == math.inf
    after, _ = apply_constraints(joints, FPS, HUMANML3D, Constraints(path, reach))
    assert violation(after, FPS, HUMANML3D, Constraints(path, reach)) < 0.01


@pytest.mark.slow
def test_real_motion_follows_reaches_and_loops(shared_data):
    """Every fortieth clip of CMU, whatever the actor does: tolerances hold where the motion allows them."""
    rng = np.random.default_rng(0)
    seams, slides = [], []
    for number, (_, raw) in enumerate(unpacked(shared_data / "cmu")):
        if number % 40 or len(raw) < 40:
            continue
        joints = canonicalise(raw, HUMANML3D)
        way = random_path(joints, rng)
        followed = follow_path(joints, FPS, HUMANML3D, way)
        assert followed.error < PATH_TOLERANCE
        slides.append(followed.slide)
        frame, reach = random_reach(joints, rng, list(limbs(HUMANML3D))[number % 4])
        out, reached = reach_targets(joints, FPS, HUMANML3D, [reach])
        assert reached[0].distance < REACH_TOLERANCE
        loop = close_loop(joints, FPS, HUMANML3D)
        seams.append(loop.seam / loop.limit)
    assert len(seams) > 12 and max(seams) < 1
    before, carried, after = np.mean(slides, axis=0)
    assert after < before + 0.03 < carried
