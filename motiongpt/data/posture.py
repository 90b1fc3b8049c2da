"""Do the positions look like people in metres with y up? No file says so for sure, and retargeting hides the unit.

Nothing is refused: somebody may film people who lie down. A wrong `--unit` or `--up` is named with what was measured.
"""

from collections.abc import Sequence

import numpy as np

from motiongpt.skeletons import Skeleton

TALL = (0.4, 2.5)  # metres from the lowest to the highest joint: a small child who squats, a tall man who reaches up
HEADS = ("head", "BUN", "skull")
FRAMES = 16  # of a clip are measured


def measure(joints: np.ndarray, skeleton: Skeleton) -> list[float]:
    """Medians over frames of joints (F, J, 3): the extents along x, y, z, and from the feet to the head along x, y, z,
    where the skeleton has a head by name."""
    joints = joints[:: max(1, len(joints) // FRAMES)]
    vectors = [np.ptp(joints, axis=1)]
    if head := next((name for name in HEADS if name in skeleton.joints), None):
        feet = joints[:, [*skeleton.feet_left, *skeleton.feet_right]].mean(axis=1)
        vectors.append(joints[:, skeleton.joints.index(head)] - feet)
    return [round(float(x), 4) for vector in vectors for x in np.median(vector, axis=0)]


def warnings(measures: Sequence[list[float]]) -> list[str]:
    """What is wrong with most clips, of which `measure` gave these: at most a line on the axis and one on the unit."""
    if not measures:
        return []
    middle, lines = np.median(np.array(measures), axis=0), []
    extents, rise = middle[:3], middle[3:]
    tall = extents[1]
    if len(rise) and rise[1] < 0.5 * np.linalg.norm(rise):  # more than 60 degrees from upright
        tall = extents.max()
        turned = np.abs(rise[2]) > 0.5 * np.linalg.norm(rise)
        flag = f"give --up {'z' if rise[2] > 0 else 'y'}" if turned else "check --up"
        lines.append(f"the heads are {rise[1]:.3g} m above the feet, and {rise[2]:.3g} m along z: unless most people "
                     f"lie, {flag}")  # fmt: skip
    if not TALL[0] <= tall <= TALL[1]:
        lines.append(f"the bodies are {tall:.3g} m tall, expected {TALL[0]} to {TALL[1]}: check --unit (metres of one "
                     f"unit of the file){'' if len(rise) else ', and --up'}")  # fmt: skip
    return lines
