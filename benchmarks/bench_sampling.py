"""Writing motion codes: our sampler and transformers' `generate` with logits processors that ask for the same.

    python benchmarks/bench_sampling.py                       # demo size, 1, 8 and 32 rows, 49 codes each, fp32
    python benchmarks/bench_sampling.py --size 0.6b smollm2 --batch 1 8 32 --precision fp32 bf16

Both have the same weights, prompts and filters: motion words only between the least and the largest length,
repetition penalty, temperature, top-k and top-p. Both use a key/value cache, and write exactly --new codes. The floor
is the time to read every weight once per code, at the measured read bandwidth.
"""

import sys
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


def length_aware(begin_id: int, codes: int, prompt: int, length: int):
    """transformers' processor for what `sampling.length_mask` does, row by row as its users write it."""
    from transformers import LogitsProcessor

    class LengthAware(LogitsProcessor):
        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            kept = torch.full_like(scores, -torch.inf)
            for row in range(len(ids)):
                written = ids.shape[1] - prompt
                if written < length:
                    kept[row, begin_id + 2 : begin_id + 2 + codes] = scores[row, begin_id + 2 : begin_id + 2 + codes]
                else:
                    kept[row, begin_id + 1] = scores[row, begin_id + 1]
            return kept

    return LengthAware()


def measure(args, size: str, precision: str, bandwidth: float) -> None:
    from transformers import LogitsProcessorList

    shape = SIZES[size]
    # both look at the whole text for repetitions, and drop what is not among 50 words or 90 % of the probability
    config = SampleConfig(max_new_tokens=args.new, top_k=50, top_p=0.9, repetition_penalty=1.2)
    begin_id = shape.vocab_size  # <MOT_BEGIN> <MOT_END> codes
    llm, peer = twins(shape, args.codes + 2, args.device, DTYPES[precision])
    writer = DecodingLLM(llm)
    read = sum(p.nbytes for name, p in llm.named_parameters() if "embed_tokens" not in name)

    for B in args.batch:
        generator = torch.Generator().manual_seed(1)
        prompts = torch.randint(0, begin_id, (B, args.prompt), generator=generator)
        with_begin = torch.cat((prompts, torch.full((B, 1), begin_id)), 1).to(args.device)
        written = []  # the lengths of every run's rows

        def ours() -> None:
            codes = generate(
                writer,
                prompts.tolist(),  # noqa: B023 - called before the next turn of the loop
                begin_id=begin_id,
                codes=args.codes,
                limits=[limits_from_length(args.new, exact=True)] * B,  # noqa: B023
                seeds=list(range(B)),  # noqa: B023
                config=config,
                device=args.device,
            )
            written.append({len(row) for row in codes})  # noqa: B023

        def theirs() -> None:
            ids = peer.generate(
                with_begin,  # noqa: B023
                attention_mask=torch.ones_like(with_begin),  # noqa: B023
                max_new_tokens=args.new,
                do_sample=True,
                temperature=config.temperature,
                repetition_penalty=config.repetition_penalty,
                top_k=config.top_k,
                top_p=config.top_p,
                eos_token_id=None,
                pad_token_id=0,
                logits_processor=LogitsProcessorList([aware]),  # noqa: B023
            )
            written.append({ids.shape[1] - with_begin.shape[1]})  # noqa: B023

        aware = length_aware(begin_id, args.codes, with_begin.shape[1], args.new)
        times = in_turn(ours, theirs, args.rounds)
        if any(lengths != {args.new} for lengths in written):
            raise RuntimeError(f"not every row has {args.new} codes: {written}")
        must, aim = GOALS.get((size, B), (None, None))
        what = f"sampling {size} {precision}, {B} x {args.new} codes"
        report(what, *times, "transformers", must=must, aim=aim, floor=args.new * read / bandwidth)


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
    main(parser.parse_args())
