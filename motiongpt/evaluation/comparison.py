"""Two evaluations side by side: for each metric both values,
their difference and its 95 % interval.

The values are those of the two reports. If the two evaluations have a metric on different clips,
its values are means over the common clips, and the table says so. R-precision is the exception,
because its groups leave out random clips.

An interval says how much the difference depends on which clips were chosen; `intervals` explains
the two kinds. It is shifted so that its centre is the difference of the reports, in which clips
that more repeats measured count slightly more. A reconstruction's numbers are means over frames, so
long clips count more. Diversity, MultiModality and scores of a whole corpus of captions get no
interval.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from motiongpt.evaluation.intervals import FID_GROUPS, PERCENTILES, RESAMPLES, bootstrap, fid_half_width
from motiongpt.evaluation.labels import ALL_LABELS
from motiongpt.evaluation.markdown import number, protocol_line, report_parts, table
from motiongpt.files.folders import check_report_folder, output_path
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, read_tensors, write_json, write_text
from motiongpt.metrics.embeddings import GROUP

MUST_AGREE = {
    "what": "they measure different things",
    "evaluator_hash": "each evaluator has a scale of its own",
    "packing": "the evaluator read lengths in another way",
    "split": "they measured different clips",
    "data_hash": "frames or captions are not the same",
}
"""Protocol entries that two evaluations must share, and why."""

OF_WHOLE_SET = "only the whole set has a value, single clips have none"
FEW_FOR_FID = f"its jackknife needs {GROUP} clips"
NOT_IN_BOTH = "it was not measured in both, on a clip in common"
CUT_FID = "the length policy cut also cuts the real motions, so the two compare with different ones"


# 1) Reading two evaluations.


def read_parts(folder: Path) -> dict[str, dict]:
    """The parts of an evaluation folder by name ("reconstruction", "matching"), each with `points`:
    metric -> value.

    Raises FileNotFoundError, or ValueError naming the folder.
    """
    parts = report_parts(read_json(Path(folder) / "report.json"))
    try:
        return {name: part | {"points": _points(part), "clips": dict(part["clips"])} for name, part in parts.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}/report.json is of another version (no {error}); evaluate it again") from error


def _points(part: dict) -> dict[str, float | None]:
    """Metric -> the value in the report. KeyError if the report lacks an entry that a comparison
    needs."""
    # only for its KeyError, if the protocol lacks an entry
    protocol_line(part["protocol"])
    if "metrics" in part:
        return part["metrics"]
    row = part["rows"]["model" if "model" in part["rows"] else "reconstruction"]
    return {name: value and value["mean"] for name, value in row.items()}


def read_vectors(folder: Path, part: dict) -> dict[str, Tensor]:
    """The embeddings beside a report. Raises FileNotFoundError,
    or ValueError if they belong to another report."""
    path = Path(folder) / "embeddings.safetensors"
    vectors = read_tensors(path)
    known = part.get("embeddings_hash")
    # a report from before the hash is told by its number of clips alone
    sizes = {len(x) for x in vectors.values()}
    if sizes != {len(part["clips"])} or (known and file_hash(path) != known):
        raise ValueError(f"{path} is not that of report.json beside it; evaluate it again")
    return vectors


def check_comparable(a: Path, b: Path, first: dict, second: dict) -> None:
    """ValueError if the same part of two evaluations differs in `MUST_AGREE` or in its clips."""
    # the number first, because a flag can remedy it
    clips = [list(part["clips"]) for part in (first, second)]
    if len(clips[0]) != len(clips[1]):
        numbers = f"{len(clips[0])} and {len(clips[1])}"
        raise ValueError(f"{a} and {b} cannot be compared: they measured {numbers} clips; give both the same --clips")
    for name, why in MUST_AGREE.items():
        ours, theirs = first["protocol"].get(name), second["protocol"].get(name)
        if ours != theirs:
            raise ValueError(f"{a} and {b} cannot be compared: {name} is {ours} and {theirs}, {why}")
    if clips[0] != clips[1]:
        raise ValueError(f"{a} and {b} cannot be compared: they measured different clips")


def protocol_differences(a: dict, b: dict) -> dict[str, list]:
    """Entries that differ between two protocols: name -> [value of a, value of b];
    None for an entry one lacks."""

    def flat(protocol: dict) -> dict:
        # the evaluator's text is left out: its hash says which one it is
        entries = {name: value for name, value in protocol.items() if name not in ("sampling", "evaluator")}
        return entries | {f"sampling {name}": value for name, value in protocol.get("sampling", {}).items()}

    ours, theirs = flat(a), flat(b)
    return {name: [ours.get(name), theirs.get(name)] for name in ours | theirs if ours.get(name) != theirs.get(name)}


# 2) The rows of a comparison.


def difference_row(a: float, b: float, offsets: Sequence[float] | None = None) -> dict[str, float | bool | None]:
    """A row of the comparison; the interval ends at `offsets` from the difference, None:
    there is no interval."""
    row = {"a": float(a), "b": float(b), "difference": float(b - a), "low": None, "high": None, "zero_inside": None}
    if offsets is None:
        return row
    low, high = (float(b - a + offset) for offset in offsets)
    return row | {"low": low, "high": high, "zero_inside": low <= 0 <= high}


def _has_values(part: dict) -> set[str]:
    """Metrics that at least one clip has a value of."""
    return {name for clip in part["clips"].values() for name in ALL_LABELS if clip.get(name) is not None}


def _clip_values(part: dict, names: Sequence[str]) -> np.ndarray:
    """(N, K) values of the clips; NaN for a missing one."""
    return np.array([[clip.get(name) for name in names] for clip in part["clips"].values()], dtype=float)


def _clip_weights(part: dict) -> np.ndarray:
    """(N,) how much a clip counts: a reconstruction's means are over frames,
    other means over clips."""
    return np.array([clip["frames"] if "metrics" in part else 1 for clip in part["clips"].values()], dtype=float)


def bootstrap_rows(first: dict, second: dict, rng: np.random.Generator, resamples: int) -> dict[str, dict]:
    """Rows of the metrics that both parts have a value of on at least one common clip."""
    # 1) The metrics of both, with the clips that have a value in both.
    parts = (first, second)
    in_both = _has_values(first) & _has_values(second)
    names = [name for name in ALL_LABELS if name in in_both]
    values = np.stack([_clip_values(part, names) for part in parts])  # (2, N, K)
    known = np.isfinite(values)
    common = known.all(0)  # (N, K)
    measured = common.any(0)
    names = [name for name, any_clip in zip(names, measured, strict=True) if any_clip]
    values = values[..., measured]
    known = known[..., measured]
    common = common[:, measured]
    same_clips = (known[0] == known[1]).all(0)  # (K,)

    # 2) Means and their draws. An RMSE is the root of a mean: squares are averaged, and every mean gets its root.
    roots = np.array([name.endswith("_rmse") for name in names], dtype=bool)
    values = np.where(common, np.where(roots, values**2, values), 0.0)
    # a value that one of the two lacks has weight 0 in both
    weights = common * np.stack([_clip_weights(part) for part in parts])[..., None]
    means = (values * weights).sum(1) / weights.sum(1)  # (2, K)
    draws = bootstrap(values, weights, rng, resamples)  # (resamples, 2, K)
    means = np.where(roots, np.sqrt(means), means)
    draws = np.where(roots, np.sqrt(draws), draws)
    # where the percentiles of the resampled differences lie, seen from the measured difference
    offsets = np.nanpercentile(draws[:, 1] - draws[:, 0], PERCENTILES, axis=0) - (means[1] - means[0])  # (2, K)

    # 3) Rows: the reports' values if they are of the same clips.
    rows = {}
    for k, name in enumerate(names):
        ends = [part["points"].get(name) for part in parts]
        if None not in ends and (same_clips[k] or name.startswith("r_precision")):
            rows[name] = difference_row(*ends, offsets[:, k])
        else:
            rows[name] = difference_row(*means[:, k], offsets[:, k]) | {"clips": int(common[:, k].sum())}
    return rows


def whole_set_rows(first: dict, second: dict, done: Mapping[str, dict]) -> tuple[dict[str, dict], dict[str, str]]:
    """Rows of metrics without values per clip, and why a metric has no row or no interval (name ->
    reason).

    `done` are the rows with intervals; FID is left to `fid_row`.
    """
    in_one = _has_values(first) | _has_values(second)
    rows = {}
    left_out = {}
    for name in ALL_LABELS:
        ends = [part["points"].get(name) for part in (first, second)]
        # m2t wrote sentences, so its Diversity is that of the real motions
        meaningless = name == "diversity" and first["protocol"].get("what") == "m2t"
        if name in done or name == "fid" or ends == [None, None] or meaningless:
            continue
        if None not in ends and name not in in_one:
            rows[name] = difference_row(*ends)
            left_out[name] = OF_WHOLE_SET
        else:
            left_out[name] = NOT_IN_BOTH
    return rows, left_out


def fid_row(a: Path, b: Path, first: dict, second: dict, rng: np.random.Generator) -> tuple[dict | None, str | None]:
    """The row of FID, or the reason why there is none;
    both are None if an evaluation has no FID."""
    vectors_a = _real_and_written(read_vectors(a, first))
    vectors_b = _real_and_written(read_vectors(b, second))
    policies = {part["protocol"].get("length_policy") for part in (first, second)}
    if len(policies) == 2 and "cut" in policies:
        return None, CUT_FID
    ends = [part["points"].get("fid") for part in (first, second)]
    if None in ends:
        return None, None
    if len(first["clips"]) < GROUP:
        return difference_row(*ends), FEW_FOR_FID
    half = fid_half_width(vectors_a, vectors_b, rng)
    return difference_row(*ends, (-half, half)), None


def _real_and_written(vectors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The embeddings that FID compares."""
    return vectors.get("real_cut", vectors["real"]), vectors.get("model", vectors.get("reconstruction"))


