"""The flags of sample.py, which of them each --task needs, and the codes that a motion is given.

--task predict --input walk.npy                the whole clip, then what comes next
--task inbetween --input walk.npy              its first and last quarter, with a new middle of the same length
--task init --input walk.npy --frame 20        the code of a frame; without --frame the first; last: the last one
--task keys --codes 315@0,406@24               codes with positions; -1 is the last position
--task t2m --codes 315@0                       the same for a sentence alone: only sampling knows the code
--task edit --input walk.npy --prompt faster   a motion and a sentence that changes it
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.continuous_flags import add_continuous_flags
from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.machine_flags import add_gpu_steps_flag, add_machine_flags
from motiongpt.cli.motion_tokens import motion_token_command
from motiongpt.cli.opening import INPUT_FLAGS, add_input_flags, add_tokenizer_flags
from motiongpt.cli.parser import Parser, add_config_flags, refuse_flags
from motiongpt.cli.prompts import read_prompts
from motiongpt.config import SampleConfig

if TYPE_CHECKING:
    import numpy as np

    from motiongpt.generator import MotionGenerator
    from motiongpt.motion_files import Reading

SAMPLE_TASKS = ("t2m", "m2t", "predict", "inbetween", "init", "last", "keys", "random", "edit", "t2d", "m2d")
WHOLE_INPUT = ("m2t", "m2d", "edit")  # tasks that read all of --input
FROM_INPUT = ("predict", "inbetween", "init", "last")  # tasks that may take their codes from --input
WITHOUT_PROMPT = ("m2t", "m2d", "predict", "inbetween", "random")
IN_WORDS = ("m2t", "m2d", "t2d")  # tasks whose answer is text
CONSTRAINTS = ("path", "reach", "loop", "in_place", "constraints")
MOST_SAMPLES = 1000
SEVERAL = ("num_samples", "best_of")
OF_MOTIONS = ("seconds", "exact_length", "no_per_prompt_vocab", "trace", "end_logit_slope", "codes", "then", "stream",
              "look_ahead", *CONSTRAINTS, *SEVERAL)  # fmt: skip
# flags that mean nothing for a task
UNUSED = {
    "m2t": ("prompt", *OF_MOTIONS),
    "m2d": ("prompt", "pid", "seed", "dry_run", *OF_MOTIONS),
    "t2d": ("seed", "dry_run", *OF_MOTIONS),
    "random": ("codes",),
    "edit": ("codes",),
}
CHAT_UNUSED = ("prompt", "input", *INPUT_FLAGS, "codes", "dry_run", "trace", "then", "stream", "look_ahead",
               *CONSTRAINTS, *SEVERAL)  # fmt: skip
CODE = re.compile(r"(\d{1,9})(?:@(-?\d{1,9}))?", re.ASCII)


def add_sample_flags(parser: Parser) -> Parser:
    """All flags of the script; returns `parser`."""
    # 1) what is asked for
    add = parser.add_argument
    prompt = "what the person does: a sentence, several quoted ones, or files with one per line; a line sentence#frames"
    add("--prompt", nargs="+", help=f"{prompt} sets the length of its motion")
    tasks = "t2m: text to motion; m2t: motion to text; predict: what comes after --input; inbetween: its first and "
    tasks += "last quarter with a new middle; init, last: from its first code, to its last one; keys: through --codes; "
    tasks += "random: no sentence; edit: --input, changed as --prompt says; t2d, m2d: how long a sentence takes, or "
    add("--task", choices=SAMPLE_TASKS, default="t2m", help=f"{tasks}--input is (default: t2m)")
    add("--input", type=Path, help="the motion of --task: .txt of tokens, .npz, .bvh, .npy of joints or features")
    codes = "codes that the motion must have, CODE@POSITION with positions from 0, or -1 for the last: "
    add("--codes", help=f"{codes}315@0,406@24")
    add("--frame", type=int, help="init, last: the pose of this frame of --input, from 0, or from the end if negative")
    add("--at", type=float, help="init, last: the pose of --input at so many seconds")
    add("--then", nargs="+", action="extend", help="sentences that follow --prompt in the same motion")
    add("--chat", action="store_true", help="a conversation: a line makes, changes, continues or asks about a motion")
    # 2) which run
    add("--run", help="run folder, stage folder or Hub repo id (default: outputs/run, else the demo)")
    add("--stage", type=int, help="stage to sample from (default: the highest finished one that was trained on --task)")
    add("--reader", help="stage folder of another run that reads sentences as plain captions (default: the run's own)")
    add("--as-written", action="store_true", help="write what the sentence says, not the plain caption it is read as")
    add_tokenizer_flags(parser, "tokenizer folder (default: the run's own)")
    add_input_flags(parser)
    # 3) how the motion should be
    add("--pid", help="participant whose style to take; --info lists them (default: none)")
    add("--seconds", type=float, help="length of the motion, met to within one code; with --then of each sentence "
        "(default: as in training, or as the model says)")  # fmt: skip
    add("--exact-length", action="store_true", help="meet --seconds exactly, rounded to whole codes")
    add("--path", type=Path, metavar="FILE", help="waypoints of the root on the floor: seconds, x, z in metres (.json "
        ".csv .npy)")  # fmt: skip
    reach = "where a wrist or an ankle is at a time: left_wrist@2.0=0.3,1.4,0.4 (metres; x to the left, y up, z ahead)"
    add("--reach", action="append", metavar="JOINT@S=X,Y,Z", help=f"{reach}; may be repeated")
    add("--loop", action="store_true", help="cut the motion so that its end runs on into its start")
    add("--in-place", action="store_true", help="keep the root above one point")
    add("--constraints", type=Path, metavar="FILE", help="JSON with path, reach, loop and in_place")
    add("--seed", type=int, help="same seed, same motion (default: 0)")
    add("--num-samples", type=int, help="motions of each sentence; number k is that of --seed + 1000000 k (default: 1)")
    best = "write so many motions of each sentence, keep the one that misses the constraints least (default with "
    else_best = "constraints: 8), or else that the model describes best (default: the run's own number for sentences "
    add("--best-of", type=int, metavar="N", help=f"{best}{else_best}that it reads, or 1)")
    add("--no-per-prompt-vocab", action="store_true", help="allow all codes, also for captions seen in training")
    # 4) what comes out
    files = "files (.npy .npz .txt .json, drawn: .gif .png .mp4 .html, for other programs: .bvh .glb .vrma .csv), or "
    add("--output", nargs="+", help=f"{files}folders for .npy, .gif and .txt")
    add("--raw", action="store_true", help="joints as they are decoded: no rigid bones, no held feet, jitter and all")
    add("--stream", action="store_true", help="decode the frames while the codes are written, and say how fast")
    add("--look-ahead", type=int, metavar="K", help="with --stream: frames wait for so many codes after them (default: "
        "as many as make them exact)")  # fmt: skip
    add("--config", help="JSON file of any of these flags by name; flags override it")
    add("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    add_machine_flags(parser)
    add_gpu_steps_flag(parser)
    precision = "precision of the model's weights; a seed's motion depends on it (default: bf16 on CUDA GPUs of "
    add("--precision", choices=("fp32", "bf16"), help=f"{precision}compute capability 8.0 or newer, else fp32)")
    add("--info", action="store_true", help="print what this run knows (actions, lengths ...) and stop")
    add("--dry-run", action="store_true", help="load the run, sample 4 codes, say what would be written, write nothing")
    add("--trace", action="store_true", help="print a line per code: ids allowed, logit of the end, code drawn")
    add_config_flags(parser, SampleConfig)
    add_continuous_flags(parser)
    return parser


def check_flags(args: argparse.Namespace) -> None:
    """Refuse what is missing for the task, what has no effect on it, and outputs that cannot be written."""
    from motiongpt.files.folders import output_path

    task = args.task
    if "codes" in getattr(args, "from_file", ()) and str(args.codes).isdigit():
        args.codes = None  # in a file that serves several scripts it is the size of a codebook
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    if line := motion_token_command([*(args.prompt or []), str(args.input or "")], task):
        raise ValueError(line)
    if args.chat:
        if task != "t2m":
            raise ValueError(f"--chat finds out by itself what a line asks for; drop --task {task}")
        refuse_flags(args, CHAT_UNUSED, "for --chat")
    _check_task(args)
    _check_several(args)
    sentences = len(read_prompts(args.prompt or []))  # a missing file of them shows before a model is loaded
    if any(text.lower().endswith(".txt") for text in args.then or ()):
        raise ValueError("--then takes sentences, not files; put them into quotes")
    for name in ("then", "stream"):
        if getattr(args, name) and sentences > 1:
            raise ValueError(f"--{name} takes one sentence in --prompt, got {sentences}")
    if args.reader and args.as_written:
        raise ValueError("--reader reads sentences and --as-written takes them as they are; give one of the two")
    if args.exact_length and args.seconds is None and (args.chat or args.stream or args.then):
        raise ValueError("--exact-length needs --seconds")
    args.seed = args.seed or 0
    paths = list(dict.fromkeys(map(output_path, args.output or [outputs_folder()])))
    args.output = paths if args.output else None
    for path in args.output or []:
        if task in IN_WORDS and (path.suffix.lower() != ".txt" or path.is_dir()):
            raise ValueError(f"--task {task} answers in words: --output must end in .txt, got {path}")


def _check_task(args: argparse.Namespace) -> None:
    """ValueError for what the task needs and what it does not read."""
    task = args.task
    if task == "t2m" and args.input is not None:
        raise ValueError("--input is a motion to describe, which is --task m2t; without it --prompt asks for a motion")
    if task not in WITHOUT_PROMPT and not args.prompt and not args.chat:
        raise ValueError("--prompt is needed: what the person does, such as --prompt 'a person walks forward'")
    if task in WHOLE_INPUT and args.input is None:
        raise ValueError(f"--task {task} needs --input, a .txt of tokens, a .npz of a motion, a .bvh or a .npy")
    if task in FROM_INPUT and (args.input is None) == (args.codes is None):
        raise ValueError(f"--task {task} needs either --input, a motion, or --codes, such as 315@0,406@24")
    if task == "keys" and args.codes is None:
        raise ValueError("--task keys needs --codes with their positions, such as --codes 315@0,91@12,406@24")
    unread = () if task in (*FROM_INPUT, *WHOLE_INPUT) else ("input", *INPUT_FLAGS)
    refuse_flags(args, (*UNUSED.get(task, ()), *unread), f"for --task {task}")
    if args.input is None:
        refuse_flags(args, (*INPUT_FLAGS, "frame", "at"), "without --input")
    if task not in ("init", "last"):
        refuse_flags(args, ("frame", "at"), f"for --task {task}")
    if args.frame is not None and args.at is not None:
        raise ValueError("--frame and --at name the same pose; give one of them")


def _check_several(args: argparse.Namespace) -> None:
    """ValueError for flags that exclude each other, and for numbers of samples that are too small."""
    for name in SEVERAL:
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        if value is not None and value > MOST_SAMPLES:
            raise ValueError(f"--{name.replace('_', '-')} is at most {MOST_SAMPLES}, got {value}; use several --seed")
    if args.num_samples and args.best_of:
        raise ValueError("--num-samples keeps all samples, --best-of one of them; give one of the two")
    for name in ("then", "stream"):
        if getattr(args, name):
            if args.task != "t2m":
                raise ValueError(f"--{name} is for --task t2m, got --task {args.task}")
            refuse_flags(args, ("codes", "dry_run", *SEVERAL), f"with --{name}")
    if args.stream:
        refuse_flags(args, ("then", "trace"), "with --stream")
        if (args.look_ahead or 0) < 0:
            raise ValueError(f"--look-ahead must be 0 or more codes, got {args.look_ahead}")
    elif args.look_ahead is not None:
        raise ValueError("--look-ahead is for --stream")
    args.num_samples, args.then = args.num_samples or 1, args.then or []


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


@dataclass(frozen=True)
class Given:
    """What a motion is given of the user's."""

    codes: Mapping[int, int] = field(default_factory=dict)  # position -> code
    source: Sequence[int] = ()  # the motion that edit changes
    features: "np.ndarray | None" = None  # (F, D) of a motion whose own frames the output keeps
    own: Sequence[int] = ()  # all codes of that motion


