"""Evaluations as files: report.json for programs, report.md and pictures for people,
embeddings for comparisons."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.given_codes import GivenEvaluation
from motiongpt.evaluation.labels import CAPTIONS, MATCHING
from motiongpt.evaluation.markdown import number, printed
from motiongpt.evaluation.protocol import SHOWN, Evaluation
from motiongpt.evaluation.reconstruction import reconstruct
from motiongpt.evaluation.report_markdown import (
    clips_markdown,
    given_markdown,
    matching_markdown,
    reconstruction_markdown,
    report_markdown,
    tokens_markdown,
)
from motiongpt.features.representations import Representation
from motiongpt.features.smplx import stand_in_joints
from motiongpt.files.folders import check_report_folder
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import write_json, write_tensors, write_text
from motiongpt.metrics.embeddings import GROUP
from motiongpt.motion import STAND_IN
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.render.figures import plot_bars, plot_code_usage, plot_lengths, plot_r_precision
from motiongpt.render.pictures import draw
from motiongpt.render.view import Shown, View
from motiongpt.training.world import this_world

WANTED = {
    "fid": "lower is better",
    "mm_dist": "lower is better",
    "diversity": "nearer to real is better",
    "multimodality": "higher is more varied",
}
"""The note under a metric's bars; every other metric is better when higher."""

WRITTEN = (
    "report.json",
    "report.md",
    "embeddings.safetensors",
    "metrics.png",
    "r_precision.png",
    "codes.png",
    "lengths.png",
    *(f"{rank}.{suffix}" for rank in SHOWN for suffix in ("gif", "png")),
)
"""All files an evaluation may write."""


def clear_report(out: Path) -> None:
    """Remove the files of an earlier evaluation from `out`:
    none may stay beside a report it does not belong to."""
    check_report_folder(out)
    for name in WRITTEN:
        (out / name).unlink(missing_ok=True)


def write_report(evaluation: Evaluation, data: MotionDataset, out: Path) -> tuple[str, list[Path]]:
    """Write a whole evaluation of t2m or m2t; returns the text a script prints, and the paths."""
    clear_report(out)
    pictures = write_pictures(evaluation, data, out)
    embeddings = pictures[0]
    # the hash ties the embeddings to this report, for a later comparison
    write_json(out / "report.json", evaluation.report | {"embeddings_hash": file_hash(embeddings)})
    write_text(out / "report.md", report_markdown(evaluation.report, {path.name for path in pictures}))
    text = printed(evaluation.report, matching_markdown(evaluation.report))
    return text, [out / "report.json", out / "report.md", *pictures]


def write_reconstruction(
    report: dict, matching: Evaluation | None, motion_tokenizer: MotionTokenizer, data: MotionDataset, out: Path
) -> tuple[str, list[Path]]:
    """Write the report of `evaluate_vqvae`, and with an evaluator what `evaluate_t2m` measured
    beside it (`matching`). Of several processes the first does it.

    Returns the text a script prints, and the paths.
    """
    parts = (report, matching, motion_tokenizer, data, out)
    return this_world().from_first(lambda: _write_reconstruction(*parts))


def _write_reconstruction(
    report: dict, matching: Evaluation | None, motion_tokenizer: MotionTokenizer, data: MotionDataset, out: Path
) -> tuple[str, list[Path]]:
    clear_report(out)
    text = reconstruction_markdown(report)
    pictures = []
    if matching:
        pictures = write_pictures(matching, data, out)
        report = report | {"matching": matching.report | {"embeddings_hash": file_hash(pictures[0])}}
        drawn = {path.name for path in pictures}
        text += "\n".join(("", matching_markdown(matching.report, drawn), clips_markdown(matching.report, drawn)))
    paths = [out / "report.json", out / "report.md", out / "codes.png"]
    write_json(paths[0], report)
    write_text(paths[1], text)
    plot_code_usage({f"layer {q}": x["histogram"] for q, x in enumerate(report["codebook"], 1)}, paths[2])
    for rank in SHOWN:
        paths.append(out / f"{rank}.gif")
        _render_clip(report, report["shown"][rank], motion_tokenizer, data, paths[-1])
    return printed(report, text), paths + pictures


def write_tokens(report: dict, out: Path) -> tuple[str, list[Path]]:
    """Write the report of `evaluate_tokens`; returns the text a script prints, and the paths."""
    clear_report(out)
    text = tokens_markdown(report)
    paths = [out / "report.json", out / "report.md", out / "codes.png", out / "lengths.png"]
    write_json(paths[0], report)
    write_text(paths[1], text)
    plot_code_usage({name: usage["histogram"] for name, usage in report["codebook"].items()}, paths[2])
    plot_lengths(report["lengths"], paths[3])
    return printed(report, text), paths


