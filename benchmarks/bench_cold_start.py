"""What a user waits for in the shell: `--help` of every script, and a sentence to a file, beside `import torch`.

    python benchmarks/bench_cold_start.py
    OMP_NUM_THREADS=1 python benchmarks/bench_cold_start.py --rounds 15 --run outputs/run

Each program runs in a new process. The programs take turns, so that other load on the machine meets all of them.
If CPU seconds (user and system, all threads) exceed wall seconds, threads wait for each other.
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
    """(wall, CPU) seconds of a program; an error if it fails."""
    before = os.times()
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return wall, cpu


def programs_of(args, folder: str) -> dict[str, list[str]]:
    """What is timed, by the name of its row."""
    programs = {"import torch": [sys.executable, "-c", "import torch"]}
    for script in sorted((ROOT / "scripts").glob("*.py")):
        programs[f"{script.stem} --help"] = [sys.executable, str(script), "--help"]
    if not args.help_only:
        sample = [sys.executable, "scripts/sample.py", "--prompt", args.prompt, "--run", args.run, "--device", "cpu"]
        for suffix in ("npy", "gif"):
            programs[f"sample to .{suffix}"] = [*sample, "--output", f"{folder}/motion.{suffix}"]
    return programs


def main(args) -> None:
    with tempfile.TemporaryDirectory() as folder:
        programs = programs_of(args, folder)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
        for number in range(args.rounds + 1):
            for name, command in programs.items():
                seconds = timed(command)
                if number:  # round 0 warms the file cache
                    times[name].append(seconds)
    base = [wall for wall, _ in times["import torch"]]
    for name, rounds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        # round by round: both programs of a ratio ran within seconds of each other
        ratios = sorted(ours / theirs for (ours, _), theirs in zip(rounds, base, strict=True))
        print(
            f"{name:23} wall {wall:.2f} s, CPU {cpu:.2f} s, {wall / statistics.median(base):.2f}x import torch "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, after one that warms up (default: 7)")
    parser.add_argument("--help-only", action="store_true", help="time --help of the scripts, and sample nothing")
    parser.add_argument("--run", default="checkpoints/demo", help="run folder (default: checkpoints/demo)")
    parser.add_argument("--prompt", default="a person walks forward", help="what the person does (default: walks)")
    main(parser.parse_args())
