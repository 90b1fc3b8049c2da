"""Two evaluations compared: the difference of each metric with a 95 % interval, and what else differs.

The two values are those of the reports. Where other clips have a value in one than in the other (not of R-precision,
whose draws leave other clips out), they are the means over the clips that both have, and the table says so.

Intervals are those of the choice of clips. Of what has a value per clip they are a paired bootstrap: clips are drawn
with repetition, the same ones for both evaluations, and the percentiles of the differences (Efron & Tibshirani 1993),
moved by the little that the mean over clips is off the report's number, in which clips that more repeats measured count
more. What is drawn of a clip is its mean over repeats; so of R-precision its hits among the 31 others it was measured
with: groups are not formed anew, where copies of a clip would meet each other and tie. A reconstruction's numbers are
means over frames, so long clips count more.

FID has no value per clip, and a bootstrap of it is biased: resamples have fewer clips that differ, so their FID is
higher (percentiles of 100 clips in 64 dimensions held the truth in 3 of 40 trials). Its interval is a grouped
jackknife (Shao & Tu 1995): the clips of the first repeat's embeddings are cut into G = 20 random groups, d_g is the
difference without group g, the variance is (G - 1) / G sum_g (d_g - mean)^2, and the interval is the reports'
difference +- 2.093 of its roots, Student's t of 19 degrees. It is for the difference that is expected at this N, on
which FIDs depend, and errs to the wide side (Efron & Stein 1981). Measured on Gaussians, real and written correlated,
150 trials each at N = 100 and 300 in 16 and 64 dimensions: it held the expected difference in 93 to 98 % where A and B
are two models, and always where they are two draws of one, where it was 1.25 to 1.4 times as wide as need be.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.evaluation.markdown import CAPTIONS, MATCHING, MOTION, matching_line, number, reconstruction_line, table
from motiongpt.evaluation.qualities import ERRORS, PARAMETERS
from motiongpt.files.folders import check_report_folder, output_path
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, read_tensors, write_atomic, write_json
from motiongpt.metrics.embeddings import frechet, spread

ALL_LABELS = MATCHING | MOTION | CAPTIONS | ERRORS | PARAMETERS
SAME = {
    "what": "they measure different things", "evaluator_hash": "each evaluator has a scale of its own",
    "packing": "the evaluator read lengths in another way", "split": "they measured different clips",
    "data_hash": "frames or captions are not the same",
}  # fmt: skip
"""What two evaluations must share, and why."""
RESAMPLES = 10_000
FID_GROUPS, STUDENT = 20, 2.093  # 97.5 % of Student's t with 19 degrees of freedom
WHOLE = "it is of the whole set, clips have no value of their own"


def read_parts(folder: Path) -> dict[str, dict]:
    """ "reconstruction" and "matching", what an evaluation folder has of them: protocol, clips, and `points`, name ->
    number. Raises FileNotFoundError or ValueError naming the folder."""
    report = read_json(Path(folder) / "report.json")
    plain = report.get("what") == "vqvae"
    parts = {"reconstruction": report} if plain else {"matching": report}
    parts |= {"matching": report["matching"]} if plain and "matching" in report else {}
    for part in parts.values():
        try:
            _line(part["protocol"])
            rows = {} if "metrics" in part else part["rows"]
            row = rows["model" if "model" in rows else "reconstruction"] if rows else {}
            points = part.get("metrics") or {name: value and value["mean"] for name, value in row.items()}
            part |= {"points": points, "clips": dict(part["clips"])}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder}/report.json is of another version (no {error}); evaluate it again") from error
    return parts


def read_vectors(folder: Path, part: dict) -> dict[str, Tensor]:
    """The embeddings beside a report. Raises FileNotFoundError, or ValueError where they are of another one."""
    path = Path(folder) / "embeddings.safetensors"
    vectors, known = read_tensors(path), part.get("embeddings_hash")
    if {len(x) for x in vectors.values()} != {len(part["clips"])} or (known and file_hash(path) != known):
        raise ValueError(f"{path} is not that of report.json beside it; evaluate it again")
    return vectors


def bootstrap(values: np.ndarray, weights: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """Weighted means (resamples, S, K) of values (S, N, K) over clips drawn with repetition, the same ones for all.

    `weights` (S, N, K) are 0 where there is no value; a mean is NaN where none was drawn.
    """
    _, N, K = values.shape
    sides = np.concatenate([values * weights, weights], axis=2)
    means = []
    for first in range(0, resamples, 500):  # a bounded piece of memory at a time
        rows = min(500, resamples - first)
        drawn = rng.integers(N, size=(rows, N)) + N * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * N).reshape(rows, N)
        sums = np.stack([counts @ side for side in sides], axis=1)
        with np.errstate(invalid="ignore"):
            means.append(sums[..., :K] / sums[..., K:])
    return np.concatenate(means)


def fid_half_width(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], rng: np.random.Generator) -> float:
    """Half of the 95 % interval of FID of b minus that of a, each a pair (real, written) of (N, D): see above.

    Both leave out the same groups, and share one `spread` of the real motions where those are the same.
    """
    shared, differences = torch.equal(a[0], b[0]), []
    group = torch.from_numpy(rng.permutation(len(a[0])) % FID_GROUPS)
    for g in range(FID_GROUPS):
        kept = group != g
        real = spread(a[0][kept])
        first = frechet(real, spread(a[1][kept]))
        differences.append(frechet(real if shared else spread(b[0][kept]), spread(b[1][kept])) - first)
    return STUDENT * float(np.sqrt((FID_GROUPS - 1) * np.var(differences)))


def clip_rows(parts: Sequence[dict], rng: np.random.Generator, resamples: int) -> tuple[dict, dict[str, str]]:
    """Rows of `compare` by bootstrap over the clips of two parts, of the whole set without one; and what is left out,
    name -> why."""
    clips, points = [list(x["clips"].values()) for x in parts], [x["points"] for x in parts]
    has = [{name for clip in x for name in ALL_LABELS if clip.get(name) is not None} for x in clips]
    names = [name for name in ALL_LABELS if name in has[0] & has[1]]
    values = np.array([[[c.get(n) for n in names] for c in x] for x in clips], dtype=float)  # None becomes NaN
    known = np.isfinite(values)
    both, same = known.all(0), (known[0] == known[1]).all(0)
    roots = np.array([name.endswith("_rmse") for name in names], dtype=bool)  # roots of means of squares
    values = np.where(both, np.where(roots, values**2, values), 0.0)
    # frames: what is a mean over frames, so that a clip counts as in the report
    frames = [[c["frames"] if "metrics" in x else 1 for c in x["clips"].values()] for x in parts]
    weights = both * np.array(frames, dtype=float)[..., None]
    keep = np.flatnonzero(both.any(0))
    draws = bootstrap(values[..., keep], weights[..., keep], rng, resamples)
    means = (values * weights)[..., keep].sum(1) / weights[..., keep].sum(1)
    draws, means = (np.where(roots[keep], np.sqrt(x), x) for x in (draws, means))
    percentiles = np.nanpercentile(draws[:, 1] - draws[:, 0], [2.5, 97.5], axis=0) - (means[1] - means[0])
    rows, left_out = {}, {}
    for k, name, offsets in zip(keep, np.array(names)[keep].tolist(), percentiles.T, strict=True):
        ends = [x.get(name) for x in points]
        as_reported = None not in ends and (same[k] or name.startswith("r_precision"))
        ends = ends if as_reported else means[:, list(keep).index(k)]
        rows[name] = _difference(*ends, offsets) | ({} if as_reported else {"clips": int(both[:, k].sum())})
    for name in ALL_LABELS:
        ends = [x.get(name) for x in points]
        if name in rows or name == "fid" or ends == [None, None] or _meaningless(name, parts[0]["protocol"]):
            continue
        left_out[name] = "it was not measured in both, on a clip in common"
        if None not in ends and name not in has[0] | has[1]:
            rows[name], left_out[name] = _difference(*ends), WHOLE
    return rows, left_out


def _line(protocol: dict) -> str:
    return (matching_line if "evaluator" in protocol else reconstruction_line)(protocol)


def _meaningless(name: str, protocol: dict) -> bool:
    return name == "diversity" and protocol.get("what") == "m2t"  # of the real motions: the model wrote sentences


def protocol_differences(a: dict, b: dict) -> dict[str, list]:
    """What is not the same in two protocols: name -> [value of a, value of b]; None where one has no such entry."""
    a, b = ({**x, **{f"sampling {name}": value for name, value in x.get("sampling", {}).items()}} for x in (a, b))
    names = [name for name in {**a, **b} if name not in ("sampling", "evaluator")]  # a hash says which evaluator
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}


def compare(a: Path, b: Path, seed: int = 0, resamples: int = RESAMPLES) -> dict:
    """B minus A of two evaluation folders: metric -> values, difference, its 95 % interval over clips, and whether 0 is
    inside; None where it has no interval. Of two tokenizers the reconstruction, and with an evaluator what that says.
    FID is left out between the length policy `cut` and another.

    Raises ValueError where the two cannot be compared: not `SAME`, or not the same clips.
    """
    if Path(a).resolve() == Path(b).resolve():
        raise ValueError(f"--compare takes two evaluations, got {a} twice")
    if seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {seed}")
    found = [read_parts(a), read_parts(b)]
    if not (names := [name for name in found[0] if name in found[1]]):
        raise ValueError(f"{a} and {b} cannot be compared: one is of a tokenizer alone, the other of a language model")
    rng, rows, left_out = np.random.default_rng(seed), {}, {}
    for part in names:
        first, second = pair = [x[part] for x in found]
        clips = [list(x["clips"]) for x in pair]
        if len(clips[0]) != len(clips[1]):
            numbers = " and ".join(str(len(x)) for x in clips)
            raise ValueError(
                f"{a} and {b} cannot be compared: they measured {numbers} clips; give both the same --clips"
            )
        for name, why in SAME.items():
            values = [x["protocol"].get(name) for x in pair]
            if values[0] != values[1]:
                raise ValueError(f"{a} and {b} cannot be compared: {name} is {values[0]} and {values[1]}, {why}")
        if clips[0] != clips[1]:
            raise ValueError(f"{a} and {b} cannot be compared: they measured different clips")
        more, missing = clip_rows(pair, rng, resamples)
        rows, left_out = rows | more, left_out | missing
    fid, protocols = [x["points"].get("fid") for x in pair], [x["protocol"] for x in pair]
    if part == "matching":
        vectors = [_pair(read_vectors(*x)) for x in zip((a, b), pair, strict=True)]
        policies = {x.get("length_policy") for x in protocols}
        if len(policies) == 2 and "cut" in policies:
            left_out["fid"] = "with the length policy cut the real motions are cut too, so the two have different ones"
        elif None not in fid:
            half = fid_half_width(*vectors, rng)
            rows["fid"] = _difference(*fid, (-half, half))
    a, b = ([x[part]["protocol"] for part in names] for x in found)
    return {"a": a, "b": b, "differs": protocol_differences(*protocols), "seed": seed,
            "resamples": resamples, "fid_groups": FID_GROUPS if "fid" in rows else None,
            "rows": {name: rows[name] for name in ALL_LABELS if name in rows}, "left_out": left_out}  # fmt: skip


def _pair(vectors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The real embeddings and those compared with them."""
    return vectors.get("real_cut", vectors["real"]), vectors.get("model", vectors.get("reconstruction"))


