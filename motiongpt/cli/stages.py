"""From the flags of `scripts/finetune.py` to a trained language-model stage: values, data, model, loop, what is next.

`tokenizer_stage.py` is the same for a stage that trains the motion tokenizer.
"""

import argparse
import sys
from pathlib import Path

from motiongpt.cli import parser as cli
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig
from motiongpt.loops import pick_device, resolve_precision, total_steps, train
from motiongpt.stages.language import Job, prepare_stage, run_backbone, what_next
from motiongpt.stages.run import finished_stages, stage_folder
from motiongpt.tasks.render import DEMO_VALUES, RECIPES, Stage, parse_tasks


def language_stage(args: argparse.Namespace, number: int, stage: Stage, demo: Path) -> int | None:
    """Train one stage of --recipe in --out; where no flag says otherwise, on the data and backbone in `demo`.

    Returns 3 where it stopped before its end. Raises what `prepare_stage` and `train` raise.
    """
    folder, every = stage_folder(args.out, number), args.stage == "all"
    later = tuple(stage_folder(args.out, n) for n in range(number + 1, len(RECIPES[args.recipe]) + 1))
    if every and number in finished_stages(args.out) and not args.fresh:
        print(f"stage {number} ({stage.name}) is finished in {folder}; skipped (--fresh trains it again)")
        return None
    backbone = args.backbone or run_backbone(args.out) or str(demo / "backbone")
    small = backbone in LLM_PRESETS or Path(backbone).resolve() == (demo / "backbone").resolve()
    if backbone not in LLM_PRESETS:
        cli.use_hub_token(backbone)
    layers = [(f"recipe {args.recipe}", stage.values)]
    layers += [("demo backbone", DEMO_VALUES | stage.demo)] if small else []
    layers += [(f"--config {args.config}", cli.read_config_file(args.config))]
    config, origins = cli.resolve(TrainConfig, args, *layers)
    lora, lora_origins = cli.resolve(LoRAConfig, args, *layers)
    data, codes = args.data, args.codes
    if (own := args.out / "tokens.json").is_file() and (data is None or (every and data.is_dir())):
        data, codes = own, None if every else codes  # the folder of --stage all, in codes of its tokenizer
    job = Job(
        number=number, name=stage.name, tasks=parse_tasks(args.tasks) if args.tasks else stage.tasks,
        recipe=args.recipe, out=args.out, train_mode=args.train or "lora", data=data or demo / "tokens.json.gz",
        backbone=backbone, vqvae=args.vqvae or (None if data else demo / "vqvae"), foreign=cli.foreign_flags(args),
        source=vars(args)["from"],
        codes=codes, dedup=args.dedup, think=args.think or "auto", fresh=args.fresh, resume=args.resume,
        config=config, lora=lora, clears=later if every else (), **({"validation": 8} if args.debug else {}),
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
        return cli.stopped(result, args)
    args.resume = False  # what was unfinished has been gone on with
    prepared.finish(result)
    print(f"wrote {folder}/ (weights, meta.json, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    if not every or number == len(RECIPES[args.recipe]):
        print(what_next(job, prepared.example, cli.same_command))
    return None
