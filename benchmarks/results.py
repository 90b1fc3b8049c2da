"""Run all benchmarks, and write `benchmarks/RESULTS.md`: every ratio beside its goal, and the machine it was found on.

    make bench
    python benchmarks/results.py --only sampling render      # the others keep the rows that they have

A benchmark is a process of its own, so that none finds what another has warmed up. Rows are kept in
`benchmarks/results.json`. What stands below the table under "Notes" is written by people, and stays.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import torch
from compare import ROWS, fastest, read_bandwidth

COMMANDS = {
    "sampling demo": "bench_sampling.py --size demo --batch 1 8 32",
    "sampling smollm2": "bench_sampling.py --size smollm2 --batch 1 32 --rounds 2",
    "sampling 0.6b": "bench_sampling.py --size 0.6b --batch 1 8 32 --rounds 2 --precision fp32",
    "sampling 0.6b bf16": "bench_sampling.py --size 0.6b --batch 1 8 32 --rounds 2 --precision bf16",
    "cold start": "bench_cold_start.py",
    "second sentence": "bench_second_sentence.py",
    "lora": "bench_lora_step.py --size 0.6b --batch 2 --rounds 2",
    "lora fp32": "bench_lora_step.py --size 0.6b --batch 2 --rounds 2 --precision fp32 --rows best",
    "packing": "bench_packing.py --examples 128 --rounds 3",
    "vqvae": "bench_vqvae_step.py",
    "tokenizing": "bench_tokenizing.py",
    "features": "bench_features.py",
    "render": "bench_render.py",
    "fid": "bench_fid.py",
}
NOTES = "## Notes"
KEPT, PAGE = HERE / "results.json", HERE / "RESULTS.md"


def gemm_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a product of 2048 x 2048 matrices: the best of some rounds."""
    a = torch.randn(2048, 2048).to(dtype)
    return 2 * 2048**3 / fastest(lambda: a @ a)


def machine() -> dict:
    """What kind of machine this is, and its measured rates in 10^9 a second."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in flags]
    rates = {"memory read GB/s": read_bandwidth() / 1e9, "fp32 GFLOP/s": gemm_rate(torch.float32) / 1e9}
    if "avx512_bf16" in units or "amx_bf16" in units:  # without them a single product takes minutes
        rates["bf16 GFLOP/s"] = gemm_rate(torch.bfloat16) / 1e9
    kind = names[0] if names else platform.processor() or platform.machine()
    kind += f", {os.cpu_count()} cores ({', '.join(units) or 'no vector units known'})"
    return {"kind": f"{kind}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}", "rates": rates}


def span_of_rates(machines: Iterable[dict]) -> str:
    """The least and the largest of each rate over the benchmarks: how steady the machine was."""
    found: dict[str, list[float]] = {}
    for each in machines:
        for name, rate in each["rates"].items():
            found.setdefault(name, []).append(rate)
    return ", ".join(f"{name} {min(rates):.0f} to {max(rates):.0f}" for name, rates in found.items())


def cost(amount: float, unit: str) -> str:
    if unit != "ms":
        return f"{amount:.2f} {unit}"
    return f"{amount:.2f} s" if amount >= 1 else f"{1000 * amount:.3g} ms"


def table(rows: dict[str, list[dict]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| work | ours | peer | its time | ratio (spread, rounds) | over the floor | goal | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in (row for group in COMMANDS for row in rows.get(group, [])):
        goal, aim = ("" if row[name] is None else f"{row[name]:.2f}x" for name in ("must", "aim"))
        if goal:
            goal += " reached" if row["ratio"] >= row["must"] else " **missed**"
        floor = "" if row["floor"] is None else f"{row['ours'] / row['floor']:.1f}x"
        lines.append(
            f"| {row['work']} | {cost(row['ours'], row['unit'])} | "
            f"{row['peer']} | {cost(row['theirs'], row['unit'])} | "
            f"**{row['ratio']:.2f}x** ({row['low']:.2f} to {row['high']:.2f}, {row['rounds']}) | "
            f"{floor} | {goal} | {aim} |"
        )
    return "\n".join(lines)


def keep(found: dict) -> None:
    """Write what was found, and the page that shows it. Notes that are on the page stay."""
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
    machines: dict[str, list[str]] = {}
    for group in COMMANDS:
        if group in found["machines"]:
            machines.setdefault(found["machines"][group]["kind"], []).append(group)
    notes = PAGE.read_text().partition(NOTES)[2] if PAGE.is_file() else "\n"
    words = "\n\n".join(
        f"**{', '.join(groups)}**: {what}; {span_of_rates(found['machines'][group] for group in groups)}."
        for what, groups in machines.items()
    )
    PAGE.write_text(
        "# What the benchmarks found\n\n"
        "`make bench` writes this table. Each row is one process in which both sides take turns; the ratio is that of\n"
        "the medians, and its spread that of single rounds. Times are of this machine alone, and it is a noisy one:\n"
        "trust ratios. A floor is the time in which memory can be read once, or the products be done, at the measured\n"
        f"rate.\n\n{words}\n\n{table(found['rows'])}\n\n"
        f"## How cost grows\n\n![three curves](scaling.png)\n\n{found['scaling']}\n\n{NOTES}{notes}"
    )


def main(args: argparse.Namespace) -> None:
    found = json.loads(KEPT.read_text()) if KEPT.is_file() else {"rows": {}, "machines": {}, "scaling": ""}
    here = machine()
    print(here)
    failed = []
    for group, command in COMMANDS.items():
        # a word that is a whole name means that one alone
        words = [word for word in args.only or [group] if word not in COMMANDS or word == group]
        if not any(word in group for word in words):
            continue
        print(f"--- {command}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows"
            program, *flags = command.split()
            if args.reference and group == "features":
                flags += ["--reference", str(args.reference)]
            done = subprocess.run([sys.executable, HERE / program, *flags], env=os.environ | {ROWS: str(file)})
            if done.returncode:
                failed.append(command)
                continue
            found["rows"][group] = [json.loads(line) for line in file.read_text().splitlines()]
            found["machines"][group] = here
        keep(found)
    if not args.only or "scaling" in args.only:
        print("--- bench_scaling.py", flush=True)
        done = subprocess.run([sys.executable, HERE / "bench_scaling.py"], capture_output=True, text=True)
        if done.returncode:
            failed.append("bench_scaling.py: " + done.stderr[-500:])
        else:
            found["scaling"] = "\n".join(
                line for line in done.stdout.splitlines() if not line.startswith("wrote")
            ).strip()
            keep(found)
    if failed:
        sys.exit("no rows from: " + "; ".join(failed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="run those whose name has one of these words")
    parser.add_argument("--reference", type=Path, help="a copy of EricGuo5513/HumanML3D, for features")
    main(parser.parse_args())
