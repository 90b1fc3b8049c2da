"""From flags to a trained motion tokenizer: as a stage of a recipe, before the first stage, or alone.

`scripts/finetune.py` calls `tokenizer_stage`, and `scripts/train_vqvae.py` calls `train_tokenizer_from_flags`. With
--stage all and a dataset folder, the data is also written in the tokenizer's codes, as RUN/tokens.json.

The language model's stages are in `stages.py`.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.hub_flags import hub_watchers
from motiongpt.cli.opening import is_dataset_folder, named_motion_tokenizer, open_dataset
from motiongpt.cli.parser import (
    VQVAE_FLAGS,
    command_for_stage,
    describe_values,
    resolve_config,
    say_stopped,
    within_budget,
)
from motiongpt.cli.stage_samples import tokenizer_sampler
from motiongpt.cli.stages import config_layers, say_later_stages
from motiongpt.cli.watch_flags import log_watchers
from motiongpt.config import TrainConfig, VQVAEConfig, flag_name
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, write_json
from motiongpt.loops import Result
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.recipes import RECIPES, Stage
from motiongpt.stages.run_folder import (
    check_place,
    check_recipe,
    check_tokenizer_saved,
    finished_stages,
    stage_folder,
    tokenizer_meta,
    versions,
)
from motiongpt.stages.tokenizer import data_fields, is_tokenised, tokenise_dataset, train_motion_tokenizer
from motiongpt.training.devices import pick_device, resolve_precision
from motiongpt.training.tensorboard import TOKENIZER_TAGS
from motiongpt.training.watch import Watcher
from motiongpt.training.world import this_world

NO_ACCUMULATION = {"grad_accum": 1, "tokens_per_step": 0}  # the codebook learns from every forward pass


def tokenizer_stage(args: argparse.Namespace, number: int, stage: Stage) -> int | None:
    """Train the tokenizer stage of --recipe into RUN/vqvae; with --stage all also write --data as RUN/tokens.json.

    Number 0 is `TOKENIZER_FIRST`. If --vqvae names a tokenizer, which --stage all allows, nothing is trained.
    Returns what `say_stopped` does if it stopped before its end, 0 after --dry-run.

    Raises:
        FileExistsError: it is finished, and neither --stage all nor --fresh was given.
        ValueError: stages after it learnt other codes, or --data or VQ-VAE flags are not those it was trained with.
        FileNotFoundError: --resume was given, and nothing is unfinished.
    """
    every = args.stage == "all"
    folder = args.out / "vqvae"
    tokens = args.out / "tokens.json"
    what = f"stage {number} ({stage.name})" if number else f"the {stage.name}"
    if args.vqvae is not None:
        check_place(args.out)
        check_recipe(args.out, args.recipe)
        check_tokenizer_saved(args.out)
        print(f"{what} is not trained: --vqvae {args.vqvae} is used")
        if args.data is not None and not is_dataset_folder(args.data):
            return None  # tokens already; whoever reads them checks that this tokenizer wrote them
    elif every and tokenizer_meta(args.out) and not args.fresh:
        _check_same_tokenizer(args, folder)
        print(f"{what} is finished in {folder}; skipped (--fresh trains it again)")
    elif (code := _train_tokenizer_stage(args, number, stage, folder)) is not None:
        return code
    if every:
        return None if _tokenise(args, args.vqvae or folder, tokens) else say_later_stages(args, number)
    words = shlex.join(["--data", str(args.data), "--vqvae", str(folder), "--out", str(tokens)])
    print(f"next: python scripts/tokenize_motions.py {words}")
    drop = ["--data", *map(flag_name, (*VQVAE_FLAGS, *TrainConfig.__dataclass_fields__))]
    if not getattr(args, "from_file", None) and not read_config_file(args.config).stages:
        drop.append("--config")  # it was about the tokenizer only
    print(f"then: {command_for_stage(number + 1, *drop)} --data {shlex.quote(str(tokens))}")
    return None


def _train_tokenizer_stage(args: argparse.Namespace, number: int, stage: Stage, folder: Path) -> int | None:
    """Check the run, train the tokenizer in it, write its meta.json. Returns an exit code if it stopped before that."""
    _check_no_conflict(args, folder, number)
    every = args.stage == "all"
    last = len(RECIPES[args.recipe])
    place = f"stage {number} of {last}" if number else f"before stage 1 of {last}"
    print(f"recipe {args.recipe}, {place}: {stage.name} (VQ-VAE), into {folder}")
    clears = tuple(stage_folder(args.out, later) for later in range(number + 1, last + 1)) if every else ()
    layers = [
        (f"recipe {args.recipe}" if number else "the tokenizer's", stage.values),
        *config_layers(args, number, stage),
    ]
    hub = hub_watchers(args, number, folder)
    result = train_tokenizer_from_flags(args, folder, *layers, clears=clears, accumulates=not every, watchers=hub)
    if args.dry_run:
        return say_later_stages(args, number)
    if not result.finished:
        return say_stopped(result, args)
    losses = {"best_val_loss": result.best, **result.metrics}
    meta = {"stage": number, "name": stage.name, "recipe": args.recipe, "steps": result.step, "losses": losses}
    meta |= {"debug": True} if args.debug else {}
    this_world().from_first(lambda: write_json(folder / "meta.json", meta | {"versions": versions()}))
    print(f"wrote {folder}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    args.resume = False  # --resume has found its stage; later ones start normally
    return None


def train_tokenizer_from_flags(
    args: argparse.Namespace,
    out: Path,
    *layers: tuple[str, dict],
    clears: tuple[Path, ...] = (),
    accumulates: bool = True,
    watchers: Sequence[Watcher] = (),
) -> Result:
    """Train the VQ-VAE that --data, --fresh, --device and the config flags describe, into `out`.

    `layers` are values below the flags, weakest first, with those of --config among them; see `resolve_config`. Without
    `accumulates`, --grad-accum is for the stages to come and has no effect here. Raises what `train_motion_tokenizer`
    raises.
    """
    data = open_dataset(args)
    source = vars(args).get("from")  # of train_vqvae.py; a stage of a run begins anew
    start = None if source is None else MotionTokenizer.load(source)
    begun = [] if start is None else [(f"tokenizer in {source}", start.config.to_dict())]
    known = [(str(args.data), data_fields(data))] if start is None else []
    model_config, model_origins = resolve_config(VQVAEConfig, args, *begun, *layers, *known)
    if not accumulates:
        layers = (*layers, ("the tokenizer's", NO_ACCUMULATION))
        args = argparse.Namespace(**vars(args) | dict.fromkeys(NO_ACCUMULATION))
    config, origins = resolve_config(TrainConfig, args, *layers)
    device = pick_device(args.device)
    precision = resolve_precision(config.precision, device)
    print(describe_values(model_config, model_origins, every=args.debug))
    print(describe_values(config, origins, every=args.debug))
    return train_motion_tokenizer(
        data,
        model_config,
        within_budget(config, args),
        out,
        device=device,
        precision=precision,
        fresh=args.fresh,
        clears=clears,
        dry_run=args.dry_run,
        start=start,
        sampler=tokenizer_sampler,
        watchers=[*watchers, *log_watchers(args, out, TOKENIZER_TAGS)],
        world=this_world(),
    )


def _check_no_conflict(args: argparse.Namespace, folder: Path, number: int) -> None:
    """Refuse to overwrite a tokenizer silently, or to leave later stages with the codes of the old one."""
    check_place(args.out)
    check_recipe(args.out, args.recipe)
    every = args.stage == "all"
    if tokenizer_meta(args.out) and not args.fresh:
        raise FileExistsError(f"{folder} is finished; --fresh trains it again, --out starts another run")
    if args.resume and not (folder / "state").is_dir():
        raise FileNotFoundError(f"--resume: {folder} has nothing unfinished; drop the flag to start")
    later = sorted(n for n in finished_stages(args.out) if n > number)
    if later and not (every and args.fresh):
        names = ", ".join(f"stage{n}" for n in later)
        use = "" if number else "use that one with --vqvae, or "
        raise ValueError(
            f"{names} of {args.out} learnt the codes of another tokenizer; {use}--stage all --fresh trains them again "
            "too, or give another --out"
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
    device = pick_device(args.device)
    motion_tokenizer = named_motion_tokenizer(args, device) or MotionTokenizer.load(vqvae, device)
    own = args.out / "vqvae"
    if (own / "metrics.jsonl").is_file() and file_hash(own / "model.safetensors") != motion_tokenizer.hash:
        raise ValueError(
            f"{own} was trained in this run, and --vqvae {vqvae} is another one; drop the flag, or give another --out"
        )
    if is_tokenised(out, motion_tokenizer.hash, data):
        print(f"{out} holds {args.data} in the tokens of {vqvae} already; skipped")
    elif out.is_file() and finished_stages(args.out) and not args.fresh:
        raise ValueError(f"{out}, which stages of this run have learnt, is not {args.data}; give another --out")
    elif args.dry_run:
        print(f"--dry-run: would write {args.data} in the tokens of {vqvae} to {out}; nothing was written")
        return False
    else:
        tokenise_dataset(data, motion_tokenizer, out)
    return True
