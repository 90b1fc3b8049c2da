"""How cost grows: codes a second over rows of a batch, time over the length of a motion, training memory over tokens.

    python benchmarks/bench_scaling.py                        # demo size; writes benchmarks/scaling.png and a table
    python benchmarks/bench_scaling.py --size smollm2 --out outputs/scaling.png

Memory is what PyTorch holds at most during one training step beyond the model, counted by its profiler, so it does not
depend on what else the process does. The last column of each table is the cost of twice as much: 2.00 is linear growth,
less means that a step of one row or one token waits for something else than its own work.
"""

import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from compare import SIZES, make_parser

from motiongpt.config import LoRAConfig, SampleConfig
from motiongpt.decoding import DecodingLLM
from motiongpt.lengths import limits_from_length
from motiongpt.llm import LLM
from motiongpt.lora import inject
from motiongpt.sampling import generate
from motiongpt.tasks.collate import collate, lm_loss

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CODES = (49, 98, 196, 392, 784)
TOKENS = (64, 128, 256, 512, 1024)
PROMPT = 48


def model(args) -> LLM:
    generator = torch.Generator().manual_seed(0)
    shape = SIZES[args.size]
    llm = LLM(shape, generator)
    llm.extend(shape.vocab_size, args.codes + 2, generator)
    return llm.eval()


def seconds_to_write(llm: LLM, rows: int, length: int, args) -> float:
    """Median of some rounds, after one that warms up."""
    first_id = llm.first_id
    prompts = torch.randint(0, first_id, (rows, PROMPT), generator=torch.Generator().manual_seed(1)).tolist()
    writer = DecodingLLM(llm)
    times = []
    for _ in range(args.rounds + 1):
        started = time.perf_counter()
        generate(
            writer,
            prompts,
            begin_id=first_id,
            codes=args.codes,
            limits=[limits_from_length(length, exact=True)] * rows,
            seeds=range(rows),
            config=SampleConfig(max_new_tokens=length),
        )
        times.append(time.perf_counter() - started)
    return median(times[1:])


def training_bytes(llm: LLM, tokens: int) -> int:
    """The most memory of one step of a row of so many tokens, half of them labelled, beyond what was there before."""
    from torch.profiler import ProfilerActivity, profile

    ids = torch.randint(0, llm.vocab_size, (tokens,), generator=torch.Generator().manual_seed(2)).tolist()
    batch = collate([(ids, [i >= tokens // 2 for i in range(tokens)])])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        (lm_loss(llm, batch) / batch["count"]).backward()
    llm.zero_grad(set_to_none=True)
    held = most = 0
    for event in sorted(found.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def table(what: str, unit: str, sizes: tuple[int, ...], costs: list[float], shown: list[str]) -> None:
    print(f"\n| {what} | {unit} | cost of twice as much |\n|---|---|---|")
    for i, (size, words) in enumerate(zip(sizes, shown, strict=True)):
        growth = f"{costs[i] / costs[i - 1]:.2f}x" if i else ""
        print(f"| {size} | {words} | {growth} |")


def main(args) -> None:
    llm = model(args)
    by_rows = [seconds_to_write(llm, rows, 49, args) for rows in ROWS]
    rates = [49 * rows / seconds for rows, seconds in zip(ROWS, by_rows, strict=True)]
    table("rows", "codes a second", ROWS, by_rows, [f"{rate:,.0f}" for rate in rates])
    by_codes = [seconds_to_write(llm, 1, length, args) for length in CODES]
    table("codes of one motion", "seconds", CODES, by_codes, [f"{seconds:.3f}" for seconds in by_codes])
    inject(llm, LoRAConfig(), torch.Generator().manual_seed(0))
    llm.train()
    memory = [training_bytes(llm, tokens) for tokens in TOKENS]
    table("tokens of a row", "MB beyond the model", TOKENS, memory, [f"{b / 1e6:.1f}" for b in memory])

    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6))
    curves = (
        (ROWS, rates, "rows of a batch", "codes a second"),
        (CODES, by_codes, "codes of one motion", "seconds"),
        (TOKENS, [b / 1e6 for b in memory], "tokens of a row", "MB of a training step"),
    )
    for axes, (x, y, under, beside) in zip(figure.subplots(1, 3), curves, strict=True):
        axes.loglog(x, y, "o-")
        axes.set(xlabel=under, ylabel=beside, xticks=x, xticklabels=x)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.suptitle(f"{args.size} size, fp32, {torch.get_num_threads()} threads")
    figure.tight_layout()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)
    print(f"\nwrote {args.out}")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.set_defaults(rounds=3)
    default = Path(__file__).resolve().parent / "scaling.png"
    parser.add_argument("--out", type=Path, default=default, help="the picture (default: scaling.png beside this)")
    main(parser.parse_args())
