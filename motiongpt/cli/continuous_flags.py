"""The flags of a continuous model: what its text encoder is, and which of a script's flags have no meaning for it."""

import argparse
from pathlib import Path

from motiongpt.cli.opening import INPUT_FLAGS, TOKENIZER_FLAGS
from motiongpt.cli.parser import VQVAE_TRAIN_FLAGS, Parser, add_config_flags, refuse_flags
from motiongpt.cli.training_scripts import add_place_flags
from motiongpt.cli.watch_flags import add_watch_flags
from motiongpt.config import ContinuousConfig, FlowConfig, SampleConfig, TrainConfig
from motiongpt.files.store import read_json

CONTINUOUS_TRAINING = {"lr": 1e-3, "batch_size": 32, "epochs": 100.0, "warmup": 0.03, "weight_decay": 0.01}
"""Values of TrainConfig for a continuous model."""

TRAIN_FLAGS = (*(name for name in VQVAE_TRAIN_FLAGS if name != "window"), "grad_accum")

OF_HEAD = {"flow": ("text_dropout",), "autoregressive": ("input_noise", "noise_steps")}
"""Settings that only one head has."""

MODELS = ("tokens", "continuous")

OF_TOKENS = (
    *("input", "codes", "frame", "at", "then", "chat", "stage", "reader", "as_written", "pid", "exact_length", "path"),
    *("reach", "loop", "in_place", "constraints", "num_samples", "best_of", "no_per_prompt_vocab", "stream"),
    *("look_ahead", "precision", "trace", "perplexity", *TOKENIZER_FLAGS, *INPUT_FLAGS),
    *SampleConfig.__dataclass_fields__,
)
"""Flags of sample.py and evaluate.py that mean nothing for a continuous model."""


def add_continuous_flags(parser: Parser) -> None:
    """--model, and how the flow head of a continuous model is sampled."""
    told = (
        "what --run is: a language model that writes motion tokens, or a continuous model (default: as its files say)"
    )
    parser.add_argument("--model", choices=MODELS, help=told)
    add_config_flags(parser, FlowConfig)


def is_continuous_run(args: argparse.Namespace) -> bool:
    """Whether --run is a continuous model, by --model or by the folder's config.json.

    Raises ValueError if the two disagree, or if flags of the flow head are given for tokens.
    """
    path = Path(str(args.run or "")) / "config.json"
    found = args.run and path.is_file() and "ContinuousConfig" in read_json(path)
    if args.run and path.is_file() and args.model is not None and (args.model == "continuous") != bool(found):
        raise ValueError(
            f"--model {args.model}: {args.run} is a {'continuous' if found else 'token'} model; drop the flag"
        )
    if found or args.model == "continuous":
        return True
    refuse_flags(args, FlowConfig.__dataclass_fields__, "for a model of tokens")
    return False


def refuse_token_flags(args: argparse.Namespace) -> None:
    """ValueError for a task or a flag of the token model."""
    task = getattr(args, "task", None) or getattr(args, "what", "t2m")
    if task != "t2m":
        raise ValueError(f"a continuous model has only text to motion, t2m, got {task}")
    # check_flags has set some to what they are without their flag
    usual = {"num_samples": 1, "then": []}
    names = [name for name in OF_TOKENS if getattr(args, name, None) != usual.get(name, ())]
    if not hasattr(args, "prompt"):  # evaluate.py has filled these from the environment
        names = [name for name in names if name not in TOKENIZER_FLAGS]
    refuse_flags(args, names, "for a continuous model")


def add_continuous_training_flags(parser: Parser, text_models: dict[str, str]) -> Parser:
    """All flags of scripts/train_continuous.py; returns `parser`. `text_models`: --text-encoder -> its --text-model."""
    add_place_flags(parser, "run folder")
    named = ", ".join(f"{kind}: {name}" for kind, name in text_models.items())
    words = f"folder, name or Hub repo id of a frozen --text-encoder (default: {named})"
    parser.add_argument("--text-model", help=words)
    add_config_flags(parser, ContinuousConfig)
    add_config_flags(parser, TrainConfig, TRAIN_FLAGS, CONTINUOUS_TRAINING)
    add_watch_flags(parser)
    return parser


def refuse_unused_flags(args: argparse.Namespace, config: ContinuousConfig) -> None:
    """ValueError for a flag of another head, or of another text encoder."""
    for head, names in OF_HEAD.items():
        if config.head != head:
            refuse_flags(args, names, f"for --head {config.head}")
    if config.text_encoder != "trainable":
        refuse_flags(args, ["text_layers"], f"for --text-encoder {config.text_encoder}, which is not trained")


def text_model_of(args: argparse.Namespace, config: ContinuousConfig, text_models: dict[str, str]) -> str:
    """The frozen text encoder that the flags name, "" for a trainable one. ValueError for one without a use."""
    if config.text_encoder == "trainable":
        if args.text_model is not None:
            raise ValueError(
                "--text-model is for a frozen encoder: give --text-encoder clip or smollm2 too, or drop it"
            )
        return ""
    return args.text_model or text_models[config.text_encoder]
