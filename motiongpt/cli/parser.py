"""The frame of every script: its flags, the values they settle, its one-line errors and its exit codes.

A script parses, builds, calls, and prints the paths it wrote. Wrong input ends it with one line and exit code 2;
`--debug` shows the traceback before that line. Config dataclasses become flags here, and `resolve_config` knows for
every value where it came from.

This file imports no torch and no NumPy, not even through others: `--help` and a mistyped flag must answer at once.
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

CONFIGS = (TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig, EvaluatorConfig)
"""The configs whose fields a `--config` file may hold."""

BESIDE_CONFIGS = ("RunConfig", "LLMConfig", "skeleton", "fps", "representation")
"""What else is in the config.json of a run or a tokenizer, which `--config` takes too."""

# a tokenizer's training: the data gives the two widths, and some settings are the language model's alone
VQVAE_FLAGS = tuple(name for name in VQVAEConfig.__dataclass_fields__ if name not in ("feature_dim", "joint_dim"))
VQVAE_TRAIN_FLAGS = tuple(
    name
    for name in TrainConfig.__dataclass_fields__
    # grad_accum: the codebook learns from each forward pass, so several are not one large batch
    if name not in ("max_seq_len", "label_smoothing", "caption_dropout", "grad_accum")
)
DEBUG_STEPS = 5


# 1) Flags and the values they settle.


class Parser(argparse.ArgumentParser):
    """argparse with the docstring's line breaks, no abbreviated flags, and errors of one line."""

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
    """One flag per field of a config dataclass, or per field in `only`.

    A flag that is not given stays None, so that `resolve_config` can tell. `defaults` are a script's own, by field
    name: the help shows them instead of the dataclass's.
    """
    group = parser.add_argument_group(config.__name__, (config.__doc__ or "").splitlines()[0])
    for field in dataclasses.fields(config):
        if "help" not in field.metadata or (only and field.name not in only):
            continue
        several = isinstance(field.default, tuple)
        shown = (defaults or {}).get(field.name, " ".join(field.default) if several else field.default)
        text = f"{field.metadata['help']} (default: {'empty' if shown == '' else shown})"
        kwargs: dict[str, Any] = {"help": text, "default": None}
        if several:
            kwargs |= {"nargs": "+", "metavar": "NAME"}
        elif "choices" in field.metadata:
            kwargs |= {"type": type(field.default), "choices": field.metadata["choices"]}
        else:
            kwargs |= {"type": type(field.default), "metavar": "X"}
        group.add_argument(flag_name(field.name), **kwargs)


def resolve_config(
    config: type[Config], args: argparse.Namespace, *layers: tuple[str, dict]
) -> tuple[Config, dict[str, str]]:
    """A config from layers of values, weakest first, with the flags of the command line on top.

    `layers` are (origin, values), such as ("recipe signmotiongpt", {...}), ("--config run.json", {...}). Fields of
    other configs are ignored. A layer that says epochs and no max_steps drops max_steps of weaker layers.

    Returns the config and the origin of each field. Raises ValueError naming flag and origin of a bad value.
    """
    names = {field.name for field in dataclasses.fields(config)}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(sorted(names), "default")
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    for origin, layer in (*layers, ("flag", given)):
        if "epochs" in names & set(layer) and "max_steps" not in layer:
            values.pop("max_steps", None)  # a weaker layer's number of steps would silently win
            origins["max_steps"] = "default"
        for name in names & set(layer):
            values[name] = layer[name]
            origins[name] = origin
    # the wrong kind is refused here, with its origin; the dataclass checks ranges
    for field in dataclasses.fields(config):
        value = values.get(field.name, field.default)
        if not fits(value, field.default):
            wanted = "a finite number" if isinstance(field.default, float) else type(field.default).__name__
            raise ValueError(f"{flag_name(field.name)} must be {wanted}, got {value!r} ({origins[field.name]})")
    return config.from_dict(values), origins


def describe_values(config: JSONConfig, origins: dict[str, str]) -> str:
    """Every value with its origin: `lr 0.001 (recipe), batch_size 16 (flag); default: clip 1.0, ...`."""
    values = config.to_dict()
    chosen = [f"{name} {values[name]} ({origin})" for name, origin in origins.items() if origin != "default"]
    rest = [f"{name} {values[name]}" for name, origin in origins.items() if origin == "default" and name in values]
    parts = [", ".join(chosen)] if chosen else []
    if rest:
        parts.append("default: " + ", ".join(rest))
    return "; ".join(parts)


