"""Flags that name a run, a tokenizer, a data set or a motion file, and what they open."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.environment import default_run, fill_tokenizer_from_environment, use_hub_token
from motiongpt.cli.parser import refuse

if TYPE_CHECKING:
    import torch

    from motiongpt.data.motions import MotionDataset
    from motiongpt.generator import MotionGenerator
    from motiongpt.motion_files import Reading
    from motiongpt.motion_tokenizer import MotionTokenizer


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


def named_motion_tokenizer(args: argparse.Namespace, device: "torch.device | str" = "cpu") -> "MotionTokenizer | None":
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
    vqvae = named_motion_tokenizer(args, where)
    generator = MotionGenerator(place, stage=args.stage, task=task, vqvae=vqvae, device=where, dtype=dtype)
    print(f"run {place}, stage {generator.run.stage} ({generator.run.meta['name']})")
    if task not in (tasks := generator.run.meta["tasks"]):
        trained = f"stage {generator.run.stage} was trained on {', '.join(tasks)}, not on {task}"
        print(f"warning: {trained}; expect little, and take another --stage or --run")
    return generator


def open_dataset(args: argparse.Namespace) -> "MotionDataset":
    """The dataset folder of --data; ValueError for none and for a file."""
    from motiongpt.data.motions import MotionDataset

    if args.data is None or args.data.is_file():
        got = "none" if args.data is None else f"the file {args.data}"
        raise ValueError(f"--data must be a dataset folder, from scripts/prepare.py, to train a tokenizer; got {got}")
    return MotionDataset(args.data)
