"""A data set to codes: all clips in batches of similar length, beside one clip at a time as T2M-GPT's code does it.

    python benchmarks/bench_tokenizing.py                     # the shipped tokenizer, 256 made-up clips
    python benchmarks/bench_tokenizing.py --vqvae t2m-gpt     # T2M-GPT's size, random weights
    python benchmarks/bench_tokenizing.py --data data/mine --vqvae outputs/vqvae --clips 1000

Both ways must give exactly the same codes before anything is timed, and so must our own one by one. Made-up clips are
40 to 196 frames long.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from bench_vqvae_step import Peer, fill_codebook
from compare import in_turn, report

from motiongpt.config import VQVAEConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vqvae import VQVAE

DEMO = ROOT / "checkpoints" / "demo" / "vqvae"
RANDOM = "t2m-gpt"  # in place of a folder


def made_up(motion_tokenizer: MotionTokenizer, count: int) -> list[np.ndarray]:
    """Random walks around the mean: the network's work does not depend on what a clip shows."""
    rng = np.random.default_rng(0)
    mean = np.asarray(motion_tokenizer.normalizer.mean, np.float32)
    std = np.asarray(motion_tokenizer.normalizer.std, np.float32)
    walks = (rng.standard_normal((n, len(mean))).cumsum(0) / 4 for n in rng.integers(40, 197, count))
    return [(mean + std * walk).astype(np.float32) for walk in walks]


def public_way(motion_tokenizer: MotionTokenizer) -> Callable[[np.ndarray], list[int]]:
    """A clip (F, D) to its codes, by the public code's network and search of the nearest row."""
    peer = Peer.of(motion_tokenizer.vqvae).to(motion_tokenizer.device)
    book = peer.codebook.t()

    @torch.no_grad()
    def codes(clip: np.ndarray) -> list[int]:
        motion = torch.from_numpy(motion_tokenizer.normalizer.normalise(clip))[None].to(book.device)
        x = peer.encoder(motion.permute(0, 2, 1)).permute(0, 2, 1).contiguous().view(-1, len(book))
        distance = (x**2).sum(-1, keepdim=True) - 2 * x @ book + (book**2).sum(0, keepdim=True)
        return distance.min(-1)[1].tolist()

    return codes


def random_tokenizer(folder: Path, device: str) -> MotionTokenizer:
    """T2M-GPT's size, with the normalisation of the tokenizer in `folder` and a codebook of latents."""
    shipped = MotionTokenizer.load(folder)
    torch.manual_seed(0)
    vqvae = VQVAE(VQVAEConfig())
    clips = made_up(shipped, 32)
    motion = np.stack([shipped.normalizer.normalise(clip[:40]) for clip in clips])
    fill_codebook(vqvae, torch.from_numpy(motion))
    return MotionTokenizer(vqvae.to(device), shipped.normalizer, shipped.skeleton, shipped.fps)


def main(args) -> None:
    torch.set_num_threads(args.threads)
    if args.vqvae == Path(RANDOM):
        motion_tokenizer = random_tokenizer(DEMO, args.device)
    else:
        motion_tokenizer = MotionTokenizer.load(args.vqvae, args.device)
    if args.data is None:
        clips = made_up(motion_tokenizer, args.clips)
    else:
        clips = list(MotionDataset(args.data).load_split("train")[0].values())[: args.clips]

    theirs = public_way(motion_tokenizer)
    codes = motion_tokenizer.encode(clips)
    others = {
        "alone": [motion_tokenizer.encode([clip])[0] for clip in clips],
        "by the public way": [theirs(clip) for clip in clips],
    }
    for name, other in others.items():
        if different := [i for i, (a, b) in enumerate(zip(codes, other, strict=True)) if a != b]:
            raise RuntimeError(f"clips {different[:8]} have other codes in a batch than {name}: the work would differ")
    size = sum(p.numel() for p in motion_tokenizer.vqvae.parameters()) / 1e6
    what = f"tokenizing {len(clips)} clips, {sum(map(len, clips))} frames, {size:.1f} M parameters, "
    what += f"{args.threads} threads, {args.device}"
    times = in_turn(lambda: motion_tokenizer.encode(clips), lambda: [theirs(clip) for clip in clips], args.rounds)
    report(what, *times, "one at a time", must=1.8, aim=2.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqvae", type=Path, default=DEMO, help=f"tokenizer folder, or {RANDOM}")
    parser.add_argument("--data", type=Path, help="dataset folder (default: made-up clips)")
    parser.add_argument("--clips", type=int, default=256, help="use at most this many clips (default 256)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one round of warm-up (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of PyTorch (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    main(parser.parse_args())
