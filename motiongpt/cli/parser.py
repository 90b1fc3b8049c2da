"""What the scripts share: flags made from config fields, one-line errors, and where a value came from.

A script parses, builds, calls, and prints the paths it wrote. Wrong input ends it with one line and exit
code 2; `--debug` shows the traceback before it. Nothing but this file reads flags or the environment, and this file
only when a script asks.
"""

import argparse
import dataclasses
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from motiongpt.config import (
    EvaluatorConfig,
    JSONConfig,
    LoRAConfig,
    SampleConfig,
    TrainConfig,
    VQVAEConfig,
    fits,
    flag_name,
)
from motiongpt.files.store import read_json

if TYPE_CHECKING:
    from motiongpt.loops import Result

Config = TypeVar("Config", bound=JSONConfig)

# what a tokenizer's training reads: the two widths come from the data, the others are the language model's
VQVAE_FLAGS = tuple(name for name in VQVAEConfig.__dataclass_fields__ if name not in ("feature_dim", "joint_dim"))
VQVAE_TRAIN_FLAGS = tuple(
    name
    for name in TrainConfig.__dataclass_fields__
    # several forward passes are not one large batch
    if name not in ("max_seq_len", "label_smoothing", "caption_dropout", "grad_accum")
)
CONFIGS = (TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig, EvaluatorConfig)  # what --config may hold
BESIDE_CONFIGS = ("RunConfig", "LLMConfig", "skeleton", "fps", "representation")  # what else a run's config.json holds
DEBUG_STEPS = 5


class Parser(argparse.ArgumentParser):
    """argparse with defaults in the help, no abbreviated flags, and errors of one line."""

    def __init__(self, description: str, debug: str = "show the traceback of an error", **kwargs: Any) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs
        )
        self.add_argument("--debug", action="store_true", help=debug)

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: error: {message}; --help lists the flags\n")


def add_config_flags(
    parser: argparse.ArgumentParser,
    config: type[JSONConfig],
    only: tuple[str, ...] = (),
    defaults: dict[str, Any] | None = None,
) -> None:
    """One flag per field of a config dataclass; the default stays None, so that `resolve` knows what was given.

    `defaults` are a script's own, by field name: the help shows them in place of the dataclass's.
    """
    group = parser.add_argument_group(config.__name__, (config.__doc__ or "").splitlines()[0])
    for field in dataclasses.fields(config):
        if "help" not in field.metadata or (only and field.name not in only):
            continue
        shown = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = (defaults or {}).get(field.name, shown)
        kwargs: dict[str, Any] = {"help": f"{field.metadata['help']} (default: {shown})", "default": None}
        if isinstance(field.default, tuple):
            kwargs |= {"nargs": "+", "metavar": "NAME"}
        else:
            kwargs |= {"type": type(field.default)}
            kwargs |= {"choices": field.metadata["choices"]} if "choices" in field.metadata else {"metavar": "X"}
        group.add_argument(flag_name(field.name), **kwargs)


def resolve(config: type[Config], args: argparse.Namespace, *layers: tuple[str, dict]) -> tuple[Config, dict[str, str]]:
    """A config from layers of values, weakest first, with the flags given on the command line on top.

    `layers` are (origin, values), e.g. ("recipe signmotiongpt", {...}), ("--config run.json", {...}); fields of
    other configs in them are ignored, and so are max_steps of a layer below one that says epochs. Returns the config
    and each field's origin.
    """
    names = {field.name for field in dataclasses.fields(config)}
    values, origins = {}, dict.fromkeys(sorted(names), "default")
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    for origin, layer in (*layers, ("flag", given)):
        if "epochs" in names & set(layer) and "max_steps" not in layer:
            values.pop("max_steps", None)  # a weaker layer's number of steps would silently win
            origins["max_steps"] = "default"
        for name in names & set(layer):
            values[name], origins[name] = layer[name], origin
    for field in dataclasses.fields(config):
        value = values.get(field.name, field.default)
        if not fits(value, field.default):
            wanted = "a finite number" if isinstance(field.default, float) else type(field.default).__name__
            raise ValueError(f"{flag_name(field.name)} must be {wanted}, got {value!r} ({origins[field.name]})")
    return config.from_dict(values), origins


def describe(config: JSONConfig, origins: dict[str, str]) -> str:
    """`lr 0.001 (recipe), batch_size 16 (flag); default: clip 1.0, ...` -- every value with its origin."""
    values = config.to_dict()
    chosen = [f"{name} {values[name]} ({origin})" for name, origin in origins.items() if origin != "default"]
    rest = [f"{name} {values[name]}" for name, origin in origins.items() if origin == "default" and name in values]
    return "; ".join(part for part in (", ".join(chosen), "default: " + ", ".join(rest) if rest else "") if part)


