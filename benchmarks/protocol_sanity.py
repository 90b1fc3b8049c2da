"""Do the protocol's metrics notice what they should? Real motions, spoilt in known ways, against the same captions.

    python benchmarks/protocol_sanity.py --data data/mine --evaluator outputs/evaluator --out outputs/sanity.md

A metric notices a row where it is worse than the real row by more than a tenth (and by `LEAST`), and their 95 %
intervals are disjoint (over repeats; foot skate, penetration, jerk and bone drift, which no repeat changes: over
clips). Diversity and jerk notice in both directions; FID where it is above that of random halves of the real motions,
the largest of all repeats. As halves have half the clips, that is a high bar where clips are few.
In bold: the metric that should notice, named beforehand.
"""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.evaluation.markdown import matching_line, number, table
from motiongpt.evaluation.networks import UNIT
from motiongpt.evaluation.protocol import Setting, TableRow, interval
from motiongpt.evaluation.qualities import qualities
from motiongpt.features.humanml3d import joints_to_features, mirror_joints
from motiongpt.features.representations import Representation

COLUMNS = {"fid": "FID", "r_precision_1": "R@1", "r_precision_3": "R@3", "mm_dist": "MM-Dist",
           "diversity": "Diversity", "foot_skate": "foot skate", "floor_penetration_mm": "penetration (mm)",
           "jerk_m_s3": "jerk (m/s^3)", "bone_length_drift": "bone drift"}  # fmt: skip
LEAST = {"floor_penetration_mm": 1.0, "bone_length_drift": 1e-4}  # what counts where real motions have rounding errors
LESS_IS_WORSE, BOTH_WAYS = ("r_precision_1", "r_precision_3"), ("diversity", "jerk_m_s3")
OF_CLIPS = ("foot_skate", "floor_penetration_mm", "jerk_m_s3", "bone_length_drift")


