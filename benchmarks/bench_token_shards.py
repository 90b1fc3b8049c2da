"""Training batches from a corpus in shards: the memory that going through it takes, and the speed beside JSON.

    python benchmarks/bench_token_shards.py                        # 500 MB, 10,000 batches of 32
    python benchmarks/bench_token_shards.py --batches 0            # a whole epoch
    python benchmarks/bench_token_shards.py --megabytes 50         # the same memory

A made-up corpus is written to a temporary folder, entry by entry, and read through what training uses: `load_tokens`,
`TaskCollate` and `BucketedBatches`, with the demo's text tokenizer. Memory is RssAnon of /proc/self/status: what the
process holds itself, without mapped pages of files, which are the system's to drop. In the first half of the batches
the ids of `KEPT_TEXTS` captions are kept. If memory grows by more than `ALLOWED` in the second half, the benchmark
fails. Speed is compared on a small corpus in both forms, whose batches must be equal. Seconds are those of one core,
whatever else the machine does. Linux only.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from compare import report

from motiongpt.data import batches as data_batches
from motiongpt.data.batches import BucketedBatches
from motiongpt.data.selection import of_split
from motiongpt.data.tokens import Entry, load_tokens, save_tokens
from motiongpt.tasks.collate import TaskCollate
from motiongpt.tasks.sequences import Renderer
from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.vocab import MotionVocab

CODES = 512
TASKS = {"t2m": 0.5, "m2t": 0.3, "denoise": 0.2}
WORDS = (
    "a person walks runs jumps turns waves left right hand forward slowly twice then and sits bends the body".split()
)
LENGTHS = (10, 50)  # codes of a motion: HumanML3D's 2 to 10 seconds
ALLOWED = 4.0  # MB of memory that may come in the second half of the batches
POINTS = 10  # times that memory is read


def made_up(seed: int = 0) -> Iterator[Entry]:
    """Entries without end: 3 captions to a motion, the first hundred motions for validation."""
    rng = np.random.default_rng(seed)
    for clip in itertools.count():
        codes = tuple(rng.integers(CODES, size=rng.integers(*LENGTHS)).tolist())
        for _ in range(3):
            words = rng.integers(len(WORDS), size=rng.integers(4, 20)).tolist()
            text = " ".join(WORDS[i] for i in words)
            yield Entry(text, codes, None, f"{clip:08}", "val" if clip < 100 else "train")


def take(size: int) -> Iterator[Entry]:
    """Entries until their codes, texts and rows are `size` bytes."""
    for entry in made_up():
        size -= 2 * len(entry.codes) + len(entry.text) + len(entry.id) + 29
        if size < 0:
            return
        yield entry


def memory() -> dict[str, float]:
    """MB that the process holds itself, and MB of mapped files that are in memory now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines if line.startswith("Rss")}
    return {"own": found["RssAnon"], "mapped": found["RssFile"]}


def say(what: str) -> float:
    now = memory()
    print(f"{what:<44} {now['own']:7.1f} MB own, {now['mapped']:7.1f} MB of mapped files", flush=True)
    return now["own"]


def open_batches(path: Path, batch_size: int) -> BucketedBatches:
    vocab = MotionVocab(load_text_tokenizer(ROOT / "checkpoints" / "demo"), CODES)
    collate = TaskCollate(of_split(load_tokens(path), "train"), TASKS, Renderer(vocab, fold_captions=True))
    return BucketedBatches(collate.lengths(), batch_size, 0, collate)


def stream(folder: Path, args) -> None:
    """Write the large corpus, go through it, and print the memory on the way."""
    path = folder / "shards"
    say("start")
    began = time.process_time()
    save_tokens(path, take(int(args.megabytes * 1e6)), {"codes": CODES}, "shards")
    size = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    say(f"made up and written: {size:.0f} MB in {time.process_time() - began:.0f} s")
    began = time.process_time()
    batches = open_batches(path, args.batch)
    say(f"opened: {len(batches.lengths):,} training entries in {time.process_time() - began:.1f} s")
    count = args.batches or batches.per_epoch
    tokens, seen = 0, []
    began = time.process_time()
    for step in range(count):
        tokens += batches(step)["units"]
        if (step + 1) % max(1, count // POINTS) == 0:
            seen.append(say(f"batch {step + 1:,} of {batches.per_epoch:,}"))
    seconds = time.process_time() - began
    print(f"{count / seconds:.0f} batches/s of {args.batch}, {tokens / seconds:,.0f} tokens/s")
    half = seen[len(seen) // 2 :]
    print(f"the second half grew by {max(half) - half[0]:.1f} MB")
    if max(half) - half[0] > ALLOWED:
        raise RuntimeError(f"memory grew from {half[0]:.1f} to {max(half):.1f} MB, {ALLOWED} MB are allowed")


def compare_forms(folder: Path, args) -> None:
    """The same small corpus as JSON and as shards: equal batches, and how long they take."""
    entries = list(itertools.islice(made_up(1), args.entries))
    both = []
    for name, form in (("small", "shards"), ("small.json", "json")):
        save_tokens(folder / name, entries, {"codes": CODES}, form)
        both.append(open_batches(folder / name, args.batch))
    shards, listed = both
    for step in range(shards.per_epoch):
        one, other = shards(step), listed(step)
        if not all(torch.equal(one[name], other[name]) for name in ("ids", "targets")):
            raise RuntimeError(f"batch {step} differs: the work would differ")

    count = min(200, shards.per_epoch)
    times: list[list[float]] = [[], []]
    for _ in range(args.rounds):
        for batches, own in zip(both, times, strict=True):
            began = time.process_time()
            for step in range(count):
                batches(step)
            own.append(time.process_time() - began)
    report(f"{count} batches of {args.batch}, {args.entries:,} entries, shards", *times, "JSON in memory")


def main(args) -> None:
    torch.set_num_threads(1)
    if args.unlisted:
        data_batches.LISTED = 0
    with tempfile.TemporaryDirectory() as folder:
        stream(Path(folder), args)
        compare_forms(Path(folder), args)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--megabytes", type=float, default=500, help="size of the corpus (default 500)")
    add("--batches", type=int, default=10_000, help="batches to read, 0 for an epoch (default 10000)")
    add("--batch", type=int, default=32, help="rows in a batch (default 32)")
    add("--entries", type=int, default=20_000, help="entries of the small corpus in both forms (default 20000)")
    add("--rounds", type=int, default=5, help="timed rounds (default 5)")
    add("--unlisted", action="store_true", help="the order of batches that corpora of over 4 million entries get")
    main(parser.parse_args())
