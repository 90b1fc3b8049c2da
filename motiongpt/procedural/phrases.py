"""What the sentences of the embedded dataset say:
the verb phrases of every family of actions, in the third person.

`PHRASES` are true of every performance of a family, whatever its tempo, count, size and angle.
`SIZED` are true of a large or a small one only, `DEGREES` of one angle only. The first phrase of a
list is the plain one. {the} stands for an article or a possessive, {side} for the clip's side and
{other} for the other one, {wise} for counterclockwise (to the left, seen from above) or clockwise,
{degrees} for the angle in words or digits.

The texts are written by hand, in `procedural/wordings/`, a list as one text: its phrases stand
between bars. The first word of a phrase is its verb, and so is one that follows "and" and ends in s.
A phrase of a one-sided family may leave the side unsaid: it has none of `SIDE_FIELDS`.
"""

from motiongpt.procedural.wordings.angles import ANGLES
from motiongpt.procedural.wordings.body import BODY
from motiongpt.procedural.wordings.gestures import GESTURES
from motiongpt.procedural.wordings.locomotion import LOCOMOTION
from motiongpt.procedural.wordings.sizes import SIZES

SIDE_FIELDS = ("{side}", "{other}", "{wise}")


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(text.split()).split(" | "))


def says_side(phrase: str) -> bool:
    """Does a phrase name the side of an action, or its direction?"""
    return any(field in phrase for field in SIDE_FIELDS)


PHRASES = {name: _phrases(text) for name, text in (LOCOMOTION | BODY | GESTURES).items()}
"""Family -> its phrases."""
SIZED = {name: {size: _phrases(text) for size, text in lists.items()} for name, lists in SIZES.items()}
"""Family -> "large" and "small" -> phrases. All other families are always performed at their normal size."""
DEGREES = {name: {angle: _phrases(text) for angle, text in lists.items()} for name, lists in ANGLES.items()}
"""Family -> degrees (45, 90, 180, 360) -> phrases."""
