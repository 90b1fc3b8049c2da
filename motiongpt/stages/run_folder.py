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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from motiongpt.config import LLM_PRESETS, JSONConfig, TrainConfig, require
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, check_values, file_hashes, hashes_in, values_hash
from motiongpt.files.lock import hold
from motiongpt.files.store import read_json, write_json
from motiongpt.hub import resolve_backbone
from motiongpt.text_tokenizer import TextTokenizer, load_text_tokenizer
from motiongpt.vocab import words_of

HASHED_FILES = ("tokenizer.json", "prompts.json")
"""What config.json remembers by a hash: a change in them would give other motions, unnoticed."""

PLACES = ("backbone", "reader")
"""Fields of RunConfig that name folders."""

NO_RUN = ("prompts.json", "tokenizer.json", "dataset.json", "new_joint_vecs", "__init__.py", ".git")
"""What marks a folder as something else, unless it has the config.json of a run: part of one, a data set, a program."""

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
    fold_captions: bool = False  # sentences that ask for a motion are read as `data.spelling.fold` spells them
    reader: str = ""  # a run or stage folder, relative to this one, that reads sentences (`generation/reading.py`)
    best_of: int = 1  # motions written of a sentence that was read; the one that the model describes best is kept

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
        values = content["RunConfig"]
        config = cls.from_dict(values, path)
        check_values({key: value for key, value in values.items() if key not in PLACES}, content, "RunConfig", path)
        return config

    @property
    def seconds_per_code(self) -> float:
        """How long a code lasts."""
        return self.frames_per_code / self.fps

    def __post_init__(self) -> None:
        require(self.codes >= 1, "codes", self.codes, "at least 1")
        require(self.fps > 0, "fps", self.fps, "positive")
        require(self.frames_per_code >= 1, "frames_per_code", self.frames_per_code, "at least 1")
        require(self.best_of >= 1, "best_of", self.best_of, "at least 1")

    def write(self, run: Path, *others: JSONConfig, files: Iterable[str] = ()) -> None:
        """Write RUN/config.json, with `others` beside this config, each under its class name, and hashes of `files`."""
        values = {type(config).__name__: config.to_dict() for config in (self, *others)}
        write_json(run / "config.json", values | {HASHES: self.hashes(run, files)})

    def hashes(self, run: Path, files: Iterable[str]) -> dict[str, str]:
        """What config.json remembers of itself and of `files`, which are HASHED_FILES or none yet."""
        # not of places: people name them anew after moving them, and `base_hash` tells whether a backbone is the same
        own = {key: value for key, value in self.to_dict().items() if key not in PLACES}
        return file_hashes(run, files) | {"RunConfig": values_hash(own)}

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
    seen = path_from_here(name, folder)
    try:
        return resolve_backbone(seen)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} was trained on {seen}, which is not there; a run moves together with its backbone"
        ) from error
    except ValueError as error:
        raise FileNotFoundError(f"{folder} was trained on {seen}, which is not there: {error}") from error


def path_from_here(name: str, folder: Path) -> str:
    """A backbone that a JSON file in `folder` names, as --backbone takes it here: its path, or a repo id as it is."""
    is_repo_id = name.count("/") == 1 and not name.startswith((".", "~", "/"))
    if is_repo_id and not (folder / name).is_dir():
        return name
    return os.path.normpath(folder / name)


def is_run(folder: Path) -> bool:
    """Whether a folder has the config.json of a run."""
    return (folder / "config.json").is_file() and "RunConfig" in read_json(folder / "config.json")


def run_backbone(run: Path) -> str | None:
    """The backbone that a run was begun with, by path or repo id: the default of its later stages."""
    if not (run / "config.json").is_file():
        return None
    name = RunConfig.read(run).backbone
    return name if name in LLM_PRESETS else path_from_here(name, run)


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
        meta = read_meta(path.parent)
        if get_field(meta, "finished", bool, path):
            for key, kind in (("name", str), ("tasks", dict), ("train", str)):
                get_field(meta, key, kind, path)
            found[int(number)] = meta
    return found


def default_stage(stages: dict[int, dict], task: str) -> int:
    """The highest finished stage that was trained on `task`, or simply the highest if none was.

    A stage of --debug, which has learnt next to nothing, is taken only if there is no other.
    """
    able = [number for number, meta in stages.items() if task in meta["tasks"]] or list(stages)
    in_full = [number for number in able if not stages[number].get("debug")]
    return max(in_full or able)