def given_codes(args: argparse.Namespace, generator: "MotionGenerator", how: "Reading") -> Given:
    """What --codes or --input gives. For inbetween the length of --input becomes that of --seconds."""
    if args.codes is not None:
        return Given(parse_codes(args.codes, args.task))
    if args.input is None:
        return Given()
    import numpy as np

    from motiongpt.generation.poses import read_pose_code
    from motiongpt.motion_files import read_given
    from motiongpt.tasks.table import end_codes

    motion_tokenizer = generator.motion_tokenizer
    if args.task in ("init", "last"):
        last = args.task == "last"
        code = read_pose_code(args.input, motion_tokenizer, how, frame=args.frame, at=args.at, last=last)
        return Given({-1 if last else 0: code})
    codes, features = read_given(args.input, motion_tokenizer, how)
    if not codes:
        raise ValueError(f"{args.input} has no codes, or is shorter than one")
    S = len(codes)
    if args.task == "edit":
        return Given(source=codes)
    if args.task == "predict":
        return Given(dict(enumerate(codes)), features=features, own=codes)
    if args.seconds is None:
        config = generator.run.config
        args.seconds, args.exact_length = S * config.seconds_per_code, True
    # the last quarter is counted from the end, so --seconds may ask for another length
    kept = end_codes(S, np.random.default_rng(0))
    given = {position if position < S // 2 else position - S: codes[position] for position in kept}
    return Given(given, features=features, own=codes)
