"""A sentence, or a file of sentences, to motion; or a motion to a sentence.

    python scripts/sample.py --prompt "a person walks forward"
    python scripts/sample.py --prompt "a person waves the right hand" --output wave.gif --seconds 4 --seed 1
    python scripts/sample.py --task m2t --input outputs/walk/motion.txt       # or my.bvh, joints.npy, motion.npz
    python scripts/sample.py --task predict --input outputs/walk/motion.txt --prompt "a person walks forward"
    python scripts/sample.py --info

Without --output it prints the tokens and writes outputs/<words of the prompt>/motion.{npy,gif,txt}.
Without --run it samples from outputs/run if that exists, else from the shipped demo.

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), WORK_DIR (the
folder that outputs/ is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (to download a run from the Hub).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
import os
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# before torch is imported: threads that spin while they wait cost seconds if another program has a core
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.environment import outputs_folder, say_unread_environment
from motiongpt.cli.opening import add_input_flags, add_tokenizer_flags, open_generator, reading_of_flags
from motiongpt.cli.parser import Parser, add_config_flags, describe_values, resolve_config, run_script
from motiongpt.cli.sample_flags import SAMPLE_TASKS, check_flags, given_codes
from motiongpt.config import SampleConfig


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    prompt = "what the person does: a sentence, several quoted ones, or files with one per line; a line sentence#frames"
    add("--prompt", nargs="+", help=f"{prompt} sets the length of its motion")
    tasks = "t2m: text to motion; m2t: motion to text; predict: what comes after --input; inbetween: its first and "
    tasks += "last quarter with a new middle; init, last: from its first code, to its last one; keys: through --codes; "
    add("--task", choices=SAMPLE_TASKS, default="t2m", help=f"{tasks}random: no sentence (default: t2m)")
    add("--input", type=Path, help="the motion of --task: .txt of tokens, .npz, .bvh, .npy of joints or features")
    codes = "codes that the motion must have, CODE@POSITION with positions from 0, or -1 for the last: "
    add("--codes", help=f"{codes}315@0,406@24")
    add("--run", help="run folder, stage folder or Hub repo id (default: outputs/run, else the demo)")
    add("--stage", type=int, help="stage to sample from (default: the highest finished one that was trained on --task)")
    add_tokenizer_flags(parser, "tokenizer folder (default: the run's own)")
    add_input_flags(parser)
    add("--pid", help="participant whose style to take; --info lists them (default: none)")
    add("--seconds", type=float, help="length of the motion, met to within one code (default: as in training)")
    add("--exact-length", action="store_true", help="meet --seconds exactly, rounded to whole codes")
    add("--seed", type=int, default=0, help="same seed, same motion (default: 0)")
    add("--no-per-prompt-vocab", action="store_true", help="allow all codes, also for captions seen in training")
    add("--output", nargs="+", help="files (.npy .npz .gif .png .txt .json), or folders for .npy, .gif and .txt")
    add("--config", help="JSON file of any of these flags by name; flags override it")
    add("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    precision = "precision of the model's weights; a seed's motion depends on it (default: bf16 on CUDA GPUs of "
    add("--precision", choices=("fp32", "bf16"), help=f"{precision}compute capability 8.0 or newer, else fp32)")
    add("--info", action="store_true", help="print what this run knows (actions, lengths ...) and stop")
    add("--dry-run", action="store_true", help="load the run, sample 4 codes, say what would be written, write nothing")
    add("--trace", action="store_true", help="print a line per code: ids allowed, logit of the end, code drawn")
    add_config_flags(parser, SampleConfig)
    return parser


def main(args) -> None:
    if not args.info:
        check_flags(args)
    from motiongpt.cli.prompts import format_trace, output_places, read_prompts, save_or_say
    from motiongpt.cli.run_info import drawing_note, prompt_notes, run_info
    from motiongpt.files.store import write_text
    from motiongpt.generator import DESCRIBE
    from motiongpt.motion_files import read_codes

    say_unread_environment()
    how = reading_of_flags(args)
    requests = read_prompts(args.prompt or [])
    prompts = [request.text for request in requests] or [None]
    layers = [("--task m2t", DESCRIBE.to_dict())] if args.task == "m2t" else []
    config, origins = resolve_config(SampleConfig, args, *layers, *read_config_file(args.config).layers())
    if args.config:
        print(describe_values(config, origins))
    generator = open_generator(args, ROOT / "checkpoints" / "demo", args.task, args.precision, args.device)
    if args.info:
        print(run_info(generator))
        return
    first = 4 if args.dry_run else None
    if args.task == "m2t":
        codes = read_codes(args.input, generator.motion_tokenizer, how)
        text = generator.describe(codes, args.pid, seed=args.seed, config=config, first=first)
        print(text)
        for path in args.output or []:
            save_or_say(path, partial(write_text, text=f"{text}\n"), args.dry_run)
        return
    for path in args.output or []:
        generator.check_output(path)  # before anything is sampled
    given = given_codes(args, generator, how)
    fps = generator.run.config.fps
    seconds = [request.seconds(fps, args.seconds) for request in requests] or [args.seconds]
    motions = generator.generate(
        prompts,
        args.pid,
        seed=args.seed,
        seconds=seconds,
        exact_length=args.exact_length,
        per_prompt_vocab=not args.no_per_prompt_vocab,
        task=args.task,
        given=given,
        config=config,
        trace=(lambda step, record: print(format_trace(step, record))) if args.trace else None,
        first=first,
    )
    notes = prompt_notes(generator, prompts, seconds) if requests else [None]
    places = output_places(args.output, [text or args.task for text in prompts])
    for note, motion, paths in zip(notes, motions, places, strict=True):
        if note:
            print(note)
        code_seconds = generator.run.config.frames_per_code / fps
        print(f"{len(motion.tokens)} codes of {code_seconds:g} s: {len(motion.tokens) * code_seconds:.1f} s")
        print(motion.tokens_text)
        for path in paths:
            save_or_say(path, motion.save, args.dry_run)
    if note := drawing_note(generator, args.output or [outputs_folder()]):
        print(note)


if __name__ == "__main__":
    run_script(main, make_parser())
