"""Writing motion codes: our sampler and transformers' `generate` with logits processors that ask for the same.

    python benchmarks/bench_sampling.py                       # demo size, 1, 8 and 32 rows, 49 codes each, fp32
    python benchmarks/bench_sampling.py --size 0.6b smollm2 --batch 1 8 32 --precision fp32 bf16
    python benchmarks/bench_sampling.py --batch 1 8 32 --compile      # against transformers compiled, too
    python benchmarks/bench_sampling.py --device cuda --size 0.6b 1.7b --precision bf16 --batch 1 256 [--compile]

Both have the same weights, prompts and filters: motion words only between the least and the largest length,
repetition penalty, temperature, top-k and top-p. Both use a key/value cache, and write exactly --new codes. The floor
is the time to read every weight once per code, at the measured read bandwidth.

On a GPU transformers has its static cache, with which it compiles its steps and records them as CUDA graphs. Ours are
recorded, and with --compile they are compiled before. On a CPU ours are never compiled, and the peer's with --compile.
Times do not include compiling, which the first motions do; those are printed.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from compare import DTYPES, SIZES, in_turn, make_parser, read_bandwidth, report, twins

from motiongpt.config import SampleConfig
from motiongpt.decoding import DecodingLLM
from motiongpt.lengths import limits_from_length
from motiongpt.sampling import generate

# the ratio that was asked for, and the one that was hoped for, by size and rows
GOALS = {
    ("0.6b", 1): (2.0, 2.5), ("0.6b", 8): (2.5, 4.0), ("0.6b", 32): (2.0, 4.0),
    ("demo", 1): (2.5, 3.5), ("demo", 32): (2.2, 3.5), ("smollm2", 1): (2.5, 3.5), ("smollm2", 32): (2.2, 3.5),
}  # fmt: skip
GPU_GOALS = {(size, rows): (2.0, None) for size in ("0.6b", "1.7b") for rows in (1, 256)}
GPU_RATES = {("0.6b", 1): 500}  # codes a second that were asked for
# both look at the whole text for repetitions, and drop what is not among 50 words or 90 % of the probability
FILTERS = SampleConfig(top_k=50, top_p=0.9, repetition_penalty=1.2)
FIRST = 2  # motions before the timed ones: one to compile, one to record


def length_aware(begin_id: int, codes: int, prompt: int, length: int):
    """transformers' processor for what `sampling.length_mask` does."""
    from transformers import LogitsProcessor

    class LengthAware(LogitsProcessor):
        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            kept = torch.full_like(scores, -torch.inf)
            writes = ids.shape[1] - prompt < length
            may_follow = slice(begin_id + 2, begin_id + 2 + codes) if writes else slice(begin_id + 1, begin_id + 2)
            kept[:, may_follow] = scores[:, may_follow]
            return kept

    return LengthAware()


def ours(args, writer: DecodingLLM, prompts: torch.Tensor, begin_id: int) -> Callable[[], None]:
    """Our program for prompts (B, P). RuntimeError if a row has not as many codes as were asked for."""
    B = len(prompts)

    def write() -> None:
        codes = generate(
            writer,
            prompts.tolist(),
            begin_id=begin_id,
            codes=args.codes,
            limits=[limits_from_length(args.new, exact=True)] * B,
            seeds=list(range(B)),
            config=replace(FILTERS, max_new_tokens=args.new),
            device=args.device,
        )
        if {len(row) for row in codes} != {args.new}:
            raise RuntimeError(f"not every row has {args.new} codes: {[len(row) for row in codes]}")

    return write


