"""The 182 SMPL-X numbers of a frame: their order, ours and that of other projects."""

from collections.abc import Mapping

import numpy as np

_TRAIN = {
    "betas": 10, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "expression": 10,
    "global_orient": 3, "transl": 3,
}  # fmt: skip


_VISUALIZE = {
    "betas": 10, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "transl": 3, "expression": 10,
    "jaw_pose": 3, "eye_pose": 3,
}  # fmt: skip


SMPLX_WIDTH = 182


def _slices(widths: Mapping[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}


LAYOUT = _slices(_TRAIN)
"""Name -> its columns among our 182."""


FOREIGN = {"train": LAYOUT, "visualize": _slices(_VISUALIZE)}
"""Layout name -> name -> columns, of arrays without names."""


def from_layout(array: np.ndarray, layout: str | None) -> np.ndarray:
    """(F, 182) of a foreign layout -> (F, 182) float32 in ours. What a layout lacks is zero (`missing_in` names it).

    Raises ValueError without a layout, for an unknown one, and for another width.
    """
    if layout not in FOREIGN:
        raise ValueError(
            f"182 numbers without names: say which order, --smplx-layout {{{','.join(FOREIGN)}}}"
            + (f", not {layout!r}" if layout is not None else "")
        )
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[1] != SMPLX_WIDTH or array.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers (F, {SMPLX_WIDTH}), got {array.shape} {array.dtype}")
    ours = np.zeros(array.shape, np.float32)
    for name, columns in FOREIGN[layout].items():
        if name in LAYOUT:
            ours[:, LAYOUT[name]] = array[:, columns]
    return ours


def missing_in(layout: str) -> list[str]:
    """Names of ours that a foreign layout does not carry."""
    return [name for name in LAYOUT if name not in FOREIGN[layout]]


SMPLX_WIDTHS = {
    "betas": 10, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "expression": 10,
    "global_orient": 3, "transl": 3,
}  # fmt: skip
"""The 182 numbers of a frame, in order; the same as the reader's `LAYOUT`."""


SMPLX_ROTATIONS = ("body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "global_orient")  # axis-angle
