"""One LoRA training step (forward, loss, backward, clipping, AdamW): ours, and peft's on transformers' model.

    python benchmarks/bench_lora_step.py                      # demo size, 8 rows of 128 tokens
    python benchmarks/bench_lora_step.py --size 0.6b --batch 2 --tokens 256

Both have the same weights, adapters on all seven projections, the same new words to train, and labels on the second
half of every row. Their first losses must agree before anything is timed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from compare import SIZES, in_turn, make_parser, report, twins

from motiongpt.config import PROJECTIONS, LoRAConfig, TrainConfig
from motiongpt.loops import make_optimizer
from motiongpt.lora import inject
from motiongpt.tasks.collate import collate, lm_loss
from motiongpt.training.devices import autocast


def main(args) -> None:
    from peft import LoraConfig, get_peft_model

    device = torch.device(args.device)
    config = TrainConfig()
    first_id = SIZES[args.size].vocab_size
    llm, peer = twins(SIZES[args.size], args.codes, args.device)
    inject(llm, LoRAConfig(lora_r=args.r, lora_alpha=args.r), torch.Generator().manual_seed(0))
    rows = {"embed_tokens": list(range(first_id, first_id + args.codes))}
    peer = get_peft_model(
        peer, LoraConfig(r=args.r, lora_alpha=args.r, target_modules=list(PROJECTIONS), trainable_token_indices=rows)
    )
    llm.train()
    peer.train()
    ours_optimizer = make_optimizer(llm, config)
    trained = [p for p in peer.parameters() if p.requires_grad]
    peer_optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=0.0, fused=True)

    ids = torch.randint(0, first_id + args.codes, (args.batch, args.tokens), generator=torch.Generator().manual_seed(1))
    labelled = torch.arange(args.tokens) >= args.tokens // 2
    batch = collate([(row, labelled.tolist()) for row in ids.tolist()])
    batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    labels = ids.masked_fill(~labelled, -100).to(device)
    ids = ids.to(device)

    def ours() -> float:
        with autocast(args.precision, device):
            loss = lm_loss(llm, batch) / batch["count"]
        return step(loss, llm.parameters(), ours_optimizer)

    def theirs() -> float:
        with autocast(args.precision, device):
            loss = peer(input_ids=ids, labels=labels, use_cache=False).loss
        return step(loss, trained, peer_optimizer)

    def step(loss: torch.Tensor, parameters, optimizer: torch.optim.Optimizer) -> float:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    first, peers_first = ours(), theirs()
    tolerance = 1e-4 if args.precision == "fp32" else 0.05
    if abs(first - peers_first) > tolerance * abs(peers_first):
        raise RuntimeError(f"the first losses differ, {first} and {peers_first}: the work would differ")
    what = f"LoRA step {args.size}, r {args.r}, {args.batch} x {args.tokens} tokens, {args.precision}"
    report(what, *in_turn(ours, theirs, args.rounds), "peft")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--tokens", type=int, default=128, help="tokens per row (default 128)")
    parser.add_argument("--r", type=int, default=16, help="rank of the adapters (default 16)")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="number format of the matrix products (default fp32)",
    )
    main(parser.parse_args())
