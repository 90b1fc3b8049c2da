"""Do the clips of a data set look like people, in metres, y up, with their left on the left?

No file guarantees it, and retargeting hides most mistakes: a wrong `--unit` or `--up` would go unnoticed. So a few
numbers are measured before retargeting. If most clips share a fault, a warning names the flag that fixes it. Nothing is
refused, because somebody may really film people lying down.
"""

from collections.abc import Collection, Sequence

import numpy as np

from motiongpt.body.skeletons import Skeleton

TALL = (0.4, 2.5)  # metres from the lowest to the highest joint: a small child who squats, a tall man who reaches up
HEADS = ("head", "BUN", "skull")  # names of the head in our skeletons
FRAMES = 16  # measured in a clip
STILL = 1e-3  # metres: the root of somebody who stands still moves more
MIRRORED = -0.3  # cosine
LOOSE_BONES = 0.7  # of the mean distance of two joints


def measure_posture(joints: np.ndarray, skeleton: Skeleton) -> list[float | None]:
    """Nine numbers of joints (F, J, 3): medians over frames, None if the skeleton lacks the joints for it.

    0-2  extent of the body along x, y, z
    3-5  from the feet to the head along x, y, z
    6    cosine between where the toes point and where hips and trunk say that ahead is: -1 in a mirror image
    7    mean bone over mean distance of two joints: near 1 if the joints are in another order
    8    size of the root's path
    """
    path = np.linalg.norm(np.ptp(joints[:, 0], axis=0))  # over all frames
    joints = joints[:: max(1, len(joints) // FRAMES)].astype(np.float64)
    numbers = [*np.median(np.ptp(joints, axis=1), axis=0), *[None] * 4]
    if head := next((name for name in HEADS if name in skeleton.joints), None):
        feet = joints[:, [*skeleton.feet_left, *skeleton.feet_right]].mean(axis=1)
        numbers[3:6] = np.median(joints[:, skeleton.joints.index(head)] - feet, axis=0)
    right, left, *shoulders = skeleton.face
    ankles, toes = zip(skeleton.feet_left, skeleton.feet_right, strict=True)
    # not for KIT-ML, which is stored mirrored: its `face` names the hips the other way round
    if (left, right) in skeleton.mirror_pairs and ankles != toes:
        # the trunk points up the body even if the person is lying down
        trunk = joints[:, shoulders].mean(axis=1) - joints[:, [left, right]].mean(axis=1)
        ahead = np.cross(joints[:, left] - joints[:, right], trunk)
        pointed = (joints[:, toes] - joints[:, ankles]).sum(axis=1)
        length = np.linalg.norm(ahead, axis=1) * np.linalg.norm(pointed, axis=1)
        numbers[6] = np.median((ahead * pointed).sum(axis=1) / np.maximum(length, 1e-12))
    bones = np.linalg.norm(joints[:, 1:] - joints[:, skeleton.parents[1:]], axis=-1).mean(axis=1)
    distances = np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1).mean(axis=(1, 2))
    numbers += [np.median(bones / np.maximum(distances, 1e-12)), path]
    return [None if x is None else round(float(x), 4) for x in numbers]


def warnings(
    measures: Sequence[list[float | None]], flags: Collection[str] = ("unit", "up"), up: str | None = None
) -> list[str]:
    """What is wrong with most clips, one line each.

    `measures` are the clips' numbers from `measure_posture`. Only flags that can help are advised: `flags` are those
    that the source takes, `up` is the --up that was given.
    """
    if not measures:
        return []
    table = np.array(measures, dtype=float)  # None becomes NaN, for which every comparison is false
    middle = np.median(table, axis=0)
    extents, rise = middle[:3], middle[3:6]
    ahead, bones = middle[6], middle[7]
    tall = extents[1]
    unusual = "which is unusual; look at the files"
    lines = []
    if rise[1] < 0.5 * np.linalg.norm(rise):  # more than 60 degrees from upright
        tall = extents.max()
        turned = np.abs(rise[2]) > 0.5 * np.linalg.norm(rise)
        wanted = "z" if rise[2] > 0 else "y"
        advice = f"give --up {wanted}" if turned and "up" in flags and wanted != up else unusual
        lines.append(
            f"the heads are {rise[1]:.3g} m above the feet, and {rise[2]:.3g} m along z, {rise[0]:.3g} m along x: "
            f"unless most people lie, {advice}"
        )
    if not TALL[0] <= tall <= TALL[1]:
        advice = "check --unit (metres of one unit of the file)" if "unit" in flags else unusual
        advice += ", and --up" if np.isnan(rise[1]) and "up" in flags and up is None else ""
        lines.append(f"the bodies are {tall:.3g} m tall, expected {TALL[0]} to {TALL[1]}: {advice}")
    if bones > LOOSE_BONES:
        lines.append(f"mean bone / mean distance of two joints is {bones:.3g}: are the joints in another order?")
    elif ahead < MIRRORED:
        lines.append("left and right are exchanged (mirrored axes?): the toes point backwards in most clips")
    if len(table) > 2 and (table[:, -1] < STILL).all():
        lines.append("the root never moves in any clip: root-relative positions lose where the body goes")
    return lines
