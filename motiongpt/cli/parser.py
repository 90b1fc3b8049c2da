"""What every script shares: flags, the configs they fill, one-line errors and exit codes.

A script parses, builds, calls, and prints the paths it wrote. Wrong input ends it with one line and exit code 2;
`--debug` shows the traceback before that line. Config dataclasses become flags here, and `resolve_config` knows for
every value where it came from.

This file imports no torch and no NumPy, not even through others: `--help` and a mistyped flag must answer at once.
"""

import argparse
import dataclasses
import errno
import itertools
import math
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from motiongpt.cli.config_file import ConfigFile, read_config_file
from motiongpt.cli.environment import environment_words
from motiongpt.cli.processes import Shared, first_speaks, joined, never
from motiongpt.config import BadField, JSONConfig, TrainConfig, VQVAEConfig, fits, flag_name

if TYPE_CHECKING:
    from motiongpt.loops import Result

Config = TypeVar("Config", bound=JSONConfig)

# a tokenizer's training: the data gives the two widths, and some settings are the language model's alone
VQVAE_FLAGS = tuple(name for name in VQVAEConfig.__dataclass_fields__ if name not in ("feature_dim", "joint_dim"))
WORDS_ONLY = ("max_seq_len", "label_smoothing", "caption_dropout", "plain_share", "tell_length", "tokens_per_step",
              "checkpoint_activations", "base_dtype", "loss_vocab", "pack")  # fmt: skip
# grad_accum: the codebook learns from each forward pass, so several are not one large batch
VQVAE_TRAIN_FLAGS = tuple(name for name in TrainConfig.__dataclass_fields__ if name not in (*WORDS_ONLY, "grad_accum"))
DEBUG_STEPS = 5
RIVALS = {"epochs": "max_steps", "tokens_per_step": "grad_accum", "grad_accum": "tokens_per_step"}
"""Field -> another one that would silently win, or contradict it, where a weaker layer gives that."""


# 1) Flags and the values they settle.


class Parser(argparse.ArgumentParser):
    """argparse with the docstring's line breaks, no abbreviated flags, and errors of one line."""

    def __init__(self, description: str, debug: str = "show the traceback of an error", **kwargs: Any) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs
        )
        self.settings: set[str] = set()
        """Names of the flags that are fields of a config."""
        self.add_argument("--debug", action="store_true", help=debug)

    def plain_flags(self) -> dict[str, argparse.Action]:
        """The other flags, by name."""
        return {action.dest: action for action in self._actions if action.dest not in {"help", *self.settings}}

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: error: {message}; --help lists the flags\n")


