"""From the flags of `scripts/finetune.py` to a trained language-model stage: values, data, model, loop, what is next.

`tokenizer_stage.py` is the same for a stage that trains the motion tokenizer.
"""

import argparse
import shlex
import sys
from pathlib import Path

from motiongpt.cli.environment import use_hub_token
from motiongpt.cli.opening import foreign_flags, open_dataset
from motiongpt.cli.parser import VQVAE_FLAGS, describe, read_config_file, resolve, same_command, stopped
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig, VQVAEConfig, flag_name
from motiongpt.files.store import read_json, write_json
from motiongpt.loops import Result, pick_device, resolve_precision, total_steps, train
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.language import Job, prepare_stage, run_backbone, what_next
from motiongpt.stages.recipes import DEMO_VALUES, RECIPES, Stage, parse_tasks
from motiongpt.stages.run import check_recipe, finished_stages, stage_folder, tokenizer_meta, versions
from motiongpt.stages.tokenizer import data_fields, is_tokenised, tokenise_dataset, train_motion_tokenizer


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
        use_hub_token(backbone)
    layers = [(f"recipe {args.recipe}", stage.values)]
    layers += [("demo backbone", DEMO_VALUES | stage.demo)] if small else []
    layers += [(f"--config {args.config}", read_config_file(args.config))]
    config, origins = resolve(TrainConfig, args, *layers)
    lora, lora_origins = resolve(LoRAConfig, args, *layers)
    data, codes = args.data, args.codes
    if (own := args.out / "tokens.json").is_file() and (data is None or (every and data.is_dir())):
        data, codes = own, None if every else codes  # the folder of --stage all, in codes of its tokenizer
    job = Job(
        number=number, name=stage.name, tasks=parse_tasks(args.tasks) if args.tasks else stage.tasks,
        recipe=args.recipe, out=args.out, train_mode=args.train or "lora", data=data or demo / "tokens.json.gz",
        backbone=backbone, vqvae=args.vqvae or (None if data else demo / "vqvae"), foreign=foreign_flags(args),
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
    print(describe(config, origins))
    if job.train_mode == "lora":
        print(describe(lora, lora_origins))
    precision = resolve_precision(config.precision, device, bf16_pays=prepared.wide)
    steps = total_steps(config, prepared.batches.per_epoch)
    print(f"{prepared.summary}; {steps} steps on {device}, {precision}")
    result = train(
        prepared.model, prepared.batches, prepared.loss, config, folder, device=device, precision=precision,
        validate=prepared.validate, export=prepared.export, fingerprint=prepared.fingerprint,
    )  # fmt: skip
    if not result.finished:
        return stopped(result, args)
    args.resume = False  # what was unfinished has been gone on with
    prepared.finish(result)
    print(f"wrote {folder}/ (weights, meta.json, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    if not every or number == len(RECIPES[args.recipe]):
        print(what_next(job, prepared.example, same_command))
    return None


NO_GROUPS = {"grad_accum": 1}  # of batches: the codebook learns from every forward pass


def train_tokenizer_here(
    args: argparse.Namespace, out: Path, *layers: tuple[str, dict], clears: tuple[Path, ...] = (),
    accumulates: bool = True,
) -> Result:  # fmt: skip
    """Train the VQ-VAE of --data, --config, --fresh, --device and the config flags into `out`; see cli.resolve.

    Without `accumulates`, --grad-accum is for the stages to come. Raises what `train_tokenizer` raises.
    """
    data = open_dataset(args)
    layers = (*layers, (f"--config {args.config}", read_config_file(args.config)))
    model_config, model_origins = resolve(VQVAEConfig, args, *layers, (str(args.data), data_fields(data)))
    if not accumulates:
        layers = (*layers, ("the tokenizer's", NO_GROUPS))
        args = argparse.Namespace(**vars(args) | {"grad_accum": None})
    config, origins = resolve(TrainConfig, args, *layers)
    device = pick_device(args.device)
    precision = resolve_precision(config.precision, device)
    print(describe(model_config, model_origins))
    print(describe(config, origins))
    return train_motion_tokenizer(
        data, model_config, config, out, device=device, precision=precision, fresh=args.fresh, clears=clears
    )


def tokenizer_stage(args: argparse.Namespace, number: int, stage: Stage) -> int | None:
    """The tokenizer stage of a recipe, into RUN/vqvae; with --stage all the data in its tokens too, RUN/tokens.json.

    Returns 3 where it stopped before its end.

    Raises:
        FileExistsError: it is finished, and neither --stage all nor --fresh was given.
        ValueError: stages after it learnt other codes, or --data or VQ-VAE flags are not those it was trained with.
        FileNotFoundError: --resume, and nothing is unfinished.
    """
    every, folder, tokens = args.stage == "all", args.out / "vqvae", args.out / "tokens.json"
    if every and tokenizer_meta(args.out) and not args.fresh:
        _check_same_tokenizer(args, folder)
        print(f"stage {number} ({stage.name}) is finished in {folder}; skipped (--fresh trains it again)")
    else:
        _check_folder(args, folder, number)
        stages = len(RECIPES[args.recipe])
        print(f"recipe {args.recipe}, stage {number} of {stages}: {stage.name} (VQ-VAE), into {folder}")
        clears = tuple(stage_folder(args.out, later) for later in range(number + 1, stages + 1)) if every else ()
        result = train_tokenizer_here(
            args, folder, (f"recipe {args.recipe}", stage.values), clears=clears, accumulates=not every
        )
        if not result.finished:
            return stopped(result, args)
        losses = {"best_val_loss": result.best, **result.metrics}
        meta = {"stage": number, "name": stage.name, "recipe": args.recipe, "steps": result.step, "losses": losses}
        write_json(folder / "meta.json", meta | {"versions": versions()})
        print(f"wrote {folder}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
        args.resume = False  # what was unfinished has been gone on with
    if every:
        _tokenise(args, folder, tokens)
        return None
    words = shlex.join(["--data", str(args.data), "--vqvae", str(folder), "--out", str(tokens)])
    print(f"next: python scripts/tokenize_motions.py {words}")
    drop = ("--data", "--config", *map(flag_name, (*VQVAE_FLAGS, *TrainConfig.__dataclass_fields__)))
    print(f"then: {same_command(number + 1, *drop)} --data {shlex.quote(str(tokens))}")
    return None


def _check_folder(args: argparse.Namespace, folder: Path, number: int) -> None:
    """Nothing is overwritten silently, and no later stage is left with the codes of a former tokenizer."""
    check_recipe(args.out, args.recipe)
    every = args.stage == "all"
    if tokenizer_meta(args.out) and not args.fresh:
        raise FileExistsError(f"{folder} is finished; --fresh trains it again, --out starts another run")
    if args.resume and not (folder / "state").is_dir():
        raise FileNotFoundError(f"--resume: {folder} has nothing unfinished; leave the flag away to start")
    later = sorted(n for n in finished_stages(args.out) if n > number)
    if later and not (every and args.fresh):
        names = ", ".join(f"stage{n}" for n in later)
        raise ValueError(
            f"{names} of {args.out} learnt the codes of another tokenizer; --stage all --fresh trains them again too, "
            "or give another --out"
        )


def _check_same_tokenizer(args: argparse.Namespace, folder: Path) -> None:
    """ValueError for VQ-VAE flags that a finished tokenizer contradicts: skipped with it, they would be lost."""
    trained = VQVAEConfig.from_dict(read_json(folder / "config.json")["VQVAEConfig"])
    given = {name: getattr(args, name) for name in VQVAE_FLAGS if getattr(args, name) is not None}
    free = {"fsq_levels": ""} if "codes" in given else {}  # levels follow from --codes where they are not given
    asked = VQVAEConfig(**trained.to_dict() | free | given)
    if asked != trained:
        names = [name for name in given if getattr(asked, name) != getattr(trained, name)]
        was = ", ".join(f"{flag_name(name)} {getattr(trained, name)}" for name in names)
        raise ValueError(f"{folder} was trained with {was}; --fresh trains it again, --out starts another run")


def _tokenise(args: argparse.Namespace, vqvae: Path, out: Path) -> None:
    """Write --data in the tokens of `vqvae` to `out`, unless they are there already or stages learnt other ones."""
    if out.is_file() and args.data is None:
        return
    data = open_dataset(args)
    if is_tokenised(out, vqvae, data):
        print(f"{out} holds {args.data} in the tokens of {vqvae} already; skipped")
    elif out.is_file() and finished_stages(args.out) and not args.fresh:
        raise ValueError(f"{out}, which stages of this run have learnt, is not {args.data}; give another --out")
    else:
        tokenise_dataset(data, MotionTokenizer.load(vqvae, pick_device(args.device)), out)
