"""A data set to codes: all clips in batches of similar length, and one by one.

    python benchmarks/bench_tokenizing.py                     # the shipped tokenizer, 256 made-up clips
    python benchmarks/bench_tokenizing.py --data data/mine --vqvae outputs/vqvae --clips 1000

Both ways must give exactly the same codes before anything is timed. Made-up clips are 40 to 196 frames long.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from compare import in_turn, report

from motiongpt.data.motions import MotionDataset
from motiongpt.motion_tokenizer import MotionTokenizer


def made_up(motion_tokenizer: MotionTokenizer, count: int) -> list[np.ndarray]:
    """Random walks around the mean: the network's work does not depend on what a clip shows."""
    rng = np.random.default_rng(0)
    mean = np.asarray(motion_tokenizer.normalizer.mean, np.float32)
    std = np.asarray(motion_tokenizer.normalizer.std, np.float32)
    walks = (rng.standard_normal((n, len(mean))).cumsum(0) / 4 for n in rng.integers(40, 197, count))
    return [(mean + std * walk).astype(np.float32) for walk in walks]


def main(args) -> None:
    torch.set_num_threads(args.threads)
    motion_tokenizer = MotionTokenizer.load(args.vqvae, args.device)
    if args.data is None:
        clips = made_up(motion_tokenizer, args.clips)
    else:
        clips = list(MotionDataset(args.data).load_split("train")[0].values())[: args.clips]

    def batched() -> list[list[int]]:
        return motion_tokenizer.encode(clips)

    def one_by_one() -> list[list[int]]:
        return [motion_tokenizer.encode([clip])[0] for clip in clips]

    different = [i for i, (a, b) in enumerate(zip(batched(), one_by_one(), strict=True)) if a != b]
    if different:
        raise RuntimeError(f"clips {different[:8]} have other codes in a batch than alone: the work would differ")
    frames = sum(map(len, clips))
    what = f"tokenizing {len(clips)} clips, {frames} frames, {args.threads} threads, {args.device}"
    report(what, *in_turn(batched, one_by_one, args.rounds), "one by one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqvae", type=Path, default=ROOT / "checkpoints" / "demo" / "vqvae", help="tokenizer folder")
    parser.add_argument("--data", type=Path, help="dataset folder (default: made-up clips)")
    parser.add_argument("--clips", type=int, default=256, help="use at most this many clips (default 256)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one round of warm-up (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of PyTorch (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    main(parser.parse_args())
