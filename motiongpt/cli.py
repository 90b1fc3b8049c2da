"""What the scripts share: flags made from config fields, one-line errors, and where a value came from.

A script parses, builds, calls, and prints the paths it wrote. Wrong input ends it with one line and exit
code 2; `--debug` shows the traceback instead. Nothing in the library reads flags or the environment.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from motiongpt.config import JSONConfig, flag_name

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


def add_config_flags(parser: argparse.ArgumentParser, config: type[JSONConfig], only: tuple[str, ...] = ()) -> None:
    """One flag per field of a config dataclass; the default stays None, so that `resolve` knows what was given."""
    group = parser.add_argument_group(config.__name__)
    for field in dataclasses.fields(config):
        if "help" not in field.metadata or (only and field.name not in only):
            continue
        shown = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        kwargs: dict[str, Any] = {"help": f"{field.metadata['help']} (default {shown})", "default": None}
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
    return config.from_dict(values), origins


def describe(config: JSONConfig, origins: dict[str, str]) -> str:
    """`lr 0.001 (recipe), batch_size 16 (flag); default: clip 1.0, ...` -- every value with its origin."""
    values = config.to_dict()
    chosen = [f"{name} {values[name]} ({origin})" for name, origin in origins.items() if origin != "default"]
    rest = [f"{name} {values[name]}" for name, origin in origins.items() if origin == "default" and name in values]
    return "; ".join(part for part in (", ".join(chosen), "default: " + ", ".join(rest) if rest else "") if part)


def read_config_file(path: str | None) -> dict:
    """Values of `--config FILE.json`: a flat object, or a run's own config.json with one object per config."""
    if path is None:
        return {}
    try:
        content = json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat


def run(main: Callable[[argparse.Namespace], int | None], parser: argparse.ArgumentParser) -> None:
    """Parse, call `main`, and turn a user's mistake into one line and exit code 2."""
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
    sys.exit(code or 0)
