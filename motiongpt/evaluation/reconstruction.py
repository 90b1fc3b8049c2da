"""What a motion tokenizer gives back of every clip, at its own length: `report.json` for programs, `report.md` and
pictures for people.

`evaluate_vqvae` measures (returns a dict, writes nothing), `write_vqvae_report` writes. Every frame counts once, so
long clips count more, as in the field's code. No time, no path and no random number is in a report: the same input
gives the same bytes. What joints are made of is in metres; where features are no joints (SMPL-X), the parameters
themselves are compared, and nothing is drawn.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt import __version__
from motiongpt.body.rotations import angle_between
from motiongpt.body.skeletons import Skeleton
from motiongpt.data.motions import SPLITS, MotionDataset
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import SMPLX_ROTATIONS, SMPLX_WIDTHS, Representation
from motiongpt.files.store import write_atomic, write_json
from motiongpt.metrics.joints import (
    SKATE_HEIGHT,
    SKATE_SPEED,
    SKATE_WINDOW,
    acceleration_error,
    bone_lengths,
    code_counts,
    floor_penetration,
    foot_skate,
    jerk,
    length_drift,
    limit_violation,
    mpjpe,
    pa_mpjpe,
    perplexity,
    velocity_error,
)
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion
from motiongpt.render.report import plot_code_usage, render_pair

ERRORS = {
    "mpjpe_mm": "MPJPE, root-aligned (mm)",
    "global_mpjpe_mm": "MPJPE, global (mm)",
    "pa_mpjpe_mm": "PA-MPJPE (mm)",
    "velocity_error_m_s": "velocity error (m/s)",
    "acceleration_error_mm_frame2": "acceleration error (mm per frame^2)",
    "acceleration_error_m_s2": "acceleration error (m/s^2)",
}
"""Of a reconstruction against its original: key in report.json -> name and unit."""
QUALITIES = {
    "foot_skate": "foot-skate ratio",
    "floor_penetration_mm": "floor penetration (mm)",
    "jerk_m_s3": "jerk (m/s^3)",
    "bone_length_drift": "bone-length drift (share)",
    "bone_limits": "bone limits violated (share)",
}
"""Of one motion alone, so measured on the original too."""
PARAMETERS = {
    "feature_rmse": "all parameters, normalised, RMSE",
    **{f"{name}_degrees": f"{name}, mean angle (degrees)" for name in SMPLX_ROTATIONS},
    **{f"{name}_rmse": f"{name}, RMSE" + (" (rad)" if name in SMPLX_ROTATIONS else " (m)" if name == "transl" else "")
       for name in SMPLX_WIDTHS},
}  # fmt: skip
"""Of reconstructed SMPL-X parameters against their originals; shape and expression have no unit."""
LABELS = ERRORS | QUALITIES | PARAMETERS
BONE_LIMIT = 0.2  # share a bone may be off the skeleton's length
SHOWN = ("best", "median", "worst")
WRITTEN = ("report.json", "report.md", "embeddings.safetensors", "metrics.png", "r_precision.png", "codes.png",
           "lengths.png", *(f"{rank}.{kind}" for rank in SHOWN for kind in ("gif", "png")))  # fmt: skip
"""All files an evaluation may write."""
TAKEN = {
    "dataset.json": "a data set", "new_joint_vecs": "a data set", "config.json": "a run or a tokenizer",
    "model.safetensors": "a tokenizer or an evaluator", "adapter_model.safetensors": "a stage of a run",
    "text_mot_match": "an evaluator", "finest.tar": "an evaluator",
}  # fmt: skip
"""What a folder is that holds such a file: none to write a report into."""


def check_report_folder(out: Path) -> None:
    """ValueError where `out` is `TAKEN`: a data set has a report.json of its own, which would be lost."""
    if found := [kind for name, kind in TAKEN.items() if (out / name).exists()]:
        raise ValueError(f"--out {out} is {found[0]}; give the evaluation a folder of its own")


def clear_report(out: Path) -> None:
    """Remove what a former evaluation wrote into `out`: nothing of it may stand beside another report."""
    check_report_folder(out)
    for name in WRITTEN:
        (out / name).unlink(missing_ok=True)


def frame_errors(joints: Tensor, target: Tensor, fps: float) -> dict[str, Tensor]:
    """`ERRORS` of one clip (F, J, 3) in metres, a value per frame (or step between frames) each."""
    acceleration = acceleration_error(joints, target)
    return {
        "mpjpe_mm": 1000 * mpjpe(joints, target),
        "global_mpjpe_mm": 1000 * mpjpe(joints, target, root=None),
        "pa_mpjpe_mm": 1000 * pa_mpjpe(joints, target),
        "velocity_error_m_s": fps * velocity_error(joints, target),
        "acceleration_error_mm_frame2": 1000 * acceleration,
        "acceleration_error_m_s2": fps**2 * acceleration,
    }


def frame_qualities(joints: Tensor, skeleton: Skeleton, fps: float, floor: float) -> dict[str, Tensor]:
    """`QUALITIES` of clips (..., F, J, 3) in metres; a value per frame or step, of bone drift one per clip.

    No bone limits where the skeleton's offsets are directions only.
    """
    toes = (skeleton.feet_left[1], skeleton.feet_right[1])
    lengths, limits = bone_lengths(joints, skeleton.parents), torch.empty(0, dtype=torch.bool)
    if skeleton.has_lengths:
        own = torch.tensor(skeleton.offsets[1:], dtype=lengths.dtype).norm(dim=-1) * skeleton.metres_per_unit
        limits = limit_violation(lengths, (1 - BONE_LIMIT) * own, (1 + BONE_LIMIT) * own)
    return {
        "foot_skate": foot_skate(joints, toes, fps, floor),
        "floor_penetration_mm": 1000 * floor_penetration(joints, floor),
        "jerk_m_s3": jerk(joints, fps),
        "bone_length_drift": length_drift(lengths)[..., None],
        "bone_limits": limits,
    }


def parameter_errors(
    features: Tensor, target: Tensor, representation: Representation, normalizer: Normalizer
) -> dict[str, Tensor]:
    """`PARAMETERS` of one clip (F, D), a value per frame each, of `*_rmse` its square; an angle is the joints' mean."""
    features, target = features.double(), target.double()
    normalised = normalizer.normalise(features) - normalizer.normalise(target)
    errors = {"feature_rmse": normalised.square().mean(-1)}
    for name, columns in representation.groups.items():
        ours, theirs = features[:, columns], target[:, columns]
        errors[f"{name}_rmse"] = (ours - theirs).square().mean(-1)
        if name in SMPLX_ROTATIONS:
            angles = angle_between(*(x.unflatten(-1, (-1, 3)) for x in (ours, theirs)))
            errors[f"{name}_degrees"] = angles.rad2deg().mean(-1)
    return errors


