"""What the benchmarks share: model sizes, one model twice (ours and transformers'), and timing in turn.

Two programs are timed in one process, in turn, so that any other load on the machine hits both. The result is the
ratio of the medians; the ratios of single rounds are shown as its spread. Weights are random, as speed does not depend
on them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from motiongpt.config import LLM_PRESETS, LLMConfig
from motiongpt.llm import LLM
from motiongpt.weights.llm import save_llm

# Qwen3-0.6B's shape
QWEN3_06B = LLMConfig(
    vocab_size=151_669, hidden_size=1024, intermediate_size=3072, num_layers=28, num_heads=16, num_kv_heads=8,
    head_dim=128, max_positions=40_960,
)  # fmt: skip
SIZES = LLM_PRESETS | {"0.6b": QWEN3_06B}


def make_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="demo", help="model shape (default demo)")
    parser.add_argument("--batch", type=int, default=8, help="rows in a batch (default 8)")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds, after one round of warm-up (default 7)")
    parser.add_argument("--codes", type=int, default=512, help="codebook entries, which are new words (default 512)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    return parser


def twins(config: LLMConfig, new_words: int, device: str) -> tuple[LLM, torch.nn.Module]:
    """Our model with its new rows, and transformers' model with the same weights in one table."""
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(0)
    llm = LLM(replace(config, max_positions=max(config.max_positions, 1024)), generator)
    llm.extend(config.vocab_size, new_words, generator)
    with tempfile.TemporaryDirectory() as folder:
        save_llm(llm, folder)
        peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return llm.to(device).eval(), peer.to(device).eval()


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


def report(what: str, ours: list[float], theirs: list[float], peer: str) -> None:
    """Print one line: both medians in ms, and their ratio with its spread over the rounds."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    print(
        f"{what}: motiongpt {1000 * mine:.1f} ms, {peer} {1000 * other:.1f} ms, "
        f"ratio of medians {other / mine:.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds)"
    )
