"""Time the metrics of an evaluation of text to motion, all repeats, and the comparison of two evaluations.

    python benchmarks/bench_protocol.py                       # 4,000 clips, 20 repeats, 2 threads
    python benchmarks/bench_protocol.py --clips 396 --repeats 1 --threads 1

Writing and embedding motions is not timed: embeddings, features and codes are random, with the sizes of HumanML3D's
test split. The calls are those of `evaluation.t2m_m2t.evaluate_t2m` and `evaluation.comparison.compare`.
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.evaluation.clips import Item
from motiongpt.evaluation.intervals import RESAMPLES, bootstrap, fid_half_width
from motiongpt.evaluation.protocol import RepeatDraws, TableRow
from motiongpt.evaluation.qualities import clip_qualities
from motiongpt.features.representations import get_representation
from motiongpt.metrics.embeddings import fid, multimodality
from motiongpt.metrics.tokens import token_distances

WIDTH, CODES = 512, 512
ROWS = ("real", "reconstruction", "model", "chance")


def main(args) -> None:
    torch.set_num_threads(args.threads)
    N = args.clips
    rng = np.random.default_rng(0)
    spent: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))  # wall clock and processor, seconds

    def timed(name, call):
        started, used = time.perf_counter(), time.process_time()
        value = call()
        spent[name] += np.array([time.perf_counter() - started, time.process_time() - used])
        return value

    representation = get_representation("humanml3d", HUMANML3D)
    lengths = rng.integers(10, 50, size=N)
    pool = rng.normal(size=(196, 263)).astype(np.float32)
    features = [pool[: 4 * size] for size in lengths]
    items = [Item(str(i), clip, ()) for i, clip in enumerate(features)]
    draws = RepeatDraws(SimpleNamespace(embed_text=lambda captions: torch.zeros(0, WIDTH)), items, 0)
    embedded = {name: torch.randn(N, WIDTH) for name in (*ROWS, "text")}
    several = torch.randn(min(100, N), 30, WIDTH)
    codes = [rng.integers(CODES, size=size).tolist() for size in lengths]
    references = [[codes[j] for j in rng.integers(N, size=args.references)] for _ in range(N)]
    rows = {name: TableRow() for name in ROWS}

    for name in ("real", "reconstruction"):
        timed("qualities", lambda: clip_qualities(features, representation, 20.0))
        timed("fid", lambda name=name: fid(embedded["real"], embedded[name], allow_few=True))
    for repeat in range(args.repeats):
        for name in ROWS:
            rng_of = draws.rng(repeat)
            timed("matching", lambda name=name, r=rng_of: rows[name].add_matching(embedded["text"], embedded[name], r))
        timed("multimodality", lambda repeat=repeat: multimodality(several, draws.rng(repeat)))
        timed("fid", lambda: fid(embedded["real"], embedded["model"], allow_few=True))
        timed("qualities", lambda: clip_qualities(features, representation, 20.0))
        timed("edit distances", lambda: token_distances(codes, references))
    timed("per clip", lambda: [rows["model"].of_clip(i) for i in range(N)])
    evaluated = spent | {"all": sum(spent.values())}
    spent.clear()
    pairs = [(embedded["real"], embedded[name]) for name in ("reconstruction", "model")]
    timed("FID interval", lambda: fid_half_width(*pairs, rng))
    values = rng.normal(size=(2, N, 16))
    timed("other intervals", lambda: bootstrap(values, np.ones_like(values), rng, RESAMPLES))
    print(f"{N} clips, {args.repeats} repeats, {args.references} references a clip, {args.threads} threads")
    for head, times in (("evaluation", evaluated), ("comparison", spent)):
        print(head)
        for name, (wall, used) in times.items():
            print(f"  {name:16} {wall:7.1f} s   {used:7.1f} s of processor time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4000, help="clips (default 4000)")
    parser.add_argument("--repeats", type=int, default=20, help="repeats (default 20)")
    parser.add_argument("--references", type=int, default=3, help="reference motions per sentence (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    main(parser.parse_args())
