"""What `text_evaluation.py` measured, as files: Markdown, plots, contact sheets, embeddings."""

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from motiongpt.config import SampleConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.protocol import GROUP
from motiongpt.evaluation.reconstruction import (
    BONE_LIMIT,
    QUALITIES,
    clear_report,
    number,
    table,
    train_warning,
    vqvae_markdown,
    write_vqvae_report,
)
from motiongpt.evaluation.reconstruction import protocol_line as vqvae_line
from motiongpt.evaluation.text import POLICIES
from motiongpt.files.store import file_hash, write_atomic, write_json, write_tensors
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.render.report import plot_bars, plot_code_usage, plot_curves, plot_lengths
from motiongpt.render.skeleton import render_png

MATCHING = {
    "r_precision_1": "R@1", "r_precision_2": "R@2", "r_precision_3": "R@3", "fid": "FID", "mm_dist": "MM-Dist",
    "diversity": "Diversity", "multimodality": "MultiModality",
}  # fmt: skip
CAPTIONS = {"bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L",
            "cider": "CIDEr", "bert_score": "BERTScore F1"}  # fmt: skip
WANTED = {"fid": "lower is better", "mm_dist": "lower is better", "diversity": "nearer to real is better",
          "multimodality": "higher is more varied"}  # fmt: skip
MOTION = {
    "edit_mean": "token edit distance, mean", "edit_nearest": "nearest", "edit_mean_share": "mean share",
    "edit_nearest_share": "nearest share", "length_within": "length within 10 %",
    "length_error": "length error (codes)",
    **QUALITIES,
}  # fmt: skip


def _measured(p: dict) -> list[str]:
    """What was measured: clips and weights."""
    usable = p.get("usable", p["N"])
    taken = f"the first {p['N']} of {usable} usable, " if p["N"] < usable else ""
    line = [
        f"data set {p['data']} ({p['data_hash']})", f"split {p['split']}",
        f"N = {p['N']} ({taken}{p['dropped']} dropped; {p['min_frames']} to {p['max_frames']} frames, "
        "what a motion has more is not looked at)",
        f"tokenizer {p['tokenizer_hash']}",
    ]  # fmt: skip
    line += [f"stage {p['stage']} of a run of recipe {p['run']} ({p['run_hash']})"] if "run" in p else []
    return line


def _sampled(p: dict) -> list[str]:
    """How the model was asked."""
    line = [f"length policy {p['length_policy']} ({POLICIES[p['length_policy']]})"] if "length_policy" in p else []
    if "sampling" in p:
        usual, names = SampleConfig().to_dict(), ("temperature", "top_p")  # these always, others where they differ
        line += [f"{name} {value}" for name, value in p["sampling"].items() if name in names or value != usual[name]]
    return line


def _versions(p: dict) -> str:
    return f"motiongpt {p['motiongpt']}, torch {p['torch']}"


def protocol_line(protocol: dict) -> str:
    """One line that says what was measured on what; numbers with different lines are not comparable."""
    p = protocol
    line = [p["evaluator"], *_measured(p), *_sampled(p)]
    line += [f"BERTScore of {p['bert_model']}"] if "bert_model" in p else []
    line += [f"{p['repeats']} repeat{'s' * (p['repeats'] > 1)}, seed {p['seed']}"]
    line += [f"Diversity of {p['diversity_pairs']} pairs"] if p["what"] != "m2t" else []
    if p.get("multimodality"):
        line.append("MultiModality of {} texts x {} motions x {} pairs".format(*p["multimodality"]))
    return ", ".join([*line, _versions(p)])


def protocol_lines(report: dict) -> list[str]:
    """The protocol line of a report; of one of a tokenizer with an evaluator ("matching"), those of both its parts."""
    parts = [report, *([report["matching"]] if "matching" in report else [])]
    return [(protocol_line if "evaluator" in p else vqvae_line)(p) for p in (part["protocol"] for part in parts)]


