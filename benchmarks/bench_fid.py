"""FID of 4,000 x 512 embeddings, ours beside the field's code: numpy's covariance and scipy's matrix root.

    python benchmarks/bench_fid.py

The peer is written here after `calculate_frechet_distance` and `calculate_activation_statistics` of Guo et al.
(text-to-motion, utils/metrics.py). How near both come to the truth is measured on sets whose FID is known exactly, far
from each other and near. Needs scipy. It brings an OpenBLAS of its own, whose threads and numpy's disturb each other:
with `--threads 1` the peer may be faster.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

THREADS = "--threads"
if THREADS in sys.argv:  # numpy and scipy read it when they are imported
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[sys.argv.index(THREADS) + 1]

import numpy as np
import torch
from compare import in_turn, report
from scipy import linalg

from motiongpt.metrics.embeddings import fid


def field_fid(a: np.ndarray, b: np.ndarray) -> float:
    """FID of (N, D) and (M, D) as the field computes it."""
    mean_a, cov_a = np.mean(a, axis=0), np.cov(a, rowvar=False)
    mean_b, cov_b = np.mean(b, axis=0), np.cov(b, rowvar=False)
    difference = mean_a - mean_b
    root = linalg.sqrtm(cov_a.dot(cov_b))
    if np.iscomplexobj(root):
        root = root.real
    return float(difference.dot(difference) + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root))


def known(rows: int, D: int, apart: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Two sets (rows, D) in float64, and their FID, exact but for the rounding of one number; smaller for less `apart`.

    The columns of a Hadamard matrix H are orthogonal and, but for the first, of mean 0. So a set H_rows diag(d) H_D has
    the covariance rows / (rows - 1) H_D diag(d^2) H_D. Both covariances have the same eigenvectors, and the roots of
    their eigenvalues are d times a constant. All entries are integers.
    """
    rng = np.random.default_rng(0)
    columns, turn = linalg.hadamard(rows, dtype=np.int64)[:, 1 : D + 1], linalg.hadamard(D, dtype=np.int64)
    scales = np.cumsum([rng.integers(1, 1000, D), rng.integers(1, apart, D)], axis=0)
    sets = [((columns * scale) @ turn).astype(np.float64) for scale in scales]
    exact = D * rows * int(((scales[0] - scales[1]) ** 2).sum()) / (rows - 1)
    return sets[0], sets[1], exact


def main(args) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    a, b = (
        (rng.standard_normal((args.rows, args.width)) @ rng.standard_normal((args.width, args.width)) / 20 + shift)
        for shift in (0.0, 0.1)
    )
    a, b = a.astype(np.float32), b.astype(np.float32)
    ours = fid(torch.from_numpy(a), torch.from_numpy(b))
    theirs = field_fid(a, b)
    print(f"FID: motiongpt {ours:.9f}, field's code {theirs:.9f}")
    if abs(ours - theirs) > 1e-5 * theirs:
        raise RuntimeError("the two give other values: it would not be the same work")
    for apart in (1000, 10):
        x, y, exact = known(4096, 512, apart)
        errors = [abs(value / exact - 1) for value in (fid(torch.from_numpy(x), torch.from_numpy(y)), field_fid(x, y))]
        print(f"relative error where the FID is {exact:.0f}: motiongpt {errors[0]:.1e}, field's code {errors[1]:.1e}")
    times = in_turn(lambda: fid(torch.from_numpy(a), torch.from_numpy(b)), lambda: field_fid(a, b), args.rounds)
    what = f"FID of {args.rows} x {args.width} embeddings, {torch.get_num_threads()} threads"
    report(what, *times, "numpy cov + scipy sqrtm", must=4, aim=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000, help="embeddings in each set (default 4000)")
    parser.add_argument("--width", type=int, default=512, help="numbers in an embedding (default 512)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, after one round of warm-up (default 7)")
    parser.add_argument(THREADS, type=int, help="CPU threads of both sides (default: as many as they take)")
    main(parser.parse_args())