def add_config_flags(
    parser: Parser,
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
        elif isinstance(field.default, bool):  # --causal and --no-causal; the second one overrides a --config
            kwargs |= {"action": argparse.BooleanOptionalAction}
        else:
            kwargs |= {"type": type(field.default), "metavar": "X"}
        group.add_argument(flag_name(field.name), **kwargs)
        parser.settings.add(field.name)


def resolve_config(
    config: type[Config], args: argparse.Namespace, *layers: tuple[str, dict]
) -> tuple[Config, dict[str, str]]:
    """A config from layers of values, weakest first, with the flags of the command line on top.

    `layers` are (origin, values), such as ("recipe signmotiongpt", {...}), ("--config run.json", {...}). Fields of
    other configs are ignored. A layer that says epochs and no max_steps drops max_steps of weaker layers; so it is with
    the other `RIVALS`.

    Returns the config and the origin of each field. Raises ValueError naming flag and origin of a bad value.
    """
    names = {field.name for field in dataclasses.fields(config)}
    values: dict[str, Any] = {}
    origins = dict.fromkeys(sorted(names), "default")
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    for origin, layer in (*layers, ("flag", given)):
        for name, rival in RIVALS.items():
            if layer.get(name) and {name, rival} <= names and rival not in layer:
                values.pop(rival, None)
                origins[rival] = "default"
        for name in names & set(layer):
            values[name] = layer[name]
            origins[name] = origin
    # the wrong kind is refused here, with its origin; the dataclass checks ranges
    for field in dataclasses.fields(config):
        value = values.get(field.name, field.default)
        if not fits(value, field.default):
            wanted = "a finite number" if isinstance(field.default, float) else type(field.default).__name__
            raise ValueError(f"{flag_name(field.name)} must be {wanted}, got {value!r} ({origins[field.name]})")
    try:
        return config.from_dict(values), origins
    except BadField as error:
        if origins[error.name] in ("flag", "default"):
            raise
        raise ValueError(f"{error} ({origins[error.name]})") from error


def describe_values(config: JSONConfig, origins: dict[str, str], every: bool = False) -> str:
    """The values that somebody chose, each with its origin: `lr 0.001 (recipe), batch_size 16 (flag)`.

    With `every` the defaults too, which config.json holds anyway.
    """
    values = config.to_dict()
    chosen = [f"{name} {values[name]} ({origin})" for name, origin in origins.items() if origin != "default"]
    rest = [f"{name} {values[name]}" for name, origin in origins.items() if origin == "default" and name in values]
    parts = [", ".join(chosen)] if chosen else []
    if rest and every:
        parts.append("default: " + ", ".join(rest))
    return "; ".join(parts) or f"{type(config).__name__}: all default"


def parse_with_config(parser: Parser, words: list[str]) -> argparse.Namespace:
    """The command line `words`; plain flags that it lacks come from the file of its --config, if that names them.

    Fields of configs stay with the file, see `resolve_config`. The namespace gets `from_file`, the values taken.
    Prints what the file gives and what has no effect here; a mistake in it ends the script with one line and code 2.
    """
    plain = parser.plain_flags()
    paths = [after for word, after in itertools.pairwise(words) if word == "--config"]
    paths += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    if "config" not in plain or not paths or {"-h", "--help"} & set(words):
        return parser.parse_args(words)
    try:
        file = read_config_file(paths[-1])
        values = _plain_values(parser, file, words)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    parser.set_defaults(**values)
    for name in values:
        plain[name].required = False
    args = parser.parse_args(words)
    args.from_file = values
    taken = [f"{name} {file.flags[name]}" + f" ({file.written.get(name)})" * (name in file.written) for name in values]
    idle = [file.written.get(name, name) for name in file.flags if name not in (*plain, *parser.settings)]
    if "recipe" not in plain:  # this script has no stages to train
        idle += [f"stage {name}" for name in file.stages]
    idle = ", ".join([*idle, *file.no_effect])
    parts = [", ".join(taken)] if taken else []
    parts += [f"no effect here: {idle}"] if idle else []
    if parts:
        print(f"--config {file.path}: {'; '.join(parts)}")
    return args


def _plain_values(parser: Parser, file: ConfigFile, words: list[str]) -> dict[str, Any]:
    """What the plain flags of `parser` get from `file`: those that the command line does not say or exclude."""
    plain = parser.plain_flags()
    said = {name for name, action in plain.items() if {w.split("=")[0] for w in words} & {*action.option_strings}}
    values = {}
    for name, action in plain.items():
        value = file.flags.get(name)
        rivals = {"fresh": "resume", "resume": "fresh"}.get(name)
        if name == "config" or name in said or rivals in said or value is None:
            continue
        values[name] = _as_flag(action, value, f"--config {file.path}: {file.written.get(name, name)}")
    if values.get("fresh") and values.get("resume"):
        raise ValueError(f"--config {file.path}: fresh and resume exclude each other")
    return values


def _as_flag(action: argparse.Action, value: Any, where: str) -> Any:
    """A value of a JSON file as its flag would give it. Raises ValueError that begins with `where`."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{where} must be true or false, got {value!r:.60}")
        return value
    if action.nargs == "+":
        several = value if isinstance(value, list) else [value]
        if not several:
            raise ValueError(f"{where} must not be empty")
        return [_as_word(action, word, where) for word in several]
    return _as_word(action, value, where)


def _as_word(action: argparse.Action, value: Any, where: str) -> Any:
    """One word of a flag's value, converted and checked as argparse does it."""
    kind = action.type or str
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{where} must be a text or a number, got {value!r:.60}")
    try:
        word = kind(str(value))
    except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
        wanted = {int: "a whole number", float: "a number"}.get(kind, "a value of its flag")
        raise ValueError(f"{where} must be {wanted}, got {value!r:.60}") from error
    if action.choices is not None and word not in action.choices:
        raise ValueError(f"{where} must be one of {', '.join(map(str, action.choices))}, got {value!r:.60}")
    return word


def refuse_flags(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """ValueError for flags that were given and would have no effect: `--width has no meaning for ...`.

    One that a --config file gave is dropped instead: one file serves several stages.
    """
    values = {name: getattr(args, name, None) for name in names}
    for name in set(values) & set(getattr(args, "from_file", ())):
        values[name] = False if values[name] is True else None
        setattr(args, name, values[name])
    given = [flag_name(name) for name, value in values.items() if value is not None and value is not False]
    if given:
        has, it = ("has", "it") if len(given) == 1 else ("have", "them")
        raise ValueError(f"{', '.join(given)} {has} no meaning {why}; drop {it}")


def shorten_for_debug(args: argparse.Namespace) -> None:
    """With --debug, cut a training to 5 steps per stage, which end with samples, and say so."""
    if args.debug:
        args.max_steps = min(args.max_steps or DEBUG_STEPS, DEBUG_STEPS)
        args.log_every, args.sample_every = 1, args.max_steps
        short = f"--debug: at most {DEBUG_STEPS} steps a stage, validation on 8 entries"
        print(f"{short}; train it in full with --fresh and without --debug")


# 2) How a training continues, for people.


def command_for_stage(stage: int, *without: str) -> str:
    """This command line with another --stage, to copy. Flags meant for one stage only are left out.

    Environment variables that stand for flags come before it.
    """
    dropped = ("--stage", "--tasks", "--from", "--fresh", "--resume", *without)
    words = []
    keep = True
    for word in sys.argv[1:]:
        if word.startswith("--"):  # the words after a flag are its values and share its fate
            name = word.split("=")[0]
            keep = name not in dropped and name.replace("--no-", "--", 1) not in dropped
        if keep:
            words.append(word)
    command = f"python scripts/{Path(sys.argv[0]).name} {shlex.join(['--stage', str(stage), *words])}"
    return environment_words([*words, *without]) + command  # `without`: the caller adds those itself


def within_budget(config: TrainConfig, args: argparse.Namespace) -> TrainConfig:
    """`config` for a training that begins now: --max-minutes and --max-hours are for the whole command, so a later
    stage has what is left."""
    if config.budget_seconds == math.inf:
        return config
    left = config.budget_seconds - (time.monotonic() - args.began)
    return dataclasses.replace(config, max_minutes=max(left, 1e-3) / 60, max_hours=0.0)


def say_stopped(result: "Result", args: argparse.Namespace) -> int:
    """Say that training stopped before its end and how to continue it; returns the exit code for that.

    0 if its time was up, as that was asked for; else 128 + the number of the signal, 130 after Ctrl-C and 143 after
    SIGTERM, as a shell has it.
    """
    again = "the same command without --fresh" if args.fresh else "the same command"
    why = "time is up: " if result.signal is None else ""
    print(f"{why}stopped at step {result.step} of {result.total_steps}; {again} continues from there")
    return 0 if result.signal is None else 128 + result.signal


# 3) How a script ends.


def run_script(main: Callable[[argparse.Namespace], int | None], parser: Parser, shared: Shared = never) -> None:
    """Parse the command line, call `main`, and exit with its code; a user's mistake becomes one line and code 2.

    `shared` tells which arguments torchrun may start as several processes.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows pipe is cp1252: print ??? for letters that it lacks
            stream.reconfigure(errors="replace")
    with first_speaks():
        args = parse_with_config(parser, sys.argv[1:])
    args.began = time.monotonic()
    try:
        with quiet_interrupts(), joined(parser, args, shared):
            code = main(args)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk shows here, and not after the exit code is settled
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 0
    except (ValueError, OSError, FloatingPointError) as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename:
            message = "no space left on the disk that is written to"
        code = _say_mistake(parser, args, message, error)
    except MemoryError as error:
        code = _say_mistake(parser, args, f"out of memory ({str(error) or 'none is left'}); use {_less(args)}", error)
    except RuntimeError as error:
        # PyTorch's OutOfMemoryError by its name: --help and wrong flags must not wait for torch
        full = "the device" if type(error).__name__ == "OutOfMemoryError" else "this machine"
        if full == "this machine" and "DefaultCPUAllocator" not in str(error):
            raise
        code = _say_mistake(parser, args, f"{full} is out of memory; use {_less(args)}", error)
    sys.exit(code or 0)


def _less(args: argparse.Namespace) -> str:
    """What to use to need less memory: the flags of a training, else a general word."""
    if not hasattr(args, "batch_size"):
        return "fewer at a time"
    if not hasattr(args, "checkpoint_activations"):
        return "a smaller --batch-size"
    ways = ["a smaller --batch-size (--grad-accum or --tokens-per-step keeps the steps as large)"]
    ways += [] if args.checkpoint_activations else ["--checkpoint-activations"]
    ways += ["a smaller --max-seq-len"]
    ways += ["--train lora", "--shard on several devices"] if getattr(args, "train", None) == "full" else []
    return f"{', '.join(ways[:-1])} or {ways[-1]}"


def _say_mistake(parser: argparse.ArgumentParser, args: argparse.Namespace, message: str, error: BaseException) -> int:
    """Print a mistake in one line; returns the exit code for that, 2.

    With --debug the traceback comes before it, unless our own code raised the error on purpose: a user's typing error
    needs none.
    """
    if args.debug and not _on_purpose(error):
        traceback.print_exc()
    print(f"{parser.prog}: error: {message}", file=sys.stderr)
    return 2


def _on_purpose(error: BaseException) -> bool:
    """Whether a `raise` of this project made the error. If not, the traceback tells which library failed, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = Path(__file__).resolve().parents[2]
    inside = any(Path(last.filename).is_relative_to(ours / name) for name in ("motiongpt", "scripts"))
    return inside and (last.line or "").startswith("raise ")


@contextmanager
def quiet_interrupts() -> Iterator[None]:
    """Ctrl-C while modules are imported ends the process at once with code 130, elsewhere it is a KeyboardInterrupt.

    Libraries turn an interrupt of their import into other errors, print it, or swallow it. A training has handlers of
    its own, see `signals.py`.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
                for stream in (sys.stdout, sys.stderr):
                    with suppress(Exception):
                        stream.flush()
                os._exit(130)
            frame = frame.f_back
        raise KeyboardInterrupt

    former = signal.getsignal(signal.SIGINT)  # SIG_DFL by the first lines of a script; ignored in the background
    usable = threading.current_thread() is threading.main_thread()
    if not usable or former not in (signal.SIG_DFL, signal.default_int_handler):
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
