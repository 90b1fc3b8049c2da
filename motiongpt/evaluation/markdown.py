"""What all reports share: numbers, tables, and the protocol line that says what was measured.

A report of `reconstruction` has one value per metric. A report of `text`, the part "matching", has
rows with intervals, and so have one of `token_writing` and one of `given_codes`, without an
evaluator. A tokenizer measured with an evaluator has two parts. `report_parts` and `protocol_line`
tell the kinds apart, and nothing else does.
"""

from collections.abc import Mapping

from motiongpt.config import SampleConfig
from motiongpt.evaluation.given_codes import LENGTHS, POSITIONS
from motiongpt.evaluation.model_answers import LENGTH_POLICIES


def number(value: float | None) -> str:
    """A number for people; a dash if there is none."""
    return "-" if value is None else f"{value:.4g}" if abs(value) < 10 else f"{value:.1f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def report_parts(report: dict) -> dict[str, dict]:
    """The measured parts of report.json by name, "reconstruction" before "matching"."""
    if report.get("what") == "tokens":
        return {"tokens": report}
    if report.get("what") in POSITIONS:
        return {"given codes": report}
    # t2m and m2t have one part; a tokenizer has its own and maybe that of an evaluator
    if report.get("what") != "vqvae":
        return {"matching": report}
    matching = {"matching": report["matching"]} if "matching" in report else {}
    return {"reconstruction": report, **matching}


def protocol_line(protocol: dict) -> str:
    """One line that says what was measured on what; numbers with different lines are not
    comparable."""
    if protocol.get("what") == "tokens":
        return tokens_line(protocol)
    if protocol.get("what") in POSITIONS:
        return given_line(protocol)
    return matching_line(protocol) if "evaluator" in protocol else reconstruction_line(protocol)


def versions(protocol: dict) -> str:
    return f"motiongpt {protocol['motiongpt']}, torch {protocol['torch']}"


def reconstruction_line(protocol: dict) -> str:
    """The `protocol_line` of a motion tokenizer."""
    p = protocol
    taken = "all" if p["clips"] == p["usable_clips"] else f"the first {p['clips']} of {p['usable_clips']}"
    skeleton = [f"skeleton {p['skeleton']}"] if p["skeleton"] else []
    return ", ".join(
        [
            f"data {p['data']} ({p['data_hash']})",
            f"tokenizer {p['tokenizer_hash']}",
            f"split {p['split']}",
            f"N = {p['clips']} ({taken} usable clips, {p['dropped_clips']} dropped)",
            f"{p['frames']} frames at {p['fps']:g} fps",
            *skeleton,
            f"representation {p['representation']}",
            versions(p),
        ]
    )


def measured(p: dict) -> list[str]:
    """The parts of a protocol line about clips and weights."""
    usable = p.get("usable", p["N"])
    taken = f"the first {p['N']} of {usable} usable, " if p["N"] < usable else ""
    line = [
        f"data set {p['data']} ({p['data_hash']})",
        f"split {p['split']}",
        f"N = {p['N']} ({taken}{p['dropped']} dropped; {p['min_frames']} to {p['max_frames']} frames, later frames of "
        "a motion are ignored)",
    ]
    line += [f"tokenizer {p['tokenizer_hash']}"] if "tokenizer_hash" in p else []
    line += [f"{p['model']} ({p['model_hash']})"] if "model" in p else []
    line += [f"stage {p['stage']} of a run of recipe {p['run']} ({p['run_hash']})"] if "run" in p else []
    return line


def sampled(p: dict, policies: Mapping[str, str] = LENGTH_POLICIES) -> list[str]:
    """The parts of a protocol line about how the model was asked; `policies` says what a length policy means."""
    line = []
    if "length_policy" in p:
        line.append(f"length policy {p['length_policy']} ({policies[p['length_policy']]})")
    usual = SampleConfig().to_dict()
    for name, value in p.get("sampling", {}).items():
        # these two always, the others only if they are not the default
        if name in ("temperature", "top_p") or value != usual.get(name):
            line.append(f"{name} {value}")
    return line


def tokens_line(protocol: dict) -> str:
    """The `protocol_line` of a token data set."""
    p = protocol
    taken = f"the first {p['N']} of {p['usable']} captions" if p["N"] < p["usable"] else "captions"
    return ", ".join(
        [
            f"data set {p['data']} ({p['data_hash']})",
            f"split {p['split']}",
            f"N = {p['N']} ({taken}, with {p['motions']} motions)",
            f"stage {p['stage']} of a run of recipe {p['run']} ({p['run_hash']})",
            *sampled(p),
            f"{p['repeats']} repeat{'s' * (p['repeats'] > 1)}, seed {p['seed']}",
            versions(p),
        ]
    )


def given_line(protocol: dict) -> str:
    """The `protocol_line` of prediction and in-betweening."""
    p = protocol
    ends = "first and last " if p["what"] == "inbetween" else "first "
    return ", ".join(
        [
            f"{p['what']}, the {ends}{100 * p['given_share']:g} % given",
            *measured(p),
            f"asked for as {p['asked_for']}, captions {p['captions']}",
            *sampled(p, LENGTHS),
            f"best of {p['best_of']}",
            f"{p['repeats']} repeat{'s' * (p['repeats'] > 1)}, seed {p['seed']}",
            versions(p),
        ]
    )


def matching_line(protocol: dict) -> str:
    """The `protocol_line` of a table measured by an evaluator."""
    p = protocol
    line = [p["evaluator"], *measured(p), *sampled(p)]
    line += [f"BERTScore of {p['bert_model']}"] if "bert_model" in p else []
    line += [f"{p['repeats']} repeat{'s' * (p['repeats'] > 1)}, seed {p['seed']}"]
    line += [f"Diversity of {p['diversity_pairs']} pairs"] if p["what"] != "m2t" else []
    if p.get("multimodality"):
        line.append("MultiModality of {} texts x {} motions x {} pairs".format(*p["multimodality"]))
    return ", ".join([*line, versions(p)])


def printed(report: dict, markdown: str) -> str:
    """What a script prints: dropped clips, the tables and bold lines of `markdown`,
    a protocol line for each part."""
    parts = report_parts(report)
    names = {part: " for the evaluator" if part == "matching" and len(parts) > 1 else "" for part in parts}
    lines = []
    for name, part in parts.items():
        lines += [f"dropped{names[name]} {clip}: {reason}" for clip, reason in part["dropped"].items()]
    # tables and warnings; the explanations stay in report.md
    lines += [line for line in markdown.splitlines() if line.startswith(("|", "**"))]
    lines += [f"protocol{names[name]}: {protocol_line(part['protocol'])}" for name, part in parts.items()]
    return "\n".join(lines)


def train_warning(inside: int, clips: int, what: str = "clips") -> list[str]:
    """The warning that some of the measured clips are in train.txt; empty without any."""
    if not inside:
        return []
    listed = " (train.txt)" if what == "clips" else ""
    warning = (
        f"**Warning: {inside} of {clips} measured {what} are in the training split{listed}. These numbers show "
        "what was learnt by heart and belong in no table.**"
    )
    return [warning, ""]


def dropped_clips(report: dict) -> list[str]:
    """The section on clips that were not measured; empty if there is none."""
    if not report["dropped"]:
        return []
    return ["## Dropped", "", *(f"- {name}: {reason}" for name, reason in report["dropped"].items()), ""]