def compare(a: Path, b: Path, seed: int = 0, resamples: int = RESAMPLES) -> dict:
    """B minus A of two evaluation folders, the content of comparison.json.

    `rows`: metric -> a, b, difference, low and high of the interval, and whether 0 is inside; None
    without an interval. Two tokenizers are compared by reconstruction, and by their evaluator if
    both have one. FID is left out between the length policy "cut" and another.

    Raises ValueError if the two cannot be compared: they differ in `MUST_AGREE` or in their clips.
    """
    if Path(a).resolve() == Path(b).resolve():
        raise ValueError(f"--compare takes two evaluations, got {a} twice")
    if seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {seed}")
    # 1) the parts that both have, measured by the same rules
    parts_a, parts_b = read_parts(a), read_parts(b)
    names = [name for name in parts_a if name in parts_b]
    if not names:
        kinds = "a tokenizer alone, the other of a language model"
        if "tokens" in (*parts_a, *parts_b):
            kinds = "motion tokens alone, the other of motions"
        if "given codes" in (*parts_a, *parts_b):
            kinds = "motions of which a part was given, the other is not"
        raise ValueError(f"{a} and {b} cannot be compared: one is of {kinds}")
    pairs = {name: (parts_a[name], parts_b[name]) for name in names}
    for pair in pairs.values():
        check_comparable(a, b, *pair)

    # 2) the rows; all parts draw from one generator, in this order
    rng = np.random.default_rng(seed)
    rows: dict[str, dict] = {}
    left_out: dict[str, str] = {}
    for pair in pairs.values():
        from_clips = bootstrap_rows(*pair, rng, resamples)
        from_set, without = whole_set_rows(*pair, from_clips)
        rows |= from_clips | from_set
        left_out |= without
    if "matching" in pairs:
        row, reason = fid_row(a, b, *pairs["matching"], rng)
        rows |= {"fid": row} if row else {}
        left_out |= {"fid": reason} if reason else {}

    # 3) what was measured, and how the two differ
    protocols = {name: [part["protocol"] for part in pair] for name, pair in pairs.items()}
    last = protocols[names[-1]]  # "matching" if there is one: it names the same weights, and how they were measured
    return {
        "a": [ours for ours, _ in protocols.values()],
        "b": [theirs for _, theirs in protocols.values()],
        "differs": protocol_differences(*last),
        "seed": seed,
        "resamples": resamples,
        "fid_groups": FID_GROUPS if "fid" in rows and "fid" not in left_out else None,
        "rows": {name: rows[name] for name in ALL_LABELS if name in rows},
        "left_out": left_out,
    }