def begun_with(folder: Path) -> dict:
    """The settings that an unfinished stage was begun with; empty if there is no state to resume, or none to read."""
    for name in ("last", "previous"):
        path = folder / "state" / name / "state.json"
        try:
            return get_field(read_json(path), "fingerprint", dict, path)
        except (FileNotFoundError, ValueError):  # the loop says so when it loads the state
            continue
    return {}


def is_debug_run(run: Path, task: str) -> bool:
    """Whether the stage of a run that serves for `task` is one of --debug."""
    stages = finished_stages(run)
    return bool(stages) and bool(stages[default_stage(stages, task)].get("debug"))


def read_meta(folder: Path) -> dict:
    """meta.json of a stage or a backbone; empty if there is none. ValueError names a key of the wrong kind."""
    path = folder / "meta.json"
    if not path.is_file():
        return {}
    meta = read_json(path)
    for key, kind in (("base", str), ("data", dict)):
        get_field(meta, key, kind, path, None)
    for key in ("base_hash", "train", "recipe"):
        get_field(meta, key, str, path, "")
    get_field(meta, "motion_words", dict, path, {})
    if get_field(meta, "train", str, path, "lora") not in WEIGHTS:
        raise ValueError(f"{path}: train must be one of {', '.join(WEIGHTS)}, got {meta['train']!r:.60}")
    hashes_in(meta, path)
    return meta


def backbone_tokenizer(folder: Path) -> TextTokenizer:
    """The text tokenizer of a backbone, without the words of motion that an exported stage has added to it.

    Its meta.json says which they are. Raises what `load_text_tokenizer` raises.
    """
    meta, path = read_meta(folder), folder / "meta.json"
    if "motion_words" not in meta:
        return load_text_tokenizer(folder)
    codes = get_field(meta["motion_words"], "codes", int, f"{path}: motion_words", least=1)
    people = get_field(meta["motion_words"], "participants", list, f"{path}: motion_words")
    return load_text_tokenizer(folder, without=words_of(codes, people))


def check_place(out: Path) -> None:
    """FileExistsError if `out` is something else than a run or a folder for one, such as a data set."""
    others = [name for name in NO_RUN if (out / name).exists()]
    if others and not (out / "config.json").is_file():
        raise FileExistsError(f"--out {out} is no run (no config.json) and holds {', '.join(others)}; give another")


def check_recipe(run: Path, recipe: str) -> None:
    """ValueError if a stage of another recipe has begun the run folder, a tokenizer's or a language model's."""
    known = recipe
    if (run / "config.json").is_file():
        known = RunConfig.read(run).recipe
    elif meta := tokenizer_meta(run):
        known = get_field(meta, "recipe", str, run / "vqvae" / "meta.json")
    if known != recipe:
        raise ValueError(f"{run} is a run of recipe {known}; give --recipe {recipe} another --out")


def tokenizer_meta(run: Path) -> dict:
    """What a finished tokenizer stage wrote about itself into the run; empty if none has finished."""
    return read_meta(run / "vqvae")


def check_tokenizer_saved(run: Path) -> None:
    """ValueError for a run whose tokenizer stage was stopped before its first save."""
    folder = run / "vqvae"
    if (folder / "metrics.jsonl").is_file() and not (folder / "model.safetensors").is_file():
        raise ValueError(f"the tokenizer in {folder} stopped before its first save; train it on, or give another --out")


def clear_stage(folder: Path) -> None:
    """Remove what a stage wrote, so that it counts as never trained; pictures stay until they are drawn again.

    Raises BlockingIOError while another process trains in it.
    """
    if not folder.is_dir():
        return
    with hold(folder, "trained"):
        written = ("state", "samples", "metrics.jsonl", "meta.json", "templates.json")
        for name in (*written, *WEIGHTS["lora"], *WEIGHTS["full"]):
            target = folder / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)


def split_seed(run: Path) -> int:
    """The seed that split the run's data, if the data came without splits."""
    path = run / "config.json"
    values = get_field(read_json(path), "TrainConfig", dict, path, {})
    return get_field(values, "seed", int, f"{path}: TrainConfig", TrainConfig.seed)


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
