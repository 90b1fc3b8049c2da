"""Checkpoints in a repository of the Hub: what they are made of, which is the newest, whether one is whole.

A repository looks like a run folder, so that others sample from it, with the states of the training beside it:

    config.json ... vqvae/ stage1/      the run's own files and its finished stages
    checkpoints/stage2-00000500/        a checkpoint: manifest.json, and the files that no other place has

A checkpoint comes in one commit, whole or not at all. Its manifest names every file that a machine with an empty folder
needs, those of finished stages too, each with its size, its hash and its place in the repository.

Nothing here talks to the Hub (`hub.py`); `hub_pull.py` and `hub_upload.py` do.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from motiongpt.checkpoint import saved_state
from motiongpt.files.fields import get_field
from motiongpt.files.store import read_json, write_json
from motiongpt.hub import PUSHED, Listing
from motiongpt.training.resume import changes

MANIFEST, IDENTITY = "manifest.json", "hub.json"
FORMAT = 1
"""Of manifests. A checkpoint of a later format is left as it is, and so is the repository that holds it."""

TOKENIZER = "vqvae"
RUN_FILES = ("config.json", "prompts.json", "tokens.json", "tokens.meta.json", "tokenizer.json",
             "tokenizer_config.json")  # fmt: skip
"""The run's own files. A run folder may hold others, which nobody asked to publish; the same goes for its stages."""

STAGE_FILES = ("config.json", "meta.json", "templates.json", "skeleton.json", "tokenizer.json", "tokenizer_config.json",
               "adapter_config.json", "adapter_model.safetensors", "model*.safetensors", "model.safetensors.index.json",
               "Mean.npy", "Std.npy", "metrics.jsonl", "loss.png")  # fmt: skip
STATE_FILES = ("state.json", "tensors.safetensors", "shard-*.safetensors")
LOGS = ("metrics.jsonl", "loss.png")
"""Of STAGE_FILES: what a training writes before its first save too."""

_STAGE = re.compile(rf"{TOKENIZER}|stage\d{{1,3}}")
_NAME = re.compile(rf"{PUSHED}/({_STAGE.pattern})-(\d{{8,}})/{re.escape(MANIFEST)}")


class AnotherTraining(Exception):
    """A repository and a run folder hold different trainings, in one line with the remedy."""


class LaterFormat(Exception):
    """A checkpoint that only a later version of this program can read, in one line with the remedy."""


class Progress(NamedTuple):
    """How far a training is; the larger one is further along."""

    order: int  # of the stage: the tokenizer comes first
    finished: bool
    step: int


class Piece(NamedTuple):
    """One file of a checkpoint."""

    size: int
    hash: str  # `file_hash`: the first digits of the SHA-256 that the Hub lists for large files
    place: str  # in the repository


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself."""

    training: str  # the same in all checkpoints of one training, whichever machine pushed them
    stage: str  # its folder
    step: int
    total_steps: int
    finished: bool
    fingerprint: dict[str, Any]  # the settings that a resume must find again
    pieces: dict[str, Piece]  # path in the run folder -> file

    @property
    def name(self) -> str:
        return f"{self.stage}-{self.step:08}"

    @property
    def progress(self) -> Progress:
        return Progress(order_of(self.stage), self.finished, self.step)

    def to_json(self) -> dict[str, Any]:
        pieces = {path: piece._asdict() for path, piece in self.pieces.items()}
        return {"format": FORMAT} | vars(self) | {"pieces": pieces}

    @classmethod
    def from_json(cls, content: dict[str, Any], source: str) -> "Manifest":
        """Inverse of `to_json`; the first manifests have no format.

        Raises ValueError for one that no training writes, such as a path outside of the run, LaterFormat for one that
        only a later version can read.
        """
        if (version := get_field(content, "format", int, source, FORMAT, least=1)) > FORMAT:
            raise LaterFormat(
                f"{source} has format {version}, and this version reads up to {FORMAT}; update the program, or give "
                "another --hub-repo"
            )
        values = {name: get_field(content, name, str, source) for name in ("training", "stage")}
        values |= {name: get_field(content, name, int, source, least=0) for name in ("step", "total_steps")}
        values["finished"] = get_field(content, "finished", bool, source)
        values["fingerprint"] = get_field(content, "fingerprint", dict, source)
        if not _STAGE.fullmatch(values["stage"]):
            raise ValueError(f"{source}: {values['stage']!r:.80} is no stage")
        pieces = {}
        for path, piece in get_field(content, "pieces", dict, source).items():
            where = f"{source}: {path!r:.80}"
            if not isinstance(piece, dict) or not is_run_file(path, values["stage"]):
                raise ValueError(f"{where} is no file of a run")
            size = get_field(piece, "size", int, where, least=0)
            pieces[path] = Piece(size, *(get_field(piece, name, str, where) for name in ("hash", "place")))
            # one of two places, so that no two files share one, and none leads out of the folder
            if not re.fullmatch(rf"({PUSHED}/({_STAGE.pattern})-\d{{8,}}/)?{re.escape(path)}", pieces[path].place):
                raise ValueError(f"{where} lies at {pieces[path].place!r:.80}, where no training puts it")
        return cls(**values, pieces=pieces)


def order_of(stage: str) -> int:
    """The place of a stage folder among those of a run: 0 for the tokenizer's, n for `stageN`."""
    return 0 if stage == TOKENIZER else int(stage.removeprefix("stage"))


