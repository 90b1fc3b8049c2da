"""From flags to a trained motion tokenizer: `scripts/train_vqvae.py`, and the tokenizer stage of a recipe.

The stage trains into RUN/vqvae. With --stage all it goes on to RUN/tokens.json, the data in this tokenizer's codes,
which the stages after it learn; alone it prints the commands for that. RUN/vqvae/meta.json says that it is finished.
"""

import argparse
import shlex
from pathlib import Path

from motiongpt.cli import parser as cli
from motiongpt.config import TrainConfig, VQVAEConfig, flag_name
from motiongpt.files.store import read_json, write_json
from motiongpt.loops import Result, pick_device, resolve_precision
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.run import (
    check_recipe,
    finished_stages,
    stage_folder,
    tokenizer_meta,
    versions,
)
from motiongpt.stages.tokenizer import (
    data_fields,
    is_tokenised,
    tokenise_dataset,
    train_tokenizer,
)
from motiongpt.tasks.render import RECIPES, Stage

NO_GROUPS = {"grad_accum": 1}  # of batches: the codebook learns from every forward pass


def train_tokenizer_here(
    args: argparse.Namespace, out: Path, *layers: tuple[str, dict], clears: tuple[Path, ...] = (),
    accumulates: bool = True,
) -> Result:  # fmt: skip
    """Train the VQ-VAE of --data, --config, --fresh, --device and the config flags into `out`; see cli.resolve.

    Without `accumulates`, --grad-accum is for the stages to come. Raises what `train_tokenizer` raises.
    """
    data = cli.open_dataset(args)
    layers = (*layers, (f"--config {args.config}", cli.read_config_file(args.config)))
    model_config, model_origins = cli.resolve(VQVAEConfig, args, *layers, (str(args.data), data_fields(data)))
    if not accumulates:
        layers = (*layers, ("the tokenizer's", NO_GROUPS))
        args = argparse.Namespace(**vars(args) | {"grad_accum": None})
    config, origins = cli.resolve(TrainConfig, args, *layers)
    device = pick_device(args.device)
    precision = resolve_precision(config.precision, device)
    print(cli.describe(model_config, model_origins))
    print(cli.describe(config, origins))
    return train_tokenizer(
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
            return cli.stopped(result, args)
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
    drop = ("--data", "--config", *map(flag_name, (*cli.VQVAE_FLAGS, *TrainConfig.__dataclass_fields__)))
    print(f"then: {cli.same_command(number + 1, *drop)} --data {shlex.quote(str(tokens))}")
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
    given = {name: getattr(args, name) for name in cli.VQVAE_FLAGS if getattr(args, name) is not None}
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
    data = cli.open_dataset(args)
    if is_tokenised(out, vqvae, data):
        print(f"{out} holds {args.data} in the tokens of {vqvae} already; skipped")
    elif out.is_file() and finished_stages(args.out) and not args.fresh:
        raise ValueError(f"{out}, which stages of this run have learnt, is not {args.data}; give another --out")
    else:
        tokenise_dataset(data, MotionTokenizer.load(vqvae, pick_device(args.device)), out)
