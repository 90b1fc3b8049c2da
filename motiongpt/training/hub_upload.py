"""A training kept on the Hub while it runs, so that it goes on elsewhere if this machine dies.

`HubUploader` watches the loop. Half-way, at the end of a stage, and every few steps if asked, it takes a snapshot and
returns; a thread uploads it. The training never waits for the Hub and never ends because of it: what fails is said in
one line and tried again at the next save and at the end.
"""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from motiongpt.files.leftovers import temporary_path
from motiongpt.hub import HubError, HubRepo, insist
from motiongpt.training.hub_checkpoints import (
    AnotherTraining,
    identity,
    is_finished,
    order_of,
    replaced,
    write_identity,
)
from motiongpt.training.hub_commit import Snapshot, plan_commit, take_snapshot
from motiongpt.training.hub_pull import read_manifests
from motiongpt.training.watch import Watcher

PUSH_WAITS = (3.0, 15.0, 60.0)  # seconds between the tries of one push; the library repeats single requests besides
SHORT_SECONDS = 2.0  # of waiting at the end that need no word
CONFLICTS = 5  # new looks at a repository that others write to, before a push counts as failed


@dataclass
class _Stage:
    """The stage that is being trained."""

    repo: HubRepo
    folder: Path
    carried: Collection[str]
    pushed: int  # the step of the newest checkpoint on the Hub or on its way
    saved: int = 0
    total_steps: int = 0
    ended: bool = False


@dataclass
class _Push:
    """A snapshot on its way."""

    repo: HubRepo
    snapshot: Snapshot
    failure: str = ""

    def __str__(self) -> str:
        manifest = self.snapshot.manifest
        return f"{manifest.stage}, step {manifest.step} of {manifest.total_steps}"


