"""report.md: the tables of an evaluation, and what their numbers mean."""

from collections.abc import Collection, Mapping

from motiongpt.evaluation.labels import CAPTIONS, COMPLETION, MATCHING, MOTION, RECONSTRUCTION, TOKENS, ranking
from motiongpt.evaluation.markdown import (
    dropped_clips,
    measured,
    number,
    protocol_line,
    sampled,
    table,
    train_warning,
    versions,
)
from motiongpt.evaluation.qualities import BONE_LIMIT
from motiongpt.metrics.embeddings import GROUP
from motiongpt.metrics.joints import SKATE_HEIGHT, SKATE_SPEED, SKATE_WINDOW

BONE_NOTE = (
    f"Bone limits: share of frames in which a bone is more than {100 * BONE_LIMIT:.0f} % longer or shorter than in the "
    "skeleton."
)
JOINTS_NOTE = (
    "PA-MPJPE first fits rotation, scale and position in each frame. Acceleration is the second difference of global "
    "positions. The floor is the original's lowest joint. Foot skate is the share of steps in which a toe below "
    f"{100 * SKATE_HEIGHT:g} cm slides faster than {SKATE_SPEED:g} m/s, in the step itself and on average over "
    f"{SKATE_WINDOW} steps (GMD). Jerk depends on the frame rate. {BONE_NOTE}"
)
PARAMETERS_NOTE = (
    "RMSE is over all frames and columns of a group, rotations as axis-angle. An angle is that of the turn from the "
    "original to the reconstruction, averaged over joints and frames; unlike the RMSE it does not depend on how a "
    "rotation is written. Joints, and so pictures, need a body model."
)


# 1) A motion tokenizer.


def reconstruction_markdown(report: dict) -> str:
    """A report of a motion tokenizer."""
    metrics, original = report["metrics"], report["original"]
    protocol = report["protocol"]
    names = {name: label for name, label in RECONSTRUCTION.items() if name in metrics}
    lines = ["# Motion tokenizer: reconstruction", "", f"Protocol: {protocol_line(protocol)}.", ""]
    lines += train_warning(protocol["in_train"], protocol["clips"])
    rows = []
    for name, label in names.items():
        rows.append([label, number(metrics[name]), number(original[name]) if name in original else "0"])
    lines += [*table(["metric", "reconstruction", "original"], rows), ""]
    lines += [
        "Each clip is coded alone and decoded at its own length. Frames past its last whole code are left out of both. "
        "Every frame counts once. " + (JOINTS_NOTE if original else PARAMETERS_NOTE),
        "",
    ]

    # a line per quantiser layer; a second table if there are several
    rows = [[str(q), *_usage(layer)] for q, layer in enumerate(report["codebook"], 1)]
    lines += ["## Codes", "", *table(["layer", "active", "of", "perplexity"], rows), ""]
    lines += ["![how often each code is used](codes.png)", ""]
    if len(report["layers"]) > 1:
        rows = [[str(q), *(number(row[name]) for name in names)] for q, row in enumerate(report["layers"], 1)]
        lines += ["## Layers used", "", *table(["layers", *names.values()], rows), ""]

    # best, median and worst clip
    by = ranking(metrics)
    body = "" if original else ", both on a stand-in skeleton"
    side = f"Original on the left, reconstruction on the right{body}, ranked by: {RECONSTRUCTION[by]}."
    lines += ["## Clips", "", side, ""]
    for rank, name in report["shown"].items():
        lines += [f"{rank}: {name}, {number(report['clips'][name][by])}", ""]
        lines += [f"![{rank}]({rank}.gif)", ""]
    return "\n".join([*lines, *dropped_clips(report)])


def _usage(codebook: dict) -> list[str]:
    """The cells active, of, perplexity of a table of codes."""
    return [str(codebook["active"]), str(codebook["codes"]), f"{codebook['perplexity']:.1f}"]


# 2) Text and motion, measured by an evaluator.


def _cell(value: dict | None) -> str:
    if value is None or value["interval"] is None:
        return number(value and value["mean"])
    return f"{number(value['mean'])} ± {value['interval']:.2g}"


