"""One push to the Hub: the files of a training at one moment, and the commit that puts them into a repository.

`take_snapshot` holds the moment: the training replaces its state while the upload runs. `plan_commit` decides what one
commit adds and deletes, from nothing but the snapshot and the list of what is there. `hub_upload.py` sends it.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from motiongpt.files.hashes import file_hash
from motiongpt.hub import PUSHED, Listing
from motiongpt.training.hub_checkpoints import (
    MANIFEST,
    TOKENIZER,
    AnotherTraining,
    Manifest,
    Piece,
    checkpoint_names,
    is_finished,
    is_run_file,
    is_same_training,
    order_of,
    stage_progress,
    stage_settings,
    stages_of,
)

LARGE_BYTES = 1 << 29
"""The run's own files, and its tokenizer, are left out if they are larger: they are inputs, and the user has them."""


@dataclass(frozen=True)
class Snapshot:
    """Copies of the files of one checkpoint, which stay as they are; `manifest` knows no hashes yet."""

    run: Path  # a run folder with these files only
    manifest: Manifest

    def hashed(self) -> "Snapshot":
        """With the hashes of all files, which takes about a second per gigabyte."""
        pieces = {path: piece._replace(hash=file_hash(self.run / path)) for path, piece in self.manifest.pieces.items()}
        return replace(self, manifest=replace(self.manifest, pieces=pieces))


def take_snapshot(
    folder: Path, target: Path, training: str, total_steps: int, carried: Collection[str], say: Callable[[str], object]
) -> Snapshot:
    """Everything that a resume of the stage in `folder` needs, in `target`: linked where the disk can, else copied.

    `carried` names the stage folders that live in the same repository; of them the finished ones before this stage are
    part of the checkpoint. `say` gets a line on what is left out for its size. Raises OSError.
    """
    run = folder.parent
    before = [
        other
        for other in stages_of(run)
        if other.name in carried and order_of(other.name) < order_of(folder.name) and is_finished(other)
    ]
    groups = [[path] for path in _files_in(run, run)]
    if folder.name != TOKENIZER and (run / TOKENIZER).is_dir():
        groups.append(_files_in(run / TOKENIZER, run))
    paths = []
    for group in groups:
        if sum(path.stat().st_size for path in group) > LARGE_BYTES:
            what = group[0] if group[0].parent == run else group[0].parent
            say(f"{what} is larger than {LARGE_BYTES >> 20} MiB and is not pushed to the Hub")
        else:
            paths += group
    paths += [path for other in before if other.name != TOKENIZER for path in _files_in(other, run)]
    paths += _files_in(folder, run)
    paths += _files_in(folder / "state" / "last", run, folder.name) if (folder / "state" / "last").is_dir() else []
    for path in paths:
        _link(path, target / path.relative_to(run))
    return _described(target, folder.name, training, total_steps, [path.relative_to(run).as_posix() for path in paths])


def _files_in(folder: Path, run: Path, state_of: str = "") -> list[Path]:
    """What a training has written there; whatever else lies there nobody asked to publish."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and is_run_file(path.relative_to(run).as_posix(), state_of)
    )


def _link(path: Path, target: Path) -> None:
    """A second name for the file: what is written later is another file, renamed into the place of this one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".jsonl":  # that one grows in its place
        try:
            os.link(path, target)
            return
        except OSError:  # a disk without links
            target.unlink(missing_ok=True)
    shutil.copyfile(path, target)


def _described(run: Path, stage: str, training: str, total_steps: int, paths: list[str]) -> Snapshot:
    """The snapshot in `run`; files of finished stages have their place where a run folder has them."""
    progress = stage_progress(run / stage)
    if progress is None:
        raise FileNotFoundError(f"{run / stage} has no state to push")
    name = f"{stage}-{progress.step:08}"
    state = f"{stage}/state/"
    pieces = {}
    for path in paths:
        is_own = path.startswith(f"{stage}/")
        stays = "/" in path and (not is_own or (progress.finished and not path.startswith(state)))
        place = path if stays else f"{PUSHED}/{name}/{path}"
        pieces[path] = Piece((run / path).stat().st_size, "", place)
    settings = stage_settings(run / stage)
    total = max(total_steps, progress.step)
    return Snapshot(run, Manifest(training, stage, progress.step, total, progress.finished, settings, pieces))