# 3) As text and as files.


def _row_cells(name: str, row: dict) -> list[str]:
    ends = [number(row[key]) for key in ("a", "b", "difference")]
    if row["low"] is None:
        return [ALL_LABELS[name], *ends, "-", "-"]
    inside = "yes" if row["zero_inside"] else "no"
    return [ALL_LABELS[name], *ends, f"{number(row['low'])} to {number(row['high'])}", inside]


def comparison_markdown(comparison: dict) -> str:
    """The table of `compare`, what differs between the two, and their protocol lines."""
    rows, left_out = comparison["rows"], comparison["left_out"]
    cells = [_row_cells(name, row) for name, row in rows.items()]
    lines = ["# Comparison", "", *table(["", "A", "B", "B - A", "95 % interval", "0 inside"], cells), ""]
    fid = f"; FID: jackknife of {comparison['fid_groups']} groups, first repeat" if comparison["fid_groups"] else ""
    lines += [f"Paired bootstrap over clips, {comparison['resamples']} resamples{fid}; seed {comparison['seed']}.", ""]
    for name, row in rows.items():
        if "clips" in row:
            lines += [f"{ALL_LABELS[name]}: over the {row['clips']} clips that have a value in both.", ""]
    # one sentence per reason, with all metrics it applies to
    for reason in dict.fromkeys(left_out.values()):
        names = [name for name, why in left_out.items() if why == reason]
        what = "No interval for" if names[0] in rows else "No"
        lines += [f"{what} {', '.join(ALL_LABELS[name] for name in names)}: {reason}.", ""]
    if fid and comparison["a"][-1]["fid_few"]:
        warning = "FID with N <= D: it depends on N, and so does its difference. The interval is for this N."
        lines += [f"**{warning}**", ""]
    if comparison["differs"]:
        cells = [[name, *map(str, values)] for name, values in comparison["differs"].items()]
        lines += ["What differs between the two:", "", *table(["", "A", "B"], cells), ""]
    else:
        lines += ["Both were measured by the same protocol, on the same weights.", ""]
    for side in ("a", "b"):
        lines += [f"{side.upper()}: {protocol_line(protocol)}.\n" for protocol in comparison[side]]
    return "\n".join(lines)


def report_comparison(
    a: Path, b: Path, out: Path | str | None = None, seed: int = 0, resamples: int = RESAMPLES
) -> str:
    """`comparison_markdown` of `compare`; `out` names a folder for comparison.md and
    comparison.json."""
    if out is None:
        return comparison_markdown(compare(a, b, seed, resamples))
    folder = output_path(out, "--out", folder=True)
    # before the bootstrap, so that a wrong folder costs no time
    check_report_folder(folder)
    comparison = compare(a, b, seed, resamples)
    text = comparison_markdown(comparison)
    paths = folder / "comparison.json", folder / "comparison.md"
    write_json(paths[0], comparison)
    write_text(paths[1], text)
    return f"{text}\nwrote {paths[0]} {paths[1]}"