def _table(report: dict, names: Mapping[str, str], rows: list[str]) -> list[str]:
    """Some rows of the report as a table, and its protocol line.

    Columns without a number in any of these rows are left out;
    without any column there is no table.
    """
    found = {name: label for name, label in names.items() if any(report["rows"][row].get(name) for row in rows)}
    if not found:
        return []
    # its motions are written once: repeats draw other pairs of them only
    if "multimodality" in found and report["protocol"]["repeats"] > 1:
        found["multimodality"] = "MultiModality (± of pairs)"
    cells = [[row, *(_cell(report["rows"][row].get(name)) for name in found)] for row in rows]
    return [*table(["", *found.values()], cells), "", f"Protocol: {protocol_line(report['protocol'])}.", ""]


def _warnings(protocol: dict) -> list[str]:
    warnings = []
    if protocol["fid_few"] and protocol["what"] != "m2t":
        warnings.append(
            f"FID with N <= D ({protocol['N']} clips, {protocol['embedding_dim']} dimensions): the covariance is "
            "singular and the number depends on N. Compare it within this table only, never with one from another N."
        )
    if protocol["N"] < GROUP:
        warnings.append(f"No R-precision: it ranks motions in groups of {GROUP}, and these are {protocol['N']} clips.")
    if protocol.get("length_policy") == "cut":
        warnings.append(
            "The model's FID is against real motions cut to the model's lengths, the FID of the other rows against "
            "uncut ones. Do not compare the two."
        )
    lines = []
    for warning in warnings:
        lines += [f"**{warning}**", ""]
    return lines + train_warning(protocol["in_train"], protocol["N"])


def _pictures(drawn: Collection[str], **names: str) -> list[str]:
    """Links to pictures, given as file stem = caption;
    only those that were `drawn` (file names)."""
    lines = []
    for name, caption in names.items():
        if f"{name}.png" in drawn:
            lines += [f"![{caption}]({name}.png)", ""]
    return lines


def _repeats_note(protocol: dict) -> str:
    if protocol["repeats"] == 1:
        return "One repeat: there are no intervals."
    others = {"t2m": ", and other motions of the model", "m2t": ", and other sentences of the model", "vqvae": ""}
    greedy = protocol["what"] == "m2t" and protocol["sampling"]["temperature"] == 0
    model = "; the model is greedy, so its sentences are always the same" if greedy else others[protocol["what"]]
    return f"± is half of a 95 % interval over repeats, each with other captions and groups{model}."


def matching_markdown(report: dict, drawn: Collection[str] = ()) -> str:
    """The tables of a report and what they mean, with links to the pictures that were `drawn` (file
    names)."""
    protocol = report["protocol"]
    m2t = protocol["what"] == "m2t"
    # the Diversity of m2t would be that of the real motions: the model wrote sentences
    names = {name: label for name, label in MATCHING.items() if not (m2t and name == "diversity")}
    lines = ["## Text and motion", "", *_warnings(protocol), *_table(report, names, list(report["rows"]))]
    precision = f"R@k is R-precision in shuffled groups of {GROUP}. " if protocol["N"] >= GROUP else ""
    lines += [f"{precision}{_repeats_note(protocol)}", ""]
    lines += _sentence_rows() if m2t else _motion_rows(protocol)
    lines += _pictures(drawn, metrics="metrics", r_precision="R-precision")
    lines += _captions(report) if m2t else []
    lines += _motion(report) if protocol["what"] == "t2m" else []
    lines += _perplexity(report) if report.get("perplexity") else []
    return "\n".join(lines)


def _sentence_rows() -> list[str]:
    return [
        "Higher is better, for MM-Dist lower. The rows are sentences: those of people, the model's, and those of "
        "people shuffled. The model's sentences have no parts of speech for the evaluator.",
        "",
    ]


def _motion_rows(protocol: dict) -> list[str]:
    several = "MultiModality is of motions written once"
    several += "; its ± is over draws of pairs of them only." if protocol["repeats"] > 1 else "."
    return [
        "Higher is better, for FID and MM-Dist lower; Diversity should be close to the real row's. The real row's FID "
        "is 0 but for rounding, because a clip is always measured from its first frame. Chance shuffles the real "
        "motions among the texts. " + (several if protocol.get("multimodality") else ""),
        "",
    ]


