"""From flags to a trained stage: of the language model, or of the motion tokenizer.

`scripts/finetune.py` calls `language_stage` or `tokenizer_stage` for each stage that --stage asks for, and
`scripts/train_vqvae.py` calls `train_tokenizer_from_flags`. Here flags become configs, and the user is told what runs,
where every value came from, and which command comes next.

`motiongpt/stages/` defines and trains the stages, and reads no flag.
"""

import argparse
import shlex
import sys
from pathlib import Path

from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.environment import motion_llm_dataset, use_hub_token
from motiongpt.cli.opening import foreign_flags, open_dataset
from motiongpt.cli.parser import VQVAE_FLAGS, command_for_stage, describe_values, resolve_config, say_stopped
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig, VQVAEConfig, flag_name
from motiongpt.files.store import read_json, write_json
from motiongpt.loops import Result, pick_device, resolve_precision, total_steps, train
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.dry_run import try_one_batch
from motiongpt.stages.language import prepare_stage
from motiongpt.stages.origin import Origin, adapter_values, read_origin
from motiongpt.stages.plan import Job
from motiongpt.stages.recipes import DEMO_VALUES, RECIPES, Stage, find_stage, parse_tasks
from motiongpt.stages.run_folder import (
    RunConfig,
    check_recipe,
    check_tokenizer_saved,
    finished_stages,
    is_run,
    run_backbone,
    stage_folder,
    tokenizer_meta,
    versions,
)
from motiongpt.stages.tokenizer import data_fields, is_tokenised, tokenise_dataset, train_motion_tokenizer

DEBUG_ENTRIES = 8  # how many entries validation looks at with --debug
NO_ACCUMULATION = {"grad_accum": 1}  # the codebook learns from every forward pass

# 1) A stage of the language model.


