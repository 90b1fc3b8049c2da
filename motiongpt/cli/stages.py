"""From flags to a trained stage of the language model.

`scripts/finetune.py` calls `language_stage` for each stage that --stage asks for; a stage of the motion tokenizer is in
`tokenizer_stage.py`. Here flags become configs, and the user is told what runs, where every value came from, and which
command comes next.

`motiongpt/stages/` defines and trains the stages, and reads no flag.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.environment import motion_llm_dataset, use_hub_token
from motiongpt.cli.hub_flags import hub_watchers
from motiongpt.cli.opening import begins_with_motions, foreign_flags, is_dataset_folder
from motiongpt.cli.parser import command_for_stage, describe_values, resolve_config, say_stopped, within_budget
from motiongpt.cli.reward_stage import OpenEvaluator, reward_loop
from motiongpt.cli.stage_samples import language_sampler
from motiongpt.cli.watch_flags import log_watchers
from motiongpt.config import LLM_PRESETS, LoRAConfig, RewardConfig, TrainConfig
from motiongpt.config.json_config import flag_name
from motiongpt.files.hashes import known_hash
from motiongpt.hub import named_backbone, resolve_backbone
from motiongpt.loops import train
from motiongpt.stages.dry_run import try_one_batch
from motiongpt.stages.language import prepare_stage
from motiongpt.stages.model import stage_templates
from motiongpt.stages.origin import Origin, adapter_values, named_stage, read_origin
from motiongpt.stages.plan import Job
from motiongpt.stages.recipes import (
    DEMO_VALUES,
    RECIPES,
    TOKENIZER_FIRST,
    Stage,
    find_stage,
    former_values,
    parse_tasks,
)
from motiongpt.stages.run_folder import (
    RunConfig,
    begun_with,
    check_tokenizer_saved,
    finished_stages,
    is_run,
    run_backbone,
    stage_folder,
    tokenizer_meta,
)
from motiongpt.tasks.table import WRITE_TEXT
from motiongpt.tasks.templates import BUILT_IN, Templates, built_in, read_templates
from motiongpt.training.devices import pick_device
from motiongpt.training.resume import planned_steps
from motiongpt.training.tensorboard import language_tags
from motiongpt.training.world import this_world
from motiongpt.weights.shards import weights_hash

DEBUG_ENTRIES = 8  # how many entries validation looks at with --debug


def language_stage(
    args: argparse.Namespace, number: int, stage: Stage, demo: Path, open_evaluator: OpenEvaluator
) -> int | None:
    """Train one stage of --recipe in --out, by default on the data and the backbone in `demo`.

    `open_evaluator` is for a stage of rewards, see `reward_loop`. Returns what `say_stopped` does if it stopped before
    its end, 0 after --dry-run. Raises what `prepare_stage` and `train` raise.
    """
    every = args.stage == "all"
    folder = stage_folder(args.out, number)
    if every and number in finished_stages(args.out) and not args.fresh:
        shallow = finished_stages(args.out)[number].get("debug") and not args.debug
        how, again = (" by a --debug run", "in full") if shallow else ("", "again")
        print(f"stage {number} ({stage.name}) is finished in {folder}{how}; skipped (--fresh trains it {again})")
        return None

    # flags to configs
    args.train = args.train or stage.train
    if args.shard and args.train != "full":
        raise ValueError("--shard is for --train full; adapters are small enough for every device: drop it")
    source = vars(args)["from"]  # a keyword of Python: no attribute
    source = None if source is None else named_stage(source, print)
    origin = None if source is None else read_origin(source)
    if origin is not None and origin.backbone is None and args.backbone is None:
        raise ValueError(f"--from {source}: its adapter_config.json does not name its base; give it with --backbone")
    if args.backbone == "":  # an unset variable of the shell must not mean the demo's
        raise ValueError("--backbone is empty; give a folder or a repo id, or drop the flag for the default")
    backbone = args.backbone or (origin and origin.backbone) or _run_backbone(args.out, demo)
    if backbone not in LLM_PRESETS:
        backbone = named_backbone(backbone)
        use_hub_token(backbone)
    if source is not None and args.backbone is None and backbone not in LLM_PRESETS:  # the user typed no such path
        try:
            resolve_backbone(backbone)
        except FileNotFoundError as error:
            message = f"--from {source} was trained on {backbone}, which is not there; say where it is with --backbone"
            raise FileNotFoundError(message) from error
    before = stage_folder(args.out, number - 1)
    start = source or (before if number - 1 in finished_stages(args.out) else None)
    layers = _language_layers(args, number, stage, backbone, demo, start)
    config, origins = resolve_config(TrainConfig, args, *layers)
    if stage.rewarded:
        _refuse_unread(config, origins)
    lora, lora_origins = resolve_config(LoRAConfig, args, *layers)
    args.think = args.think or _known_think(args.out, origin)
    templates = _templates(args, stage, config, start)
    job = _language_job(args, number, stage, demo, backbone, source, config, lora, templates)

    # check and build it, then tell people what will be trained
    device, world = pick_device(args.device), this_world()
    if world.size == 1 and args.shard:
        print("note: --shard has nothing to share in one process; start several with torchrun (docs/DEVICES.md)")
    if world.size > 1 and stage.rewarded:
        raise ValueError("--stage reward runs in one process: start it with python, not with torchrun")
    watchers = log_watchers(args, folder, language_tags(job.tasks))
    prepared = prepare_stage(job, device, print, world, shard=args.shard and world.size > 1 and not args.dry_run)
    if prepared.plan.warning:
        print(prepared.plan.warning, file=sys.stderr)
    print(describe_values(config, origins, every=args.debug))
    config = prepared.plan.job.config  # with the accumulation of --tokens-per-step
    if job.train_mode == "lora":
        print(describe_values(lora, lora_origins, every=args.debug))
    precision = prepared.precision(config.precision)
    loop = prepared
    if stage.rewarded:
        rewards, reward_origins = resolve_config(RewardConfig, args, *layers)
        print(describe_values(rewards, reward_origins, every=args.debug))
        loop = reward_loop(args, prepared, rewards, open_evaluator)
    known = None if args.fresh else folder
    steps = planned_steps(config, loop.batches.per_epoch, world.size, known)
    print(f"{prepared.summary}; {steps} steps on {device}, {precision}")
    if not stage.rewarded and not set(job.tasks) <= set(WRITE_TEXT):
        print(f"a uniform guess over the {prepared.plan.codes} codes costs {prepared.chance:.2f} nats per code")
    words = "" if stage.rewarded else prepared.data.held_out.loss_words
    if words:
        print(words)
    sample = language_sampler(prepared) if config.sample_every else None

    # train it
    if args.dry_run:
        here = {"device": device, "precision": precision, "fresh": args.fresh, "world": world}
        try_one_batch(loop.model, loop.batches, loop.loss, config, folder, **here)
        return say_later_stages(args, number)
    result = train(
        loop.model,
        loop.batches,
        loop.loss,
        within_budget(config, args),
        folder,
        device=device,
        precision=precision,
        validate=loop.validate,
        decode=loop.decode,
        sample=sample,
        export=loop.export,
        fingerprint=loop.fingerprint,
        unit="motions" if stage.rewarded else "tokens",
        watchers=[*hub_watchers(args, number, folder), *watchers],
        world=world,
        blocks=prepared.blocks,
    )
    if not result.finished:
        return say_stopped(result, args)
    args.resume = False  # --resume has found its stage; later ones start normally
    world.from_first(lambda: prepared.finish(result))
    best = f"{result.best:.4f}" + (" by --loss-vocab motion" if words else "")
    print(f"wrote {folder}/ (weights, meta.json, loss.png, metrics.jsonl); best validation loss {best}")
    if warning := prepared.chance_warning(result):
        print(warning, file=sys.stderr)
    if not every or number == len(RECIPES[args.recipe]):
        print(_what_next(job, prepared.plan.training[0].text))
    return None


def _refuse_unread(config: TrainConfig, origins: dict[str, str]) -> None:
    """ValueError for a setting that the reward stage would record and not heed, wherever it comes from."""
    for name in ("loss_vocab", "pack"):
        if getattr(config, name) != getattr(TrainConfig, name):
            raise ValueError(
                f"{flag_name(name)} has no meaning in --stage reward, which has its own loss and batches "
                f"({origins[name]}); drop it, or give it to the other stages only"
            )


def _language_layers(
    args: argparse.Namespace, number: int, stage: Stage, backbone: str, demo: Path, start: Path | None
) -> list[tuple[str, dict]]:
    """What fills the configs below the flags, weakest first; see `resolve_config`.

    A stage that goes on from the adapter in `start` has its rank, its alpha and its layers. One that was begun with
    defaults which the recipe has changed since is resumed with those.
    """
    layers = [(f"recipe {args.recipe}", stage.values)]
    if args.train == "full":
        layers.append((f"recipe {args.recipe}, --train full", stage.full))
    if not args.fresh:
        folder = stage_folder(args.out, number)
        layers.append((f"begun so in {folder}", former_values(args.recipe, number, begun_with(folder))))
    if backbone in LLM_PRESETS or _is_demo(backbone, demo):
        layers.append(("demo backbone", DEMO_VALUES | stage.demo))
    layers.append((f"adapter in {start}", adapter_values(start)))
    return [*layers, *config_layers(args, number, stage)]


def _run_backbone(run: Path, demo: Path) -> str:
    """The run's backbone, or the demo's: for a new run, and if the run's is gone and was the same."""
    own = str(demo / "backbone")
    known = run_backbone(run)
    if known is None or known in LLM_PRESETS or Path(known).expanduser().is_dir() or not Path(own).is_dir():
        return known or own
    return own if RunConfig.read(run).base_hash == weights_hash(own) else known


