"""One sentence, or a file of them, to motion.

    python scripts/sample.py --prompt "a person walks forward"
    python scripts/sample.py --prompt "a person waves the right hand" --output wave.gif --seconds 4 --seed 1
    python scripts/sample.py --task m2t --input outputs/walk/motion.txt       # or my.bvh, joints.npy, motion.npz
    python scripts/sample.py --info

Without --output it prints the tokens and writes outputs/<words of the prompt>/motion.{npy,gif,txt}.
Without --run it samples from outputs/run where that exists, else from the shipped demo.
Environment, below the flags: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), WORK_DIR (the folder that outputs/
is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (for a run by repo id).
"""

import os
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# before torch is imported: threads that spin while they wait cost seconds where another program has a core
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from motiongpt.cli.environment import outputs_folder, say_unread_environment
from motiongpt.cli.opening import INPUT_FLAGS, add_input_flags, add_tokenizer_flags, open_generator, reading
from motiongpt.cli.parser import Parser, add_config_flags, read_config_file, refuse, resolve, run, slug
from motiongpt.config import SampleConfig
from motiongpt.files.store import write_atomic


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--prompt", nargs="+", help="what the person does; several quoted sentences; or files of them, one a line"
    )
    parser.add_argument("--task", choices=("t2m", "m2t"), default="t2m",
                        help="t2m: a sentence to a motion; m2t: a motion to a sentence (default t2m)")  # fmt: skip
    parser.add_argument("--input", type=Path, help="m2t: .txt of tokens, .npz, .bvh, .npy of joints or features")
    parser.add_argument("--run", help="run folder, stage folder or Hub repo id (default: outputs/run, else the demo)")
    parser.add_argument(
        "--stage", type=int, help="stage to sample from (default: the highest finished one that was trained on --task)"
    )
    add_tokenizer_flags(parser, "tokenizer folder (default: the run's own)")
    add_input_flags(parser)
    parser.add_argument("--pid", help="participant whose style to take; --info lists them (default: none)")
    parser.add_argument(
        "--seconds", type=float, help="wanted length, rounded to codes and met to within one (default: as in training)"
    )
    parser.add_argument("--exact-length", action="store_true", help="with --seconds: exactly so long")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same motion (default 0)")
    parser.add_argument("--no-per-prompt-vocab", action="store_true",
                        help="allow all codes, also for captions seen in training")  # fmt: skip
    parser.add_argument("--output", nargs="+", help="files to write; the suffix is the format: "
                        ".npy .npz .gif .png .txt .json; a folder gets .npy, .gif and .txt")  # fmt: skip
    parser.add_argument("--config", help="JSON file of sampling values; flags win over it")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of the language model's weights (default: bf16 "
                        "on CUDA from 8.0 on, fp32 elsewhere; a seed's motion depends on it)")  # fmt: skip
    parser.add_argument("--info", action="store_true", help="say what this run knows: actions, lengths ..., and stop")
    parser.add_argument("--trace", action="store_true", help="a line per code: ids allowed, end's logit, code drawn")
    add_config_flags(parser, SampleConfig)
    return parser


def main(args) -> None:
    from motiongpt.cli.prompts import format_trace, read_prompts
    from motiongpt.generator import DESCRIBE
    from motiongpt.motion_files import read_codes

    check(args)
    say_unread_environment()
    how = reading(args)
    prompts = read_prompts(args.prompt or [])
    layers = [("--task m2t", DESCRIBE.to_dict())] if args.task == "m2t" else []
    config, _ = resolve(SampleConfig, args, *layers, (f"--config {args.config}", read_config_file(args.config)))
    generator = open_generator(args, ROOT / "checkpoints" / "demo", args.task, args.precision, args.device)
    if args.info:
        print(generator.info())
        return
    if args.task == "m2t":
        codes = read_codes(args.input, generator.motion_tokenizer, how)
        text = generator.describe(codes, args.pid, seed=args.seed, config=config)
        print(text)
        for path in args.output or []:
            write_atomic(path, partial(Path.write_text, data=text + "\n", encoding="utf-8"))
            print(f"wrote {path}")
        return
    for path in args.output or []:
        generator.check_output(path)  # before anything is sampled
    motions = generator.generate(
        prompts, args.pid, seed=args.seed, seconds=args.seconds, exact_length=args.exact_length,
        per_prompt_vocab=not args.no_per_prompt_vocab, config=config,
        trace=(lambda step, record: print(format_trace(step, record))) if args.trace else None,
    )  # fmt: skip
    for prompt, motion, paths in zip(prompts, motions, outputs(args.output, prompts), strict=True):
        if note := generator.advice(prompt):
            print(note)
        code = generator.run.config.frames_per_code / generator.run.config.fps  # seconds
        print(f"{len(motion.tokens)} codes of {code:g} s: {len(motion.tokens) * code:.1f} s")
        print(motion.tokens_text)
        for path in paths:
            for written in motion.save(path):
                print(f"wrote {written}")
    if generator.motion_tokenizer is None:
        print("this run has no motion tokenizer, so there are tokens only; --vqvae FOLDER gives joints and pictures")


def check(args) -> None:
    """Refuse what is missing for the task, what would have no effect on it, and outputs that cannot be written."""
    from motiongpt.files.folders import output_path

    if args.info:
        return
    if args.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    if args.task == "t2m" and args.input is not None:
        raise ValueError("--input is a motion to describe, which is --task m2t; without it --prompt asks for a motion")
    if args.task == "t2m" and not args.prompt:
        raise ValueError("--prompt is needed: what the person does, such as --prompt 'a person walks forward'")
    if args.task == "m2t" and args.input is None:
        raise ValueError("--task m2t needs --input, a .txt of tokens, a .npz of a motion, a .bvh or a .npy")
    unused = {"t2m": INPUT_FLAGS, "m2t": ("prompt", "seconds", "exact_length", "no_per_prompt_vocab",
                                                            "trace", "end_logit_slope")}[args.task]  # fmt: skip
    refuse(args, unused, f"for --task {args.task}")
    paths = list(dict.fromkeys(map(output_path, args.output or [outputs_folder()])))
    args.output = paths if args.output else None
    for path in args.output or []:
        if args.task == "m2t" and (path.suffix.lower() != ".txt" or path.is_dir()):
            raise ValueError(f"--task m2t writes a sentence: --output must end in .txt, got {path}")


def outputs(given: list[Path] | None, prompts: list[str]) -> list[list[Path]]:
    """Where the motion of each prompt goes; several prompts, and folders of one name, are numbered."""
    names = [slug(prompt) for prompt in prompts]
    if given is None:
        ends = [f"-{i:03}" if names.count(name) > 1 else "" for i, name in enumerate(names)]
        return [[outputs_folder() / (name + end)] for name, end in zip(names, ends, strict=True)]
    if len(prompts) == 1:
        return [given]
    return [
        [p.with_stem(f"{p.stem}-{i:03}") if p.suffix and not p.is_dir() else p / f"{i:03}-{name}" for p in given]
        for i, name in enumerate(names)
    ]


if __name__ == "__main__":
    run(main, make_parser())
