"""Reports as Markdown."""

from collections.abc import Collection, Mapping

from motiongpt.config import SampleConfig
from motiongpt.evaluation.clips import GROUP
from motiongpt.evaluation.qualities import BONE_LIMIT, LABELS, QUALITIES
from motiongpt.evaluation.text import POLICIES
from motiongpt.metrics.joints import SKATE_HEIGHT, SKATE_SPEED, SKATE_WINDOW


def train_warning(inside: int, measured: int) -> list[str]:
    """Markdown that says how many measured clips are in train.txt, where some are."""
    if not inside:
        return []
    return [
        f"**Warning: {inside} of {measured} measured clips are of the training split (train.txt): this says what was "
        "learnt by heart, and no number of it belongs in a table.**", "",
    ]  # fmt: skip


def ranking(metrics: Mapping[str, object]) -> str:
    """By what clips are ranked: joints where there are joints."""
    return "mpjpe_mm" if "mpjpe_mm" in metrics else "feature_rmse"


def reconstruction_line(protocol: dict) -> str:
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
    lines = ["# Motion tokenizer: reconstruction", "", f"Protocol: {reconstruction_line(p)}.", ""]
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


def matching_line(protocol: dict) -> str:
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
    return [
        (matching_line if "evaluator" in p else reconstruction_line)(p) for p in (part["protocol"] for part in parts)
    ]


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
    return [*table(["", *found.values()], cells), "", f"Protocol: {matching_line(report['protocol'])}.", ""]


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
