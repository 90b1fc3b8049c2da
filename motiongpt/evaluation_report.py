"""What `text_evaluation.py` measured, for people and for comparison: Markdown, plots, contact sheets, embeddings; and
the difference of two such evaluations with paired bootstrap intervals (Efron & Tibshirani 1993, percentile method).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.config import SampleConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation import BONE_LIMIT, QUALITIES, number, table
from motiongpt.files import read_json, read_tensors, write_atomic, write_json, write_tensors
from motiongpt.metrics import fid
from motiongpt.protocol import GROUP
from motiongpt.render.report import plot_bars, plot_code_usage, plot_curves, plot_lengths
from motiongpt.render.skeleton import render_png
from motiongpt.text_evaluation import POLICIES

MATCHING = {
    "r_precision_1": "R@1", "r_precision_2": "R@2", "r_precision_3": "R@3", "fid": "FID", "mm_dist": "MM-Dist",
    "diversity": "Diversity", "multimodality": "MultiModality",
}  # fmt: skip
CAPTIONS = {"bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L",
            "cider": "CIDEr", "bert_score": "BERTScore F1"}  # fmt: skip
MOTION = {
    "edit_mean": "token edit distance, mean", "edit_nearest": "nearest", "edit_mean_share": "mean share",
    "edit_nearest_share": "nearest share", "length_within": "length within 10 %",
    "length_error": "length error (codes)",
    **QUALITIES,
}  # fmt: skip
SAME = ("what", "data_hash", "split", "evaluator_hash", "packing", "min_frames", "max_frames", "repeats", "seed", "N")
"""What two evaluations must share to be compared."""
RESAMPLES, FID_RESAMPLES = 10_000, 100


def protocol_line(protocol: dict) -> str:
    """One line that says what was measured on what; numbers with different lines are not comparable."""
    p = protocol
    line = [
        p["evaluator"], f"data set {p['data']} ({p['data_hash']})", f"split {p['split']}",
        f"N = {p['N']} ({p['dropped']} dropped; {p['min_frames']} to {p['max_frames']} frames, "
        "what a motion has more is not looked at)",
        f"tokenizer {p['tokenizer_hash']}",
    ]  # fmt: skip
    line += [f"stage {p['stage']} of a run of recipe {p['run']} ({p['run_hash']})"] if "run" in p else []
    line += [f"length policy {p['length_policy']} ({POLICIES[p['length_policy']]})"] if "length_policy" in p else []
    if "sampling" in p:
        usual, names = SampleConfig().to_dict(), ("temperature", "top_p")  # these always, others where they differ
        line += [f"{name} {value}" for name, value in p["sampling"].items() if name in names or value != usual[name]]
    line += [f"BERTScore of {p['bert_model']}"] if "bert_model" in p else []
    line += [f"{p['repeats']} repeats, seed {p['seed']}"]
    line += [f"Diversity of {p['diversity_pairs']} pairs"] if p["what"] != "m2t" else []
    if p.get("multimodality"):
        line.append(
            "MultiModality of {} texts x {} motions x {} pairs, written once, ± of the draw of pairs".format(
                *p["multimodality"]
            )
        )
    return ", ".join([*line, f"motiongpt {p['motiongpt']}, torch {p['torch']}"])


def _cell(value: dict | None) -> str:
    return "-" if value is None else f"{number(value['mean'])} ± {value['interval']:.2g}"


def _table(report: dict, names: Mapping[str, str], rows: list[str]) -> list[str]:
    """Rows of a table and its protocol line; columns that no row has a number for are left out."""
    found = {name: label for name, label in names.items() if any(report["rows"][row].get(name) for row in rows)}
    cells = [[row, *(_cell(report["rows"][row].get(name)) for name in found)] for row in rows]
    return [*table(["", *found.values()], cells), "", f"Protocol: {protocol_line(report['protocol'])}.", ""]


def _warnings(protocol: dict) -> list[str]:
    lines = []
    if protocol["fid_few"] and protocol["what"] != "m2t":
        lines.append(
            f"FID with N < D ({protocol['N']} clips, {protocol['embedding_dim']} dimensions): the covariance is "
            "singular and the number depends on N. Compare it within this table only, never with one from another N."
        )
    if "train" in protocol["split"].split("+"):
        lines.append("Measured on the training split: this says what was learnt by heart, not what was learnt.")
    return [line for warning in lines for line in (f"**{warning}**", "")]


def matching_markdown(report: dict) -> str:
    """The tables of one report and what they mean."""
    p, rows = report["protocol"], report["rows"]
    meeting = {k: v for k, v in MATCHING.items() if k != "diversity"} if p["what"] == "m2t" else MATCHING
    lines = ["## Text and motion", "", *_warnings(p), *_table(report, meeting, list(rows))]
    meaning = f"R@k is R-precision in shuffled groups of {GROUP}. Mean and 95 % interval over repeats. "
    if p["what"] == "m2t":
        lines += [f"{meaning}The rows are sentences: those of people, the model's, those of other clips.", ""]
        lines += ["## Captions", "", *_table(report, CAPTIONS, ["model"])]
        lines += ["Against all captions of a clip, as coco-caption counts: BLEU and ROUGE-L from 0 to 1, CIDEr-D from "
                  "0 to 10. The model's sentences have no parts of speech for the evaluator.", ""]  # fmt: skip
    else:
        lines += [
            f"{meaning}The real row's FID is 0 but for rounding: a clip is always its first frames. Chance deals real "
            "motions out to the wrong texts.", "", "![metrics](metrics.png)", "", "![R-precision](r_precision.png)", "",
            "## Motion", "", *_table(report, MOTION, [row for row in rows if row != "chance"]),
            "Every clip counts once. The floor is y = 0. Bone limits: share of frames with a bone more than "
            f"{100 * BONE_LIMIT:.0f} % off the skeleton's length. Edit distances are to the real codes of the same "
            "sentence in this split, lengths against the median of a sentence in training, where it was there.", "",
        ]  # fmt: skip
    if report.get("perplexity"):
        values = ", ".join(f"{task} {number(value)}" for task, value in report["perplexity"].items())
        lines += [f"Perplexity per token of the right answer, stage {p['stage']}: {values}.", ""]
    return "\n".join(lines)


def report_markdown(report: dict) -> str:
    """The whole report.md."""
    title = {"t2m": "Text to motion", "m2t": "Motion to text"}[report["protocol"]["what"]]
    lines = [f"# {title}", "", matching_markdown(report)]
    if "codebook" in report:
        used = [[name, str(x["active"]), str(x["codes"]), f"{x['perplexity']:.1f}"]
                for name, x in report["codebook"].items()]  # fmt: skip
        lines += ["## Codes and lengths", "", *table(["", "active", "of", "perplexity"], used), ""]
        lines += ["![codes: real motions above, the model's below](codes.png)", "", "![lengths](lengths.png)", ""]
    lines += ["## Clips", "", "Ranked by MM-Dist in the first repeat.", ""]
    for rank, shown in report["shown"].items():
        clip = report["clips"][shown["clip"]]
        lines += [f"{rank}: {shown['clip']}, MM-Dist {number(shown['mm_dist'])}: {' / '.join(clip['captions'])}", ""]
        lines += [f"{word}: {clip[word]}" for word in ("asked", "written") if word in clip] + [""]
        lines += [f"![{rank}]({rank}.png)", ""]
    if report["dropped"]:
        lines += ["## Dropped", "", *(f"- {name}: {reason}" for name, reason in report["dropped"].items()), ""]
    return "\n".join(lines)


def write_pictures(
    report: dict, embeddings: Mapping[str, Tensor], shown: Mapping[str, Tensor], data: MotionDataset, out: Path
) -> list[Path]:
    """embeddings.safetensors and the PNG files that the report names; `shown` are features (F, D) by rank."""
    path = out / "embeddings.safetensors"
    write_tensors(path, embeddings)
    paths, rows = [path], report["rows"]
    panels = {
        label: {row: (v[name]["mean"], v[name]["interval"]) for row, v in rows.items() if v.get(name)}
        for name, label in (MATCHING | CAPTIONS).items()
    }
    paths.append(plot_bars({label: bars for label, bars in panels.items() if bars}, out / "metrics.png"))
    paths.append(plot_curves(report["r_precision_curve"], out / "r_precision.png", GROUP))
    if not shown:
        return paths
    if "codebook" in report:
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


def write_report(
    report: dict, embeddings: Mapping[str, Tensor], shown: Mapping[str, Tensor], data: MotionDataset, out: Path
) -> list[Path]:
    """report.json, report.md and `write_pictures`; returns the paths."""
    write_json(out / "report.json", report)
    text = report_markdown(report)
    write_atomic(out / "report.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return [out / "report.json", out / "report.md", *write_pictures(report, embeddings, shown, data, out)]


# Comparison.


def read_report(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Report and embeddings of an evaluation folder. Raises FileNotFoundError or ValueError naming it."""
    report = read_json(Path(folder) / "report.json")
    report = report.get("matching", report)  # beside the reconstruction's own numbers
    parts = [report.get(name) for name in ("protocol", "rows", "clips")] if isinstance(report, dict) else [None]
    if not all(isinstance(part, dict) for part in parts) or "evaluator_hash" not in parts[0]:
        raise ValueError(f"{folder}/report.json was measured without an evaluator; evaluate it with --evaluator")
    return report, read_tensors(Path(folder) / "embeddings.safetensors")


