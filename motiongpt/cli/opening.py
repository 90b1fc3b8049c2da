"""Flags that name a run, a tokenizer, a data set or a motion file, and the functions that open what they name.

One function adds the flags of a group and another reads them, so all scripts agree on names, help and checks. Model
code is imported inside the functions, because `--help` must not wait for torch.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.environment import default_run, fill_tokenizer_from_environment, use_hub_token
from motiongpt.cli.machine_flags import set_gpu_steps
from motiongpt.cli.parser import refuse_flags

if TYPE_CHECKING:
    import torch

    from motiongpt.data.motions import MotionDataset
    from motiongpt.generator import MotionGenerator
    from motiongpt.motion_files import Reading
    from motiongpt.motion_tokenizer import MotionTokenizer

TOKENIZER_FLAGS = ("vqvae", "stats", "smplx_layout", "vqvae_fps")
"""Names of `add_tokenizer_flags`."""

INPUT_FLAGS = ("fps", "joint_map", "unit", "up", "index")
"""Names of `add_input_flags`."""


# 1) A motion tokenizer.


def add_tokenizer_flags(parser: argparse.ArgumentParser, what: str, *names: str) -> None:
    """--vqvae (or `names`), a folder or the file of another project, and what such a file does not say itself."""
    add = parser.add_argument
    add("--vqvae", *names, type=Path, help=f"{what}, or the tokenizer file of another project")
    add("--stats", type=Path, help="--vqvae FILE: folder of its Mean.npy and Std.npy, or a .pt with both")
    add(
        "--smplx-layout",
        choices=("train", "visualize"),
        help="--vqvae FILE with 182 features: the order of their columns",
    )
    add(
        "--vqvae-fps",
        type=float,
        help="--vqvae FILE: frame rate it was trained at (needed with 182 features; default: 12.5 for KIT-ML, else 20)",
    )


def foreign_flags(args: argparse.Namespace) -> dict:
    """Keywords of `MotionTokenizer.load` from the flags. Raises ValueError if one is given without --vqvae."""
    if args.vqvae is None:
        refuse_flags(args, TOKENIZER_FLAGS[1:], "without --vqvae FILE, a tokenizer of another project")
    fps = args.vqvae_fps
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"--vqvae-fps must be positive, got {fps}")
    return {"stats": args.stats, "smplx_layout": args.smplx_layout, "fps": fps}


def named_motion_tokenizer(args: argparse.Namespace, device: "torch.device | str" = "cpu") -> "MotionTokenizer | None":
    """The tokenizer that the flags or the environment name, or None if nothing names one."""
    fill_tokenizer_from_environment(args)
    foreign = foreign_flags(args)
    if args.vqvae is None:
        return None
    from motiongpt.motion_tokenizer import MotionTokenizer

    return MotionTokenizer.load(args.vqvae, device, **foreign)


# 2) A user's own motion file.


def add_input_flags(parser: argparse.ArgumentParser) -> None:
    """What a motion file does not say itself, see `motion_files.py`."""
    add = parser.add_argument
    add("--fps", type=float, help="--input .npy or SMPL-X: frames per second (default: the tokenizer's)")
    add("--joint-map", type=Path, help="--input .bvh: JSON file {joint of the skeleton: joint of the .bvh}")
    add(
        "--unit",
        help="--input: unit of the joints: m, cm, mm, inch, or metres as a number (default: m for .npy, guessed for "
        ".bvh)",
    )
    add("--up", choices=("y", "z"), help="--input: the axis that points up (default: y for .npy, guessed for .bvh)")
    add("--index", type=int, help="--input .h5: which of its clips, from 0 (default: 0)")


def reading_of_flags(args: argparse.Namespace) -> "Reading":
    """How to read --input, by `add_input_flags`; ValueError for a value that makes no sense."""
    from motiongpt.data.units import metres
    from motiongpt.motion_files import Reading

    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(f"--fps must be positive, got {args.fps}")
    return Reading(args.fps, args.joint_map, metres(args.unit), args.up, args.index, print)


# 3) A run, a data set.


def run_or_demo(demo: Path, task: str = "t2m") -> Path:
    """The run of a script that got no --run: outputs/run if it is one, else `demo`. A --debug run is no default."""
    from motiongpt.stages.run_folder import is_debug_run

    own = default_run()
    if not (own / "config.json").is_file():
        return demo
    if is_debug_run(own, task):
        print(f"note: {own} is a --debug run, so this is the demo; --run {own} takes it nevertheless")
        return demo
    return own


def open_generator(
    args: argparse.Namespace, demo: Path, task: str = "t2m", precision: str | None = None, device: str | None = None
) -> "MotionGenerator":
    """Load the run of --run, --stage and --vqvae and say which it is; warn if the stage was not trained on `task`.

    Without --run it is `run_or_demo`. Without `precision` the weights are bf16 on CUDA
    GPUs of compute capability 8.0 or newer, else fp32.
    """
    import torch

    from motiongpt.cli.run_info import how_trained
    from motiongpt.generator import MotionGenerator
    from motiongpt.training.devices import pick_device, resolve_precision

    if args.run is not None and not str(args.run):  # an unset variable of the shell must not mean the demo
        raise ValueError("--run is empty; give a run, or drop the flag for the default")
    place = args.run or run_or_demo(demo, task)
    use_hub_token(args.run)
    where = pick_device(device)
    precision = precision or resolve_precision("auto", where, bf16_pays=False)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32  # fp16, for older CUDA, overflows: fp32 there
    vqvae = named_motion_tokenizer(args, where)
    options = {"stage": args.stage, "task": task, "vqvae": vqvae, "device": where, "dtype": dtype}
    options |= {"raw": getattr(args, "raw", False), "reader": getattr(args, "reader", None), "say": print}
    generator = MotionGenerator(place, **options)
    set_gpu_steps(args, generator.run.model, where)
    stage, meta = generator.run.stage, generator.run.meta
    print(f"run {place}, stage {stage} ({meta['name']}){how_trained(meta)}")
    if task not in meta["tasks"]:
        trained = f"stage {stage} was trained on {', '.join(meta['tasks'])}, not on {task}"
        print(f"warning: {trained}; expect little, and take another --stage or --run")
    return generator


def open_with_tokenizer(args: argparse.Namespace, demo: Path, task: str) -> "MotionGenerator":
    """`open_generator` on --device for a run that must have a motion tokenizer; ValueError without one."""
    generator = open_generator(args, demo, task, device=args.device)
    if generator.motion_tokenizer is None:
        raise ValueError(f"{generator.run.folder} has no motion tokenizer; name its folder (--vqvae)")
    return generator


def is_dataset_folder(data: Path | None) -> bool:
    """Whether --data is a folder of motions, not one of codes. ValueError if it holds two folders of codes."""
    if data is None or not data.is_dir():
        return False
    from motiongpt.data.token_formats import is_token_folder

    return not is_token_folder(data)


def begins_with_motions(args: argparse.Namespace) -> bool:
    """Whether --stage all has to make its tokens from motions first, in a recipe without a stage for that."""
    if args.stage != "all" or not is_dataset_folder(args.data):
        return False
    from motiongpt.stages.recipes import RECIPES

    return not any(stage.trains_tokenizer for stage in RECIPES[args.recipe])


def open_dataset(args: argparse.Namespace) -> "MotionDataset":
    """The dataset folder of --data; ValueError if it was not given or is a file."""
    if args.data is None or args.data.is_file():
        got = "none" if args.data is None else f"the file {args.data}"
        raise ValueError(f"--data must be a dataset folder, from scripts/prepare.py, to train a tokenizer; got {got}")
    from motiongpt.data.motions import MotionDataset

    return MotionDataset(args.data)
