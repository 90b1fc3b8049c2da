"""Names of all metrics: the key in report.json -> the label in tables and plots."""

from motiongpt.features.smplx import SMPLX_ROTATIONS, SMPLX_WIDTHS

ERRORS = {
    "mpjpe_mm": "MPJPE, root-aligned (mm)",
    "global_mpjpe_mm": "MPJPE, global (mm)",
    "pa_mpjpe_mm": "PA-MPJPE (mm)",
    "velocity_error_m_s": "velocity error (m/s)",
    "acceleration_error_mm_frame2": "acceleration error (mm per frame^2)",
    "acceleration_error_m_s2": "acceleration error (m/s^2)",
}
"""A reconstruction against its original."""

QUALITIES = {
    "foot_skate": "foot-skate ratio",
    "floor_penetration_mm": "floor penetration (mm)",
    "jerk_m_s3": "jerk (m/s^3)",
    "bone_length_drift": "bone-length drift (share)",
    "bone_limits": "bone limits violated (share)",
}
"""One motion by itself, so the original has them too."""


def _unit(group: str) -> str:
    """The unit of an SMPL-X group; shape and expression have none."""
    return " (rad)" if group in SMPLX_ROTATIONS else " (m)" if group == "transl" else ""


PARAMETERS = {
    "feature_rmse": "all parameters, normalised, RMSE",
    **{f"{group}_degrees": f"{group}, mean angle (degrees)" for group in SMPLX_ROTATIONS},
    **{f"{group}_rmse": f"{group}, RMSE{_unit(group)}" for group in SMPLX_WIDTHS},
}
"""Reconstructed SMPL-X parameters against their originals."""

RECONSTRUCTION = ERRORS | QUALITIES | PARAMETERS

MATCHING = {
    "r_precision_1": "R@1",
    "r_precision_2": "R@2",
    "r_precision_3": "R@3",
    "fid": "FID",
    "mm_dist": "MM-Dist",
    "diversity": "Diversity",
    "multimodality": "MultiModality",
}
"""Text and motion in the embedding space of an evaluator."""

MOTION = {
    "edit_mean": "token edit distance, mean",
    "edit_nearest": "nearest",
    "edit_mean_share": "mean share",
    "edit_nearest_share": "nearest share",
    "length_within": "length within 10 %",
    "length_error": "length error (codes)",
    "length_away": "length off the real clip's (share)",
    **QUALITIES,
}
"""Written motions: their codes, their lengths, their physical qualities."""

TOKENS = {
    "split_length_within": "length within 10 % of the split's median",
    "split_length_error": "length error to the split's median (codes)",
    "length_violations": "outside the length limits (share)",
    "code_violations": "with a code not allowed (share)",
    "cut_off": "cut off at the longest length (share)",
}
"""Written motions of a token data set; edit distances and lengths against training are those of
`MOTION`."""

CAPTIONS = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "bert_score": "BERTScore F1",
}
"""Written sentences against the captions of the clip."""

COMPLETION = {
    "ade": "ADE (m)",
    "fde": "FDE (m)",
    "ade_root": "ADE, root-aligned (m)",
    "fde_root": "FDE, root-aligned (m)",
    "mpjpe_mm": ERRORS["mpjpe_mm"],
    "global_mpjpe_mm": ERRORS["global_mpjpe_mm"],
    "given_kept": "given codes kept (share)",
}
"""A motion of which a part was given, against the real one: the frames that were not given."""

NAMING = {
    "action_named": "actions named, with their sides (share)",
    "family_named": "actions named, whatever the side (share)",
    "one_named": "one of the actions named (share)",
    "side_named": "side right, if the action is (share)",
}
"""Written sentences against the actions that a clip of the embedded data shows."""

ALL_LABELS = MATCHING | MOTION | TOKENS | CAPTIONS | ERRORS | PARAMETERS | COMPLETION
"""Every metric, in the order of a comparison."""


def ranking(metrics: dict) -> str:
    """The metric that ranks clips of a reconstruction:
    MPJPE, or without joints the error of all parameters."""
    return "mpjpe_mm" if "mpjpe_mm" in metrics else "feature_rmse"