def refuse(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """ValueError for flags that were given and would have no effect: `--width has no meaning for ...`."""
    values = {name: getattr(args, name, None) for name in names}
    if given := [flag_name(name) for name, value in values.items() if value is not None and value is not False]:
        has = "has" if len(given) == 1 else "have"
        raise ValueError(f"{', '.join(given)} {has} no meaning {why}; leave it away")


def same_command(stage: int, *without: str) -> str:
    """This command line with another --stage, to copy; what was meant for one stage only is left out."""
    words, keep = [], True
    for word in sys.argv[1:]:
        if word.startswith("--"):
            keep = word.split("=")[0] not in ("--stage", "--tasks", "--from", "--fresh", "--resume", *without)
        if keep:
            words.append(word)
    return f"python scripts/{Path(sys.argv[0]).name} {shlex.join(['--stage', str(stage), *words])}"


def slug(prompt: str) -> str:
    """A plain folder name from a sentence: its first eight words, letters and digits only."""
    return "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split()[:8])[:60] or "motion"


def settle_steps(args: argparse.Namespace) -> None:
    """--debug cuts a training to 5 steps a stage."""
    if args.debug:
        args.max_steps = min(args.max_steps or DEBUG_STEPS, DEBUG_STEPS)
        short = f"--debug: at most {DEBUG_STEPS} steps a stage, validation on 8 entries"
        print(f"{short}; train it in full with --fresh and without --debug")


def stopped(result: "Result", args: argparse.Namespace) -> int:
    """Say that a training stopped before its end and how it goes on; returns the exit code of that, 3."""
    again = "the same command without --fresh" if args.fresh else "the same command"
    print(f"stopped at step {result.step} of {result.total_steps}; {again} goes on from there")
    return 3


def read_config_file(path: str | None) -> dict:
    """Values of `--config FILE.json`: a flat object, or a run's own config.json with one object per config.

    A flat value wins over one in an object before it. Raises ValueError for a name that is no field of any config: it
    would be a typing error, silently without effect.
    """
    if path is None:
        return {}
    content = read_json(path)
    configs = {c.__name__: {f.name for f in dataclasses.fields(c)} for c in CONFIGS}
    own = any(isinstance(content.get(name), dict) for name in configs)
    values, unknown = {}, set()
    for name, value in content.items():
        name = name.removeprefix("--").replace("-", "_")  # as the flag is typed serves too
        if name in configs and isinstance(value, dict):
            values |= value
            unknown |= {f"{name}.{inner}" for inner in set(value) - configs[name]}
        elif any(name in fields for fields in configs.values()):
            values[name] = value
        elif not (own and name in BESIDE_CONFIGS):
            unknown.add(name)
    if unknown:
        raise ValueError(
            f"--config {path}: no setting is called {', '.join(sorted(unknown))}; names are those of the flags"
        )
    return values


def run(main: Callable[[argparse.Namespace], int | None], parser: argparse.ArgumentParser) -> None:
    """Parse, call `main`, and turn a user's mistake into one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows pipe is cp1252: a caption it lacks letters for prints as ???
            stream.reconfigure(errors="replace")
    args = parser.parse_args()
    try:
        code = main(args)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 0
    except (ValueError, OSError, FloatingPointError) as error:
        code = _failed(parser, args, str(error).splitlines()[0] if str(error) else type(error).__name__)
    except MemoryError as error:
        code = _failed(parser, args, f"out of memory ({error or 'no more to be had'}); use less at a time")
    except RuntimeError as error:
        # PyTorch's OutOfMemoryError by its name: --help and wrong flags must not wait for torch
        if type(error).__name__ != "OutOfMemoryError":
            raise
        fewer = "a smaller --batch-size and a larger --grad-accum" if hasattr(args, "grad_accum") else "fewer at a time"
        code = _failed(parser, args, f"the device is out of memory; use {fewer}")
    sys.exit(code or 0)


def _failed(parser: argparse.ArgumentParser, args: argparse.Namespace, message: str) -> int:
    """Say a user's mistake in one line, after the traceback with --debug; returns the exit code of that, 2."""
    if args.debug:
        traceback.print_exc()
    print(f"{parser.prog}: error: {message}", file=sys.stderr)
    return 2
