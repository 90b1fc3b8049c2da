"""Train a language model to write motion, in stages.

    python scripts/finetune.py --stage 1          # then 2, then 3; or --stage all
    python scripts/finetune.py --stage 1 --data tokens.json --vqvae outputs/vqvae --backbone Qwen/Qwen3-0.6B

With no more than --stage it trains on the embedded dataset with the demo backbone, into outputs/run. Stage N
goes on from stage N - 1 of the same --out. An unfinished stage resumes by itself; --fresh starts it over.
Environment, below the flags: DATA_JSON_PATH (--data), VQVAE_CHECKPOINT (--vqvae), WORK_DIR (where outputs/ is).
"""

import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt.cli import (
    Parser,
    add_config_flags,
    default_run,
    describe,
    fill_from_environment,
    read_config_file,
    resolve,
    run,
)
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig

DEMO = ROOT / "checkpoints" / "demo"
FIELDS = TrainConfig.__dataclass_fields__ | LoRAConfig.__dataclass_fields__
TRAIN_FLAGS = tuple(name for name in TrainConfig.__dataclass_fields__ if name != "window")
RECIPES_SET = ("lr", "batch_size", "grad_accum", "epochs", "max_steps", "warmup", "weight_decay", "clip", "seed",
               "max_seq_len", "eval_every", "lora_r", "lora_alpha")  # fmt: skip
DEFAULTS = {name: f"the recipe's, else {FIELDS[name].default}" for name in RECIPES_SET}


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--stage", help="number or name of a stage of the recipe, or all")
    parser.add_argument("--list", action="store_true", help="list recipes, their stages and tasks, and stop")
    parser.add_argument("--data", type=Path, help="token dataset (default: the embedded one)")
    parser.add_argument(
        "--backbone", help="HF folder, Hub repo id, or preset demo/tiny (default: the run's, else the demo's)"
    )
    parser.add_argument("--recipe", default="signmotiongpt", help="signmotiongpt or captions (default signmotiongpt)")
    parser.add_argument(
        "--tasks", nargs="+", metavar="TASK=SHARE", help="other tasks than the stage's: t2m=0.5 m2t=0.5"
    )
    parser.add_argument(
        "--train", choices=("lora", "full"), default="lora", help="adapters or all weights (default lora)"
    )
    parser.add_argument("--vqvae", type=Path, help="tokenizer folder, copied into the run so that it can draw")
    parser.add_argument("--out", type=Path, help="run folder (default outputs/run)")
    parser.add_argument(
        "--from", dest="source", type=Path, help="start from this stage folder instead of the one before"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="insist on resuming: an error where nothing is unfinished")
    how.add_argument("--fresh", action="store_true", help="start the stage over, replacing what is there")
    parser.add_argument("--config", help="JSON file of values; flags win over it")
    parser.add_argument("--codes", type=int, help="codebook size (default: from tokens.meta.json, else largest + 1)")
    parser.add_argument("--dedup", action="store_true", help="keep the first entry per caption and participant")
    parser.add_argument("--think", choices=("auto", "none", "empty"), default="auto", help="Qwen3's empty think block "
                        "before the answer (default auto: where the tokenizer has it)")  # fmt: skip
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add_config_flags(parser, LoRAConfig, defaults=DEFAULTS)
    add_config_flags(parser, TrainConfig, TRAIN_FLAGS, DEFAULTS)
    return parser


def main(args) -> int | None:
    from motiongpt.tasks import RECIPES, find_stage

    if args.list:
        for recipe, stages in RECIPES.items():
            for number, stage in enumerate(stages, 1):
                tasks = ", ".join(f"{task} {100 * share:.0f} %" for task, share in stage.tasks.items())
                print(f"{recipe:15} {number} {stage.name:12} {tasks}")
        return 0
    if args.stage is None:
        raise ValueError("--stage is needed: 1, 2, 3, a name or all; --list shows them")
    find_stage(args.recipe, "1")
    fill_from_environment(args, data="DATA_JSON_PATH", vqvae="VQVAE_CHECKPOINT")
    args.out = args.out or default_run()
    if args.stage == "all":
        if args.source is not None:
            raise ValueError("--from is for one stage; with --stage all each stage goes on from the one before")
        stages = [find_stage(args.recipe, stage.name) for stage in RECIPES[args.recipe]]
    else:
        stages = [find_stage(args.recipe, args.stage)]
    for number, stage in stages:
        code = train_stage(args, number, stage, skip_finished=args.stage == "all")
        if code:
            return code
    return 0


def train_stage(args, number: int, stage, skip_finished: bool) -> int | None:
    from motiongpt.finetuning import Job, prepare_stage, run_backbone
    from motiongpt.loops import pick_device, resolve_precision, total_steps, train
    from motiongpt.stages import finished_stages, stage_folder
    from motiongpt.tasks import DEMO_VALUES, parse_tasks

    folder = stage_folder(args.out, number)
    if skip_finished and number in finished_stages(args.out) and not args.fresh:
        print(f"stage {number} ({stage.name}) is finished in {folder}; skipped (--fresh trains it again)")
        return 0
    backbone = args.backbone or run_backbone(args.out) or str(DEMO / "backbone")
    demo = backbone in LLM_PRESETS or Path(backbone).resolve() == (DEMO / "backbone").resolve()
    layers = [(f"recipe {args.recipe}", stage.values)]
    layers += [("demo backbone", DEMO_VALUES | stage.demo)] if demo else []
    layers += [(f"--config {args.config}", read_config_file(args.config))]
    config, origins = resolve(TrainConfig, args, *layers)
    lora, lora_origins = resolve(LoRAConfig, args, *layers)
    tasks = parse_tasks(args.tasks) if args.tasks else stage.tasks
    job = Job(
        number=number, name=stage.name, tasks=tasks, recipe=args.recipe, out=args.out, train_mode=args.train,
        data=args.data or DEMO / "tokens.json", backbone=backbone,
        vqvae=args.vqvae or (DEMO / "vqvae" if args.data is None else None), source=args.source, codes=args.codes,
        dedup=args.dedup, think=args.think, fresh=args.fresh, resume=args.resume, config=config, lora=lora,
    )  # fmt: skip
    device = pick_device(args.device)
    prepared = prepare_stage(job, device, print)
    if prepared.warning:
        print(prepared.warning, file=sys.stderr)
    print(describe(config, origins))
    if args.train == "lora":
        print(describe(lora, lora_origins))
    precision = resolve_precision(config.precision, device, bf16_pays=prepared.wide)
    steps = total_steps(config, prepared.batches.per_epoch)
    print(f"{prepared.summary}; {steps} steps on {device}, {precision}")
    result = train(
        prepared.model, prepared.batches, prepared.loss, config, folder, device=device, precision=precision,
        validate=prepared.validate, export=prepared.export, fingerprint=prepared.fingerprint,
    )  # fmt: skip
    if not result.finished:
        print(f"stopped at step {result.step} of {result.total_steps}; the same command goes on from there")
        return 3
    prepared.finish(result)
    print(f"wrote {folder}/ (weights, meta.json, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    if "t2m" in tasks:
        words = ("--run", str(args.out), "--stage", str(number), "--prompt", prepared.example)
        print(f"sample it: python scripts/sample.py {shlex.join(words)}")


if __name__ == "__main__":
    run(main, make_parser())
