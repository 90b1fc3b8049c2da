"""Two evaluations compared: the difference of each metric with a paired bootstrap interval, and what else differs.

Clips are drawn with repetition, the same ones for both evaluations, and the interval is from the 2.5th to the 97.5th
percentile of the differences (Efron & Tibshirani 1993, percentile method). What is drawn of a clip is its value in each
evaluation, the mean over repeats. So of R-precision its hits among the 31 others it was measured with are drawn; groups
are not formed anew, where copies of a clip would meet each other and tie. The interval is that of the choice of clips:
what the model would write with other seeds is in it as far as repeats differ within a clip.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt.evaluation import number, table
from motiongpt.evaluation_report import CAPTIONS, MATCHING, MOTION, protocol_line
from motiongpt.files import read_json, read_tensors, write_atomic, write_json
from motiongpt.metrics import frechet, spread
from motiongpt.motion import output_path

LABELS = MATCHING | MOTION | CAPTIONS
SAME = {
    "what": "they measure different things", "evaluator_hash": "each evaluator has a scale of its own",
    "packing": "the evaluator read lengths in another way", "split": "they measured different clips",
    "data_hash": "frames or captions are not the same",
}  # fmt: skip
"""What two evaluations must share, and why."""
RESAMPLES = 10_000
FID_RESAMPLES = 1_000, 200  # of N <= D clips; of more, where one takes sixty times as long


def read_report(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """Report and embeddings of an evaluation folder. Raises FileNotFoundError or ValueError naming it."""
    report = read_json(Path(folder) / "report.json")
    report = report.get("matching", report)  # beside the reconstruction's own numbers
    parts = [report.get(name) for name in ("protocol", "rows", "clips")] if isinstance(report, dict) else [None]
    if not all(isinstance(part, dict) for part in parts) or "evaluator_hash" not in parts[0]:
        raise ValueError(f"{folder}/report.json was measured without an evaluator; evaluate it with --evaluator")
    try:
        protocol_line(parts[0])
    except KeyError as error:
        raise ValueError(f"{folder}/report.json is of another version, without {error}; evaluate it again") from error
    vectors = read_tensors(Path(folder) / "embeddings.safetensors")
    if {len(x) for x in vectors.values()} != {len(parts[2])}:
        raise ValueError(f"{folder}/embeddings.safetensors is not that of report.json beside it; evaluate it again")
    return report, vectors


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


def fid_differences(
    a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], rng: np.random.Generator, resamples: int
) -> np.ndarray:
    """FID of b minus that of a, each a pair (real, written) of (N, D), in every resample of the N rows: (resamples,).

    Both share the draws, and one `spread` of the real motions where those are the same.
    """
    shared, out = torch.equal(a[0], b[0]), []
    for _ in tqdm(range(resamples), unit="resample", disable=None, leave=False):
        counts = torch.from_numpy(np.bincount(rng.integers(len(a[0]), size=len(a[0])), minlength=len(a[0])))
        real = spread(a[0], counts)
        first = frechet(real, spread(a[1], counts))
        out.append(frechet(real if shared else spread(b[0], counts), spread(b[1], counts)) - first)
    return np.array(out)


def protocol_differences(a: dict, b: dict) -> dict[str, list]:
    """What is not the same in two protocols: name -> [value of a, value of b]; None where one has no such entry."""
    a, b = ({**x, **{f"sampling {name}": value for name, value in x.get("sampling", {}).items()}} for x in (a, b))
    names = [name for name in {**a, **b} if name not in ("sampling", "evaluator")]  # a hash says which evaluator
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}


def compare(a: Path, b: Path, seed: int = 0, resamples: int = RESAMPLES, fid_resamples: int | None = None) -> dict:
    """B minus A of two evaluation folders: metric -> values, difference, its 95 % interval by paired bootstrap over
    clips, and whether 0 is inside. FID is resampled over the embeddings of the first repeat, `fid_resamples` times
    (FID_RESAMPLES), and left out between the length policy `cut` and another.

    Raises ValueError where the two cannot be compared: not `SAME`, or not the same clips.
    """
    if Path(a).resolve() == Path(b).resolve():
        raise ValueError(f"--compare takes two evaluations, got {a} twice")
    (first, vectors_a), (second, vectors_b) = read_report(a), read_report(b)
    for name, why in SAME.items():
        values = [x["protocol"].get(name) for x in (first, second)]
        if values[0] != values[1]:
            raise ValueError(f"{a} and {b} cannot be compared: {name} is {values[0]} and {values[1]}, {why}")
    if list(first["clips"]) != list(second["clips"]):
        raise ValueError(f"{a} and {b} cannot be compared: they measured different clips")
    clips = [x["clips"].values() for x in (first, second)]
    names = [name for name in LABELS if all(any(c.get(name) is not None for c in x) for x in clips)]
    tables = [np.array([[c.get(n) for n in names] for c in x], dtype=float) for x in clips]  # None becomes NaN
    known = np.isfinite(tables[0]) & np.isfinite(tables[1])
    kept = known.any(0)
    names, known = [name for name, keep in zip(names, kept, strict=True) if keep], known[:, kept]
    tables = [np.where(known, x[:, kept], np.nan) for x in tables]
    rng = np.random.default_rng(seed)
    low, high = bootstrap(tables[1] - tables[0], rng, resamples)
    means = [np.nanmean(x, axis=0) for x in tables]
    rows = {n: _difference(*values) for n, *values in zip(names, *means, low, high, strict=True)}
    left_out, policies = {}, {x["protocol"].get("length_policy") for x in (first, second)}
    if len(policies) == 2 and "cut" in policies:
        left_out["fid"] = "with the length policy cut the real motions are cut too, so the two have different ones"
    elif first["protocol"]["what"] != "m2t":
        pairs = [_pair(vectors_a), _pair(vectors_b)]
        few = len(pairs[0][0]) <= pairs[0][0].shape[1]
        fid_resamples = fid_resamples or FID_RESAMPLES[0 if few else 1]
        drawn = fid_differences(*pairs, rng, fid_resamples)
        values = [frechet(*map(spread, pair)) for pair in pairs]
        rows["fid"] = _difference(*values, *np.percentile(drawn, [2.5, 97.5]))
    return {"a": first["protocol"], "b": second["protocol"],
            "differs": protocol_differences(first["protocol"], second["protocol"]), "seed": seed,
            "resamples": resamples, "fid_resamples": fid_resamples, "rows": rows, "left_out": left_out}  # fmt: skip


def _pair(vectors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The real embeddings and those compared with them."""
    return vectors.get("real_cut", vectors["real"]), vectors.get("model", vectors.get("reconstruction"))