def screen(report: dict, markdown: str) -> str:
    """What is printed of a report: dropped clips, tables and what is bold in `markdown`, `protocol_lines`."""
    parts = {"": report} | ({" for the evaluator": report["matching"]} if "matching" in report else {})
    lines = [f"dropped{what} {c}: {why}" for what, part in parts.items() for c, why in part["dropped"].items()]
    lines += [line for line in markdown.splitlines() if line.startswith(("|", "**"))]
    lines += [f"protocol{what}: {line}" for what, line in zip(parts, protocol_lines(report), strict=True)]
    return "\n".join(lines)


def _cell(value: dict | None) -> str:
    if value is None or value["interval"] is None:
        return number(value and value["mean"])
    return f"{number(value['mean'])} ± {value['interval']:.2g}"


def _table(report: dict, names: Mapping[str, str], rows: list[str]) -> list[str]:
    """Rows of a table and its protocol line; columns that no row has a number for are left out, and so is a table
    without any."""
    found = {name: label for name, label in names.items() if any(report["rows"][row].get(name) for row in rows)}
    if "multimodality" in found and report["protocol"]["repeats"] > 1:
        found["multimodality"] = "MultiModality (± of pairs)"
    if not found:
        return []
    cells = [[row, *(_cell(report["rows"][row].get(name)) for name in found)] for row in rows]
    return [*table(["", *found.values()], cells), "", f"Protocol: {protocol_line(report['protocol'])}.", ""]


def _warnings(protocol: dict) -> list[str]:
    lines = []
    if protocol["fid_few"] and protocol["what"] != "m2t":
        lines.append(
            f"FID with N <= D ({protocol['N']} clips, {protocol['embedding_dim']} dimensions): the covariance is "
            "singular and the number depends on N. Compare it within this table only, never with one from another N."
        )
    if protocol.get("length_policy") == "cut":
        lines.append(
            "The model's FID is against real motions cut to the model's lengths, that of the other rows against uncut "
            "ones: these are not to be compared."
        )
    marked = [line for warning in lines for line in (f"**{warning}**", "")]
    return marked + train_warning(protocol["in_train"], protocol["N"])


def _pictures(drawn: Collection[str], **names: str) -> list[str]:
    """Links to the pictures that were drawn, of name -> what it shows."""
    found = [(text, f"{name}.png") for name, text in names.items() if f"{name}.png" in drawn]
    return [line for text, file in found for line in (f"![{text}]({file})", "")]


def matching_markdown(report: dict, drawn: Collection[str] = ()) -> str:
    """The tables of one report and what they mean, with links to those of its pictures that were `drawn`."""
    p, rows = report["protocol"], report["rows"]
    meeting = {k: v for k, v in MATCHING.items() if k != "diversity"} if p["what"] == "m2t" else MATCHING
    lines = ["## Text and motion", "", *_warnings(p), *_table(report, meeting, list(rows))]
    pictures = _pictures(drawn, metrics="metrics", r_precision="R-precision")
    others = {"t2m": ", and other motions of the model", "vqvae": "", "m2t": ", and other sentences of the model"}
    greedy = p["what"] == "m2t" and p["sampling"]["temperature"] == 0
    repeats = (
        "± is half of a 95 % interval over repeats, each with other captions and groups"
        f"{'; the model is greedy, always the same' if greedy else others[p['what']]}."
    )
    once = "One repeat: there are no intervals."
    lines += [f"R@k is R-precision in shuffled groups of {GROUP}. {repeats if p['repeats'] > 1 else once}", ""]
    if p["what"] == "m2t":
        lines += [
            "Higher is better, of MM-Dist lower. The rows are sentences: those of people, the model's, those of people "
            "shuffled. The model's have no parts of speech for the evaluator.", "", *pictures, "## Captions", "",
            *_table(report, CAPTIONS, ["model"]),
            "Against all captions of a clip, as coco-caption counts: BLEU and ROUGE-L from 0 to 1, CIDEr-D from 0 to "
            "10, higher is better.", "",
        ]  # fmt: skip
    else:
        several = "MultiModality is of motions written once"
        several += "; its ± is over draws of pairs of them only." if p["repeats"] > 1 else "."
        lines += [
            "Higher is better, of FID and MM-Dist lower; Diversity should be that of the real row. The real row's FID "
            "is 0 but for rounding: a clip is always its first frames. Chance shuffles the real motions "
            "among the texts. " + (several if p.get("multimodality") else ""), "", *pictures,
        ]  # fmt: skip
    if motion := _table(report, MOTION, [row for row in rows if row != "chance"]) if p["what"] == "t2m" else []:
        zero = "; what depends on motions that are always the same has ± 0" if p["repeats"] > 1 else ""
        lines += [
            "## Motion", "", *motion,
            "Every clip counts once. Lower is better but for lengths within 10 %, and jerk should be that of the real "
            f"row{zero}. The floor is y = 0. Bone limits: share of frames with a bone more "
            f"than {100 * BONE_LIMIT:.0f} % off the skeleton's length. Edit distances are to the real codes "
            "of the same sentence in this split, lengths against the median of a sentence in training, where it was "
            "there.", "",
        ]  # fmt: skip
    if report.get("perplexity"):
        stages = report["perplexity"]
        tasks = list(dict.fromkeys(task for values in stages.values() for task in values))
        names = {stage: f"stage {stage}" + (", evaluated" if stage == str(p["stage"]) else "") for stage in stages}
        cells = [[names[stage], *(number(row.get(task)) for task in tasks)] for stage, row in stages.items()]
        of = ", ".join(["of each clip's first caption, once", *_measured(p), _versions(p)])
        lines += ["## Perplexity", "", *table(["", *tasks], cells), "", f"Protocol: {of}.", ""]
        lines += ["Per token of the right answer, lower is better; of each stage the tasks it was trained on.", ""]
    return "\n".join(lines)


