"""From the shell to the written file: scripts/sample.py beside a bare `import torch`, each in a new process.

    python benchmarks/bench_cold_start.py
    OMP_NUM_THREADS=1 python benchmarks/bench_cold_start.py --rounds 15 --run outputs/run

The programs take turns, so that whatever else the machine does meets all of them. CPU seconds (user and system, all
threads) above the wall seconds mean threads that wait for each other.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(command: list[str]) -> tuple[float, float]:
    """(wall, CPU) seconds of a program that has to succeed."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return wall, cpu


def main(args) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample = [sys.executable, "scripts/sample.py", "--prompt", args.prompt, "--run", args.run, "--device", "cpu"]
        programs = {"import torch": [sys.executable, "-c", "import torch"]}
        programs |= {f"sample to .{end}": [*sample, "--output", f"{folder}/motion.{end}"] for end in ("npy", "gif")}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for number in range(args.rounds + 1):
            for name, command in programs.items():
                seconds = timed(command)
                if number:  # round 0 warms the file cache
                    times[name].append(seconds)
    base = [wall for wall, _ in times["import torch"]]
    for name, rounds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = sorted(ours / theirs for (ours, _), theirs in zip(rounds, base, strict=True))
        print(
            f"{name:15} wall {wall:.2f} s, CPU {cpu:.2f} s, {wall / statistics.median(base):.2f}x import torch "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds after one that warms up (default 7)")
    parser.add_argument("--run", default="checkpoints/demo", help="run folder (default checkpoints/demo)")
    parser.add_argument("--prompt", default="a person walks forward", help="what the person does")
    main(parser.parse_args())