def _is_demo(backbone: str, demo: Path) -> bool:
    """Whether `backbone` is the demo's, in this checkout or, by its weights, in another one."""
    given, own = (Path(place).expanduser() / "model.safetensors" for place in (backbone, demo / "backbone"))
    if given.resolve() == own.resolve():
        return True
    if not (given.is_file() and own.is_file()) or given.stat().st_size != own.stat().st_size:
        return False  # told without reading gigabytes
    return known_hash(given) == known_hash(own)


def config_layers(args: argparse.Namespace, number: int, stage: Stage) -> list[tuple[str, dict]]:
    """What --config says of every stage, and above that what it says of this one, by number or name.

    Raises ValueError for a stage that the recipe does not have.
    """
    file = read_config_file(args.config)
    layers = file.layers()
    for name, settings in file.stages.items():
        try:
            first = name == TOKENIZER_FIRST.name and begins_with_motions(args)
            found = 0 if first else find_stage(args.recipe, name)[0]
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
    source: Path | None,
    config: TrainConfig,
    lora: LoRAConfig,
    templates: Templates,
) -> Job:
    """The job that the flags describe; without --data the run's own tokens, else the demo's with its tokenizer."""
    every = args.stage == "all"
    data = args.data
    codes = args.codes if args.codes is not None else _config_codes(args.config)
    own_tokens = args.out / "tokens.json"
    if own_tokens.is_file() and (data is None or (every and is_dataset_folder(data))):
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
        tasks=_tasks(args, stage, templates),
        recipe=args.recipe,
        out=args.out,
        train_mode=args.train,
        data=data or demo / "tokens.json.gz",
        backbone=backbone,
        vqvae=args.vqvae or (None if data else demo / "vqvae"),
        foreign=foreign_flags(args),
        source=source,
        codes=codes,
        dedup=args.dedup,
        think=args.think or "auto",
        fresh=args.fresh,
        resume=args.resume,
        config=config,
        lora=lora,
        templates=templates,
        clears=tuple(stage_folder(args.out, later) for later in range(number + 1, last + 1)) if every else (),
        validation=DEBUG_ENTRIES if args.debug else None,
        debug=args.debug,
        dry_run=args.dry_run,
    )


