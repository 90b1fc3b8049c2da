"""Train an evaluator (matching networks of text and motion) on a dataset folder, for R-precision, MM-Dist and FID.

    python scripts/train_evaluator.py --data data/mine --out outputs/evaluator
    python scripts/train_evaluator.py --data data/humanml3d --out outputs/evaluator --glove glove

Any skeleton and representation. The model is chosen by R-precision on the validation split; the test split is not read.
Writes OUT/{config.json, model.safetensors, words.json, Mean.npy, Std.npy}, loss.png and metrics.jsonl. An unfinished
training in OUT is resumed.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.opening import open_dataset
from motiongpt.cli.parser import (
    VQVAE_TRAIN_FLAGS,
    Parser,
    add_config_flags,
    describe_values,
    resolve_config,
    run_script,
    say_stopped,
    within_budget,
)
from motiongpt.cli.watch_flags import add_watch_flags, log_watchers
from motiongpt.config import EvaluatorConfig, TrainConfig

DEFAULTS = {
    "lr": 2e-4,
    "batch_size": 128,
    "epochs": 40.0,
    "warmup": 0.05,
    "caption_dropout": 0.1,
    "weight_decay": 0.01,
    "eval_every": 100,
}
TRAIN_FLAGS = (*(name for name in VQVAE_TRAIN_FLAGS if name not in ("window", "sample_every")), "caption_dropout")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    add("--out", type=Path, required=True, help="evaluator folder to write")
    add("--glove", type=Path, help="folder of our_vab_data.npy (default: word vectors are trained)")
    add("--movement", type=Path, help="movement encoder to keep unchanged: Decomp_.../model/latest.tar")
    add("--patience", type=int, default=10, help="end after N validations without a better one (default 10, 0: never)")
    add("--config", help="JSON file of any of these flags by name, or a run's config.json; flags override it")
    add("--fresh", action="store_true", help="start over instead of resuming a training in --out")
    add("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    add_config_flags(parser, EvaluatorConfig)
    add_config_flags(parser, TrainConfig, TRAIN_FLAGS, DEFAULTS)
    add_watch_flags(parser)
    return parser


def main(args) -> int | None:
    from motiongpt.evaluation.evaluator_training import train_evaluator
    from motiongpt.training.devices import pick_device, resolve_precision

    if args.patience < 0:
        raise ValueError(f"--patience must be 0 (never) or more, got {args.patience}")
    data = open_dataset(args)
    given = read_config_file(args.config).layers()
    model_config, model_origins = resolve_config(EvaluatorConfig, args, *given)
    config, origins = resolve_config(TrainConfig, args, ("script", DEFAULTS), *given)
    device = pick_device(args.device)
    print(describe_values(model_config, model_origins, every=args.debug))
    print(describe_values(config, origins, every=args.debug))
    result = train_evaluator(
        data,
        model_config,
        within_budget(config, args),
        args.out,
        device=device,
        precision=resolve_precision(config.precision, device),
        glove=args.glove,
        movement=args.movement,
        patience=args.patience,
        fresh=args.fresh,
        watchers=log_watchers(args, args.out),
    )
    if not result.finished:
        return say_stopped(result, args)
    why = f"no better validation in {args.patience}, " if result.early else ""
    print(f"wrote {args.out}/ ({why}step {result.step}); best mean R-precision (top 1, 2, 3) {1 - result.best:.3f}")


if __name__ == "__main__":
    run_script(main, make_parser())