def read_config_file(path: str | None) -> dict:
    """Values of `--config FILE.json`: a flat object, or a run's own config.json with one object per config.

    A flat value wins over one in an object before it. Raises ValueError for a name that no config has: a typing error
    would silently have no effect.
    """
    if path is None:
        return {}
    content = read_json(path)
    configs = {c.__name__: {f.name for f in dataclasses.fields(c)} for c in CONFIGS}
    is_run = any(isinstance(content.get(name), dict) for name in configs)
    values: dict[str, Any] = {}
    unknown = set()
    for key, value in content.items():
        name = key.removeprefix("--").replace("-", "_")  # written as the flag is fine too
        if name in configs and isinstance(value, dict):
            values |= value
            unknown |= {f"{name}.{inner}" for inner in set(value) - configs[name]}
        elif any(name in fields for fields in configs.values()):
            values[name] = value
        elif not (is_run and name in BESIDE_CONFIGS):
            unknown.add(name)
    if unknown:
        raise ValueError(
            f"--config {path}: no setting is called {', '.join(sorted(unknown))}; names are those of the flags"
        )
    return values


def refuse_flags(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """ValueError for flags that were given and would have no effect: `--width has no meaning for ...`."""
    values = {name: getattr(args, name, None) for name in names}
    given = [flag_name(name) for name, value in values.items() if value is not None and value is not False]
    if given:
        has, it = ("has", "it") if len(given) == 1 else ("have", "them")
        raise ValueError(f"{', '.join(given)} {has} no meaning {why}; drop {it}")


def shorten_for_debug(args: argparse.Namespace) -> None:
    """With --debug, cut a training to 5 steps per stage, and say so."""
    if args.debug:
        args.max_steps = min(args.max_steps or DEBUG_STEPS, DEBUG_STEPS)
        short = f"--debug: at most {DEBUG_STEPS} steps a stage, validation on 8 entries"
        print(f"{short}; train it in full with --fresh and without --debug")


# 2) What scripts say about going on.


def command_for_stage(stage: int, *without: str) -> str:
    """This command line with another --stage, to copy. Flags meant for one stage only are left out."""
    dropped = ("--stage", "--tasks", "--from", "--fresh", "--resume", *without)
    words = []
    keep = True
    for word in sys.argv[1:]:
        if word.startswith("--"):  # the words after a flag are its values and share its fate
            keep = word.split("=")[0] not in dropped
        if keep:
            words.append(word)
    return f"python scripts/{Path(sys.argv[0]).name} {shlex.join(['--stage', str(stage), *words])}"


def say_stopped(result: "Result", args: argparse.Namespace) -> int:
    """Say that training stopped before its end and how to continue it; returns the exit code for that, 3."""
    again = "the same command without --fresh" if args.fresh else "the same command"
    print(f"stopped at step {result.step} of {result.total_steps}; {again} goes on from there")
    return 3


# 3) How a script ends.


def run_script(main: Callable[[argparse.Namespace], int | None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, call `main`, and exit with its code; a user's mistake becomes one line and code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows pipe is cp1252: print ??? for letters that it lacks
            stream.reconfigure(errors="replace")
    args = parser.parse_args()
    try:
        code = main(args)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 0
    except (ValueError, OSError, FloatingPointError) as error:
        code = _say_mistake(parser, args, str(error).splitlines()[0] if str(error) else type(error).__name__)
    except MemoryError as error:
        code = _say_mistake(parser, args, f"out of memory ({error or 'none is left'}); use less at a time")
    except RuntimeError as error:
        # PyTorch's OutOfMemoryError by its name: --help and wrong flags must not wait for torch
        if type(error).__name__ != "OutOfMemoryError":
            raise
        fewer = "a smaller --batch-size and a larger --grad-accum" if hasattr(args, "grad_accum") else "fewer at a time"
        code = _say_mistake(parser, args, f"the device is out of memory; use {fewer}")
    sys.exit(code or 0)


def _say_mistake(parser: argparse.ArgumentParser, args: argparse.Namespace, message: str) -> int:
    """Print a user's mistake in one line, after the traceback with --debug; returns the exit code for that, 2."""
    if args.debug:
        traceback.print_exc()
    print(f"{parser.prog}: error: {message}", file=sys.stderr)
    return 2
