"""What a trained model is worth, as one report: `report.json` for programs, `report.md` and pictures for people.

Each subject has a function that measures (returns a dict, writes nothing) and one that writes its report. Today there
is one subject: the motion tokenizer's reconstruction, every clip at its own length. Every frame counts once, so long
clips count more, as in the field's code. No time, no path and no random number is in a report: the same input gives
the same bytes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt import __version__
from motiongpt.data.motions import MotionDataset
from motiongpt.files import write_atomic, write_json
from motiongpt.metrics import (
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
from motiongpt.render.report import plot_code_usage, render_pair
from motiongpt.skeletons import Skeleton
from motiongpt.tokenizer import MotionTokenizer, check_same_motion

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
BONE_LIMIT = 0.2  # share a bone may be off the skeleton's length
SHOWN = ("best", "median", "worst")


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


def average(clips: list[dict[str, Tensor]]) -> dict[str, float | None]:
    """The mean over all frames of all clips, per name; None where there is no value (clips of one or two frames)."""
    values = {name: torch.cat([clip[name].double() for clip in clips]) for name in clips[0]}
    return {name: float(value.mean()) if len(value) else None for name, value in values.items()}


def reconstruct(
    tokenizer: MotionTokenizer, clips: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """Encode and decode clips (F, D) in batches of similar length, each at its own length.

    Yields name, codes (S, Q), and joints (4 S, J, 3) in metres decoded from the first 1, 2, ... Q layers.
    """
    order = sorted(clips, key=lambda name: (len(clips[name]), name))
    for first in range(0, len(order), batch_size):
        names = order[first : first + batch_size]
        codes = tokenizer.encode_all([clips[name] for name in names])
        layers = range(1, tokenizer.vqvae.quantizer.num_layers + 1)
        decoded = [tokenizer.decode_features([row[:, :q] for row in codes]) for q in layers]
        for name, row, *features in zip(names, codes, *decoded, strict=True):
            yield name, row, [tokenizer.joints(layer) for layer in features]


def code_usage(counts: Tensor) -> dict:
    """What a report says of how often each code (N,) was written."""
    return {"codes": len(counts), "active": int((counts > 0).sum()), "perplexity": float(perplexity(counts)),
            "histogram": counts.tolist()}  # fmt: skip


def evaluate_vqvae(
    tokenizer: MotionTokenizer, data: MotionDataset, split: str = "test", clips: int | None = None, batch_size: int = 32
) -> dict:
    """Measure reconstruction on a split, or on its first `clips` usable ones; returns what report.json holds.

    Raises ValueError where tokenizer and data have different skeletons, representations or frame rates, no clip is
        usable, or the representation has no joints (SMPL-X parameters).
    """
    check_same_motion(tokenizer, data)
    usable, dropped = data.load_for_report(split)
    unit = tokenizer.config.frames_per_code
    dropped |= {name: f"{len(x)} frames, shorter than one code" for name, x in usable.items() if len(x) < unit}
    usable = {name: x for name, x in usable.items() if len(x) >= unit}
    if not usable:
        raise ValueError(f"{data.folder}/{split}.txt has no usable clip of at least {unit} frames")
    chosen = dict(list(usable.items())[:clips])

    layers = [{} for _ in range(tokenizer.vqvae.quantizer.num_layers)]  # per layer: name -> values per frame
    qualities, codes = {}, {}
    bar = tqdm(total=len(chosen), unit="clip", disable=None)
    for name, codes[name], decoded in reconstruct(tokenizer, chosen, batch_size):
        original = tokenizer.joints(torch.as_tensor(chosen[name]))
        floor, target = float(original[..., 1].min()), original[: len(decoded[-1])]
        for layer, joints in zip(layers, decoded, strict=True):
            layer[name] = frame_errors(joints, target, data.fps)
            layer[name] |= frame_qualities(joints, tokenizer.skeleton, data.fps, floor)
        qualities[name] = frame_qualities(target, tokenizer.skeleton, data.fps, floor)
        bar.update()
    bar.close()

    rows = {name: {"frames": unit * len(codes[name])} | average([layers[-1][name]]) for name in chosen}
    ranked = sorted(rows, key=lambda name: (rows[name]["mpjpe_mm"], name))
    size = tokenizer.config.codes
    histograms = [code_counts(torch.cat([codes[name][:, q] for name in chosen]), size) for q in range(len(layers))]
    return {
        "what": "vqvae",
        "protocol": {
            "data": data.folder.resolve().name, "data_hash": data.hash(), "tokenizer_hash": tokenizer.hash,
            "split": split, "clips": len(chosen), "usable_clips": len(usable), "dropped_clips": len(dropped),
            "frames": sum(row["frames"] for row in rows.values()), "fps": data.fps,
            "skeleton": tokenizer.skeleton.name, "representation": data.representation.name,
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


def write_vqvae_report(
    report: dict, tokenizer: MotionTokenizer, data: MotionDataset, out: Path, more: str = ""
) -> list[Path]:
    """Write report.json, report.md, codes.png and a GIF each of the best, median and worst clip; returns the paths.

    `more` is Markdown that follows in report.md.
    """
    paths = [out / name for name in ("report.json", "report.md", "codes.png", *(f"{name}.gif" for name in SHOWN))]
    write_json(paths[0], report)
    text = vqvae_markdown(report) + more
    write_atomic(paths[1], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    plot_code_usage({f"layer {q}": x["histogram"] for q, x in enumerate(report["codebook"], 1)}, paths[2])
    for path, name in zip(paths[3:], (report["shown"][rank] for rank in SHOWN), strict=True):
        features = data.features(name)
        (_, _, decoded), *_ = reconstruct(tokenizer, {name: features}, 1)
        original = tokenizer.joints(torch.as_tensor(features))[: len(decoded[-1])]
        render_pair(
            original.numpy(), decoded[-1].numpy(), tokenizer.skeleton, path, fps=data.fps, title=f"{name}, original",
            other=f"reconstruction, {report['clips'][name]['mpjpe_mm']:.1f} mm",
        )  # fmt: skip
    return paths


def protocol_line(protocol: dict) -> str:
    """One line that says what was measured on what; numbers with different lines are not comparable."""
    p = protocol
    taken = "all" if p["clips"] == p["usable_clips"] else f"the first {p['clips']} of {p['usable_clips']}"
    return (
        f"data {p['data']} ({p['data_hash']}), tokenizer {p['tokenizer_hash']}, split {p['split']}, N = {p['clips']} "
        f"({taken} usable clips, {p['dropped_clips']} dropped), {p['frames']} frames at {p['fps']:g} fps, skeleton "
        f"{p['skeleton']}, representation {p['representation']}, motiongpt {p['motiongpt']}, torch {p['torch']}"
    )


def number(value: float | None) -> str:
    """A number for people; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}" if abs(value) < 10 else f"{value:.1f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def vqvae_markdown(report: dict) -> str:
    """The report as Markdown, for people."""
    metrics, original = report["metrics"], report["original"]
    lines = ["# Motion tokenizer: reconstruction", "", f"Protocol: {protocol_line(report['protocol'])}.", ""]
    lines += table(
        ["metric", "reconstruction", "original"],
        [[label, number(metrics[name]), "0"] for name, label in ERRORS.items()]
        + [[label, number(metrics[name]), number(original[name])] for name, label in QUALITIES.items()],
    )
    lines += [
        "",
        "Each clip is coded alone and decoded at its own length; frames past its last whole code are left out of both. "
        "Every frame counts once. PA-MPJPE fits rotation, scale and place in each frame. Acceleration is the second "
        "difference of global positions. The floor is the original's lowest joint. Foot skate is the share of steps in "
        f"which a toe below {100 * SKATE_HEIGHT:g} cm slides faster than {SKATE_SPEED:g} m/s, in the step and on "
        f"average over {SKATE_WINDOW} steps (GMD). Jerk depends on the frame rate. Bone limits: share of frames "
        f"with a bone more than {100 * BONE_LIMIT:.0f} % off the skeleton's length.",
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
        names = ERRORS | QUALITIES
        rows = [[str(q), *(number(row[name]) for name in names)] for q, row in enumerate(report["layers"], 1)]
        lines += ["## Layers used", "", *table(["layers", *names.values()], rows), ""]
    lines += ["## Clips", "", "Original on the left, reconstruction on the right, ranked by root-aligned MPJPE.", ""]
    for rank, name in report["shown"].items():
        lines += [f"{rank}: {name}, {report['clips'][name]['mpjpe_mm']:.1f} mm", "", f"![{rank}]({rank}.gif)", ""]
    if report["dropped"]:
        lines += ["## Dropped", "", *(f"- {name}: {reason}" for name, reason in report["dropped"].items()), ""]
    return "\n".join(lines)