def spoil(name: str, features: np.ndarray, r: Representation, fps: float, rng: np.random.Generator) -> np.ndarray:
    """A clip (F, D) spoilt as joints (F, J, 3) and made features again; (F, D)."""
    x, unit = r.decode(features).astype(np.float64), 1 / r.metres_per_unit  # joints in data units; units in a metre
    time = np.arange(len(x))
    if name == "mirrored":
        x = mirror_joints(x, r.skeleton)
    elif name == "at half speed":  # the first half of the motion: no clip gets longer
        before, part = x[time // 2], (time % 2 / 2)[:, None, None]
        x = before + part * (x[(time + 1) // 2] - before)
    elif name.startswith("noise"):
        x = x + rng.normal(size=x.shape) * float(name.split()[1]) / 100 * unit
    elif name == "sliding 1 m/s":  # to the side: the first frame faces +z
        x = x + (time / fps * unit)[:, None, None] * [1.0, 0.0, 0.0]
    else:
        x = {"time-reversed": x[::-1], "frozen, first pose": x[:1].repeat(len(x), 0),
             "frozen, mean pose": x.mean(0, keepdims=True).repeat(len(x), 0)}.get(name, x)  # fmt: skip
    if r.frames_lost:
        x = np.concatenate((x, x[-1:]))  # the frame that features lose; going on as it went could leave the floor
    # without retargeting: it would give spoilt bones their lengths back, which no model's features have done to them
    out = joints_to_features(x, r.skeleton, retargeted=True) if r.kind == "humanml3d" else r.encode(x)
    if lift := {"floating 10 cm": 0.1, "sunk 10 cm": -0.1}.get(name):  # joints would be put back on the floor
        out[:, r.groups["root_height"]] += lift * unit
        out[:, r.groups["ric" if "ric" in r.groups else "joints"]][:, 1::3] += lift * unit
    return out.astype(np.float32)


SHOULD_NOTICE: dict[str, str | None] = {
    "real": None, "copy": None, "joints and back": None, "shuffled captions": "r_precision_3",
    "time-reversed": "r_precision_3", "mirrored": "r_precision_1", "frozen, first pose": "fid",
    "frozen, mean pose": "fid", "at half speed": "fid", "noise 1 cm": "jerk_m_s3", "noise 5 cm": "bone_length_drift",
    "floating 10 cm": "fid", "sunk 10 cm": "floor_penetration_mm", "sliding 1 m/s": "foot_skate",
}  # fmt: skip
AS_THEY_ARE = ("real", "copy", "shuffled captions")


def noticed(name: str, row: dict, real: dict, half: float) -> bool:
    (a, da), (b, db) = ((x[name]["mean"], x[name]["interval"] or 0.0) for x in (row, real))
    if name == "fid":
        return a > half
    worse = abs(a - b) if name in BOTH_WAYS else b - a if name in LESS_IS_WORSE else a - b
    return worse > da + db and worse > max(0.1 * abs(b), LEAST.get(name, 0.0))


def measure(data: MotionDataset, evaluator: Evaluator, split: str, repeats: int, seed: int) -> tuple[dict, float, dict]:
    """Row -> metric -> mean and interval; the FID of random halves; the protocol."""
    r = data.representation
    if not r.has_joints:
        raise ValueError(f"{data.folder} holds {r.name}, which are no joints; nothing can be spoilt")
    no_tokenizer = SimpleNamespace(skeleton=data.skeleton, representation=r, fps=data.fps, hash="none",
                                   config=SimpleNamespace(frames_per_code=UNIT))  # fmt: skip
    s = Setting("sanity", data, evaluator, no_tokenizer, split, None, None, repeats, seed, {})
    halves = [torch.from_numpy(s.texts.shuffle(repeat).permutation(s.N)).chunk(2) for repeat in range(repeats)]
    half, rows = max(s.fid(s.motion[a], s.motion[b]) for a, b in halves), {}
    for name in SHOULD_NOTICE:
        rng, clips = np.random.default_rng([seed, 4]), s.features
        if name not in AS_THEY_ARE:
            clips = [spoil(name, clip, r, data.fps, rng) for clip in clips]
        embedded, row = evaluator.embed_motion(clips), TableRow()
        quality, distance = qualities(clips, r, data.fps), s.fid(embedded)
        for repeat in range(repeats):
            _, text = s.texts.draw(repeat)
            dealt = embedded[s.texts.deal(repeat)] if name == "shuffled captions" else embedded
            row.match(text, dealt, s.texts.shuffle(repeat))
            row.add(quality, fid=distance)
        rows[name] = row.summary() | {q: interval(quality[q].tolist()) for q in OF_CLIPS}
    return rows, half, s.protocol


def markdown(rows: dict, half: float, protocol: dict) -> str:
    lines, real = [], rows["real"]
    for name, row in rows.items():
        seen = [c for c in COLUMNS if noticed(c, row, real, half)]
        wanted = SHOULD_NOTICE[name]
        cells = {c: number(row[c]["mean"]) + f" ± {row[c]['interval'] or 0:.2g}" * (c != "fid") for c in COLUMNS}
        bold = [f"**{cell}**" if c == wanted else cell for c, cell in cells.items()]
        verdict = "" if name == "real" else ("no" if seen else "nothing, as it should") if wanted is None else ""
        if wanted:
            verdict = "yes" if wanted in seen else "**no**"
        silent = "" if wanted is None else ", ".join(COLUMNS[c] for c in COLUMNS if c not in seen) or "none"
        lines.append([name, *bold, verdict, silent])
    lines = table(["", *COLUMNS.values(), "noticed", "did not notice"], lines)
    return "\n".join([*lines, "", f"FID of random halves: {number(half)}. Protocol: {matching_line(protocol)}.", ""])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--evaluator", type=Path, required=True, help="evaluator folder")
    parser.add_argument("--split", default="test", help="split, or several with + (default test)")
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