def clips_markdown(report: dict, drawn: Collection[str] = ()) -> str:
    """Best, median and worst clip, and the clips that were dropped."""
    lines = ["## Clips by MM-Dist", "", "In the first repeat.", ""]
    for rank, shown in report["shown"].items():
        clip = report["clips"][shown["clip"]]
        lines += [f"{rank}: {shown['clip']}, MM-Dist {number(shown['mm_dist'])}: {' / '.join(clip['captions'])}", ""]
        lines += [line for word in ("asked", "written") if word in clip for line in (f"{word}: {clip[word]}", "")]
        lines += _pictures(drawn, **{rank: rank})
    if report["dropped"]:
        lines += ["## Dropped", "", *(f"- {name}: {reason}" for name, reason in report["dropped"].items()), ""]
    return "\n".join(lines)


def report_markdown(report: dict, drawn: Collection[str] = ()) -> str:
    """The whole report.md, with links to those of its pictures that were `drawn` (file names)."""
    title = {"t2m": "Text to motion", "m2t": "Motion to text"}[report["protocol"]["what"]]
    lines = [f"# {title}", "", matching_markdown(report, drawn)]
    if "codebook" in report:
        used = [[name, str(x["active"]), str(x["codes"]), f"{x['perplexity']:.1f}"]
                for name, x in report["codebook"].items()]  # fmt: skip
        p = report["protocol"]
        of = ", ".join(["of the first repeat", *_measured(p), *_sampled(p), f"seed {p['seed']}", _versions(p)])
        lines += ["## Codes and lengths", "", *table(["", "active", "of", "perplexity"], used), "", f"Protocol: {of}.",
                  ""]  # fmt: skip
        lines += _pictures(drawn, codes="codes: real motions above, the model's below", lengths="lengths")
    return "\n".join([*lines, clips_markdown(report, drawn)])


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
    report: dict, matched: tuple | None, tokenizer: MotionTokenizer, data: MotionDataset, out: Path
) -> tuple[str, list[Path]]:
    """`write_vqvae_report`, with what `evaluate_t2m` says of the tokenizer (`matched`); returns text and paths."""
    pictures, more = [], ""
    clear_report(out)
    if matched:
        pictures = write_pictures(*matched, data, out)
        report = report | {"matching": matched[0] | {"embeddings_hash": file_hash(pictures[0])}}
        drawn = {path.name for path in pictures}
        more = "\n".join(("", matching_markdown(matched[0], drawn), clips_markdown(matched[0], drawn)))
    paths = write_vqvae_report(report, tokenizer, data, out, more)
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
