"""What the scripts share: flags made from config fields, one-line errors, and where a value came from.

A script parses, builds, calls, and prints the paths it wrote. Wrong input ends it with one line and exit
code 2; `--debug` shows the traceback before it. Nothing but this file reads flags or the environment, and this file
only when a script asks.
"""

import argparse
import dataclasses
import math
import os
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
    import torch

    from motiongpt.data.motions import MotionDataset
    from motiongpt.generator import MotionGenerator
    from motiongpt.loops import Result
    from motiongpt.motion_files import Reading
    from motiongpt.motion_tokenizer import MotionTokenizer

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
NOT_READ_YET = ("HF_USER", "HUB_REPO_S1", "HUB_REPO_S2", "HUB_REPO_S3", "SMPLX_MODEL_DIR")
"""Variables of the ancestors whose feature is not there yet."""


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


def fill_from_environment(args: argparse.Namespace, **variables: str) -> None:
    """Fill path flags that were not given from environment variables, and say so: data="DATA_JSON_PATH"."""
    for name, variable in variables.items():
        if getattr(args, name) is None and (value := os.environ.get(variable)):
            setattr(args, name, Path(value).expanduser())
            print(f"{flag_name(name)} {getattr(args, name)} (environment: {variable})")


def fill_tokenizer_from_environment(args: argparse.Namespace) -> None:
    """VQVAE_CHECKPOINT for --vqvae and, where that is the file of another project, VQVAE_STATS_PATH for --stats."""
    fill_from_environment(args, vqvae="VQVAE_CHECKPOINT")
    if args.vqvae is not None and args.vqvae.is_file():
        fill_from_environment(args, stats="VQVAE_STATS_PATH")


def outputs_folder() -> Path:
    """outputs/, in the folder that WORK_DIR names where it is set."""
    return Path(os.environ.get("WORK_DIR", "")).expanduser() / "outputs"


def default_run() -> Path:
    """The run folder without --run and --out, and a line where WORK_DIR says where it is."""
    if work := os.environ.get("WORK_DIR"):
        print(f"outputs are in {work} (environment: WORK_DIR)")
    return outputs_folder() / "run"


def say_unread_environment() -> None:
    """A line about the ancestors' variables that are set and change nothing, so that nobody believes they did."""
    if names := [name for name in NOT_READ_YET if os.environ.get(name)]:
        print(f"note: {', '.join(names)} set in the environment, but nothing here reads it yet")


def say_unused_environment(*variables: str) -> None:
    """A line about variables that are set and that other stages or scripts would read."""
    if names := [name for name in variables if os.environ.get(name)]:
        print(f"note: {', '.join(names)} set in the environment, not used here")


def use_hub_token(name: object) -> None:
    """Say which token fetches `name` from the Hub, where it is no folder; the library reads HF_TOKEN by itself.

    HUGGINGFACE_HUB_TOKEN, an ancestor's name for it, is handed on as HF_TOKEN. The value is never printed.
    """
    if name is None or Path(str(name)).expanduser().exists():
        return
    if os.environ.get("HF_TOKEN"):
        print("Hub token (environment: HF_TOKEN)")
    elif token := os.environ.get("HUGGINGFACE_HUB_TOKEN"):
        os.environ["HF_TOKEN"] = token
        print("Hub token (environment: HUGGINGFACE_HUB_TOKEN)")


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


def add_input_flags(parser: argparse.ArgumentParser) -> None:
    """What reading a user's own motion file takes, see `motion_files.py`."""
    parser.add_argument("--fps", type=float, help="--input: frames per second of a .npy (default: the tokenizer's)")
    parser.add_argument("--joint-map", type=Path, help="--input: JSON {joint of the skeleton: joint of the .bvh}")
    parser.add_argument("--unit", help="--input: m, cm, mm, inch or metres as a number, of joints in a .npy (default "
                        "m) and of a .bvh (default guessed)")  # fmt: skip
    parser.add_argument("--up", choices=("y", "z"), help="--input: the axis that points up, of the same")


TOKENIZER_FLAGS = ("vqvae", "stats", "smplx_layout", "vqvae_fps")


