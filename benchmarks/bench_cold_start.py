"""What a user waits for in the shell: `--help` of every script, and a sentence to a file, beside `import torch`.

    python benchmarks/bench_cold_start.py
    OMP_NUM_THREADS=1 python benchmarks/bench_cold_start.py --rounds 15 --run outputs/run

Each program runs in a new process. The programs take turns, so that other load on the machine meets all of them.
If CPU seconds (user and system, all threads) exceed wall seconds, threads wait for each other. Byte code is kept, as
Python does by itself: whatever the environment says, every module is compiled once, in the round that warms up.
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
sys.path.insert(0, str(ROOT))

from compare import report

BASE = "import torch"
# how many times `import torch` a motion may take: what must be reached, and what is aimed at
GOALS = {"sample to .npy": (1.2, 1.1), "sample to .gif": (1.5, 1.3)}


def timed(command: list[str], folder: str) -> tuple[float, float]:
    """(wall, CPU) seconds of a program, whose byte code is kept in a folder; an error if it fails."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "PYTHONDONTWRITEBYTECODE": ""}
    before = os.times()
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - started
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return wall, cpu


def programs_of(args, folder: str) -> dict[str, list[str]]:
    """What is timed, by the name of its row."""
    programs = {BASE: [sys.executable, "-c", BASE]}
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
                seconds = timed(command, folder)
                if number:  # round 0 warms the file cache
                    times[name].append(seconds)
    base = [wall for wall, _ in times[BASE]]
    for name, rounds in times.items():
        walls, cpu = zip(*rounds, strict=True)
        times_base = statistics.median(walls) / statistics.median(base)
        print(f"{name:23} CPU {statistics.median(cpu):.2f} s, wall {times_base:.2f}x {BASE}")
        if name in GOALS:
            must, aim = (1 / goal for goal in GOALS[name])
            report(name, list(walls), base, BASE, must=must, aim=aim)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, after one that warms up (default: 7)")
    parser.add_argument("--help-only", action="store_true", help="time --help of the scripts, and sample nothing")
    parser.add_argument("--run", default="checkpoints/demo", help="run folder (default: checkpoints/demo)")
    parser.add_argument("--prompt", default="a person walks forward", help="what the person does (default: walks)")
    main(parser.parse_args())
