"""What the scripts share: flags made from config fields, one-line errors, and where a value came from.

A script parses, builds, calls, and prints the paths it wrote. Wrong input ends it with one line and exit
code 2; `--debug` shows the traceback instead. Nothing but this file reads flags or the environment, and this file
only when a script asks.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from motiongpt.config import JSONConfig, LoRAConfig, SampleConfig, TrainConfig, VQVAEConfig, fits, flag_name
from motiongpt.files import read_json

Config = TypeVar("Config", bound=JSONConfig)


class Parser(argparse.ArgumentParser):
    """argparse with defaults in the help, no abbreviated flags, and errors of one line."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs
        )
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

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
    group = parser.add_argument_group(config.__name__)
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
    other configs in them are ignored. Returns the config and each field's origin.
    """
    names = {field.name for field in dataclasses.fields(config)}
    values, origins = {}, dict.fromkeys(sorted(names), "default")
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    for origin, layer in (*layers, ("flag", given)):
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


def fill_from_environment(args: argparse.Namespace, **variables: str) -> None:
    """Fill path flags that were not given from environment variables, and say so: data="DATA_JSON_PATH"."""
    for name, variable in variables.items():
        if getattr(args, name) is None and (value := os.environ.get(variable)):
            setattr(args, name, Path(value))
            print(f"{flag_name(name)} {value} (environment: {variable})")


def default_run() -> Path:
    """outputs/run, in the folder that WORK_DIR names where it is set."""
    if work := os.environ.get("WORK_DIR"):
        print(f"outputs are in {work} (environment: WORK_DIR)")
    return Path(work or "") / "outputs" / "run"


def read_config_file(path: str | None) -> dict:
    """Values of `--config FILE.json`: a flat object, or a run's own config.json with one object per config.

    Raises ValueError for a name that is no field of any config: it would be a typing error, silently without effect.
    """
    if path is None:
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"--config {path}: expected a JSON object, got {type(content).__name__}")
    configs = (TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig)
    nested = [content[c.__name__] for c in configs if isinstance(content.get(c.__name__), dict)]
    if nested:
        return {name: value for values in nested for name, value in values.items()}
    known = {field.name for config in configs for field in dataclasses.fields(config)}
    if unknown := sorted(set(content) - known):
        raise ValueError(f"--config {path}: no setting is called {', '.join(unknown)}; names are those of the flags")
    return content


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
        if args.debug:
            raise
        print(
            f"{parser.prog}: error: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            file=sys.stderr,
        )
        code = 2
    except RuntimeError as error:
        # PyTorch's OutOfMemoryError by its name: --help and wrong flags must not wait for torch
        if args.debug or type(error).__name__ != "OutOfMemoryError":
            raise
        fewer = "a smaller --batch-size and a larger --grad-accum" if hasattr(args, "grad_accum") else "fewer at a time"
        print(f"{parser.prog}: error: the device is out of memory; use {fewer}", file=sys.stderr)
        code = 2
    sys.exit(code or 0)