def _difference(a: float, b: float, offsets: Sequence[float] | None = None) -> dict[str, float | bool | None]:
    """Values, difference, and the ends of its interval, which are `offsets` from it."""
    row = {"a": float(a), "b": float(b), "difference": float(b - a), "low": None, "high": None, "zero_inside": None}
    if offsets is None:
        return row
    low, high = (float(b - a + x) for x in offsets)
    return row | {"low": low, "high": high, "zero_inside": low <= 0 <= high}


def comparison_markdown(comparison: dict) -> str:
    """The table of `compare`, what differs between the two, and their protocol lines."""
    rows = [
        [ALL_LABELS[name], *(number(x[key]) for key in ("a", "b", "difference")),
         *(("-", "-") if x["low"] is None
           else (f"{number(x['low'])} to {number(x['high'])}", "yes" if x["zero_inside"] else "no"))]
        for name, x in comparison["rows"].items()
    ]  # fmt: skip
    lines = ["# Comparison", "", *table(["", "A", "B", "B - A", "95 % interval", "0 inside"], rows), ""]
    fid = f"; FID: jackknife of {comparison['fid_groups']} groups, first repeat" if comparison["fid_groups"] else ""
    lines += [f"Paired bootstrap over clips, {comparison['resamples']} resamples{fid}; seed {comparison['seed']}.", ""]
    for name, x in comparison["rows"].items():
        lines += [f"{ALL_LABELS[name]}: of the {x['clips']} clips that both have one of.", ""] if "clips" in x else []
    for why in dict.fromkeys(comparison["left_out"].values()):
        names = [name for name, reason in comparison["left_out"].items() if reason == why]
        what = "No interval of " if names[0] in comparison["rows"] else "No "
        lines += [f"{what}{', '.join(ALL_LABELS[name] for name in names)}: {why}.", ""]
    if fid and comparison["a"][-1]["fid_few"]:
        lines += ["**FID with N <= D: it depends on N, and so does its difference. The interval is for this N.**", ""]
    if comparison["differs"]:
        rows = [[name, *map(str, values)] for name, values in comparison["differs"].items()]
        lines += ["Not the same in both:", "", *table(["", "A", "B"], rows), ""]
    else:
        lines += ["Both were measured by the same protocol, on the same weights.", ""]
    return "\n".join([*lines, *(f"{n.upper()}: {_line(p)}.\n" for n in "ab" for p in comparison[n])])


def report_comparison(a: Path, b: Path, out: Path | str | None = None, **how: int) -> str:
    """`comparison_markdown` of `compare`; with `out` it is in comparison.md there too, and all in comparison.json."""
    folder = None if out is None else output_path(out, "--out", folder=True)
    if folder is not None:
        check_report_folder(folder)
    comparison = compare(a, b, **how)
    text = comparison_markdown(comparison)
    if folder is None:
        return text
    paths = folder / "comparison.json", folder / "comparison.md"
    write_json(paths[0], comparison)
    write_atomic(paths[1], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return f"{text}\nwrote {paths[0]} {paths[1]}"
