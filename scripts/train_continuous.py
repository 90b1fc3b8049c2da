"""Train a continuous model (text to motion without tokens) on a dataset folder.

    python scripts/train_continuous.py --data data/kit --out outputs/continuous --dry-run    # does it load, does it run
    python scripts/train_continuous.py --data data/kit --out outputs/continuous
    python scripts/train_continuous.py --data data/kit --out outputs/continuous --head regression --max-minutes 20
    python scripts/train_continuous.py --data data/kit --out outputs/continuous --text-encoder clip

Writes OUT/{config.json, model.safetensors, Mean.npy, Std.npy}: the model with the best validation loss so far. An
unfinished training resumes by itself; --fresh starts it over. scripts/sample.py --run OUT writes motions with it.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.continuous_flags import (
    CONTINUOUS_TRAINING,
    add_continuous_training_flags,
    refuse_unused_flags,
    text_model_of,
)
from motiongpt.cli.parser import Parser, describe_values, resolve_config, run_script, within_budget
from motiongpt.cli.training_scripts import say_trained
from motiongpt.config import ContinuousConfig, TrainConfig

TEXT_MODELS = {"clip": "openai/clip-vit-base-patch32", "smollm2": "smollm2"}  # --text-encoder -> --text-model


def make_parser() -> Parser:
    return add_continuous_training_flags(Parser(__doc__), TEXT_MODELS)


def main(args) -> int | None:
    from motiongpt.cli.config_file import read_config_file
    from motiongpt.cli.opening import open_dataset
    from motiongpt.cli.watch_flags import log_watchers
    from motiongpt.continuous.training import train_continuous
    from motiongpt.files.folders import output_path
    from motiongpt.training.devices import pick_device, resolve_precision

    output_path(args.out, "--out", folder=True)
    given = read_config_file(args.config).layers()
    model_config, model_origins = resolve_config(ContinuousConfig, args, *given)
    config, origins = resolve_config(TrainConfig, args, ("script", CONTINUOUS_TRAINING), *given)
    refuse_unused_flags(args, model_config)
    text_model = text_model_of(args, model_config, TEXT_MODELS)
    data = open_dataset(args)
    device = pick_device(args.device)
    print(describe_values(model_config, model_origins, every=args.debug))
    print(describe_values(config, origins, every=args.debug))
    result = train_continuous(
        data,
        model_config,
        within_budget(config, args),
        args.out,
        text_model=text_model,
        device=device,
        precision=resolve_precision(config.precision, device, bf16_pays=False),
        fresh=args.fresh,
        dry_run=args.dry_run,
        watchers=log_watchers(args, args.out),
    )
    return say_trained(result, args, "sample.py", "--run", str(args.out), "--prompt", "a person walks forward")


if __name__ == "__main__":
    run_script(main, make_parser())