def add_tokenizer_flags(parser: argparse.ArgumentParser, what: str, *names: str) -> None:
    """--vqvae (or `names`), a folder or the file of another project, and what such a file does not tell."""
    add = parser.add_argument
    add("--vqvae", *names, type=Path, help=f"{what}, or the file of another project")
    add("--stats", type=Path, help="of such a file: folder of its Mean.npy and Std.npy, or its .pt of both")
    add("--smplx-layout", choices=("train", "visualize"), help="of such a file with 182 features: their order")
    add(
        "--vqvae-fps",
        type=float,
        help="of such a file: the frame rate it was trained at (needed with 182, else 20, KIT-ML 12.5)",
    )


def foreign_flags(args: argparse.Namespace) -> dict:
    """What `MotionTokenizer.load` takes beside the folder, from the flags. ValueError for one without --vqvae."""
    if args.vqvae is None:
        refuse(args, TOKENIZER_FLAGS[1:], "without --vqvae FILE, a tokenizer of another project")
    fps = args.vqvae_fps
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"--vqvae-fps must be positive, got {fps}")
    return {"stats": args.stats, "smplx_layout": args.smplx_layout, "fps": fps}


def named_tokenizer(args: argparse.Namespace, device: "torch.device | str" = "cpu") -> "MotionTokenizer | None":
    """The tokenizer of `add_tokenizer_flags` or of the environment, or None where nothing names one."""
    from motiongpt.motion_tokenizer import MotionTokenizer

    fill_tokenizer_from_environment(args)
    foreign = foreign_flags(args)
    return None if args.vqvae is None else MotionTokenizer.load(args.vqvae, device, **foreign)


INPUT_FLAGS = ("fps", "joint_map", "unit", "up")


def reading(args: argparse.Namespace) -> "Reading":
    """The values of `add_input_flags`; ValueError for one that makes no sense."""
    from motiongpt.data.prepare.sources import metres
    from motiongpt.motion_files import Reading

    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(f"--fps must be positive, got {args.fps}")
    return Reading(args.fps, args.joint_map, metres(args.unit), args.up, print)


def settle_steps(args: argparse.Namespace) -> None:
    """--debug cuts a training to 5 steps a stage."""
    if args.debug:
        args.max_steps = min(args.max_steps or DEBUG_STEPS, DEBUG_STEPS)
        short = f"--debug: at most {DEBUG_STEPS} steps a stage, validation on 8 entries"
        print(f"{short}; train it in full with --fresh and without --debug")


def open_generator(
    args: argparse.Namespace, demo: Path, task: str = "t2m", precision: str | None = None, device: str | None = None
) -> "MotionGenerator":
    """The run of --run, --stage and --vqvae, loaded and said; without --run outputs/run where it is one, else `demo`.

    A warning where the stage was not trained on `task`.

    The weights are in bf16 on CUDA from 8.0 on, else fp32, unless `precision` says.
    """
    import torch

    from motiongpt.generator import MotionGenerator
    from motiongpt.loops import pick_device, resolve_precision

    place = args.run or default_run()
    if args.run is None and not (place / "config.json").is_file():
        place = demo
    use_hub_token(args.run)
    where = pick_device(device)
    precision = precision or resolve_precision("auto", where, bf16_pays=False)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32  # fp16, for older CUDA, overflows: fp32 there
    vqvae = named_tokenizer(args, where)
    generator = MotionGenerator(place, stage=args.stage, task=task, vqvae=vqvae, device=where, dtype=dtype)
    print(f"run {place}, stage {generator.run.stage} ({generator.run.meta['name']})")
    if task not in (tasks := generator.run.meta["tasks"]):
        trained = f"stage {generator.run.stage} was trained on {', '.join(tasks)}, not on {task}"
        print(f"warning: {trained}; expect little, and take another --stage or --run")
    return generator


def stopped(result: "Result", args: argparse.Namespace) -> int:
    """Say that a training stopped before its end and how it goes on; returns the exit code of that, 3."""
    again = "the same command without --fresh" if args.fresh else "the same command"
    print(f"stopped at step {result.step} of {result.total_steps}; {again} goes on from there")
    return 3


def open_dataset(args: argparse.Namespace) -> "MotionDataset":
    """The dataset folder of --data; ValueError for none and for a file."""
    from motiongpt.data.motions import MotionDataset

    if args.data is None or args.data.is_file():
        got = "none" if args.data is None else f"the file {args.data}"
        raise ValueError(f"--data must be a dataset folder, from scripts/prepare.py, to train a tokenizer; got {got}")
    return MotionDataset(args.data)


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