def _difference(a: float, b: float, low: float, high: float) -> dict[str, float | bool]:
    values = {"a": a, "b": b, "difference": b - a, "low": low, "high": high}
    return {name: float(value) for name, value in values.items()} | {"zero_inside": bool(low <= 0 <= high)}


def comparison_markdown(comparison: dict) -> str:
    """The table of `compare`, what differs between the two, and their protocol lines."""
    rows = [
        [LABELS[name], *(number(x[key]) for key in ("a", "b", "difference")),
         f"{number(x['low'])} to {number(x['high'])}", "yes" if x["zero_inside"] else "no"]
        for name, x in comparison["rows"].items()
    ]  # fmt: skip
    lines = ["# Comparison", "", *table(["", "A", "B", "B - A", "95 % interval", "0 inside"], rows), ""]
    fid = f" (FID: {comparison['fid_resamples']}, first repeat)" if "fid" in comparison["rows"] else ""
    lines += [f"Paired bootstrap over clips, {comparison['resamples']} resamples{fid}, seed {comparison['seed']}.", ""]
    lines += [line for name, why in comparison["left_out"].items() for line in (f"No {LABELS[name]}: {why}.", "")]
    if fid and comparison["a"]["fid_few"]:
        lines += ["**FID with N < D: it depends on N. Resamples lack clips, so theirs is of fewer.**", ""]
    if comparison["differs"]:
        rows = [[name, *map(str, values)] for name, values in comparison["differs"].items()]
        lines += ["Not the same in both:", "", *table(["", "A", "B"], rows), ""]
    else:
        lines += ["Both were measured by the same protocol, on the same weights.", ""]
    return "\n".join([*lines, *(f"{n.upper()}: {protocol_line(comparison[n])}.\n" for n in ("a", "b"))])


def report_comparison(a: Path, b: Path, out: Path | str | None = None, **how: int) -> str:
    """`comparison_markdown` of `compare`; with `out` it is in comparison.md there too, and all in comparison.json."""
    folder = None if out is None else output_path(out, "--out", folder=True)
    comparison = compare(a, b, **how)
    text = comparison_markdown(comparison)
    if folder is None:
        return text
    paths = folder / "comparison.json", folder / "comparison.md"
    write_json(paths[0], comparison)
    write_atomic(paths[1], lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return f"{text}\nwrote {paths[0]} {paths[1]}"
