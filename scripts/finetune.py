"""Train a language model to write motion, in stages.

    python scripts/finetune.py --stage 1          # then 2, then 3; or --stage all
    python scripts/finetune.py --stage 1 --data tokens.json --vqvae outputs/vqvae --backbone Qwen/Qwen3-0.6B
    python scripts/finetune.py --stage all --recipe myoskeleton --data data/mine     # from a dataset folder

With no more than --stage it trains on the embedded dataset with the demo backbone, into outputs/run. Stage N
goes on from stage N - 1 of the same --out. An unfinished stage resumes by itself; --fresh starts it over.
--window and the flags under VQVAEConfig, --codes aside, are for a stage that trains the tokenizer.
Environment, below the flags: DATA_JSON_PATH (--data), VQVAE_CHECKPOINT (--vqvae), WORK_DIR (where outputs/ is),
HF_TOKEN or HUGGINGFACE_HUB_TOKEN (for a backbone by repo id).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt import cli
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig, VQVAEConfig

DEMO = ROOT / "checkpoints" / "demo"
FIELDS = TrainConfig.__dataclass_fields__ | LoRAConfig.__dataclass_fields__
RECIPES_SET = "lr beta2 schedule batch_size grad_accum epochs max_steps warmup weight_decay clip seed max_seq_len "
RECIPES_SET += "eval_every caption_dropout lora_r lora_alpha lora_dropout"
DEFAULTS = {name: f"the recipe's, else {FIELDS[name].default}" for name in RECIPES_SET.split()}
DEFAULTS["lora_targets"] = f"the recipe's, else {' '.join(FIELDS['lora_targets'].default)}"
LORA = tuple(LoRAConfig.__dataclass_fields__)
LANGUAGE_ONLY = ("backbone", "tasks", "train", "vqvae", "from", "resume", "dedup", "think", "max_seq_len",
                 "label_smoothing", *LORA)  # fmt: skip
TOKENIZER_ONLY = (*(name for name in cli.VQVAE_FLAGS if name != "codes"), "window")


def make_parser() -> cli.Parser:
    parser = cli.Parser(__doc__, debug=f"a run of at most {cli.DEBUG_STEPS} steps, with the traceback of an error")
    add = parser.add_argument
    add("--stage", help="number or name of a stage of the recipe, or all")
    add("--list", action="store_true", help="list recipes, their stages and tasks, and stop")
    add("--data", type=Path, help="token dataset, a JSON file or a folder of codes (default: the run's own tokens.json "
        "of --stage all, else the embedded one); for a stage that trains the tokenizer, a dataset folder")  # fmt: skip
    add("--backbone", help="HF folder, Hub repo id, or preset demo/tiny (default: the run's, else the demo's)")
    add("--recipe", default="signmotiongpt",
        help="signmotiongpt, captions, zhang (or motiongpt), myoskeleton (default signmotiongpt)")  # fmt: skip
    add("--tasks", nargs="+", metavar="TASK=SHARE",
        help="other tasks than the stage's, of t2m m2t denoise motion caption: t2m=0.5 m2t=0.5")  # fmt: skip
    add("--train", choices=("lora", "full"), help="adapters or all weights (default lora)")
    add("--vqvae", type=Path, help="tokenizer folder, copied into the run so that it can draw")
    add("--out", type=Path, help="run folder (default outputs/run)")
    add("--from", type=Path, help="start from this stage folder instead of the one before")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="insist on resuming: an error where nothing is unfinished")
    how.add_argument("--fresh", action="store_true", help="start the stage over, replacing what is there")
    add("--config", help="JSON file of values, such as a run's config.json; flags win over it")
    add("--dedup", action="store_true", help="keep the first entry per caption and participant")
    add("--think", choices=("auto", "none", "empty"),
        help="Qwen3's empty think block before the answer (default auto: where the tokenizer has it)")  # fmt: skip
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    cli.add_config_flags(parser, LoRAConfig, defaults=DEFAULTS)
    cli.add_config_flags(parser, TrainConfig, defaults=DEFAULTS)
    size = "of a token dataset: tokens.meta.json's, else largest + 1; of a tokenizer to train: 512"
    cli.add_config_flags(parser, VQVAEConfig, cli.VQVAE_FLAGS, {"codes": size})
    return parser


def main(args) -> int | None:
    from motiongpt.tasks import RECIPES, find_stage, list_recipes, recipe_name

    if args.list:
        print(list_recipes())
        return
    if args.stage is None:
        raise ValueError("--stage is needed: 1, 2, 3, a name or all; --list shows them")
    args.recipe = recipe_name(args.recipe)
    every = args.stage == "all"
    stages = list(enumerate(RECIPES[args.recipe], 1)) if every else [find_stage(args.recipe, args.stage)]
    if every:
        cli.refuse(args, ["from"], "with --stage all, where each stage goes on from the one before")
    if not any(stage.trains_tokenizer for _, stage in stages):
        cli.refuse(args, TOKENIZER_ONLY, "here: no tokenizer is trained")
        cli.fill_from_environment(args, data="DATA_JSON_PATH", vqvae="VQVAE_CHECKPOINT")
    else:
        cli.refuse(args, ["vqvae"] if every else LANGUAGE_ONLY, "for a stage that trains the tokenizer")
        cli.say_unused_environment("DATA_JSON_PATH", "VQVAE_CHECKPOINT")
    if args.train == "full":
        cli.refuse(args, LORA, "with --train full, which has no adapters")
    cli.say_unread_environment()
    args.out = args.out or cli.default_run()
    cli.settle_steps(args)
    for number, stage in stages:
        if code := (cli.tokenizer_stage if stage.trains_tokenizer else train_stage)(args, number, stage):
            return code


def train_stage(args, number: int, stage) -> int | None:
    from motiongpt.finetuning import Job, prepare_stage, run_backbone, what_next
    from motiongpt.loops import pick_device, resolve_precision, total_steps, train
    from motiongpt.stages import finished_stages, stage_folder
    from motiongpt.tasks import DEMO_VALUES, RECIPES, parse_tasks

    folder, every = stage_folder(args.out, number), args.stage == "all"
    if every and number in finished_stages(args.out) and not args.fresh:
        print(f"stage {number} ({stage.name}) is finished in {folder}; skipped (--fresh trains it again)")
        return
    backbone = args.backbone or run_backbone(args.out) or str(DEMO / "backbone")
    demo = backbone in LLM_PRESETS or Path(backbone).resolve() == (DEMO / "backbone").resolve()
    if backbone not in LLM_PRESETS:
        cli.use_hub_token(backbone)
    layers = [(f"recipe {args.recipe}", stage.values)]
    layers += [("demo backbone", DEMO_VALUES | stage.demo)] if demo else []
    layers += [(f"--config {args.config}", cli.read_config_file(args.config))]
    config, origins = cli.resolve(TrainConfig, args, *layers)
    lora, lora_origins = cli.resolve(LoRAConfig, args, *layers)
    data, codes = args.data, args.codes
    if (own := args.out / "tokens.json").is_file() and (data is None or (every and data.is_dir())):
        data, codes = own, None if every else codes  # the folder of --stage all, in codes of its tokenizer
    job = Job(
        number=number, name=stage.name, tasks=parse_tasks(args.tasks) if args.tasks else stage.tasks,
        recipe=args.recipe, out=args.out, train_mode=args.train or "lora", data=data or DEMO / "tokens.json",
        backbone=backbone, vqvae=args.vqvae or (None if data else DEMO / "vqvae"), source=vars(args)["from"],
        codes=codes, dedup=args.dedup, think=args.think or "auto", fresh=args.fresh, resume=args.resume,
        config=config, lora=lora, **({"validation": 8} if args.debug else {}),
    )  # fmt: skip
    device = pick_device(args.device)
    prepared = prepare_stage(job, device, print)
    if prepared.warning:
        print(prepared.warning, file=sys.stderr)
    if stage.missing and not args.tasks:
        print(f"not there yet, so not trained on: {', '.join(stage.missing)}")
    print(cli.describe(config, origins))
    if job.train_mode == "lora":
        print(cli.describe(lora, lora_origins))
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
    if not every or number == len(RECIPES[args.recipe]):
        print(what_next(job, prepared.example, cli.same_command))


if __name__ == "__main__":
    cli.run(main, make_parser())
