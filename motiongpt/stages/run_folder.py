"""The run folder on disk: its layout, its config.json, and which of its stages are finished.

    RUN/config.json      RunConfig (backbone, codes, participants, ...) and the last stage's other configs
        prompts.json     lengths and codes of every training caption
        tokenizer.json   the backbone's text tokenizer: a run trained in full needs no backbone to sample
        vqvae/           the motion tokenizer, if there is one
        stage1/ ...      meta.json, the text tokenizer with the new words, and weights: an adapter in PEFT's layout
                         (adapter_model.safetensors, adapter_config.json), or the whole model in Hugging Face's
                         (model.safetensors, config.json)

A run is one such folder, a stage is one training in it. Stage N goes on from stage N - 1. Fields that older runs lack
are optional. Models are opened and saved in `model.py`; nothing here reads a weight.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from motiongpt.config import JSONConfig, TrainConfig
from motiongpt.files.lock import hold
from motiongpt.files.store import read_json, write_json
from motiongpt.hub import resolve_backbone

WEIGHTS = {"lora": ("adapter_model.safetensors", "adapter_config.json"), "full": ("model.safetensors", "config.json")}
"""What each --train mode writes. A stage folder with files of both would be read as the wrong one."""


@dataclass(frozen=True)
class RunConfig(JSONConfig):
    """What all stages of one run share."""

    recipe: str
    backbone: str  # a repo id, or a path relative to the run folder
    codes: int
    participants: tuple[str, ...] = ()
    think: str = "auto"
    fps: float = 20.0
    frames_per_code: int = 4
    base_hash: str = ""  # `weights_hash` of the backbone; empty in older runs and for weights drawn at random

    @classmethod
    def read(cls, run: Path) -> "RunConfig":
        """The config of a run folder. FileNotFoundError or ValueError saying what the folder holds instead."""
        path = run / "config.json"
        if not path.is_file():
            here = ", ".join(sorted(p.name for p in run.iterdir())[:8]) if run.is_dir() else "no such folder"
            raise FileNotFoundError(
                f"{run} is not a run folder: no config.json ({here}); scripts/finetune.py makes one"
            )
        content = read_json(path)
        if "RunConfig" not in content:
            raise ValueError(f"{run} is not a run folder: its config.json is of another kind (no RunConfig)")
        try:
            return cls.from_dict(content["RunConfig"])
        except TypeError as error:
            raise ValueError(f"{path}: RunConfig is incomplete ({error})") from error

    def write(self, run: Path, *others: JSONConfig) -> None:
        """Write RUN/config.json, with `others` beside this config, each under its class name."""
        values = {type(config).__name__: config.to_dict() for config in (self, *others)}
        write_json(run / "config.json", values)

    def backbone_path(self, run: Path) -> Path:
        """The backbone's folder; a repo id is fetched. Raises FileNotFoundError if it is not there."""
        return find_base(self.backbone, run)


def relative_path(path: Path, start: Path) -> str:
    """`path` relative to `start`, with forward slashes; absolute if there is no such path (two drives of Windows)."""
    path = path.resolve()
    try:
        return Path(os.path.relpath(path, start.resolve())).as_posix()
    except ValueError:
        return path.as_posix()


def relative_backbone(backbone: Path | str, folder: Path) -> str:
    """How a JSON file in `folder` names a backbone: a folder relative to `folder`, a repo id as it is."""
    path = Path(backbone).expanduser()
    return relative_path(path, folder) if path.is_dir() else str(backbone)


def find_base(name: str, folder: Path) -> Path:
    """Inverse of `relative_backbone`; a repo id is fetched. Raises FileNotFoundError if it is not there."""
    if (folder / name).is_dir():
        return folder / name
    try:
        return resolve_backbone(name)
    except (FileNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"{folder} was trained on {name}, which is not there: {error}; a run moves together with its backbone"
        ) from error


def run_backbone(run: Path) -> str | None:
    """The backbone that a run was begun with, by path or repo id: the default of its later stages."""
    if not (run / "config.json").is_file():
        return None
    name = RunConfig.read(run).backbone
    return os.path.normpath(run / name) if (run / name).is_dir() else name


def stage_folder(run: Path, number: int) -> Path:
    return run / f"stage{number}"


def has_weights(folder: Path) -> bool:
    return any((folder / names[0]).is_file() for names in WEIGHTS.values())


def finished_stages(run: Path) -> dict[int, dict]:
    """Number -> meta.json of every stage of a run that reached its end."""
    found = {}
    for path in sorted(run.glob("stage*/meta.json")):
        number = path.parent.name.removeprefix("stage")
        if not number.isdigit() or not has_weights(path.parent):
            continue
        meta = read_json(path)
        if meta.get("finished"):
            found[int(number)] = meta
    return found


def check_recipe(run: Path, recipe: str) -> None:
    """ValueError if a stage of another recipe has begun the run folder, a tokenizer's or a language model's."""
    known = recipe
    if (run / "config.json").is_file():
        known = RunConfig.read(run).recipe
    elif meta := tokenizer_meta(run):
        known = meta["recipe"]
    if known != recipe:
        raise ValueError(f"{run} is a run of recipe {known}; give --recipe {recipe} another --out")


def tokenizer_meta(run: Path) -> dict:
    """What a finished tokenizer stage wrote about itself into the run; empty if none has finished."""
    path = run / "vqvae" / "meta.json"
    return read_json(path) if path.is_file() else {}


def clear_stage(folder: Path) -> None:
    """Remove what a stage wrote, so that it counts as never trained; pictures stay until they are drawn again.

    Raises BlockingIOError while another process trains in it.
    """
    if not folder.is_dir():
        return
    with hold(folder, "trained"):
        for name in ("state", "metrics.jsonl", "meta.json", *WEIGHTS["lora"], *WEIGHTS["full"]):
            target = folder / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)


def split_seed(run: Path) -> int:
    """The seed that split the run's data, if the data came without splits."""
    values = read_json(run / "config.json").get("TrainConfig") or {}
    return values.get("seed", TrainConfig.seed)


def versions() -> dict[str, str]:
    """Version of every library that the numbers of a run depend on."""
    import numpy
    import safetensors

    from motiongpt import __version__

    return {
        "motiongpt": __version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
    }
