"""A run folder from the Hub: the newest checkpoint that is whole, checked, and placed so that a kill does no harm.

What is on this machine wins if it is as far along; what belongs to another training is left alone, here and there.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from motiongpt.checkpoint import NEW, put_in_place
from motiongpt.files.hashes import file_hash
from motiongpt.files.leftovers import temporary_path
from motiongpt.files.lock import hold
from motiongpt.files.store import read_json
from motiongpt.hub import PUSHED, HubError, HubRepo, Listing, insist
from motiongpt.training.hub_checkpoints import (
    IDENTITY,
    LOGS,
    MANIFEST,
    AnotherTraining,
    LaterFormat,
    Manifest,
    Piece,
    checkpoint_names,
    identity,
    is_same_training,
    missing_in,
    order_of,
    replaced,
    run_progress,
    stage_settings,
    stages_of,
    write_identity,
)

PULL_WAITS = (2.0, 8.0, 20.0)
"""Seconds between tries: without its checkpoint a training would start from the beginning."""

Say = Callable[[str], object]


class Pulled(NamedTuple):
    """What a repository had when `pull_run` looked at it."""

    newest: Manifest | None  # the whole checkpoint that is furthest along
    damaged: frozenset[str]  # names of checkpoints that are not what they say


class _Damaged(Exception):
    """A file of a checkpoint that is not what its manifest says."""


def pull_run(
    run: Path,
    repo: HubRepo,
    listing: Listing,
    say: Say,
    before: int | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Pulled:
    """Bring `run` to the newest whole checkpoint of `repo`, unless it is as far along.

    `listing` is what `repo` holds now.

    With `before` only finished stages before that one are pulled, into a folder without any.

    Raises HubError if the Hub cannot be read, AnotherTraining if `run` holds another one, BlockingIOError if another
    process trains in a folder that would be replaced, OSError for a disk that cannot be written.
    """
    work = temporary_path(run / "hub")
    existed = run.exists()
    newest, damaged = None, set()
    try:
        for manifest in whole_checkpoints(repo, listing, work, say, sleep):
            newest = manifest
            pieces = _wanted(run, repo, manifest, before, say)
            if not pieces:
                break
            try:
                _fetch(run, repo, listing.commit, manifest, pieces, work, sleep)
            except _Damaged as error:
                say(f"{repo.name}: checkpoint {manifest.name} is damaged ({error}); the one before it is looked at")
                damaged.add(manifest.name)
                newest = None
                shutil.rmtree(work)  # what came of it is of no other checkpoint
                continue
            _place(run, manifest, pieces, work)
            size = sum(piece.size for piece in pieces.values()) / 1e6
            what = _told(manifest) if before is None else "the stages before this one"
            say(f"pulled {what} from {repo.name} into {run} ({size:.1f} MB)")
            break
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # something was pulled into it
                run.rmdir()
    return Pulled(newest, frozenset(damaged))


def whole_checkpoints(
    repo: HubRepo, listing: Listing, work: Path, say: Say, sleep: Callable[[float], object] = time.sleep
) -> Iterator[Manifest]:
    """The manifests of checkpoints that are whole as far as the list of files tells, the furthest along first.

    `say` gets a line for each that is not. Raises HubError.
    """
    for name, manifest, fault in read_manifests(repo, listing, work, sleep):
        if manifest is None or fault:
            say(f"{repo.name}: checkpoint {name} is not whole ({fault}); the one before it is looked at")
        else:
            yield manifest


def read_manifests(
    repo: HubRepo, listing: Listing, work: Path, sleep: Callable[[float], object] = time.sleep
) -> Iterator[tuple[str, Manifest | None, str | None]]:
    """(name, manifest or None if it cannot be read, what the checkpoint lacks), the furthest along first.

    Manifests are downloaded to `work`. Raises HubError, of kind `denied` for one that only a later version can read.
    """
    for name in checkpoint_names(listing.files):
        place = f"{PUSHED}/{name}/{MANIFEST}"
        path = insist(lambda place=place: repo.download(place, work, listing.commit), PULL_WAITS, sleep)
        try:
            manifest = Manifest.from_json(read_json(path), place)
            if manifest.name != name:
                raise ValueError(f"{place} is that of {manifest.name}")
        except LaterFormat as error:
            raise HubError(f"{repo.name}: {error}", "denied") from None
        except ValueError as error:
            yield name, None, str(error)
        else:
            yield name, manifest, missing_in(listing, manifest)


def _wanted(run: Path, repo: HubRepo, manifest: Manifest, before: int | None, say: Say) -> dict[str, Piece]:
    """The files of a checkpoint that `run` should get; empty if it is as far along. Raises AnotherTraining."""
    here = run_progress(run)
    if before is not None:
        earlier = before > 0 and not any(order_of(folder.name) < before for folder in stages_of(run))
        ends = before if manifest.finished else min(before, order_of(manifest.stage))
        found = {path: piece for path, piece in manifest.pieces.items() if _stage_order(path) < ends}
        if not (earlier and any("/" in path for path in found)):
            return {}
        if other := _other_file(run, manifest, found):
            say(f"the stages before this one are not pulled from {repo.name}: {run / other} is of another training")
            return {}
        return found
    if here is None:
        pieces = _without_idle_state(manifest)
        if other := _other_file(run, manifest, pieces):
            raise AnotherTraining(
                f"{run} holds files of another training ({other}) than {repo.name} ({_told(manifest)}): they stay, "
                "nothing is pulled or pushed; give another --hub-repo or another --out, or --fresh to replace the "
                "one there"
            )
        return pieces
    progress, folder = here
    if not is_same_training(manifest, identity(run), folder.name, stage_settings(folder)):
        raise AnotherTraining(
            f"{run} and {repo.name} hold different trainings (here {folder.name}, step {progress.step}; there "
            f"{_told(manifest)}): the one here is trained, nothing is pulled or pushed; give another --hub-repo or "
            "another --out, or --fresh to replace the one there"
        )
    if manifest.progress > progress:
        return _without_idle_state(manifest)
    if progress > manifest.progress:
        say(f"{run} is further along ({folder.name}, step {progress.step}) than {repo.name} ({_told(manifest)})")
    return {}


def _other_file(run: Path, manifest: Manifest, pieces: Mapping[str, Piece]) -> str | None:
    """A file of a run without a trained step that is of another training than the checkpoint; None if there is none.

    Such as tokens, or a tokenizer that was copied there. Files of a former pull, which was killed, are no others.
    """
    if (name := identity(run)) == manifest.training:
        return None
    if name:
        return IDENTITY
    return next(
        (
            path
            for path, piece in pieces.items()
            if (run / path).exists()
            and not _is_state(manifest, path)
            and path.rpartition("/")[2] not in LOGS
            and _fault(run / path, piece) is not None
        ),
        None,
    )


def _without_idle_state(manifest: Manifest) -> dict[str, Piece]:
    """All files of a checkpoint; of a finished stage without the state, which nobody resumes from."""
    return {
        path: piece for path, piece in manifest.pieces.items() if not (manifest.finished and _is_state(manifest, path))
    }


def _told(manifest: Manifest) -> str:
    """How far a checkpoint is, for people."""
    end = ", its end" if manifest.finished else f" of {manifest.total_steps}"
    return f"{manifest.stage}, step {manifest.step}{end}"


def _stage_order(path: str) -> int:
    """The order of the stage whose file it is; -1 for the run's own files."""
    stage, slash, _ = path.partition("/")
    return order_of(stage) if slash else -1


