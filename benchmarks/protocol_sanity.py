"""Do the protocol's metrics notice what they should? Real motions, spoilt in known ways, keep their captions.

    python benchmarks/protocol_sanity.py --data data/mine --evaluator outputs/evaluator --out outputs/sanity.md

Every row of the table is one way to spoil motions. A metric notices it if the number is worse than the real row's by
more than a tenth (and by more than `LEAST`), and the two 95 % intervals are disjoint. Intervals are over repeats; those
of foot skate, penetration, jerk and bone drift, which no repeat changes, are over clips. Diversity and jerk notice a
change in either direction. FID notices if it is above the FID of random halves of the real motions, the largest of all
repeats; halves have half the clips, so with few clips that is a high bar.
The metric that should notice was named beforehand and is in bold.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from motiongpt.data.mirror import mirror_joints
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.clips import UNIT
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.evaluation.markdown import number, protocol_line, table
from motiongpt.evaluation.protocol import EvaluationSet, ProtocolConfig, TableRow, interval
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.representations import Representation

COLUMNS = {
    "fid": "FID",
    "r_precision_1": "R@1",
    "r_precision_3": "R@3",
    "mm_dist": "MM-Dist",
    "diversity": "Diversity",
    "foot_skate": "foot skate",
    "floor_penetration_mm": "penetration (mm)",
    "jerk_m_s3": "jerk (m/s^3)",
    "bone_length_drift": "bone drift",
}
LEAST = {"floor_penetration_mm": 1.0, "bone_length_drift": 1e-4}  # smaller changes are rounding errors of real motions
LESS_IS_WORSE = ("r_precision_1", "r_precision_3")
BOTH_WAYS = ("diversity", "jerk_m_s3")
OF_CLIPS = ("foot_skate", "floor_penetration_mm", "jerk_m_s3", "bone_length_drift")


def spoil(name: str, features: np.ndarray, r: Representation, fps: float, rng: np.random.Generator) -> np.ndarray:
    """A clip (F, D) decoded to joints, spoilt in the way called `name`, and encoded again; (F, D)."""
    x = r.decode(features).astype(np.float64)  # (F, J, 3) in data units
    unit = 1 / r.metres_per_unit  # data units in a metre
    time = np.arange(len(x))
    if name == "mirrored":
        x = mirror_joints(x, r.skeleton)
    elif name == "at half speed":  # only the first half of the motion, so that no clip gets longer
        before = x[time // 2]
        part = (time % 2 / 2)[:, None, None]
        x = before + part * (x[(time + 1) // 2] - before)
    elif name.startswith("noise"):
        x = x + rng.normal(size=x.shape) * float(name.split()[1]) / 100 * unit
    elif name == "sliding 1 m/s":  # to the side: the first frame faces +z
        x = x + (time / fps * unit)[:, None, None] * [1.0, 0.0, 0.0]
    elif name == "time-reversed":
        x = x[::-1]
    elif name == "frozen, first pose":
        x = x[:1].repeat(len(x), 0)
    elif name == "frozen, mean pose":
        x = x.mean(0, keepdims=True).repeat(len(x), 0)
    if r.frames_lost:
        x = np.concatenate((x, x[-1:]))  # the frame that features lose; an extrapolated one could leave the floor
    # no retargeting: it would give spoilt bones their lengths back, and no model's motions are treated so
    out = joints_to_features(x, r.skeleton, retargeted=True) if r.kind == "humanml3d" else r.encode(x)
    # in the features, since encoding puts joints back on the floor
    if lift := {"floating 10 cm": 0.1, "sunk 10 cm": -0.1}.get(name):
        out[:, r.groups["root_height"]] += lift * unit
        out[:, r.groups["ric" if "ric" in r.groups else "joints"]][:, 1::3] += lift * unit
    return out.astype(np.float32)


SHOULD_NOTICE: dict[str, str | None] = {
    "real": None,
    "copy": None,
    "joints and back": None,
    "shuffled captions": "r_precision_3",
    "time-reversed": "r_precision_3",
    "mirrored": "r_precision_1",
    "frozen, first pose": "fid",
    "frozen, mean pose": "fid",
    "at half speed": "fid",
    "noise 1 cm": "jerk_m_s3",
    "noise 5 cm": "bone_length_drift",
    "floating 10 cm": "fid",
    "sunk 10 cm": "floor_penetration_mm",
    "sliding 1 m/s": "foot_skate",
}
"""The way to spoil a motion -> the metric that should notice; None: no metric should."""

AS_THEY_ARE = ("real", "copy", "shuffled captions")  # rows whose motions are not spoilt


def noticed(name: str, row: dict, real: dict, half: float) -> bool:
    """Whether a metric notices a row; `half` is the FID of random halves. See the top of the file."""
    spoilt, reference = row[name]["mean"], real[name]["mean"]
    if name == "fid":
        return spoilt > half
    worse = reference - spoilt if name in LESS_IS_WORSE else spoilt - reference
    worse = abs(worse) if name in BOTH_WAYS else worse
    both_intervals = (row[name]["interval"] or 0.0) + (real[name]["interval"] or 0.0)
    return worse > both_intervals and worse > max(0.1 * abs(reference), LEAST.get(name, 0.0))


def measure(data: MotionDataset, evaluator: Evaluator, split: str, repeats: int, seed: int) -> tuple[dict, float, dict]:
    """Row -> metric -> mean and interval; the FID of random halves; the protocol."""
    r = data.representation
    if not r.has_joints:
        raise ValueError(f"{data.folder} holds {r.name}: only features with joints can be spoilt")
    no_tokenizer = SimpleNamespace(
        skeleton=data.skeleton,
        representation=r,
        fps=data.fps,
        hash="none",
        config=SimpleNamespace(frames_per_code=UNIT),
    )
    config = ProtocolConfig(split, repeats=repeats, seed=seed)
    s = EvaluationSet("sanity", data, evaluator, no_tokenizer, config, {})
    halves = [torch.from_numpy(s.draws.rng(repeat).permutation(s.N)).chunk(2) for repeat in range(repeats)]
    half = max(s.fid(s.motion[a], s.motion[b]) for a, b in halves)
    rows = {}
    for name in SHOULD_NOTICE:
        rng = np.random.default_rng([seed, 4])
        clips = s.features
        if name not in AS_THEY_ARE:
            clips = [spoil(name, clip, r, data.fps, rng) for clip in clips]
        embedded = evaluator.embed_motion(clips)
        quality = s.qualities(clips)
        distance = s.fid(embedded)
        row = TableRow()
        for repeat in range(repeats):
            _, text = s.draws.captions(repeat)
            dealt = embedded[s.draws.chance(repeat)] if name == "shuffled captions" else embedded
            row.add_matching(text, dealt, s.draws.rng(repeat))
            row.add(quality, fid=distance)
        rows[name] = row.summary() | {q: interval(quality[q].tolist()) for q in OF_CLIPS}
    return rows, half, s.protocol


def markdown(rows: dict, half: float, protocol: dict) -> str:
    """The table, and the protocol line."""
    lines = []
    for name, row in rows.items():
        wanted = SHOULD_NOTICE[name]
        seen = [column for column in COLUMNS if noticed(column, row, rows["real"], half)]
        cells = []
        for column in COLUMNS:
            interval_text = "" if column == "fid" else f" ± {row[column]['interval'] or 0:.2g}"
            cell = number(row[column]["mean"]) + interval_text
            cells.append(f"**{cell}**" if column == wanted else cell)
        if wanted:
            verdict = "yes" if wanted in seen else "**no**"
            silent = ", ".join(COLUMNS[column] for column in COLUMNS if column not in seen) or "none"
        else:
            verdict = "" if name == "real" else "no" if seen else "nothing, as it should"
            silent = ""
        lines.append([name, *cells, verdict, silent])
    lines = table(["", *COLUMNS.values(), "noticed", "did not notice"], lines)
    return "\n".join([*lines, "", f"FID of random halves: {number(half)}. Protocol: {protocol_line(protocol)}.", ""])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--evaluator", type=Path, required=True, help="evaluator folder")
    parser.add_argument("--split", default="test", help="split, or several joined by + (default test)")
    parser.add_argument("--repeats", type=int, default=20, help="repeats (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of draws and noise (default 0)")
    parser.add_argument("--out", type=Path, help="Markdown file (default: print only)")
    args = parser.parse_args(argv)
    try:
        data, evaluator = MotionDataset(args.data), Evaluator.load(args.evaluator)
        text = markdown(*measure(data, evaluator, args.split, args.repeats, args.seed))
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
