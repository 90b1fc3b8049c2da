"""Train a language model to write motion, in stages.

    python scripts/finetune.py --stage 1          # then 2, then 3; or --stage all
    python scripts/finetune.py --stage 1 --data tokens.json --vqvae outputs/vqvae --backbone Qwen/Qwen3-0.6B
    python scripts/finetune.py --stage all --data data/mine     # from a dataset folder: trains a tokenizer first
    python scripts/finetune.py --stage all --data tokens.json --hub-repo USER/NAME --max-hours 8    # docs/HUB.md

With --stage alone it trains on the embedded data with the demo backbone, into outputs/run. Stage N starts from stage
N - 1 in the same --out. An unfinished stage resumes by itself; --fresh starts it over. --list shows recipes, stages
and tasks. --window and the flags under VQVAEConfig, except --codes, are for a stage that trains the motion tokenizer,
those under RewardConfig for --stage reward, which may follow the last stage and rewards what the model writes.

Environment variables, which flags override: DATA_JSON_PATH (--data), VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH
(--stats), WORK_DIR (the folder that outputs/ is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (to download a backbone, and for
--hub-repo), HF_USER and HUB_REPO_S1, HUB_REPO_S2, ... (--hub-repo, of each stage).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import (
    default_run,
    fill_from_environment,
    fill_tokenizer_from_environment,
    say_unused_environment,
)
from motiongpt.cli.finetune_flags import LANGUAGE_ONLY, LORA, TOKENIZER_ONLY, add_training_flags
from motiongpt.cli.hub_flags import kept_on_hub
from motiongpt.cli.machine_flags import on_this_machine
from motiongpt.cli.opening import TOKENIZER_FLAGS, add_tokenizer_flags, begins_with_motions
from motiongpt.cli.parser import DEBUG_STEPS, Parser, refuse_flags, run_script, shorten_for_debug
from motiongpt.cli.processes import always
from motiongpt.cli.reward_flags import REWARD_FLAGS

DEMO = ROOT / "checkpoints" / "demo"


def make_parser() -> Parser:
    parser = Parser(__doc__, debug=f"a run of at most {DEBUG_STEPS} steps, with the traceback of an error")
    add = parser.add_argument
    add("--stage", help="number or name of a stage of the recipe, all, or reward, after the last one")
    add("--list", action="store_true", help="list recipes, their stages and tasks, and stop")
    add(
        "--data",
        type=Path,
        help="token dataset, a JSON file or a folder of codes or shards (default: the run's own of --stage all, else "
        "the embedded one); a dataset folder for a stage that trains the tokenizer, or for --stage all",
    )
    named = "Hugging Face folder, Hub repo id, smollm2 (python scripts/assets.py --fetch smollm2 makes it once), or "
    add("--backbone", help=f"{named}preset demo/tiny (default: the run's, else the demo's)")
    recipes = "signmotiongpt, signmotiongpt-paper (with its source's learning rate and batch), signmotiongpt-full, "
    add("--recipe", default="signmotiongpt", help=f"{recipes}captions, zhang, myoskeleton (default: signmotiongpt)")
    names = "t2m m2t denoise motion caption predict inbetween init last keys random edit t2d m2d"
    tasks = f"tasks to train instead of the stage's, such as t2m=0.5 m2t=0.5; from {names}"
    add("--tasks", nargs="+", metavar="TASK=SHARE", help=tasks)
    templates = "JSON file of templates, or plain, zhang, myoskeleton-pretrain, myoskeleton-instruct: how requests are "
    add("--templates", metavar="FILE", help=f"{templates}worded (default: the recipe's)")
    add("--motion-as", choices=("words", "digits"), help="new words, or decimal text, 42,18,91 (default: words)")
    add("--train", choices=("lora", "full"), help="adapters or all weights (default: the recipe's, else lora)")
    add_tokenizer_flags(parser, "tokenizer folder, copied into the run so that it can draw")
    add("--out", type=Path, help="run folder (default: outputs/run)")
    add("--from", type=Path, help="start from this stage folder, a run's last stage, or an adapter of PEFT")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="insist on resuming: an error if nothing is unfinished")
    how.add_argument("--fresh", action="store_true", help="start the stage over, replacing what is there")
    add("--dry-run", action="store_true", help="check everything, run one batch, say what would be done, write nothing")
    add("--config", help="JSON file of these flags, for all stages or one, or a run's config.json; flags override it")
    add("--dedup", action="store_true", help="keep only the first entry per caption and participant")
    think = "Qwen3's empty think block before the answer (default: auto, if the tokenizer has it)"
    add("--think", choices=("auto", "none", "empty"), help=think)
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    add_training_flags(parser)
    return parser


@on_this_machine
def main(args) -> int | None:
    if args.stage is None and not args.list:
        raise ValueError("--stage is needed: 1, 2, 3, a name or all; --list shows them")
    from motiongpt.files.folders import output_path
    from motiongpt.stages.recipes import RECIPES, TOKENIZER_FIRST, find_stage, list_recipes, recipe_name

    if args.list:
        print(list_recipes())
        return None
    args.recipe = recipe_name(args.recipe)
    every = args.stage == "all"
    stages = list(enumerate(RECIPES[args.recipe], 1)) if every else [find_stage(args.recipe, args.stage)]
    if not any(stage.trains_tokenizer for _, stage in stages):
        fill_from_environment(args, data="DATA_JSON_PATH")
        fill_tokenizer_from_environment(args)
        stages = [(0, TOKENIZER_FIRST)] * begins_with_motions(args) + stages
    # flags that have no effect here
    if every:
        refuse_flags(args, ["from"], "with --stage all, where each stage goes on from the one before")
    if (every and args.vqvae is not None) or not stages[0][1].trains_tokenizer:
        refuse_flags(args, TOKENIZER_ONLY, "here: no tokenizer is trained")
    elif stages[0] != (0, TOKENIZER_FIRST):
        refuse_flags(args, TOKENIZER_FLAGS if every else LANGUAGE_ONLY, "for a stage that trains the tokenizer")
        say_unused_environment("DATA_JSON_PATH", "VQVAE_CHECKPOINT", "VQVAE_STATS_PATH")
    if args.train == "full":
        refuse_flags(args, (*LORA, "base_dtype"), "with --train full, which has no adapters and freezes nothing")
    if not any(stage.rewarded for _, stage in stages):
        refuse_flags(args, REWARD_FLAGS, "but in --stage reward")
    else:
        refuse_flags(args, ["tokens_per_step", "guard"], "in --stage reward: its steps are motions, of losses around 0")
    args.out = output_path(args.out or default_run(), "--out", folder=True)
    shorten_for_debug(args)
    from motiongpt.cli.stages import language_stage
    from motiongpt.cli.tokenizer_stage import tokenizer_stage
    from motiongpt.evaluation.evaluators import Evaluator

    language = partial(language_stage, demo=DEMO, open_evaluator=Evaluator.load)
    with kept_on_hub(args, stages):
        for number, stage in stages:
            code = (tokenizer_stage if stage.trains_tokenizer else language)(args, number, stage)
            if code is not None:  # it stopped, or --dry-run has seen enough
                return code
    if args.resume:
        raise FileNotFoundError(f"--resume: {args.out} has nothing unfinished; every stage is finished")


if __name__ == "__main__":
    run_script(main, make_parser(), shared=always)