def _templates(args: argparse.Namespace, stage: Stage, config: TrainConfig, start: Path | None) -> Templates:
    """How the stage words its requests: --templates, a file or a built-in name, else the recipe's.

    A stage of rewards learns no words: it keeps those of the stage in `start`.
    """
    if stage.rewarded and start is not None and args.templates is None:
        return stage_templates(start)
    if args.templates is None or args.templates in BUILT_IN:
        templates = built_in(args.templates or stage.templates)
    else:
        templates = read_templates(Path(args.templates), print)
    settings = {"motion_as": args.motion_as} if args.motion_as else {}
    return replace(templates, tell_length=config.tell_length, **settings)


def _tasks(args: argparse.Namespace, stage: Stage, templates: Templates) -> dict[str, float]:
    """Task -> share: --tasks, else those of a file of templates, by its number of groups, else the stage's."""
    if args.tasks:
        return parse_tasks(args.tasks)
    if args.templates is None:
        return stage.tasks
    return {task: float(len(groups)) for task, groups in templates.groups.items()}


def _config_codes(path: str | None) -> int | None:
    """The number of codes that the file of --config gives beside its configs, as --codes does; None without one."""
    codes = read_config_file(path).flags.get("codes")
    if codes is not None and type(codes) is not int:
        raise ValueError(f"--config {path}: codes must be a whole number, got {codes!r:.60}")
    return codes


def say_later_stages(args: argparse.Namespace, number: int) -> int:
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
