"""The flags of scripts/evaluate.py, and which of them exclude each other."""

import argparse
from pathlib import Path

from motiongpt.cli.continuous_flags import add_continuous_flags
from motiongpt.cli.machine_flags import add_gpu_steps_flag
from motiongpt.cli.opening import TOKENIZER_FLAGS, add_tokenizer_flags
from motiongpt.cli.parser import Parser, add_config_flags, refuse_flags, resolve_config
from motiongpt.config import FlowConfig, SampleConfig, flag_name

EVALUATOR_FLAGS = ("evaluator", "glove", "evaluator_stats", "packing", "min_frames", "repeats")
"""Flags that have an effect only with an evaluator."""

LEAST = {"clips": 1, "batch_size": 1, "repeats": 1, "min_frames": 1, "multimodality": 0, "best_of": 1}

GIVEN = ("predict", "inbetween")
"""Values of --what that give the model a part of each clip."""

WHAT = ("vqvae", "t2m", "m2t", "tokens", *GIVEN)
REPEATS = {"tokens": 1, "predict": 5, "inbetween": 5}
"""--what -> the default of --repeats, where it is not that of the field's protocol."""

_OF_RUNS = ("run", "stage", "gpu_steps", *SampleConfig.__dataclass_fields__)
_OF_CONTINUOUS = ("model", *FlowConfig.__dataclass_fields__)
_OF_GIVEN = ("captions", "best_of", "repeats", "min_frames", *_OF_RUNS, *TOKENIZER_FLAGS)


def add_evaluation_flags(parser: Parser) -> Parser:
    """All flags of the script but --debug; returns `parser`."""
    add = parser.add_argument
    add("--what", choices=WHAT, default="vqvae", help="what is evaluated (default: vqvae)")
    add("--data", type=Path, help="dataset folder, from scripts/prepare.py; tokens: a token file, or folder of codes")
    add_tokenizer_flags(parser, "tokenizer folder, or a run that has one")
    add("--run", type=Path, help="not vqvae: run folder (default: outputs/run, else the demo)")
    add("--stage", type=int, help="not vqvae: stage of the run (default: the last finished one)")
    add("--evaluator", type=Path, help="evaluator folder (default: the published one in checkpoints/t2m or kit)")
    add("--glove", type=Path, help="word vectors of a published evaluator (default: glove)")
    add("--evaluator-stats", type=Path, help="folder of a published evaluator's mean.npy and std.npy (default: meta/)")
    add("--packing", choices=("guo", "openmotionlab"), help="how lengths reach the evaluator (default: its own way)")
    add("--split", default="test", help="train, val, test, val+test or another list of clips (default: test)")
    add("--out", help="folder for the report (default: outputs/evaluation)")
    add("--clips", type=int, help="only the first N usable clips or captions of the split (default: all)")
    add("--min-frames", type=int, help="drop shorter clips (default: 40 at 20 fps, 24 for KIT-ML)")
    repeats = f"default: 20; {', '.join(f'{what}: {count}' for what, count in REPEATS.items())}"
    add("--repeats", type=int, help=f"repeats of all random draws, for the intervals ({repeats})")
    policies = "t2m, predict: who decides a motion's length (default: own; predict: gt)"
    add("--length-policy", choices=("own", "gt", "cut"), help=policies)
    add("--captions", choices=("both", "with", "without"), help="predict, inbetween: what is asked (default: both)")
    add("--best-of", type=int, help="predict, inbetween: motions per clip, the nearest counts (default: 5; 1: no row)")
    add("--multimodality", type=int, help="t2m: number of texts with 30 motions each, 0 for none (default: 100)")
    add("--perplexity", choices=("all", "stage", "none"), help="t2m, m2t, tokens: of which stages (default: all)")
    add("--bert-score", metavar="MODEL", help="m2t: add BERTScore by this model (needs the package bert-score)")
    add("--seed", type=int, default=0, help="seed of all draws (default: 0)")
    add("--batch-size", type=int, default=32, help="clips at a time (default: 32)")
    add("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    add_gpu_steps_flag(parser)
    add("--compare", type=Path, nargs=2, metavar=("A", "B"), help="show B minus A of two evaluations; --out keeps it")
    add_config_flags(parser, SampleConfig)
    add_continuous_flags(parser)
    return parser


def check_sizes(args: argparse.Namespace) -> None:
    """ValueError for a number that is too small."""
    for name, least in LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"{flag_name(name)} must be at least {least}, got {value}")


def check_needed_flags(args: argparse.Namespace) -> None:
    """Raise ValueError if a flag that --what needs is missing, or a given flag has no effect."""
    for name in ("data", "vqvae") if args.what == "vqvae" else ("data",):
        if getattr(args, name) is None:
            raise ValueError(f"--what {args.what} needs {flag_name(name)}")
    used = {
        "t2m": (
            "length_policy",
            "multimodality",
            "perplexity",
            *_OF_RUNS,
            *_OF_CONTINUOUS,
            *TOKENIZER_FLAGS,
            *EVALUATOR_FLAGS,
        ),
        "m2t": ("bert_score", "perplexity", *_OF_RUNS, *TOKENIZER_FLAGS, *EVALUATOR_FLAGS),
        "vqvae": (*TOKENIZER_FLAGS, *EVALUATOR_FLAGS),
        "tokens": ("perplexity", "repeats", *_OF_RUNS),
        "predict": ("length_policy", *_OF_GIVEN),
        "inbetween": ("length_policy", *_OF_GIVEN),
    }
    every = dict.fromkeys(name for names in used.values() for name in names)
    refuse_flags(args, [name for name in every if name not in used[args.what]], f"for --what {args.what}")


def refuse_beside_compare(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """ValueError for a flag that has no effect with --compare."""
    # parsed again without defaults, so that a flag given its default value is refused too
    typed = parser.parse_args(namespace=type(args)(**dict.fromkeys(vars(args))))
    useless = [name for name in vars(typed) if name not in ("compare", "out", "seed", "debug")]
    refuse_flags(typed, useless, "with --compare")


def repeats_of(args: argparse.Namespace) -> dict[str, int]:
    """{"repeats": number}, or {} for the default of the field's protocol."""
    repeats = args.repeats or REPEATS.get(args.what)
    return {"repeats": repeats} if repeats else {}


def options_of(args: argparse.Namespace) -> dict:
    """How the model is asked, by name: the sampling, and the flags that were given; others keep their defaults."""
    from motiongpt.generator import DESCRIBE

    layers = [("describe", DESCRIBE.to_dict())] if args.what == "m2t" else []
    flags = {name: name for name in ("length_policy", "perplexity", "captions", "best_of", "batch_size")}
    flags |= {"multimodality_texts": "multimodality", "bert_model": "bert_score"}
    given = {field: getattr(args, flag) for field, flag in flags.items() if getattr(args, flag) is not None}
    return {"sampling": resolve_config(SampleConfig, args, *layers)[0], **given}


def evaluator_of(args: argparse.Namespace, root: Path, dim: int) -> dict:
    """The arguments of `evaluators.find_evaluator`; `root` is the checkout, `dim` the width of the data's features."""
    from motiongpt.training.devices import pick_device

    return {
        "folder": args.evaluator,
        "published": root / "checkpoints" / {263: "t2m", 251: "kit"}.get(dim, "none"),
        "glove": args.glove,
        "published_glove": root / "glove",
        "packing": args.packing,
        "stats": args.evaluator_stats,
        "device": pick_device(args.device),
    }