def bootstrap(differences: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES) -> np.ndarray:
    """95 % percentile intervals (2, K) of the mean of differences (N, K) over clips drawn with repetition; NaN: none.

    All columns share the draws.
    """
    N, K = differences.shape
    known = np.isfinite(differences)
    both = np.concatenate([np.where(known, differences, 0.0), known], axis=1)
    means = []
    for first in range(0, resamples, 500):  # a bounded piece of memory at a time
        rows = min(500, resamples - first)
        drawn = rng.integers(N, size=(rows, N)) + N * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * N).reshape(rows, N)
        sums = counts @ both
        means.append(sums[:, :K] / np.maximum(sums[:, K:], 1))
    return np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)


def compare(a: Path, b: Path, seed: int = 0, resamples: int = RESAMPLES, fid_resamples: int = FID_RESAMPLES) -> dict:
    """B minus A of two evaluation folders: metric -> values, difference, its 95 % interval by paired bootstrap over
    clips, and whether 0 is inside. FID is resampled over the embeddings of the first repeat, `fid_resamples` times.

    Raises ValueError where the two were not measured alike (`SAME`, and the same clips).
    """
    if Path(a).resolve() == Path(b).resolve():
        raise ValueError(f"--compare takes two evaluations, got {a} twice")
    (first, vectors_a), (second, vectors_b) = read_report(a), read_report(b)
    for name in SAME:
        values = [x["protocol"].get(name) for x in (first, second)]
        if values[0] != values[1]:
            raise ValueError(f"{a} and {b} cannot be compared: {name} is {values[0]} and {values[1]}")
    if list(first["clips"]) != list(second["clips"]):
        raise ValueError(f"{a} and {b} cannot be compared: they measured different clips")
    names = [name for name in MATCHING | MOTION | CAPTIONS
             if all(any(c.get(name) is not None for c in x["clips"].values()) for x in (first, second))]  # fmt: skip
    table_a, table_b = (
        np.array([[np.nan if c.get(n) is None else c[n] for n in names] for c in x["clips"].values()], dtype=float)
        for x in (first, second)
    )
    known = np.isfinite(table_a) & np.isfinite(table_b)
    names, table_a, table_b, known = _nonempty(names, table_a, table_b, known)
    rng = np.random.default_rng(seed)
    low, high = bootstrap(np.where(known, table_b - table_a, np.nan), rng, resamples)
    mean_a, mean_b = (np.where(known, x, 0).sum(0) / known.sum(0) for x in (table_a, table_b))
    rows = {n: _difference(*values) for n, *values in zip(names, mean_a, mean_b, low, high, strict=True)}
    if first["protocol"]["what"] != "m2t":
        pairs = [_pair(vectors_a), _pair(vectors_b)]
        values = [fid(*pair, allow_few=True) for pair in pairs]
        drawn = []
        for _ in range(fid_resamples):
            index = torch.from_numpy(rng.integers(len(pairs[0][0]), size=len(pairs[0][0])))
            one, two = (fid(x[index], y[index], allow_few=True) for x, y in pairs)
            drawn.append(two - one)
        rows["fid"] = _difference(*values, *np.percentile(drawn, [2.5, 97.5]))
    return {"a": first["protocol"], "b": second["protocol"], "seed": seed, "resamples": resamples,
            "fid_resamples": fid_resamples, "rows": rows}  # fmt: skip