class HubUploader(Watcher):
    """A watcher that pushes a run; call `begin` before each stage and `close` at the end.

    Args:
        run: the run folder.
        every: steps between pushes beside the half and the end of a stage; 0 = only those.
        keep: checkpoints that stay in a repository.
        private: whether a repository that has to be made is private.
        new: a training with the run's former name is another one, which this one replaces.
        say: gets lines for people, from the thread too.

    At most one push is in flight, and one waits per repository: a newer one takes its place.
    """

    def __init__(
        self,
        run: Path,
        *,
        every: int = 0,
        keep: int = 2,
        private: bool = True,
        new: bool = False,
        say: Callable[[str], object] = tqdm.write,
    ) -> None:
        self.run = run
        self.every, self.keep, self.private, self.say = every, keep, private, say
        self.training = ("" if new else identity(run)) or secrets.token_hex(8)
        self._replaces = {} if new else replaced(run)
        self.refused: dict[str, str] = {}
        """Repositories that nothing is pushed to any more -> why."""
        self.damaged: dict[str, Collection[str]] = {}
        """Repositories -> names of checkpoints there whose files have turned out to be damaged."""
        self._stage: _Stage | None = None
        self._changed = threading.Condition()  # of all that follows
        self._waiting: dict[str, _Push] = {}  # by the name of the repository
        self._failed: dict[str, _Push] = {}
        self._flying: _Push | None = None
        self._thread: threading.Thread | None = None
        self._closing = self._given_up = False
        self._snapshots = 0
        self._said: set[str] = set()

    # 1) The training's side. Nothing here talks to the Hub.

    def begin(self, repo: HubRepo, folder: Path, *, carried: Collection[str] = (), pushed: int = 0) -> None:
        """The stage in `folder` is trained next; the one before it is pushed if it has reached its end.

        Args:
            carried: names of the stage folders that live in the same repository.
            pushed: the step of this stage that the repository has.
        """
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()  # they would be drawn into the training's
        self._end_stage()
        self._stage = _Stage(repo, folder, carried, pushed)

    def replace(self, stages: Mapping[str, str]) -> None:
        """Repository -> the stage that is started over: its first push replaces what is there from that stage on.

        The run folder remembers it, for a process that goes on after this one was killed.
        """
        with self._changed:
            for repo, stage in stages.items():
                earlier = self._replaces.get(repo)
                self._replaces[repo] = stage if earlier is None else min(earlier, stage, key=order_of)
        self._remember()

    def replaces(self, repo: str, stage: str) -> str:
        """The stage that a push of `stage` replaces what a repository holds from; empty if it adds to it."""
        with self._changed:
            since = self._replaces.get(repo, "")
        return since if since and order_of(stage) >= order_of(since) else ""

    def _remember(self) -> None:
        """What a push needs to know in a later process; a disk that does not take it costs a line."""
        try:
            with self._changed:  # one thread at a time
                write_identity(self.run, self.training, self._replaces)
        except OSError as error:
            self._say_once(f"{error}; a later command may take this for another training than the one on the Hub")

    def on_save(self, step: int, folder: Path, total_steps: int) -> None:
        """Take a snapshot if a push is due, or if one has failed since the last save."""
        stage = self._stage
        if stage is None:
            return
        stage.saved, stage.total_steps = step, total_steps
        half = stage.pushed < total_steps / 2 <= step
        due = half or (self.every > 0 and step // self.every > stage.pushed // self.every)
        with self._changed:
            retry = stage.repo.name in self._failed
        if (due or retry) and step < total_steps:  # the last one is pushed when its stage is marked as finished
            self._take(stage)
        self._retry()

    def on_end(self, finished: bool) -> None:
        """Push the last save if the training stops before its end; else `begin` or `close` push the finished stage."""
        if self._stage is not None:
            self._stage.ended = finished
            if not finished:
                self._end_stage()

    def push_stage(self, repo: HubRepo, folder: Path, carried: Collection[str] = ()) -> None:
        """Push a stage that was trained earlier, whose push did not arrive then."""
        self._take(_Stage(repo, folder, carried, 0))

    def close(self, seconds: float) -> bool:
        """Wait for what is on its way, at most so long, and say what has not arrived. Returns whether all has."""
        self._closing = True
        self._end_stage()
        self._retry()
        try:
            with self._changed:
                if not self._changed.wait_for(self._is_idle, min(SHORT_SECONDS, seconds)):
                    limit = f"at most {seconds / 60:.0f} min; Ctrl-C ends the wait"
                    self.say(f"waiting for the upload to {self._busy()} ({limit})")
                    self._changed.wait_for(self._is_idle, max(0.0, seconds - SHORT_SECONDS))
        finally:
            with self._changed:
                self._given_up = True
                flying = [self._flying] if self._flying else []
                left = {push.repo.name: push for push in (*self._failed.values(), *flying, *self._waiting.values())}
                self._waiting.clear()
                self._failed.clear()
                self._changed.notify_all()
            shutil.rmtree(temporary_path(self.run / "push"), ignore_errors=True)
            for push in left.values():
                why = push.failure or "the upload takes too long"
                self.say(f"not pushed: {push} ({why}); it is in {self.run}, and the same command tries again")
        return not left and not self.refused

    def _end_stage(self) -> None:
        stage, self._stage = self._stage, None
        if stage is not None and ((stage.ended and is_finished(stage.folder)) or stage.saved > stage.pushed):
            self._take(stage)

    def _take(self, stage: _Stage) -> None:
        """Snapshot a stage and queue it; a disk that cannot hold it costs a line, not the training."""
        if stage.repo.name in self.refused:
            return
        self._snapshots += 1
        target = temporary_path(self.run / "push") / str(self._snapshots)
        try:
            self._remember()
            snapshot = take_snapshot(
                stage.folder, target, self.training, stage.total_steps, stage.carried, self._say_once
            )
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            self.say(f"the Hub gets no copy of {stage.folder.name}: {error}")
            return
        stage.pushed = snapshot.manifest.step
        push = _Push(stage.repo, snapshot)
        with self._changed:
            for place in (self._failed, self._waiting):
                if older := place.pop(push.repo.name, None):
                    shutil.rmtree(older.snapshot.run, ignore_errors=True)
            self._waiting[push.repo.name] = push
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hub", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def _retry(self) -> None:
        with self._changed:
            self._waiting = self._failed | self._waiting
            self._failed = {}
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._waiting and self._flying is None

    def _busy(self) -> str:
        names = [push.repo.name for push in (self._flying, *self._waiting.values()) if push]
        return ", ".join(dict.fromkeys(names))

    # 2) The thread's side.

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._given_up)
                if self._given_up:
                    return
                self._flying = push = self._waiting.pop(next(iter(self._waiting)))
            push.failure = ""
            try:
                if push.repo.name not in self.refused:  # taken while that was found out
                    self._deliver(push)
            except AnotherTraining as error:
                self._refuse(push.repo, str(error))
            except Exception as error:  # of the library, of the disk: none may end the training, all are said
                push.failure = str(error) or type(error).__name__
                denied = isinstance(error, HubError) and error.kind == "denied"
                if denied:
                    self._refuse(push.repo, push.failure)
                elif not self._closing:
                    self.say(f"not pushed: {push} ({push.failure}); tried again at the next save and at the end")
            with self._changed:
                self._flying = None
                superseded = push.repo.name in self._waiting
                if push.failure and push.repo.name not in self.refused and not superseded and not self._given_up:
                    self._failed[push.repo.name] = push
                else:
                    shutil.rmtree(push.snapshot.run, ignore_errors=True)
                self._changed.notify_all()

    def _refuse(self, repo: HubRepo, why: str) -> None:
        """Leave a repository alone from now on."""
        self.refused[repo.name] = why
        with self._changed:
            self._waiting.pop(repo.name, None)
        self.say(f"{why}; the training goes on without it")

    def _deliver(self, push: _Push) -> None:
        """Upload a snapshot, with the tries that one push has. Raises HubError or AnotherTraining."""
        began = time.monotonic()
        push.snapshot = push.snapshot.hashed()
        for attempt in range(CONFLICTS + 1):
            try:
                sent = insist(lambda: self._send(push), PUSH_WAITS, lambda seconds: self._pause(push, seconds))
                break
            except HubError as error:
                if error.kind != "conflict" or attempt == CONFLICTS:
                    raise
        if sent:
            self._has_replaced(push)
            size = sum(piece.size for piece in push.snapshot.manifest.pieces.values()) / 1e6
            self.say(f"pushed {push} to {push.repo.name} ({size:.1f} MB, {time.monotonic() - began:.0f} s)")

    def _has_replaced(self, push: _Push) -> None:
        """The first push of a stage that was started over has arrived: later ones add to it."""
        if self.replaces(push.repo.name, push.snapshot.manifest.stage):
            with self._changed:
                del self._replaces[push.repo.name]
            self._remember()

    def _pause(self, push: _Push, seconds: float) -> None:
        """Wait before another try, unless a newer snapshot waits or everything ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._given_up or push.repo.name in self._waiting, seconds)

    def _send(self, push: _Push) -> bool:
        """One look at the repository and one commit; False if it is as far along. Raises HubError, AnotherTraining."""
        if self._given_up:
            raise HubError(f"{push.repo.name}: given up")
        listing = push.repo.read()
        if listing is None:
            push.repo.create(self.private)
            listing = push.repo.read()
        if listing is None:
            raise HubError(f"{push.repo.name} was made and cannot be read; the token may not see it", "denied")
        seen = push.snapshot.run.with_name(f"{push.snapshot.run.name}-{listing.commit[:8]}")
        try:
            read = read_manifests(push.repo, listing, seen, lambda seconds: self._pause(push, seconds))
            broken = self.damaged.get(push.repo.name, ())
            found = [(other, not fault and name not in broken) for name, other, fault in read if other is not None]
        finally:
            shutil.rmtree(seen, ignore_errors=True)
        since = self.replaces(push.repo.name, push.snapshot.manifest.stage)
        commit = plan_commit(push.snapshot, listing, found, self.keep, since, push.repo.name)
        if commit is None:
            newest = next(other for other, is_whole in found if is_whole)
            if newest.progress == push.snapshot.manifest.progress:
                return True  # the commit of an earlier try, whose answer was lost, or of a machine that is as far
            self.say(f"{push.repo.name} is further along, {newest.stage} at step {newest.step}; {push} is not pushed")
            return False
        push.repo.commit(commit.added, commit.deleted, commit.message, listing.commit, lambda: self._given_up)
        return True