def stages_of(run: Path) -> list[Path]:
    """The stage folders of a run, in their order."""
    found = [folder for folder in run.glob("*") if _STAGE.fullmatch(folder.name) and folder.is_dir()]
    return sorted(found, key=lambda folder: order_of(folder.name))


def is_run_file(path: str, state_of: str = "") -> bool:
    """Whether a path in a run folder is one that a training writes: NAME, STAGE/NAME or STAGE/state/last/NAME.

    The last only for the stage `state_of`, whose state a checkpoint holds. So no path leads out of the run or hides,
    and none has a letter that a file system refuses.
    """
    folder, _, name = path.rpartition("/")
    if re.search(r'[\\:*?"<>|\0-\x1f]', name):
        return False
    if not folder:
        patterns = RUN_FILES
    elif _STAGE.fullmatch(folder):
        patterns = STAGE_FILES
    elif state_of and folder == f"{state_of}/state/last":
        patterns = STATE_FILES
    else:
        return False
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def checkpoint_names(files: Iterable[str]) -> list[str]:
    """The checkpoints among the files of a repository, the furthest along first."""
    found = [match.groups() for path in files if (match := _NAME.fullmatch(path))]
    return [f"{stage}-{step}" for stage, step in sorted(found, key=_rank, reverse=True)]


def _rank(name: tuple[str, str]) -> tuple[int, int]:
    return order_of(name[0]), int(name[1])


def missing_in(listing: Listing, manifest: Manifest) -> str | None:
    """What a checkpoint lacks according to the list of the repository's files; None if it seems to be whole."""
    for path, piece in manifest.pieces.items():
        there = listing.files.get(piece.place)
        if there is None:
            return f"{path} is missing"
        if there.size != piece.size:
            return f"{path} has {there.size} bytes of {piece.size}"
        if there.sha256 and not there.sha256.startswith(piece.hash):
            return f"{path} is another file"
    return None


# What a run folder on this machine says.


def is_finished(folder: Path) -> bool:
    """Whether a stage folder holds a finished stage: weights, and a meta.json that does not deny it."""
    try:
        meta = read_json(folder / "meta.json")
    except (FileNotFoundError, ValueError):
        return False
    return meta.get("finished", True) is True and any(folder.glob("*.safetensors"))


def stage_progress(folder: Path) -> Progress | None:
    """How far a stage folder is; None if nothing was trained there."""
    finished = is_finished(folder)
    step = read_json(folder / "meta.json").get("steps") if finished else saved_state(folder / "state").get("step")
    step = step if type(step) is int else 0
    return Progress(order_of(folder.name), finished, step) if finished or step else None


def run_progress(run: Path) -> tuple[Progress, Path] | None:
    """How far a run is, and the stage folder that says so; None for one without any training."""
    found = [(progress, folder) for folder in stages_of(run) if (progress := stage_progress(folder)) is not None]
    return max(found) if found else None


def identity(run: Path) -> str:
    """The name that a run's training has in repositories; empty for one that was never pushed or pulled."""
    try:
        return get_field(read_json(run / IDENTITY), "training", str, run / IDENTITY)
    except (FileNotFoundError, ValueError):
        return ""


def replaced(run: Path) -> dict[str, str]:
    """Repository -> the stage from which on this training, begun with --fresh, replaces what it holds.

    That stays due until the first push has arrived, in this process or in a later one.
    """
    path = run / IDENTITY
    try:
        found = get_field(read_json(path), "replaces", dict, path, {})
    except (FileNotFoundError, ValueError):
        return {}
    return {repo: stage for repo, stage in found.items() if isinstance(stage, str) and _STAGE.fullmatch(stage)}


def write_identity(run: Path, training: str, replaces: Mapping[str, str]) -> None:
    """What `identity` and `replaced` read. Raises OSError."""
    write_json(run / IDENTITY, {"training": training, **({"replaces": dict(replaces)} if replaces else {})})


def stage_settings(folder: Path) -> dict[str, Any]:
    """What tells a stage's training from others: its fingerprint and the micro-batches of a step. Empty without any."""
    state = saved_state(folder / "state")
    settings = get_field(state, "fingerprint", dict, folder / "state", {})
    return settings | {name: state[name] for name in ("micro_batches",) if settings and name in state}


def same_settings(saved: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two results of `stage_settings` are those of one training, which one can resume from the other."""
    return not changes(_compared(saved), _compared(now))


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    # where it started is a path, and its hash tells more; --grad-accum 3 on two devices has the micro-batches of 4
    kept = {name: value for name, value in settings.items() if name not in ("start", "grad_accum")}
    return {"micro_batches": settings.get("grad_accum")} | kept


def is_same_training(manifest: Manifest, training: str, stage: str, fingerprint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint belongs to a training that is at `stage`; `fingerprint` is empty if nothing tells it.

    Two that were begun independently with the same settings are one: they compute the same.
    """
    if manifest.stage == stage and fingerprint:
        return same_settings(manifest.fingerprint, fingerprint)
    return manifest.training == training