def _captions(report: dict) -> list[str]:
    return [
        "## Captions",
        "",
        *_table(report, CAPTIONS, ["model"]),
        "Against all captions of a clip, counted as coco-caption does: BLEU and ROUGE-L from 0 to 1, CIDEr-D from 0 to "
        "10. Higher is better.",
        "",
    ]


def _motion(report: dict) -> list[str]:
    rows = _table(report, MOTION, [row for row in report["rows"] if row != "chance"])
    if not rows:
        return []
    zero = (
        "; metrics of motions that are the same in every repeat have ± 0" if report["protocol"]["repeats"] > 1 else ""
    )
    return [
        "## Motion",
        "",
        *rows,
        "Every clip counts once. Lower is better, but higher for lengths within 10 %, and jerk should be close to the "
        f"real row's{zero}. The floor is y = 0. {BONE_NOTE} Edit distances are to the real codes of the same sentence "
        "in this split. Lengths are compared with the sentence's median in training, if training had the sentence.",
        "",
    ]


def _perplexity(report: dict) -> list[str]:
    protocol, stages = report["protocol"], report["perplexity"]
    # a column per task of any stage
    tasks = list(dict.fromkeys(task for values in stages.values() for task in values))
    cells = []
    for stage, row in stages.items():
        name = f"stage {stage}" + (", evaluated" if stage == str(protocol["stage"]) else "")
        cells.append([name, *(number(row.get(task)) for task in tasks)])
    # a token data set has every motion measured, a set of clips only first captions
    line = f"of every motion, once; {protocol_line(protocol)}"
    if protocol["what"] != "tokens":
        line = ", ".join(["of each clip's first caption, once", *measured(protocol), versions(protocol)])
    return [
        "## Perplexity",
        "",
        *table(["", *tasks], cells),
        "",
        f"Protocol: {line}.",
        "",
        "Per token of the right answer, lower is better. Each stage has the tasks it was trained on.",
        "",
    ]


# 3) What a model writes for the captions of a token data set.


def tokens_markdown(report: dict) -> str:
    """A report of `token_writing`."""
    protocol, rows = report["protocol"], report["rows"]
    known = protocol["known_captions"]
    lines = ["# Motion tokens", "", *train_warning(protocol["in_train"], protocol["motions"], "motions")]
    lines += _table(report, {name: label for name, label in MOTION.items() if name.startswith("edit")}, list(rows))
    lines += [
        "Edit distances are in codes, from the written motion to the caption's motions in this split, or as a share of "
        "the longer one. Lower is better. Chance are motions of other captions."
        + (" Real is a caption's first motion against its others, if it has others." if "real" in rows else ""),
        "",
        "## Lengths and limits",
        "",
    ]
    names = {name: label for name, label in MOTION.items() if name.startswith("length")} | TOKENS
    lines += _table(report, names, [row for row in rows if row != "real"])
    lines += [
        f"Medians are of the caption's motions in this split, and in training ({known} of {protocol['N']} captions). "
        "The sampler keeps to the length limits and, for a caption of training, to the codes seen with it: shares "
        "outside are counted afterwards. A motion of the longest length allowed was cut off there.",
        "",
    ]
    if protocol["unknown_participants"]:
        lines += [f"{protocol['unknown_participants']} participants are not the run's: their style is nobody's.", ""]
    cells = [[name, *_usage(codebook)] for name, codebook in report["codebook"].items()]
    lines += ["## Codes", "", *table(["", "active", "of", "perplexity"], cells), ""]
    lines += ["![codes: real motions above, the model's below](codes.png)", "", "![lengths](lengths.png)", ""]
    lines += _perplexity(report) if report["perplexity"] else []
    return "\n".join([*lines, *dropped_clips(report)])


# 4) A motion of which a part was given.


