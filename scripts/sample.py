"""A sentence, or a file of sentences, to motion; or a motion to a sentence.

    python scripts/sample.py --prompt "a person walks forward"
    python scripts/sample.py --prompt "a person waves the right hand" --output wave.gif --seconds 4 --seed 1
    python scripts/sample.py --task m2t --input outputs/walk/motion.txt       # or my.bvh, joints.npy, motion.npz
    python scripts/sample.py --task predict --input outputs/walk/motion.txt --prompt "a person walks forward"
    python scripts/sample.py --prompt "a person walks forward" --then "a person sits down"
    python scripts/sample.py --prompt "a person walks forward" --reach left_wrist@2.0=0.3,1.4,0.4
    python scripts/sample.py --run outputs/kit/run --prompt "a person walks forward"    # of train_continuous.py
    python scripts/sample.py --chat
    python scripts/sample.py --info

Without --output it prints the tokens and writes outputs/<words of the prompt>/motion.{npy,gif,txt}.
Without --run it samples from outputs/run if that exists, else from the shipped demo.

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), WORK_DIR (the
folder that outputs/ is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (to download a run from the Hub).
"""

import gc
import signal
import sys

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
    # nearly every object of a start stays: to look for garbage among them takes a tenth of it; see `started`
    gc.disable()
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# before torch is imported: threads that spin while they wait cost seconds if another program has a core
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.continuous_flags import is_continuous_run
from motiongpt.cli.environment import say_unread_environment
from motiongpt.cli.leaving import quick_exit
from motiongpt.cli.machine_flags import on_this_machine
from motiongpt.cli.opening import open_generator, reading_of_flags
from motiongpt.cli.parser import Parser, describe_values, resolve_config, run_script
from motiongpt.cli.sample_flags import IN_WORDS, add_sample_flags, check_flags
from motiongpt.config import SampleConfig
from motiongpt.render.beside import begin


def make_parser() -> Parser:
    return add_sample_flags(Parser(__doc__))


def draws_gif(args) -> bool:
    """Whether a GIF is among what the flags ask for."""
    draws = not (args.info or args.dry_run or args.task in IN_WORDS)
    return draws and any(path.suffix.lower() in ("", ".gif") for path in args.output or [Path()])


def started() -> None:
    """Look for garbage again, now that everything is loaded; among what is there already, never."""
    gc.freeze()
    gc.enable()


@on_this_machine
def main(args) -> None:
    if not args.info:
        check_flags(args)
    if draws_gif(args):
        begin()
    if is_continuous_run(args):
        from motiongpt.cli.continuous_sampling import open_continuous, sample_continuous

        continuous = open_continuous(args)
        started()
        sample_continuous(args, continuous)
        return
    from motiongpt.cli.run_info import run_info
    from motiongpt.generator import DESCRIBE

    say_unread_environment()
    how = reading_of_flags(args)
    layers = [("--task m2t", DESCRIBE.to_dict())] if args.task == "m2t" else []
    config, origins = resolve_config(SampleConfig, args, *layers, *read_config_file(args.config).layers())
    if args.config:
        print(describe_values(config, origins))
    generator = open_generator(args, ROOT / "checkpoints" / "demo", args.task, args.precision, args.device)
    if args.info:
        print(run_info(generator))
        return
    from motiongpt.cli.sample_tasks import run_task

    started()
    run_task(args, generator, how, config)


if __name__ == "__main__":
    try:
        with quick_exit():
            run_script(main, make_parser())
    finally:
        started()  # where the exit is not quick, it looks for garbage among all objects but these
