"""One kinematic condition per action, which tells its motions from those of the other actions.

Conditions and actions are pairs, on purpose. `procedural/actions.py` lists a function per action
that makes the motion; `CHECKS` lists a function of the same name that recognises it, with exactly
the names of `ACTIONS` (a test compares them). Nobody could judge an action without a condition, so
add both together.

A condition takes `Measures` (and a side, 0 left, 1 right) and says yes or no. Its docstring states
it in words and units. It never looks at a sentence, at codes or at a probability. Thresholds lie
about half-way to the neighbouring actions, so that a motion still passes after a tokenizer's round
trip. They were set by hand, on motions of the generator that makes the training data and on their
round trips; other data may need others.

What it does not know: style, naturalness, how often, how slowly.
`judge.py` asks first whether there is a body at all.
"""

from collections.abc import Callable
from functools import partial

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness import body_checks as body
from motiongpt.faithfulness import gesture_checks as gestures
from motiongpt.faithfulness import locomotion_checks as steps
from motiongpt.faithfulness.measures import Measures

_PLAIN_CHECKS = (
    steps.walk_forward,
    steps.walk_backward,
    steps.run,
    steps.jog_in_place,
    steps.march_in_place,
    steps.turn_around,
    body.jump,
    body.jump_forward,
    body.squat,
    body.sit_down,
    body.stand_up,
    body.sit_and_stand,
    body.bow,
    body.jumping_jacks,
    gestures.clap,
    gestures.stretch,
    gestures.raise_both_arms,
    body.pick_up,
    gestures.hands_on_hips,
    gestures.nod,
    gestures.shake_head,
    steps.march_forward,
    steps.tiptoe,
    steps.sneak,
    body.stand_still,
    body.dance,
    body.yoga,
    body.touch_toes,
    gestures.boxing,
    gestures.shrug,
    gestures.wave_both,
)
_SIDED_CHECKS = (
    steps.walk_circle,
    steps.walk_sideways,
    steps.turn,
    body.hop,
    body.kneel,
    body.kneel_and_rise,
    body.kick,
    body.lunge,
    body.balance,
    body.pick_up,
    gestures.wave,
    gestures.punch,
    gestures.raise_arm,
    gestures.throw,
    gestures.point,
    steps.spin,
    body.tree_pose,
    body.warrior_pose,
    body.side_bend,
    gestures.look,
    gestures.salute,
    gestures.drink,
)

CHECKS: dict[str, Callable[[Measures], bool]] = {check.__name__: check for check in _PLAIN_CHECKS}
CHECKS |= {
    f"{check.__name__}_{name}": partial(check, side=k) for check in _SIDED_CHECKS for k, name in enumerate(SIDES)
}
"""Name of an action -> its condition, for exactly the actions of `procedural.actions.ACTIONS`."""

INCLUDED = {
    ("raise_both_arms", "stretch"): "a stretch holds both arms over the head",
    ("walk_forward", "march_forward"): "somebody who marches forward walks forward",
    ("walk_forward", "tiptoe"): "so does somebody on tiptoe",
    ("touch_toes", "yoga"): "one of its poses ends in a fold down to the toes",
    **{
        pair: "trees and warriors are the poses of yoga"
        for pose in ("tree_pose_left", "tree_pose_right", "warrior_pose_left", "warrior_pose_right")
        for pair in (("yoga", pose), (pose, "yoga"))
    },
    ("pick_up", "pick_up_left"): "picking something up does not say with which hand",
    ("pick_up", "pick_up_right"): "picking something up does not say with which hand",
}
"""(condition, action) -> why motions of this action may also satisfy the condition of another
one."""
