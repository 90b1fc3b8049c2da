"""What the benchmarks share: model sizes, one model twice (ours and transformers'), and timing in turn.

Two programs are timed in one process, in turn, so that any other load on the machine hits both. The result is the
ratio of the medians; the ratios of single rounds are shown as its spread. Weights are random, as speed does not depend
on them.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from motiongpt.config import LLM_PRESETS, LLMConfig
from motiongpt.llm import LLM
from motiongpt.weights.llm import save_llm

ROWS = "BENCHMARK_ROWS"  # in the environment: a file that takes every result as a line of JSON

# the shapes of Qwen3-0.6B, Qwen3-1.7B and SmolLM2-135M
QWEN3_06B = LLMConfig(
    vocab_size=151_669, hidden_size=1024, intermediate_size=3072, num_layers=28, num_heads=16, num_kv_heads=8,
    head_dim=128, max_positions=40_960,
)  # fmt: skip
QWEN3_17B = replace(QWEN3_06B, hidden_size=2048, intermediate_size=6144)
SMOLLM2 = LLMConfig(
    vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_layers=30, num_heads=9, num_kv_heads=3, head_dim=64,
    qk_norm=False, max_positions=8192, rope_theta=100_000.0, norm_eps=1e-5,
)  # fmt: skip
SIZES = LLM_PRESETS | {"0.6b": QWEN3_06B, "1.7b": QWEN3_17B, "smollm2": SMOLLM2}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def make_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="demo", help="model shape (default demo)")
    parser.add_argument("--batch", type=int, default=8, help="rows in a batch (default 8)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, after one round of warm-up (default 7)")
    parser.add_argument("--codes", type=int, default=512, help="codebook entries, which are new words (default 512)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    return parser


def twins(
    config: LLMConfig, new_words: int, device: str, dtype: torch.dtype = torch.float32
) -> tuple[LLM, torch.nn.Module]:
    """Our model with its new rows, and transformers' model with the same weights in one table; base rows in `dtype`."""
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(0)
    llm = LLM(replace(config, max_positions=max(config.max_positions, 1024)), generator)
    llm.extend(config.vocab_size, new_words, generator)
    with tempfile.TemporaryDirectory() as folder:
        save_llm(llm, folder)
        peer = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    new = {name: table for name in ("new_in", "new_out") if (table := getattr(llm, name)) is not None}
    llm.to(device, dtype)
    for name, table in new.items():  # trained rows stay in fp32
        setattr(llm, name, torch.nn.Parameter(table.data.to(device)))
    return llm.eval(), peer.to(device).eval()


def read_bandwidth(device: str = "cpu") -> float:
    """Bytes a second that a sum over 1 GiB reads: the best of some rounds, as any other load only slows it.

    On a GPU it is 4 GiB, so that starting the sum and waiting for it count little.
    """
    data = torch.ones(1 << (28 if device == "cpu" else 30), device=device)
    return data.nbytes / fastest(lambda: data.sum().item())


def fastest(program: Callable[[], object], rounds: int = 6) -> float:
    """Seconds of the quickest round."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        program()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of every round of both programs. They take turns in going first."""
    times: dict[Callable, list[float]] = {ours: [], theirs: []}
    for number in range(rounds + 1):
        for program in (ours, theirs) if number % 2 else (theirs, ours):
            started = time.perf_counter()
            program()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:  # round 0 warms up
                times[program].append(time.perf_counter() - started)
    return times[ours], times[theirs]


def report(
    what: str,
    ours: list[float],
    theirs: list[float],
    peer: str,
    *,
    must: float | None = None,
    aim: float | None = None,
    floor: float | None = None,
    unit: tuple[float, str] = (1000, "ms"),
) -> None:
    """Print one line: both medians in ms, and their ratio with its spread over the rounds.

    Args:
        ours, theirs: seconds of the rounds, as `in_turn` gives them; or any other cost, of one round each.
        must, aim: the ratios that were set as goals, which `results.py` puts beside the one that was found.
        floor: the seconds that the machine needs at least, by its measured bandwidth or rate.
        unit: what costs are multiplied by to be printed, and what they are in then.
    """
    factor, name = unit
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    print(
        f"{what}: motiongpt {factor * mine:.2f} {name}, {peer} {factor * other:.2f} {name}, "
        f"ratio of medians {other / mine:.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds)"
        + ("" if floor is None else f", {mine / floor:.2f}x its floor"),
        flush=True,
    )
    if ROWS in os.environ:
        row = {"unit": name, "work": what, "peer": peer, "ours": mine, "theirs": other, "ratio": other / mine}
        row |= {"low": ratios[0], "high": ratios[-1], "rounds": len(ratios), "must": must, "aim": aim, "floor": floor}
        with open(os.environ[ROWS], "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
