"""A run folder: where a stage starts from, what it saves, and how sampling finds it again.

    RUN/config.json      RunConfig (backbone, codes, participants, ...) and the last stage's other configs
        prompts.json     per caption its lengths and codes, from the training split
        tokenizer.json   the backbone's tokenizer, so that a run trained in full needs no backbone to sample
        vqvae/           the motion tokenizer, if there is one
        stage1/ ...      adapter_model.safetensors + adapter_config.json (PEFT's layout), or, trained in full,
                         model.safetensors + config.json (Hugging Face's); tokenizer files with the new words; meta.json

Stage N goes on from stage N - 1: from its adapter on the same base, or from its full weights. An adapter remembers a
hash of the weights it was trained on and is not put on others. Fields that older runs lack are optional.
It builds and saves models; it neither trains (`loops.py`) nor samples (`sampling.py`).
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from motiongpt.config import JSONConfig, TrainConfig
from motiongpt.data.tokens import Entry, tokens_hash
from motiongpt.files.lock import hold
from motiongpt.files.store import read_json, write_json
from motiongpt.hub import resolve_backbone

WEIGHTS = {"lora": ("adapter_model.safetensors", "adapter_config.json"), "full": ("model.safetensors", "config.json")}
"""What each mode writes; a stage folder with files of both would be read as the wrong one."""


@dataclass(frozen=True)
class RunConfig(JSONConfig):
    """What all stages of one run share. `backbone` is a repo id, or a path relative to the run folder; `base_hash`
    is `weights_hash` of it, empty in older runs and where a preset's weights were drawn at random."""

    recipe: str
    backbone: str
    codes: int
    participants: tuple[str, ...] = ()
    think: str = "auto"
    fps: float = 20.0
    frames_per_code: int = 4
    base_hash: str = ""

    @classmethod
    def read(cls, run: Path) -> "RunConfig":
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
        values = {type(config).__name__: config.to_dict() for config in (self, *others)}
        write_json(run / "config.json", values)

    def backbone_path(self, run: Path) -> Path:
        """The backbone's folder; a repo id is fetched. FileNotFoundError or ValueError where there is none."""
        return find_base(self.backbone, run)


def relative_path(path: Path, start: Path) -> str:
    """`path` as seen from `start`, with forward slashes; absolute where there is no way (two drives of Windows)."""
    path = path.resolve()
    try:
        return Path(os.path.relpath(path, start.resolve())).as_posix()
    except ValueError:
        return path.as_posix()


def relative_backbone(backbone: Path | str, folder: Path) -> str:
    """How a JSON file in `folder` names a backbone: relative to `folder` where it is one, as it is for a repo id."""
    path = Path(backbone).expanduser()
    return relative_path(path, folder) if path.is_dir() else str(backbone)


def find_base(name: str, folder: Path) -> Path:
    """Inverse of `relative_backbone`; a repo id is fetched."""
    if (folder / name).is_dir():
        return folder / name
    try:
        return resolve_backbone(name)
    except (FileNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"{folder} was trained on {name}, which is not there: {error}; a run moves together with its backbone"
        ) from error


def stage_folder(run: Path, number: int) -> Path:
    return run / f"stage{number}"


def has_weights(folder: Path) -> bool:
    return any((folder / names[0]).is_file() for names in WEIGHTS.values())


def finished_stages(run: Path) -> dict[int, dict]:
    """Number -> meta.json of every stage of a run that reached its end."""
    found = {}
    for path in sorted(run.glob("stage*/meta.json")):
        number = path.parent.name.removeprefix("stage")
        if number.isdigit() and has_weights(path.parent) and (meta := read_json(path)).get("finished"):
            found[int(number)] = meta
    return found


def check_recipe(out: Path, recipe: str) -> None:
    """ValueError where a run folder was begun with another recipe, by a language-model or a tokenizer stage."""
    known = recipe
    if (out / "config.json").is_file():
        known = RunConfig.read(out).recipe
    elif meta := tokenizer_meta(out):
        known = meta["recipe"]
    if known != recipe:
        raise ValueError(f"{out} is a run of recipe {known}; give --recipe {recipe} another --out")


def tokenizer_meta(out: Path) -> dict:
    """What a finished tokenizer stage wrote about itself into the run; empty where none did."""
    path = out / "vqvae" / "meta.json"
    return read_json(path) if path.is_file() else {}


def clear_stage(folder: Path) -> None:
    """Remove what a stage wrote, so that it counts as never trained; pictures stay until they are drawn anew.

    BlockingIOError while another process trains in it.
    """
    if not folder.is_dir():
        return
    with hold(folder, "trained"):
        for name in ("state", "metrics.jsonl", "meta.json", *WEIGHTS["lora"], *WEIGHTS["full"]):
            target = folder / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)


def split_seed(run: Path) -> int:
    """The seed that split the run's data, where the data set had no splits of its own."""
    values = read_json(run / "config.json").get("TrainConfig") or {}
    return values.get("seed", TrainConfig.seed)


def participants_of(entries: list[Entry]) -> tuple[str, ...]:
    return tuple(sorted({entry.participant for entry in entries if entry.participant}))


def data_identity(path: Path, entries: list[Entry]) -> dict:
    """What meta.json says about the data a stage was trained on."""
    splits = {split: sum(entry.split == split for entry in entries) for split in ("train", "val", "test")}
    return {"file": path.name, "hash": tokens_hash(path, entries), **splits}


def versions() -> dict[str, str]:
    import numpy
    import safetensors

    from motiongpt import __version__

    return {"motiongpt": __version__, "torch": torch.__version__, "numpy": numpy.__version__,
            "safetensors": safetensors.__version__}  # fmt: skip