def theirs(args, peer: torch.nn.Module, prompts: torch.Tensor, begin_id: int, **options) -> Callable[[], None]:
    """The peer's program for the same. `options` are further ones of its `generate`."""
    from transformers import LogitsProcessorList

    B, P = prompts.shape
    with_begin = torch.cat((prompts, torch.full((B, 1), begin_id)), 1).to(args.device)
    aware = length_aware(begin_id, args.codes, P + 1, args.new)

    def write() -> None:
        ids = peer.generate(
            with_begin,
            attention_mask=torch.ones_like(with_begin),
            max_new_tokens=args.new,
            do_sample=True,
            temperature=FILTERS.temperature,
            repetition_penalty=FILTERS.repetition_penalty,
            top_k=FILTERS.top_k,
            top_p=FILTERS.top_p,
            eos_token_id=None,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([aware]),
            **options,
        )
        if ids.shape[1] != P + 1 + args.new:
            raise RuntimeError(f"transformers wrote {ids.shape[1] - P - 1} codes, not {args.new}")

    return write


def peers(args) -> dict[str, dict]:
    """The ways in which transformers writes here, by name: options of its `generate`."""
    static = {"cache_implementation": "static"}
    if args.device != "cpu":
        return {"transformers, static cache, compiled": static}
    if not args.compile:
        return {"transformers": {}}
    from transformers import CompileConfig

    everywhere = CompileConfig()
    everywhere._compile_all_devices = True  # it compiles on GPUs alone unless this is set
    return {"transformers": {}, "transformers, static cache, compiled": static | {"compile_config": everywhere}}


def seconds(program: Callable[[], None], device: str) -> float:
    started = time.perf_counter()
    program()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(args, size: str, precision: str, bandwidth: float) -> None:
    begin_id = SIZES[size].vocab_size  # <MOT_BEGIN> <MOT_END> codes
    llm, peer = twins(SIZES[size], args.codes + 2, args.device, DTYPES[precision])
    writer = DecodingLLM(llm, "compiled" if args.compile else "recorded")  # which a CPU does not heed
    read = sum(p.nbytes for name, p in llm.named_parameters() if "embed_tokens" not in name)
    goals = GOALS if args.device == "cpu" else GPU_GOALS

    for B in args.batch:
        prompts = torch.randint(0, begin_id, (B, args.prompt), generator=torch.Generator().manual_seed(1))
        what = f"sampling {size} {precision}, {B} x {args.new} codes"
        if args.device != "cpu":
            what += f"{', compiled' if args.compile else ''}, {torch.cuda.get_device_name(args.device)}"
        mine = ours(args, writer, prompts, begin_id)
        for name, options in peers(args).items():
            other = theirs(args, peer, prompts, begin_id, **options)
            first = [sum(seconds(program, args.device) for _ in range(FIRST)) for program in (mine, other)]
            if args.compile or args.device != "cpu":
                print(f"first {FIRST} calls: motiongpt {first[0]:.1f} s, {name} {first[1]:.1f} s", flush=True)
            times = in_turn(mine, other, args.rounds)
            must, aim = (None, None) if options and args.device == "cpu" else goals.get((size, B), (None, None))
            report(what, *times, name, must=must, aim=aim, floor=args.new * read / bandwidth)
            print(f"{B * args.new / statistics.median(times[0]):,.0f} codes a second", flush=True)
        if args.device != "cpu" and (size, B) in GPU_RATES:
            rate = GPU_RATES[size, B]
            report(what, times[0], [B * args.new / rate] * len(times[0]), f"{rate} codes a second", must=1.0)


def main(args) -> None:
    torch.set_num_threads(args.threads or torch.get_num_threads())
    bandwidth = read_bandwidth(args.device)
    for size in args.size:
        for precision in args.precision:
            measure(args, size, precision, bandwidth)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.set_defaults(size=["demo"], batch=[1, 8, 32])
    for flag in ("--size", "--batch"):
        next(action for action in parser._actions if flag in action.option_strings).nargs = "+"
    parser.add_argument("--precision", nargs="+", choices=tuple(DTYPES), default=["fp32"], help="of the base weights")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of both (default: PyTorch's own choice)")
    parser.add_argument("--prompt", type=int, default=48, help="prompt tokens (default 48)")
    parser.add_argument("--new", type=int, default=49, help="codes to write per row (default 49, ten seconds)")
    parser.add_argument("--compile", action="store_true", help="steps: ours on a GPU, the peer's on a CPU")
    main(parser.parse_args())