def write_given(evaluation: GivenEvaluation, data: MotionDataset, out: Path) -> tuple[str, list[Path]]:
    """Write the report of `evaluate_given`, with GIFs of real and written motions; returns the text a script prints,
    and the paths."""
    clear_report(out)
    report = evaluation.report
    text = given_markdown(report)
    paths = [out / "report.json", out / "report.md", out / "lengths.png"]
    write_json(paths[0], report)
    write_text(paths[1], text)
    plot_lengths(report["lengths"], paths[2])
    for rank, (real, written) in evaluation.shown.items():
        name, ade = report["shown"][rank]["clip"], report["shown"][rank]["ade"]
        titled = {f"{name}, real": real, f"written, ADE {number(ade)} m": written}
        pair = [Shown(joints.numpy(), data.skeleton, data.fps, title) for title, joints in titled.items()]
        paths.append(draw(out / f"{rank}.gif", pair, View()))
    return printed(report, text), paths


def _render_clip(report: dict, name: str, motion_tokenizer: MotionTokenizer, data: MotionDataset, path: Path) -> None:
    """A GIF of one clip, its original beside its reconstruction."""
    features = data.features(name)
    ((_, _, decoded),) = reconstruct(motion_tokenizer, {name: features}, 1)
    # frames past the last whole code have no counterpart
    original = torch.as_tensor(features)[: len(decoded[-1])]
    error = report["clips"][name].get("mpjpe_mm")  # None of parameters
    how = motion_tokenizer.representation, motion_tokenizer.skeleton
    joints, skeleton, note = _drawable(original, *how)
    again = "reconstruction" + (f", {error:.1f} mm" if error is not None else "")
    titled = {f"{note}{name}, original": joints, again: _drawable(decoded[-1], *how)[0]}
    draw(path, [Shown(shown, skeleton, data.fps, title) for title, shown in titled.items()], View())


def _drawable(features: Tensor, representation: Representation, skeleton: Skeleton) -> tuple[np.ndarray, Skeleton, str]:
    """Joints (F, J, 3) in metres of features (F, D), their skeleton, and what a title begins with.

    SMPL-X parameters are drawn on a stand-in skeleton, which the title says.
    """
    if representation.has_joints:
        return (representation.decode(features) * representation.metres_per_unit).numpy(), skeleton, ""
    return stand_in_joints(features.numpy()), HUMANML3D, f"{STAND_IN}: "


def write_pictures(evaluation: Evaluation, data: MotionDataset, out: Path) -> list[Path]:
    """Write embeddings.safetensors and PNG files; returns the paths, the embeddings first.

    Plots show the metrics and R-precision, for t2m also codes and lengths. The shown clips are
    drawn, SMPL-X on a stand-in skeleton.
    """
    report = evaluation.report
    what = report["protocol"]["what"]
    paths = [out / "embeddings.safetensors"]
    write_tensors(paths[0], evaluation.embeddings)
    panels, notes = _bars(report)
    paths.append(plot_bars(panels, out / "metrics.png", notes))
    if report["r_precision_curve"]:  # empty with fewer clips than a group
        paths.append(plot_r_precision(report["r_precision_curve"], out / "r_precision.png", GROUP))
    # sentences and continuous motions have no codes, and `write_reconstruction` draws those of a tokenizer
    if what == "t2m" and "codebook" in report:
        histograms = {name: x["histogram"] for name, x in report["codebook"].items()}
        paths.append(plot_code_usage(histograms, out / "codes.png"))
        paths.append(plot_lengths(report["lengths"], out / "lengths.png"))
    for rank, features in evaluation.shown_motions.items():
        paths.append(_render_shown(report, rank, features, data, out / f"{rank}.png"))
    return paths


def _bars(report: dict) -> tuple[dict[str, dict], dict[str, str]]:
    """Panels of the bar plot, label -> row -> (mean, interval),
    and label -> which way is better."""
    panels, notes = {}, {}
    for name, label in (MATCHING | CAPTIONS).items():
        if report["protocol"]["what"] == "m2t" and name == "diversity":
            continue  # it would be that of the real motions
        bars = {row: (v[name]["mean"], v[name]["interval"]) for row, v in report["rows"].items() if v.get(name)}
        if bars:
            panels[label] = bars
            notes[label] = WANTED.get(name, "higher is better")
    return panels, notes


def _render_shown(report: dict, rank: str, features: Tensor, data: MotionDataset, path: Path) -> Path:
    """A contact sheet of a shown motion (F, D), with the sentence that was written or asked for
    it."""
    shown = report["shown"][rank]
    clip: Mapping = report["clips"][shown["clip"]]
    joints, skeleton, note = _drawable(features, data.representation, data.skeleton)
    caption = clip.get("written") or clip.get("asked") or clip["captions"][0]
    title = f"{note}{rank}: {shown['clip']}, MM-Dist {shown['mm_dist']:.3g}"
    return draw(path, [Shown(joints, skeleton, data.fps, caption)], View(title, size=200))