def language_stage(args: argparse.Namespace, number: int, stage: Stage, demo: Path) -> int | None:
    """Train one stage of --recipe in --out, by default on the data and the backbone in `demo`.

    Returns 3 if it stopped before its end, 0 after --dry-run. Raises what `prepare_stage` and `train` raise.
    """
    every = args.stage == "all"
    folder = stage_folder(args.out, number)
    if every and number in finished_stages(args.out) and not args.fresh:
        shallow = finished_stages(args.out)[number].get("debug") and not args.debug
        how, again = (" by a --debug run", "in full") if shallow else ("", "again")
        print(f"stage {number} ({stage.name}) is finished in {folder}{how}; skipped (--fresh trains it {again})")
        return None

    # flags to configs
    source = vars(args)["from"]  # a keyword of Python: no attribute
    origin = None if source is None else read_origin(source)
    backbone = args.backbone or (origin and origin.backbone) or run_backbone(args.out) or str(demo / "backbone")
    if backbone not in LLM_PRESETS:
        use_hub_token(backbone)
    before = stage_folder(args.out, number - 1)
    start = source or (before if number - 1 in finished_stages(args.out) else None)
    layers = _language_layers(args, number, stage, backbone, demo, start)
    config, origins = resolve_config(TrainConfig, args, *layers)
    lora, lora_origins = resolve_config(LoRAConfig, args, *layers)
    args.think = args.think or _known_think(args.out, origin)
    job = _language_job(args, number, stage, demo, backbone, config, lora)

    # check and build it, then tell people what will be trained
    device = pick_device(args.device)
    prepared = prepare_stage(job, device, print)
    if prepared.plan.warning:
        print(prepared.plan.warning, file=sys.stderr)
    if stage.missing and not args.tasks:
        print(f"not there yet, so not trained on: {', '.join(stage.missing)}")
    print(describe_values(config, origins, every=args.debug))
    if job.train_mode == "lora":
        print(describe_values(lora, lora_origins, every=args.debug))
    precision = resolve_precision(config.precision, device, bf16_pays=prepared.wide)
    steps = total_steps(config, prepared.batches.per_epoch)
    print(f"{prepared.summary}; {steps} steps on {device}, {precision}")

    # train it
    if args.dry_run:
        here = {"device": device, "precision": precision, "fresh": args.fresh}
        try_one_batch(prepared.model, prepared.batches, prepared.loss, config, folder, **here)
        return _say_later_stages(args, number)
    result = train(
        prepared.model,
        prepared.batches,
        prepared.loss,
        config,
        folder,
        device=device,
        precision=precision,
        validate=prepared.validate,
        decode=prepared.decode,
        export=prepared.export,
        fingerprint=prepared.fingerprint,
    )
    if not result.finished:
        return say_stopped(result, args)
    args.resume = False  # --resume has found its stage; later ones start normally
    prepared.finish(result)
    print(f"wrote {folder}/ (weights, meta.json, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    if not every or number == len(RECIPES[args.recipe]):
        print(_what_next(job, prepared.plan.training[0].text))
    return None


def _language_layers(
    args: argparse.Namespace, number: int, stage: Stage, backbone: str, demo: Path, start: Path | None
) -> list[tuple[str, dict]]:
    """What fills the configs below the flags, weakest first; see `resolve_config`.

    A stage that goes on from the adapter in `start` has its rank, its alpha and its layers.
    """
    layers = [(f"recipe {args.recipe}", stage.values)]
    if backbone in LLM_PRESETS or Path(backbone).resolve() == (demo / "backbone").resolve():
        layers.append(("demo backbone", DEMO_VALUES | stage.demo))
    layers.append((f"adapter in {start}", adapter_values(start)))
    return [*layers, *_config_layers(args, number, stage)]


def _config_layers(args: argparse.Namespace, number: int, stage: Stage) -> list[tuple[str, dict]]:
    """What --config says of every stage, and above that what it says of this one, by number or name.

    Raises ValueError for a stage that the recipe does not have.
    """
    file = read_config_file(args.config)
    layers = file.layers()
    for name, settings in file.stages.items():
        try:
            found, _ = find_stage(args.recipe, name)
        except ValueError as error:
            raise ValueError(f"--config {args.config}: {error}") from error
        if found == number:
            layers.append((f"--config {args.config}, stage {name}", settings))
    return layers


def _known_think(run: Path, origin: Origin | None) -> str | None:
    """The --think that the run or the stage of --from was trained with; None if neither says."""
    if is_run(run):
        return RunConfig.read(run).think
    return origin.config.think if origin is not None and origin.config is not None else None


def _language_job(
    args: argparse.Namespace,
    number: int,
    stage: Stage,
    demo: Path,
    backbone: str,
    config: TrainConfig,
    lora: LoRAConfig,
) -> Job:
    """The job that the flags describe; without --data the run's own tokens, else the demo's with its tokenizer."""
    every = args.stage == "all"
    data = args.data
    codes = args.codes if args.codes is not None else _config_codes(args.config)
    own_tokens = args.out / "tokens.json"
    if own_tokens.is_file() and (data is None or (every and data.is_dir())):
        data = own_tokens
        codes = None if every else codes  # with --stage all, --codes was for the tokenizer that wrote these tokens
    if data is None and any(stage.trains_tokenizer for stage in RECIPES[args.recipe]):
        check_tokenizer_saved(args.out)
        vqvae = args.out / "vqvae"
        write = f"scripts/tokenize_motions.py --data DATASET --vqvae {vqvae} --out {own_tokens}"
        first = write if tokenizer_meta(args.out) else f"--stage 1 --data DATASET, then {write}"
        raise ValueError(
            f"recipe {args.recipe} trains on tokens of its own tokenizer, and there is no {own_tokens}: run {first}; "
            "or give the tokens of another one with --data"
        )
    if data is None:
        data = motion_llm_dataset()
    last = len(RECIPES[args.recipe])
    return Job(
        number=number,
        name=stage.name,
        tasks=parse_tasks(args.tasks) if args.tasks else stage.tasks,
        recipe=args.recipe,
        out=args.out,
        train_mode=args.train or "lora",
        data=data or demo / "tokens.json.gz",
        backbone=backbone,
        vqvae=args.vqvae or (None if data else demo / "vqvae"),
        foreign=foreign_flags(args),
        source=vars(args)["from"],
        codes=codes,
        dedup=args.dedup,
        think=args.think or "auto",
        fresh=args.fresh,
        resume=args.resume,
        config=config,
        lora=lora,
        clears=tuple(stage_folder(args.out, later) for later in range(number + 1, last + 1)) if every else (),
        validation=DEBUG_ENTRIES if args.debug else None,
        debug=args.debug,
        dry_run=args.dry_run,
    )


def _config_codes(path: str | None) -> int | None:
    """The number of codes that the file of --config gives beside its configs, as --codes does; None without one."""
    codes = read_config_file(path).flags.get("codes")
    if codes is not None and type(codes) is not int:
        raise ValueError(f"--config {path}: codes must be a whole number, got {codes!r:.60}")
    return codes


def _say_later_stages(args: argparse.Namespace, number: int) -> int:
    """Say what --stage all would do after the stage that --dry-run has tried; returns the exit code for its end, 0."""
    later = [f"{n} ({stage.name})" for n, stage in enumerate(RECIPES[args.recipe], 1) if n > number]
    if args.stage == "all" and later:
        print(f"then: stage {', '.join(later)}; each starts from the one before, so it cannot be tried yet")
    return 0


def _what_next(job: Job, example: str) -> str:
    """The command that uses what a stage has learnt; `example` is a caption of its training data."""
    words = ["--run", str(job.out), "--stage", str(job.number)]
    if "t2m" in job.tasks:
        return f"sample it: python scripts/sample.py {shlex.join([*words, '--prompt', example])}"
    if "m2t" in job.tasks:
        return f"describe a motion: python scripts/sample.py {shlex.join([*words, '--task', 'm2t'])} --input MOTION.txt"
    if set(job.tasks) == {"caption"}:
        place = shlex.quote(str(stage_folder(job.out, job.number)))
        return f"it is a backbone: python scripts/finetune.py --stage 1 --backbone {place} --data TOKENS.json --out RUN"
    if job.number < len(RECIPES[job.recipe]):
        return f"it takes no sentences yet; next: {command_for_stage(job.number + 1)}"
    return "it takes no sentences; sampling needs a stage with the task t2m or m2t"


# 2) A stage of the motion tokenizer.


def tokenizer_stage(args: argparse.Namespace, number: int, stage: Stage) -> int | None:
    """Train the tokenizer stage of --recipe into RUN/vqvae; with --stage all also write --data as RUN/tokens.json.

    Returns 3 if it stopped before its end.

    Raises:
        FileExistsError: it is finished, and neither --stage all nor --fresh was given.
        ValueError: stages after it learnt other codes, or --data or VQ-VAE flags are not those it was trained with.
        FileNotFoundError: --resume was given, and nothing is unfinished.
    """
    every = args.stage == "all"
    folder = args.out / "vqvae"
    tokens = args.out / "tokens.json"
    if every and tokenizer_meta(args.out) and not args.fresh:
        _check_same_tokenizer(args, folder)
        print(f"stage {number} ({stage.name}) is finished in {folder}; skipped (--fresh trains it again)")
    elif (code := _train_tokenizer_stage(args, number, stage, folder)) is not None:
        return code
    if every:
        return None if _tokenise(args, folder, tokens) else _say_later_stages(args, number)
    words = shlex.join(["--data", str(args.data), "--vqvae", str(folder), "--out", str(tokens)])
    print(f"next: python scripts/tokenize_motions.py {words}")
    drop = ["--data", *map(flag_name, (*VQVAE_FLAGS, *TrainConfig.__dataclass_fields__))]
    if not getattr(args, "from_file", None) and not read_config_file(args.config).stages:
        drop.append("--config")  # it was about the tokenizer only
    print(f"then: {command_for_stage(number + 1, *drop)} --data {shlex.quote(str(tokens))}")
    return None


def _train_tokenizer_stage(args: argparse.Namespace, number: int, stage: Stage, folder: Path) -> int | None:
    """Check the run, train the tokenizer in it, write its meta.json. Returns 3 if it stopped before its end."""
    _check_no_conflict(args, folder, number)
    every = args.stage == "all"
    last = len(RECIPES[args.recipe])
    print(f"recipe {args.recipe}, stage {number} of {last}: {stage.name} (VQ-VAE), into {folder}")
    clears = tuple(stage_folder(args.out, later) for later in range(number + 1, last + 1)) if every else ()
    layers = [(f"recipe {args.recipe}", stage.values), *_config_layers(args, number, stage)]
    result = train_tokenizer_from_flags(args, folder, *layers, clears=clears, accumulates=not every)
    if args.dry_run:
        return _say_later_stages(args, number)
    if not result.finished:
        return say_stopped(result, args)
    losses = {"best_val_loss": result.best, **result.metrics}
    meta = {"stage": number, "name": stage.name, "recipe": args.recipe, "steps": result.step, "losses": losses}
    meta |= {"debug": True} if args.debug else {}
    write_json(folder / "meta.json", meta | {"versions": versions()})
    print(f"wrote {folder}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    args.resume = False  # --resume has found its stage; later ones start normally
    return None


def train_tokenizer_from_flags(
    args: argparse.Namespace,
    out: Path,
    *layers: tuple[str, dict],
    clears: tuple[Path, ...] = (),
    accumulates: bool = True,
) -> Result:
    """Train the VQ-VAE that --data, --fresh, --device and the config flags describe, into `out`.

    `layers` are values below the flags, weakest first, with those of --config among them; see `resolve_config`. Without
    `accumulates`, --grad-accum is for the stages to come and has no effect here. Raises what `train_motion_tokenizer`
    raises.
    """
    data = open_dataset(args)
    model_config, model_origins = resolve_config(VQVAEConfig, args, *layers, (str(args.data), data_fields(data)))
    if not accumulates:
        layers = (*layers, ("the tokenizer's", NO_ACCUMULATION))
        args = argparse.Namespace(**vars(args) | {"grad_accum": None})
    config, origins = resolve_config(TrainConfig, args, *layers)
    device = pick_device(args.device)
    precision = resolve_precision(config.precision, device)
    print(describe_values(model_config, model_origins, every=args.debug))
    print(describe_values(config, origins, every=args.debug))
    return train_motion_tokenizer(
        data,
        model_config,
        config,
        out,
        device=device,
        precision=precision,
        fresh=args.fresh,
        clears=clears,
        dry_run=args.dry_run,
    )


def _check_no_conflict(args: argparse.Namespace, folder: Path, number: int) -> None:
    """Refuse to overwrite a tokenizer silently, or to leave later stages with the codes of the old one."""
    check_recipe(args.out, args.recipe)
    every = args.stage == "all"
    if tokenizer_meta(args.out) and not args.fresh:
        raise FileExistsError(f"{folder} is finished; --fresh trains it again, --out starts another run")
    if args.resume and not (folder / "state").is_dir():
        raise FileNotFoundError(f"--resume: {folder} has nothing unfinished; drop the flag to start")
    later = sorted(n for n in finished_stages(args.out) if n > number)
    if later and not (every and args.fresh):
        names = ", ".join(f"stage{n}" for n in later)
        raise ValueError(
            f"{names} of {args.out} learnt the codes of another tokenizer; --stage all --fresh trains them again too, "
            "or give another --out"
        )


def _check_same_tokenizer(args: argparse.Namespace, folder: Path) -> None:
    """ValueError for VQ-VAE flags that a finished tokenizer contradicts: skipping it would ignore them silently."""
    path = folder / "config.json"
    trained = VQVAEConfig.from_dict(read_json(path).get("VQVAEConfig"), path)
    given = {name: getattr(args, name) for name in VQVAE_FLAGS if getattr(args, name) is not None}
    free = {"fsq_levels": ""} if "codes" in given else {}  # derived from --codes unless given
    asked = VQVAEConfig(**trained.to_dict() | free | given)
    if asked != trained:
        names = [name for name in given if getattr(asked, name) != getattr(trained, name)]
        was = ", ".join(f"{flag_name(name)} {getattr(trained, name)}" for name in names)
        raise ValueError(f"{folder} was trained with {was}; --fresh trains it again, --out starts another run")


def _tokenise(args: argparse.Namespace, vqvae: Path, out: Path) -> bool:
    """Write --data in the tokens of `vqvae` to `out`, unless it is there already. Returns False if --dry-run did not.

    Raises ValueError if `out` holds other tokens that stages of this run have learnt.
    """
    if out.is_file() and args.data is None:
        return True
    data = open_dataset(args)
    if is_tokenised(out, vqvae, data):
        print(f"{out} holds {args.data} in the tokens of {vqvae} already; skipped")
    elif out.is_file() and finished_stages(args.out) and not args.fresh:
        raise ValueError(f"{out}, which stages of this run have learnt, is not {args.data}; give another --out")
    elif args.dry_run:
        print(f"--dry-run: would write {args.data} in the tokens of {vqvae} to {out}; nothing was written")
        return False
    else:
        tokenise_dataset(data, MotionTokenizer.load(vqvae, pick_device(args.device)), out)
    return True