@dataclass(frozen=True)
class Commit:
    """What one commit does to a repository: places -> files or bytes, and places to delete, folders with a slash."""

    added: dict[str, Path | bytes]
    deleted: list[str]
    message: str


def plan_commit(
    snapshot: Snapshot, listing: Listing, found: Sequence[tuple[Manifest, bool]], keep: int, since: str, name: str
) -> Commit | None:
    """The commit that brings a hashed snapshot into a repository; None if that is as far along already.

    Args:
        found: the checkpoints there whose manifests can be read, and whether each is whole, the furthest along first.
        keep: how many checkpoints stay.
        since: the stage that was started over, so what is there of it and of later stages goes; empty if none was.
        name: of the repository, for errors.

    Raises AnotherTraining if the repository holds one, or other things, or nothing that can be read.
    """
    manifest = snapshot.manifest
    whole = [other for other, is_whole in found if is_whole]
    owner = next(iter(whole), found[0][0] if found else None)
    same = owner is not None and is_same_training(owner, manifest.training, manifest.stage, manifest.fingerprint)
    unread = checkpoint_names(listing.files)
    if owner is None and not unread:
        taken = sorted({path for path in (*manifest.pieces, "model.safetensors") if path in listing.files})
        if taken:
            raise AnotherTraining(f"{name} holds other files ({', '.join(taken[:3])}); give another --hub-repo")
    elif owner is None and not since:
        raise AnotherTraining(
            f"{name} holds checkpoints that cannot be read ({', '.join(unread[:3])}), which stay as they are; nothing "
            "is pushed: give another --hub-repo, or --fresh to replace them"
        )
    elif not same and not since:
        raise AnotherTraining(
            f"{name} holds another training ({owner.stage}, step {owner.step}), which stays as it is; nothing is "
            "pushed: give another --hub-repo, or --fresh to replace it"
        )
    elif whole and (whole[0] == manifest if since else whole[0].progress >= manifest.progress):
        return None  # in the first case by an earlier try, whose answer was lost

    root = f"{PUSHED}/{manifest.name}/"
    added: dict[str, Path | bytes] = {
        piece.place: snapshot.run / path for path, piece in manifest.pieces.items() if not _is_there(listing, piece)
    }
    if manifest.finished:  # a run folder that others can sample from
        added |= {path: snapshot.run / path for path in manifest.pieces if "/" not in path}
    added[f"{root}{MANIFEST}"] = json.dumps(manifest.to_json(), indent=1).encode()

    # what goes in the same commit: checkpoints beyond the last ones, all of a training that is replaced, stale files
    names = checkpoint_names({*listing.files, f"{root}{MANIFEST}"})
    after, before = names[: names.index(manifest.name)], names[names.index(manifest.name) + 1 :]
    kept = [other for other in before if not since or (same and order_of(other.partition("-")[0]) < order_of(since))]
    gone = {*after, *before} - {*kept[: keep - 1]}  # one that is further along is damaged, or replaced
    deleted = [f"{PUSHED}/{other}/" for other in sorted(gone)]
    wanted = {*added, *(piece.place for piece in manifest.pieces.values())}
    stages = {path: path.partition("/")[0] for path in listing.files if is_run_file(path) and "/" in path}
    replaced = {stage for stage in stages.values() if since and (not same or order_of(stage) >= order_of(since))}
    replaced |= {manifest.stage} if manifest.finished else set()
    stale = [path for path in sorted(listing.files) if path.startswith(root) or stages.get(path) in replaced]
    deleted += [path for path in stale if path not in wanted]
    end = "its end" if manifest.finished else f"of {manifest.total_steps}"
    return Commit(added, deleted, f"{manifest.stage}, step {manifest.step}, {end}")


def _is_there(listing: Listing, piece: Piece) -> bool:
    there = listing.files.get(piece.place)
    return there is not None and there.size == piece.size and bool(there.sha256) and there.sha256.startswith(piece.hash)
