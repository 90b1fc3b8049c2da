"""The flags of sample.py that depend on --task: which of them it needs, which have no effect, and --codes.

--task predict --input walk.npy                the whole clip, then what comes next
--task inbetween --input walk.npy              its first and last quarter, with a new middle of the same length
--task init --input walk.npy                   its first code; last: its last one
--task keys --codes 315@0,406@24               codes with positions; -1 is the last position
--task t2m --codes 315@0                       the same for a sentence alone: only sampling knows the code
"""

import argparse
import re
from typing import TYPE_CHECKING

from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.opening import INPUT_FLAGS
from motiongpt.cli.parser import refuse_flags

if TYPE_CHECKING:
    from motiongpt.generator import MotionGenerator
    from motiongpt.motion_files import Reading

SAMPLE_TASKS = ("t2m", "m2t", "predict", "inbetween", "init", "last", "keys", "random")
FROM_INPUT = ("predict", "inbetween", "init", "last")  # tasks that may take their codes from --input
WITHOUT_PROMPT = ("m2t", "predict", "inbetween", "random")
# flags that mean nothing for a task
UNUSED = {
    "m2t": ("prompt", "seconds", "exact_length", "no_per_prompt_vocab", "trace", "end_logit_slope", "codes"),
    "random": ("codes",),
}
CODE = re.compile(r"(\d{1,9})(?:@(-?\d{1,9}))?", re.ASCII)


def check_flags(args: argparse.Namespace) -> None:
    """Refuse what is missing for the task, what has no effect on it, and outputs that cannot be written."""
    from motiongpt.files.folders import output_path

    task = args.task
    if "codes" in getattr(args, "from_file", ()) and str(args.codes).isdigit():
        args.codes = None  # in a file that serves several scripts it is the size of a codebook
    if args.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    if task == "t2m" and args.input is not None:
        raise ValueError("--input is a motion to describe, which is --task m2t; without it --prompt asks for a motion")
    if task not in WITHOUT_PROMPT and not args.prompt:
        raise ValueError("--prompt is needed: what the person does, such as --prompt 'a person walks forward'")
    if task == "m2t" and args.input is None:
        raise ValueError("--task m2t needs --input, a .txt of tokens, a .npz of a motion, a .bvh or a .npy")
    if task in FROM_INPUT and (args.input is None) == (args.codes is None):
        raise ValueError(f"--task {task} needs either --input, a motion, or --codes, such as 315@0,406@24")
    if task == "keys" and args.codes is None:
        raise ValueError("--task keys needs --codes with their positions, such as --codes 315@0,91@12,406@24")
    unread = () if task in (*FROM_INPUT, "m2t") else ("input", *INPUT_FLAGS)
    refuse_flags(args, (*UNUSED.get(task, ()), *unread), f"for --task {task}")
    if args.input is None:
        refuse_flags(args, INPUT_FLAGS, "without --input")
    paths = list(dict.fromkeys(map(output_path, args.output or [outputs_folder()])))
    args.output = paths if args.output else None
    for path in args.output or []:
        if task == "m2t" and (path.suffix.lower() != ".txt" or path.is_dir()):
            raise ValueError(f"--task m2t writes a sentence: --output must end in .txt, got {path}")


def parse_codes(text: str, task: str) -> dict[int, int]:
    """--codes as position -> code: "315@0,406@24" -> {0: 315, 24: 406}.

    Without positions: the first codes of predict, the one code of init or last. ValueError for anything else.
    """
    found = [CODE.fullmatch(piece.strip()) for piece in text.split(",")]
    if not all(found):
        bad = next(piece for piece, match in zip(text.split(","), found, strict=True) if not match)
        raise ValueError(f"--codes: expected CODE@POSITION, such as 315@0,406@24, got {bad.strip()[:40]!r}")
    bare = [int(match[1]) for match in found if match[2] is None]
    if len(bare) == len(found) and (task == "predict" or (task in ("init", "last") and len(bare) == 1)):
        return {-1: bare[0]} if task == "last" else dict(enumerate(bare))
    if bare:
        raise ValueError(f"--codes: the code {bare[0]} needs a position for --task {task}, such as {bare[0]}@0")
    given: dict[int, int] = {}
    for match in found:
        if given.setdefault(int(match[2]), int(match[1])) != int(match[1]):
            raise ValueError(f"--codes gives two codes for position {match[2]}: {given[int(match[2])]} and {match[1]}")
    return given


def given_codes(args: argparse.Namespace, generator: "MotionGenerator", how: "Reading") -> dict[int, int]:
    """Position -> code, by --codes or --input. For inbetween the length of --input becomes that of --seconds."""
    if args.codes is not None:
        return parse_codes(args.codes, args.task)
    if args.input is None:
        return {}
    import numpy as np

    from motiongpt.motion_files import read_codes
    from motiongpt.tasks.table import end_codes

    codes = read_codes(args.input, generator.motion_tokenizer, how)
    if not codes:
        raise ValueError(f"{args.input} has no codes, or is shorter than one")
    if args.task == "init":
        return {0: codes[0]}
    if args.task == "last":
        return {-1: codes[-1]}
    if args.task == "predict":
        return dict(enumerate(codes))
    if args.seconds is None:
        config = generator.run.config
        args.seconds, args.exact_length = len(codes) * config.frames_per_code / config.fps, True
    S = len(codes)
    kept = end_codes(S, np.random.default_rng(0))
    # the last quarter is counted from the end, so --seconds may ask for another length
    return {position if position < S // 2 else position - S: codes[position] for position in kept}
