"""Train the motion tokenizer (VQ-VAE) on a dataset folder.

    python scripts/train_vqvae.py --data data/demo --out outputs/vqvae
    python scripts/train_vqvae.py --data data/demo --out outputs/vqvae --max-minutes 40     # again: goes on

Writes OUT/{config.json, model.safetensors, Mean.npy, Std.npy}: the model of the best validation loss so far.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli import Parser, add_config_flags, describe, read_config_file, resolve, run
from motiongpt.config import TrainConfig, VQVAEConfig

DEFAULTS = {"lr": 2e-4, "beta2": 0.99, "batch_size": 128, "epochs": 100.0, "warmup": 0.03, "seed": 123, "clip": 1.0}
# the codebook learns from every forward pass, so several of them are not one large batch: no --grad-accum
UNUSED = ("max_seq_len", "label_smoothing", "grad_accum")
TRAIN_FLAGS = tuple(name for name in TrainConfig.__dataclass_fields__ if name not in UNUSED)


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    parser.add_argument("--out", type=Path, required=True, help="tokenizer folder to write")
    parser.add_argument("--config", help="JSON file of values; flags win over it")
    parser.add_argument(
        "--fresh", action="store_true", help="start over instead of resuming an unfinished run in --out"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add_config_flags(
        parser,
        VQVAEConfig,
        (
            "codes",
            "code_dim",
            "width",
            "depth",
            "dilation_growth",
            "down",
            "ema_decay",
            "dead_below",
            "commit_weight",
            "joint_weight",
            "feature_bias",
            "quantizer",
            "fsq_levels",
            "rvq_layers",
            "rvq_dropout",
            "rvq_codebooks",
            "activation",
            "dropout",
        ),
    )
    add_config_flags(parser, TrainConfig, TRAIN_FLAGS, DEFAULTS)
    return parser


def main(args) -> int | None:
    import shutil

    import torch

    from motiongpt.data.batches import WindowBatches, pad_motions
    from motiongpt.data.motions import MotionDataset
    from motiongpt.loops import pick_device, resolve_precision, total_steps, train
    from motiongpt.tokenizer import MotionTokenizer, reconstruction_errors
    from motiongpt.vqvae import VQVAE

    data = MotionDataset(args.data)
    layers = (("script", DEFAULTS), (f"--config {args.config}", read_config_file(args.config)))
    representation = data.representation
    width = {"feature_dim": data.feature_dim, "joint_dim": representation.joint_dim}
    width |= {} if representation.biased else {"feature_bias": 1.0}
    model_config, model_origins = resolve(VQVAEConfig, args, *layers, (str(args.data), width))
    config, origins = resolve(TrainConfig, args, *layers)
    if config.grad_accum != 1:
        raise ValueError(f"the VQ-VAE cannot accumulate gradients, got grad_accum {config.grad_accum} ({args.config})")
    device = pick_device(args.device)
    precision = resolve_precision(config.precision, device)
    if config.window < (unit := model_config.frames_per_code):
        raise ValueError(f"--window must be at least {unit} frames, one code; got {config.window}")
    if (args.out / "model.safetensors").is_file() and not (args.out / "state").is_dir() and not args.fresh:
        raise FileExistsError(f"{args.out} holds a tokenizer that cannot go on (no state/); --fresh replaces it")

    clips, dropped = data.load_split("train")
    val, dropped_val = data.load_split("val")
    for clip, reason in (dropped | dropped_val).items():
        print(f"dropped {clip}: {reason}")
    val = {clip: motion for clip, motion in val.items() if len(motion) >= unit}
    if not val:
        raise ValueError(f"{args.data}/val.txt has no usable clip: a tokenizer is chosen on validation")
    if args.fresh and (args.out / "state").is_dir():
        shutil.rmtree(args.out / "state")
    torch.manual_seed(config.seed)
    model = VQVAE(model_config).to(device)
    data.normalizer.check_pair(representation, 1.0, args.data / "Std.npy")
    normalizer = data.normalizer.with_feature_bias(model_config.feature_bias, representation)
    tokenizer = MotionTokenizer(model, normalizer, data.skeleton, data.fps, representation)
    count = len(clips)
    training = (normalizer.normalise(clips.pop(name)) for name in list(clips))  # one copy in memory, not two
    batches = WindowBatches(training, config.window, config.batch_size, config.seed, unit)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"VQ-VAE {size:.1f} M parameters, {count} training and {len(val)} validation clips of {args.data}")
    print(describe(model_config, model_origins))
    if model_config.quantizer == "fsq":
        print(f"fsq levels {model_config.fsq_levels}: {model_config.codes} codes")
    print(describe(config, origins))
    print(f"{total_steps(config, batches.per_epoch)} steps on {device}, {precision}")

    def loss(batch):
        total, _, out = model.loss(batch["motion"], batch["lengths"])
        return total, {name: out[name] for name in model.quantizer.stats}

    def validate():
        total, frames = 0.0, 0
        motions = sorted(val.values(), key=len)
        for first in range(0, len(motions), 32):
            motion, lengths = pad_motions([normalizer.normalise(clip) for clip in motions[first : first + 32]])
            motion = torch.nn.functional.pad(motion, (0, 0, 0, -motion.shape[1] % unit))
            value, count, _ = model.loss(motion.to(device), lengths.to(device))
            total, frames = total + float(value), frames + int(count)
        with torch.autocast(device.type, enabled=False):
            return {"loss": total / frames} | reconstruction_errors(tokenizer, motions)

    result = train(
        model,
        batches,
        loss,
        config,
        args.out,
        device=device,
        precision=precision,
        validate=validate,
        export=tokenizer.save,
        unit="frames",
        fingerprint={"model": model_config.run_identity(), "data": data.hash(), **config.run_identity()},
    )
    if not result.finished:
        print(f"stopped at step {result.step} of {result.total_steps}; the same command goes on from there")
        return 3
    print(f"wrote {args.out}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    print(f"next: python scripts/tokenize_motions.py --data {args.data} --vqvae {args.out} --out tokens.json")


if __name__ == "__main__":
    run(main, make_parser())