def given_markdown(report: dict) -> str:
    """A report of `given_codes`."""
    protocol, rows = report["protocol"], report["rows"]
    predict = protocol["what"] == "predict"
    lines = ["# Prediction" if predict else "# In-betweening", "", *train_warning(protocol["in_train"], protocol["N"])]
    if protocol["asked_for"] != protocol["what"]:
        unlearnt = (
            f"This stage never learnt {protocol['what']}: it was asked for text to motion, and the sampler kept the "
            "given codes."
        )
        lines += [f"**{unlearnt}**", ""]
    lines += _table(report, COMPLETION, list(rows))
    baseline = (
        "Hold last pose: the last given pose stays."
        if predict
        else "Interpolation: from the last given pose to the next one, the root and each joint in a straight line, the "
        "joints as seen from the body, which turns evenly."
    )
    lines += [
        "Lower is better. Only frames that were not given count, and every clip counts once. ADE is the mean over "
        "frames of the distance between whole poses, the root of the sum over joints of their squared distances; FDE "
        "is that of the last frame (MotionGPT, DLow). MPJPE is the mean distance of a joint. Root-aligned moves both "
        "roots to one place in each frame. Before, a written motion is turned and moved on the ground so that its "
        f"given frames lie closest to the real ones. {baseline} It is measured with the exact given frames, the other "
        "rows are decoded from codes. Reconstruction is the whole clip through the tokenizer."
        + (
            f" Best of {protocol['best_of']} takes the smallest of each error over so many motions of a clip."
            if protocol["best_of"] > 1
            else ""
        )
        + " Greedy is the most likely code at every step.",
        "",
        _given_repeats(protocol),
        "",
    ]
    lines += ["![lengths](lengths.png)", "", "## Clips by ADE", "", "Real on the left, written on the right.", ""]
    for rank, shown in report["shown"].items():
        asked = report["clips"][shown["clip"]].get("asked")
        lines += [f"{rank}: {shown['clip']}, ADE {number(shown['ade'])} m" + (f", asked: {asked}" if asked else ""), ""]
        lines += [f"![{rank}]({rank}.gif)", ""]
    return "\n".join([*lines, *dropped_clips(report)])


def _given_repeats(protocol: dict) -> str:
    if protocol["repeats"] == 1:
        return "One repeat: there are no intervals."
    return (
        "± is half of a 95 % interval over repeats, each with other captions and other motions; rows without a model "
        "are always the same."
    )


# 5) The pages of t2m and m2t.


def clips_markdown(report: dict, drawn: Collection[str] = ()) -> str:
    """The best, median and worst clip, and the clips that were dropped."""
    lines = ["## Clips by MM-Dist", "", "In the first repeat.", ""]
    for rank, shown in report["shown"].items():
        clip = report["clips"][shown["clip"]]
        lines += [f"{rank}: {shown['clip']}, MM-Dist {number(shown['mm_dist'])}: {' / '.join(clip['captions'])}", ""]
        for kind in ("asked", "written"):
            lines += [f"{kind}: {clip[kind]}", ""] if kind in clip else []
        lines += _pictures(drawn, **{rank: rank})
    return "\n".join([*lines, *dropped_clips(report)])


def report_markdown(report: dict, drawn: Collection[str] = ()) -> str:
    """The whole report.md of t2m or m2t, with links to the pictures that were `drawn` (file
    names)."""
    protocol = report["protocol"]
    title = {"t2m": "Text to motion", "m2t": "Motion to text"}[protocol["what"]]
    lines = [f"# {title}", "", matching_markdown(report, drawn)]
    if "codebook" in report:
        rows = [[name, *_usage(codebook)] for name, codebook in report["codebook"].items()]
        seed = f"seed {protocol['seed']}"
        parts = ["of the first repeat", *measured(protocol), *sampled(protocol), seed, versions(protocol)]
        lines += ["## Codes and lengths", "", *table(["", "active", "of", "perplexity"], rows), ""]
        lines += [f"Protocol: {', '.join(parts)}.", ""]
        lines += _pictures(drawn, codes="codes: real motions above, the model's below", lengths="lengths")
    return "\n".join([*lines, clips_markdown(report, drawn)])
