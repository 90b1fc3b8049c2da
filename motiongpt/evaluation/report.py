"""What `text_evaluation.py` measured, as files: Markdown, plots, contact sheets, embeddings."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.clips import GROUP
from motiongpt.evaluation.markdown import (
    CAPTIONS,
    MATCHING,
    clips_markdown,
    matching_markdown,
    report_markdown,
    vqvae_markdown,
)
from motiongpt.evaluation.qualities import SHOWN
from motiongpt.evaluation.reconstruction import reconstruct
from motiongpt.files.folders import check_report_folder
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import write_atomic, write_json, write_tensors
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.render.report import plot_bars, plot_code_usage, plot_curves, plot_lengths, render_pair
from motiongpt.render.skeleton import render_png

WANTED = {"fid": "lower is better", "mm_dist": "lower is better", "diversity": "nearer to real is better",
          "multimodality": "higher is more varied"}  # fmt: skip


def write_pictures(
    report: dict, embeddings: Mapping[str, Tensor], shown: Mapping[str, Tensor], data: MotionDataset, out: Path
) -> list[Path]:
    """embeddings.safetensors and PNG files: bars, R-precision, codes and lengths of a language model, and `shown`,
    features (F, D) by rank, where they are joints."""
    path, what = out / "embeddings.safetensors", report["protocol"]["what"]
    write_tensors(path, embeddings)
    paths, rows = [path], report["rows"]
    panels = {
        label: {row: (v[name]["mean"], v[name]["interval"]) for row, v in rows.items() if v.get(name)}
        for name, label in (MATCHING | CAPTIONS).items() if (what, name) != ("m2t", "diversity")
    }  # fmt: skip
    notes = {label: WANTED.get(name, "higher is better") for name, label in (MATCHING | CAPTIONS).items()}
    paths.append(plot_bars({label: bars for label, bars in panels.items() if bars}, out / "metrics.png", notes))
    paths.append(plot_curves(report["r_precision_curve"], out / "r_precision.png", GROUP))
    if what == "t2m":
        paths.append(plot_code_usage({k: x["histogram"] for k, x in report["codebook"].items()}, out / "codes.png"))
        paths.append(plot_lengths(report["lengths"], out / "lengths.png"))
    for rank, features in shown.items() if data.representation.has_joints else ():
        joints = data.representation.decode(features) * data.representation.metres_per_unit
        clip = report["shown"][rank]
        title = f"{rank}: {clip['clip']}, MM-Dist {clip['mm_dist']:.3g}"
        said = report["clips"][clip["clip"]]
        caption = said.get("written") or said.get("asked") or said["captions"][0]
        paths.append(render_png(joints.numpy(), data.skeleton, out / f"{rank}.png", fps=data.fps, title=title,
                                caption=caption, size=200))  # fmt: skip
    return paths


def write_reconstruction(
    report: dict, matched: tuple | None, motion_tokenizer: MotionTokenizer, data: MotionDataset, out: Path
) -> tuple[str, list[Path]]:
    """`write_vqvae_report`, with what `evaluate_t2m` says of the tokenizer (`matched`); returns text and paths."""
    pictures, more = [], ""
    clear_report(out)
    if matched:
        pictures = write_pictures(*matched, data, out)
        report = report | {"matching": matched[0] | {"embeddings_hash": file_hash(pictures[0])}}
        drawn = {path.name for path in pictures}
        more = "\n".join(("", matching_markdown(matched[0], drawn), clips_markdown(matched[0], drawn)))
    paths = write_vqvae_report(report, motion_tokenizer, data, out, more)
    return vqvae_markdown(report) + more, paths + pictures


def write_report(
    report: dict, embeddings: Mapping[str, Tensor], shown: Mapping[str, Tensor], data: MotionDataset, out: Path
) -> list[Path]:
    """report.json, report.md and `write_pictures`; returns the paths."""
    clear_report(out)
    pictures = write_pictures(report, embeddings, shown, data, out)
    write_json(out / "report.json", report | {"embeddings_hash": file_hash(pictures[0])})
    text = report_markdown(report, {path.name for path in pictures})
    write_atomic(out / "report.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return [out / "report.json", out / "report.md", *pictures]


WRITTEN = ("report.json", "report.md", "embeddings.safetensors", "metrics.png", "r_precision.png", "codes.png",
           "lengths.png", *(f"{rank}.{kind}" for rank in SHOWN for kind in ("gif", "png")))  # fmt: skip
"""All files an evaluation may write."""


def clear_report(out: Path) -> None:
    """Remove what a former evaluation wrote into `out`: nothing of it may stand beside another report."""
    check_report_folder(out)
    for name in WRITTEN:
        (out / name).unlink(missing_ok=True)


def write_vqvae_report(
    report: dict, motion_tokenizer: MotionTokenizer, data: MotionDataset, out: Path, more: str = ""
) -> list[Path]:
    """Write report.json, report.md, codes.png and, of joints, a GIF each of the best, median and worst clip; returns
    the paths. `more` is Markdown that follows in report.md.
    """
    gifs = SHOWN if motion_tokenizer.representation.has_joints else ()
    paths = [out / name for name in ("report.json", "report.md", "codes.png", *(f"{name}.gif" for name in gifs))]
    write_json(paths[0], report)
    text = vqvae_markdown(report) + more
    write_atomic(paths[1], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    plot_code_usage({f"layer {q}": x["histogram"] for q, x in enumerate(report["codebook"], 1)}, paths[2])
    for path, name in zip(paths[3:], (report["shown"][rank] for rank in gifs), strict=True):
        features = data.features(name)
        (_, _, decoded), *_ = reconstruct(motion_tokenizer, {name: features}, 1)
        joints = [
            motion_tokenizer.joints(x).numpy() for x in (torch.as_tensor(features)[: len(decoded[-1])], decoded[-1])
        ]
        render_pair(
            *joints, motion_tokenizer.skeleton, path, fps=data.fps, title=f"{name}, original",
            other=f"reconstruction, {report['clips'][name]['mpjpe_mm']:.1f} mm",
        )  # fmt: skip
    return paths
