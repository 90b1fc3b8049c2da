"""`prepare.py` over several processes against one: the whole command, and the work it is per clip.

    python benchmarks/bench_prepare.py --workers 2            # 1,000 made-up clips
    python benchmarks/bench_prepare.py --input my_joints --workers 8

Both must write the same bytes. The ratio is that of the seconds a user waits, start-up included; it needs idle cores.
The processor time per clip, of all processes together, does not: it shows what the division itself costs.
"""

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from compare import in_turn, report

from motiongpt.data.motions import SPLITS

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def made_up(folder: Path, count: int) -> None:
    """Write a folder for `--from joints`: procedural clips with two captions each."""
    from motiongpt.procedural.clips import generate_clips

    for name in ("raw_joints", "texts"):
        (folder / name).mkdir(parents=True)
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for clip in generate_clips(count):
        np.save(folder / "raw_joints" / f"{clip.id}.npy", clip.joints)
        text = "".join(f"{caption}#a/DET#0.0#0.0\n" for caption in clip.captions[:2])
        (folder / "texts" / f"{clip.id}.txt").write_text(text, encoding="utf-8")
        splits[clip.split].append(clip.id)
    for split, names in splits.items():
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def processor_seconds() -> float:
    """User and system time of all descendants of this process that have ended, orphans included."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(args) -> None:
    # Workers may be orphans when they end. They become children of this process, so that their time is counted.
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("this system does not hand orphans over (PR_SET_CHILD_SUBREAPER)")
    with tempfile.TemporaryDirectory() as work:
        source, out = args.input or Path(work) / "source", Path(work) / "out"
        if args.input is None:
            made_up(source, args.clips)
        clips = sum(len((source / f"{split}.txt").read_text().split()) for split in SPLITS)
        spent: dict[int, list[float]] = {1: [], args.workers: []}

        def prepare(workers: int) -> None:
            shutil.rmtree(out, ignore_errors=True)
            before = processor_seconds()
            command = [sys.executable, ROOT / "scripts/prepare.py", "--from", "joints", "--input", source, "--out", out]
            subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True)
            spent[workers].append(processor_seconds() - before)

        # once each, to compare the bytes and to warm up; then in turn, timed
        written = {}
        for workers in spent:
            prepare(workers)
            written[workers] = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
        if written[1] != written[args.workers]:
            raise RuntimeError("other bytes with several workers: it would not be the same work")
        del written
        times = in_turn(lambda: prepare(args.workers), lambda: prepare(1), args.rounds)
    report(f"prepare.py, {clips} clips, {args.workers} workers", *times, "one process")
    for workers, seconds in spent.items():
        millis = [1000 * value / clips for value in seconds[2:]]  # without those that warmed up
        print(
            f"processor time per clip, {workers} workers: {statistics.median(millis):.2f} ms "
            f"({min(millis):.2f} to {max(millis):.2f} over {len(millis)} rounds)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="folder for --from joints (default: made-up clips)")
    parser.add_argument("--clips", type=int, default=1000, help="how many are made up (default 1000)")
    parser.add_argument("--workers", type=int, default=2, help="processes to compare with one (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds after one that warms up (default 5)")
    main(parser.parse_args())