def average(clips: list[dict[str, Tensor]]) -> dict[str, float | None]:
    """The mean over all frames of all clips, per name, and of `*_rmse`, which come as squares, its root; None where
    there is no value (clips of one or two frames)."""
    values = {name: torch.cat([clip[name].double() for clip in clips]) for name in clips[0]}
    means = {name: float(value.mean()) if len(value) else None for name, value in values.items()}
    return {name: x**0.5 if x is not None and name.endswith("_rmse") else x for name, x in means.items()}


def reconstruct(
    tokenizer: MotionTokenizer, clips: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """Encode and decode clips (F, D) in batches of similar length, each at its own length.

    Yields name, codes (S, Q), and features (4 S, D) decoded from the first 1, 2, ... Q layers.
    """
    order = sorted(clips, key=lambda name: (len(clips[name]), name))
    for first in range(0, len(order), batch_size):
        names = order[first : first + batch_size]
        codes = tokenizer.encode_all([clips[name] for name in names])
        layers = range(1, tokenizer.vqvae.quantizer.num_layers + 1)
        decoded = [tokenizer.decode_features([row[:, :q] for row in codes]) for q in layers]
        for name, row, *features in zip(names, codes, *decoded, strict=True):
            yield name, row, features


def measure(
    tokenizer: MotionTokenizer, original: np.ndarray, decoded: list[Tensor]
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Errors and qualities of a clip (F, D) decoded from 1, 2, ... layers, and the qualities of the original."""
    target = torch.as_tensor(original)
    if not tokenizer.representation.has_joints:
        cut = target[: len(decoded[-1])]
        return [parameter_errors(x, cut, tokenizer.representation, tokenizer.normalizer) for x in decoded], {}
    joints = tokenizer.joints(target)
    floor, joints = float(joints[..., 1].min()), joints[: len(decoded[-1])]

    def quality(x: Tensor) -> dict[str, Tensor]:
        return frame_qualities(x, tokenizer.skeleton, tokenizer.fps, floor)

    layers = [tokenizer.joints(x) for x in decoded]
    return [frame_errors(x, joints, tokenizer.fps) | quality(x) for x in layers], quality(joints)


def code_usage(counts: Tensor) -> dict:
    """What a report says of how often each code (N,) was written."""
    return {"codes": len(counts), "active": int((counts > 0).sum()), "perplexity": float(perplexity(counts)),
            "histogram": counts.tolist()}  # fmt: skip


def clips_hash(clips: Iterable[tuple[str, np.ndarray, object]]) -> str:
    """16 hex digits of what is measured, (name, frames, what is said of them): a changed one is another data set."""
    digest = hashlib.sha256()
    for name, features, said in clips:
        digest.update(f"{name}{features.shape}{said}".encode() + features.tobytes())
    return digest.hexdigest()[:16]


def train_warning(inside: int, measured: int) -> list[str]:
    """Markdown that says how many measured clips are in train.txt, where some are."""
    if not inside:
        return []
    return [
        f"**Warning: {inside} of {measured} measured clips are of the training split (train.txt): this says what was "
        "learnt by heart, and no number of it belongs in a table.**", "",
    ]  # fmt: skip


def other_lists(data: MotionDataset, split: str, clips: int = 1, frames: range = range(1, sys.maxsize)) -> str:
    """Which other lists have at least `clips` clips of so many `frames`, as the end of an error message; never train,
    which says what was learnt by heart."""
    there = [name for name in reversed(SPLITS) if name != "train" and (data.folder / f"{name}.txt").is_file()]
    lists = [name for name in dict.fromkeys([*there, "+".join(reversed(there))]) if name not in ("", split)]
    others = [name for name in lists if sum(data.frames(clip) in frames for clip in data.ids(name)) >= clips]
    return "; --split " + " or ".join(others) + " measures others" if others else ""


def load_clips(data: MotionDataset, split: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`data.load_for_report`, with an error that names another list where this one is missing."""
    try:
        return data.load_for_report(split)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{other_lists(data, split)}") from error


def evaluate_vqvae(
    tokenizer: MotionTokenizer, data: MotionDataset, split: str = "test", clips: int | None = None, batch_size: int = 32
) -> dict:
    """Measure reconstruction on a split, or on its first `clips` usable ones; returns what report.json holds.

    Raises ValueError where tokenizer and data have different skeletons, representations or frame rates, or no clip is
    usable, and FileNotFoundError where there is no such split.
    """
    check_same_motion(tokenizer, data)
    usable, dropped = load_clips(data, split)
    unit = tokenizer.config.frames_per_code
    dropped |= {name: f"{len(x)} frames, shorter than one code" for name, x in usable.items() if len(x) < unit}
    usable = {name: x for name, x in usable.items() if len(x) >= unit}
    if not usable:
        others = other_lists(data, split, frames=range(unit, sys.maxsize))
        raise ValueError(f"{data.folder}/{split}.txt has no usable clip of at least {unit} frames{others}")
    chosen = dict(list(usable.items())[:clips])

    layers = [{} for _ in range(tokenizer.vqvae.quantizer.num_layers)]  # per layer: name -> values per frame
    qualities, codes = {}, {}
    bar = tqdm(total=len(chosen), unit="clip", disable=None)
    for name, codes[name], decoded in reconstruct(tokenizer, chosen, batch_size):
        errors, qualities[name] = measure(tokenizer, chosen[name], decoded)
        for layer, values in zip(layers, errors, strict=True):
            layer[name] = values
        bar.update()
    bar.close()

    rows = {name: {"frames": unit * len(codes[name])} | average([layers[-1][name]]) for name in chosen}
    ranked = sorted(rows, key=lambda name: (rows[name][ranking(rows[name])], name))
    size = tokenizer.config.codes
    histograms = [code_counts(torch.cat([codes[name][:, q] for name in chosen]), size) for q in range(len(layers))]
    return {
        "what": "vqvae",
        "protocol": {
            "data": data.folder.resolve().name,
            "data_hash": clips_hash((name, x, "") for name, x in chosen.items()), "tokenizer_hash": tokenizer.hash,
            "split": split, "clips": len(chosen), "in_train": len(chosen.keys() & set(data.ids("train"))),
             "usable_clips": len(usable), "dropped_clips": len(dropped),
            "frames": sum(row["frames"] for row in rows.values()), "fps": data.fps,
            "skeleton": tokenizer.skeleton.name if data.representation.has_joints else None,
            "representation": data.representation.name,
            "motiongpt": __version__, "torch": torch.__version__,
        },
        "metrics": average([layers[-1][name] for name in chosen]),
        "original": average([qualities[name] for name in chosen]),
        "layers": [average([layer[name] for name in chosen]) for layer in layers],
        "codebook": [code_usage(counts) for counts in histograms],
        "shown": dict(zip(SHOWN, (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True)),
        "dropped": dropped,
        "clips": rows,
    }  # fmt: skip


def ranking(metrics: Mapping[str, object]) -> str:
    """By what clips are ranked: joints where there are joints."""
    return "mpjpe_mm" if "mpjpe_mm" in metrics else "feature_rmse"


def write_vqvae_report(
    report: dict, tokenizer: MotionTokenizer, data: MotionDataset, out: Path, more: str = ""
) -> list[Path]:
    """Write report.json, report.md, codes.png and, of joints, a GIF each of the best, median and worst clip; returns
    the paths. `more` is Markdown that follows in report.md.
    """
    gifs = SHOWN if tokenizer.representation.has_joints else ()
    paths = [out / name for name in ("report.json", "report.md", "codes.png", *(f"{name}.gif" for name in gifs))]
    write_json(paths[0], report)
    text = vqvae_markdown(report) + more
    write_atomic(paths[1], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    plot_code_usage({f"layer {q}": x["histogram"] for q, x in enumerate(report["codebook"], 1)}, paths[2])
    for path, name in zip(paths[3:], (report["shown"][rank] for rank in gifs), strict=True):
        features = data.features(name)
        (_, _, decoded), *_ = reconstruct(tokenizer, {name: features}, 1)
        joints = [tokenizer.joints(x).numpy() for x in (torch.as_tensor(features)[: len(decoded[-1])], decoded[-1])]
        render_pair(
            *joints, tokenizer.skeleton, path, fps=data.fps, title=f"{name}, original",
            other=f"reconstruction, {report['clips'][name]['mpjpe_mm']:.1f} mm",
        )  # fmt: skip
    return paths


def protocol_line(protocol: dict) -> str:
    """One line that says what was measured on what; numbers with different lines are not comparable."""
    p = protocol
    taken = "all" if p["clips"] == p["usable_clips"] else f"the first {p['clips']} of {p['usable_clips']}"
    return (
        f"data {p['data']} ({p['data_hash']}), tokenizer {p['tokenizer_hash']}, split {p['split']}, N = {p['clips']} "
        f"({taken} usable clips, {p['dropped_clips']} dropped), {p['frames']} frames at {p['fps']:g} fps, "
        f"{'skeleton ' + p['skeleton'] + ', ' if p['skeleton'] else ''}representation {p['representation']}, "
        f"motiongpt {p['motiongpt']}, torch {p['torch']}"
    )


def number(value: float | None) -> str:
    """A number for people; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}" if abs(value) < 10 else f"{value:.1f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


JOINTS_NOTE = (
    "PA-MPJPE fits rotation, scale and place in each frame. Acceleration is the second difference of global positions. "
    "The floor is the original's lowest joint. Foot skate is the share of steps in which a toe below "
    f"{100 * SKATE_HEIGHT:g} cm slides faster than {SKATE_SPEED:g} m/s, in the step and on average over {SKATE_WINDOW} "
    "steps (GMD). Jerk depends on the frame rate. Bone limits: share of frames with a bone more than "
    f"{100 * BONE_LIMIT:.0f} % off the skeleton's length."
)
PARAMETERS_NOTE = (
    "RMSE is over all frames and columns of a group, rotations as axis-angle; an angle is that of the turn from the "
    "original to the reconstruction, which unlike the RMSE does not depend on how a rotation is written, on average "
    "over joints and frames. Joints, and so pictures, need a body model."
)


def vqvae_markdown(report: dict) -> str:
    """The report as Markdown, for people."""
    metrics, original, best = report["metrics"], report["original"], ranking(report["metrics"])
    names = {name: label for name, label in LABELS.items() if name in metrics}
    p = report["protocol"]
    lines = ["# Motion tokenizer: reconstruction", "", f"Protocol: {protocol_line(p)}.", ""]
    lines += train_warning(p["in_train"], p["clips"])
    lines += table(
        ["metric", "reconstruction", "original"],
        [[label, number(metrics[name]), number(original[name]) if name in original else "0"]
         for name, label in names.items()],
    )  # fmt: skip
    lines += [
        "",
        "Each clip is coded alone and decoded at its own length; frames past its last whole code are left out of both. "
        "Every frame counts once. " + (JOINTS_NOTE if original else PARAMETERS_NOTE),
        "",
        "## Codes",
        "",
        *table(
            ["layer", "active", "of", "perplexity"],
            [[str(q), str(layer["active"]), str(layer["codes"]), f"{layer['perplexity']:.1f}"]
             for q, layer in enumerate(report["codebook"], 1)],
        ),
        "",
        "![how often each code is used](codes.png)",
        "",
    ]  # fmt: skip
    if len(report["layers"]) > 1:
        rows = [[str(q), *(number(row[name]) for name in names)] for q, row in enumerate(report["layers"], 1)]
        lines += ["## Layers used", "", *table(["layers", *names.values()], rows), ""]
    side = "Original on the left, reconstruction on the right, ranked" if original else "Ranked"
    lines += ["## Clips", "", f"{side} by: {LABELS[best]}.", ""]
    for rank, name in report["shown"].items():
        lines += [f"{rank}: {name}, {number(report['clips'][name][best])}", ""]
        lines += [f"![{rank}]({rank}.gif)", ""] if original else []
    if report["dropped"]:
        lines += ["## Dropped", "", *(f"- {name}: {reason}" for name, reason in report["dropped"].items()), ""]
    return "\n".join(lines)