def _nonempty(names: list[str], *tables: np.ndarray) -> tuple:
    """Without the columns in which no clip has both numbers; the last table says which it has."""
    kept = tables[-1].any(0)
    return [name for name, keep in zip(names, kept, strict=True) if keep], *(table[:, kept] for table in tables)


def _pair(vectors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The real embeddings and those compared with them."""
    return vectors.get("real_cut", vectors["real"]), vectors.get("model", vectors.get("reconstruction"))


def _difference(a: float, b: float, low: float, high: float) -> dict[str, float | bool]:
    values = {"a": a, "b": b, "difference": b - a, "low": low, "high": high}
    return {name: float(value) for name, value in values.items()} | {"zero_inside": bool(low <= 0 <= high)}


def comparison_markdown(comparison: dict) -> str:
    """The table of `compare` and its protocol lines."""
    labels = MATCHING | MOTION | CAPTIONS
    rows = [
        [labels[name], *(number(x[key]) for key in ("a", "b", "difference")),
         f"{number(x['low'])} to {number(x['high'])}", "yes" if x["zero_inside"] else "no"]
        for name, x in comparison["rows"].items()
    ]  # fmt: skip
    lines = ["# Comparison", "", *table(["", "A", "B", "B - A", "95 % interval", "0 inside"], rows), ""]
    lines += [f"Paired bootstrap over clips, {comparison['resamples']} resamples (FID: {comparison['fid_resamples']}, "
              f"first repeat), seed {comparison['seed']}.", ""]  # fmt: skip
    return "\n".join([*lines, *(f"{n.upper()}: {protocol_line(comparison[n])}.\n" for n in ("a", "b"))])