def _fetch(
    run: Path,
    repo: HubRepo,
    commit: str,
    manifest: Manifest,
    pieces: Mapping[str, Piece],
    work: Path,
    sleep: Callable[[float], object],
) -> None:
    """Download pieces to `work`, at their place in the repository; those that `run` has already are left out.

    Raises _Damaged for one that is not what the manifest says, HubError if the Hub does not answer any more.
    """
    for path, piece in pieces.items():
        if not _is_state(manifest, path) and _fault(run / path, piece) is None:
            continue
        fault = None
        for again in (False, True):
            try:
                here = insist(lambda: repo.download(piece.place, work, commit, again), PULL_WAITS, sleep)  # noqa: B023
                fault = _fault(here, piece)
            except HubError as error:
                insist(repo.read, PULL_WAITS, sleep)  # if that fails too, the Hub is gone, and no file is at fault
                fault = str(error)
            if fault is None:
                break
        if fault is not None:
            raise _Damaged(f"{path}: {fault}")


def _fault(path: Path, piece: Piece) -> str | None:
    """What is wrong with a file of this machine; None if it is the piece."""
    if not path.is_file():
        return "it is missing"
    if (size := path.stat().st_size) != piece.size:
        return f"{size} bytes instead of {piece.size}"
    return None if file_hash(path) == piece.hash else "its hash is another"


def _is_state(manifest: Manifest, path: str) -> bool:
    return path.startswith(f"{manifest.stage}/state/last/")


def _place(run: Path, manifest: Manifest, pieces: Mapping[str, Piece], work: Path) -> None:
    """Move fetched files to where a run has them. Killed anywhere, the run counts as less far along than they are.

    For that the state, which says how far a stage is, comes last, and a meta.json, which ends a stage, after its
    weights. Killed before that, a training goes on from its own state, though weights, log and pictures beside it may
    be the newer ones already: the next pull or the next save makes them those of one step again.
    """
    folders = {run / path.partition("/")[0] for path in pieces if "/" in path}
    with ExitStack() as held:
        for folder in sorted(folders):
            held.enter_context(hold(folder, "trained"))
        write_identity(run, manifest.training, replaced(run))
        fresh = run / manifest.stage / "state" / NEW
        shutil.rmtree(fresh, ignore_errors=True)
        for path in sorted(pieces, key=_turn):
            source = work / pieces[path].place
            if _is_state(manifest, path):
                target = fresh / path.removeprefix(f"{manifest.stage}/state/last/")
            elif source.is_file():
                target = run / path
            else:
                continue  # it was there already
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
        if fresh.is_dir():
            put_in_place(fresh.parent)


def _turn(path: str) -> tuple[int, bool, bool, str]:
    """The order of placing: config.json first, which marks a run, then the others, stage by stage."""
    name = path.rpartition("/")[2]
    return _stage_order(path), name == "meta.json", name != "config.json", path
