"""Writing motion codes: our sampler and transformers' `generate` with a length-aware logits processor.

    python benchmarks/bench_sampling.py                       # demo size, 8 rows, 49 codes each
    python benchmarks/bench_sampling.py --size 0.6b --batch 1

Both have the same fp32 weights, prompts, temperature and top-p, use a key/value cache, and write exactly --new codes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from compare import SIZES, in_turn, make_parser, report, twins

from motiongpt.config import SampleConfig
from motiongpt.lengths import limits_from_length
from motiongpt.sampling import generate


def main(args) -> None:
    from transformers import LogitsProcessorList

    config = SampleConfig(max_new_tokens=args.new)
    first_id = SIZES[args.size].vocab_size
    begin_id = first_id  # <MOT_BEGIN> <MOT_END> codes
    first_code = first_id + 2
    llm, peer = twins(SIZES[args.size], args.codes + 2, args.device)
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(0, first_id, (args.batch, args.prompt), generator=generator)
    with_begin = torch.cat((prompts, torch.full((args.batch, 1), begin_id)), 1).to(args.device)
    written = []  # the lengths of every run's rows

    def ours() -> None:
        codes = generate(
            llm,
            prompts.tolist(),
            begin_id=begin_id,
            codes=args.codes,
            limits=[limits_from_length(args.new, exact=True)] * args.batch,
            seeds=list(range(args.batch)),
            config=config,
            device=args.device,
        )
        written.append({len(row) for row in codes})

    def codes_only(_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        kept = torch.full_like(logits, -torch.inf)
        kept[:, first_code : first_code + args.codes] = logits[:, first_code : first_code + args.codes]
        return kept

    def theirs() -> None:
        ids = peer.generate(
            with_begin,
            attention_mask=torch.ones_like(with_begin),
            max_new_tokens=args.new,
            do_sample=True,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=0,
            eos_token_id=None,
            pad_token_id=0,
            logits_processor=LogitsProcessorList([codes_only]),
        )
        written.append({ids.shape[1] - with_begin.shape[1]})

    times = in_turn(ours, theirs, args.rounds)
    if any(lengths != {args.new} for lengths in written):
        raise RuntimeError(f"not every row has {args.new} codes: {written}")
    report(f"sampling {args.size}, {args.batch} x {args.new} codes", *times, "transformers")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--prompt", type=int, default=48, help="prompt tokens (default 48)")
    parser.add_argument("--new", type=int, default=49, help="codes to write per row (default 49, ten seconds)")
    main(parser.parse_args())
