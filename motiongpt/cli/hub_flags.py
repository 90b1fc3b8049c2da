"""A training kept on the Hub: its flags and environment, what is pulled before, pushed meanwhile, waited for after.

    --hub-repo USER/NAME                  one repository, with a folder per stage
    --hub-repo 'USER/NAME-stage{stage}'   one repository per stage; so do HUB_REPO_S1, HUB_REPO_S2, HUB_REPO_S3

A plain NAME gets HF_USER in front. Whatever the Hub does or does not do, the training goes on; only a name that cannot
be one ends the script. Nothing is imported of huggingface_hub, and of torch, unless a repository is named.
"""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.environment import HUB_VARIABLES, hub_token, say_unused_environment
from motiongpt.cli.parser import refuse_flags

if TYPE_CHECKING:
    from motiongpt.cli.parser import Parser
    from motiongpt.hub import HubRepo, Listing
    from motiongpt.training.hub_pull import Pulled
    from motiongpt.training.hub_upload import HubUploader
    from motiongpt.training.watch import Watcher

HUB_FLAGS = ("hub_repo", "hub_every", "hub_keep", "hub_public")
END_SECONDS = 1800.0  # how long the end of a script waits for the last upload
NO_TOKEN = "no token for the Hub: set HF_TOKEN to one that may write (environment), or log in with `hf auth login`"


def add_hub_flags(parser: "Parser") -> None:
    """--hub-repo and what belongs to it."""
    add = parser.add_argument_group("Hub", "Start on one machine, go on on another: docs/HUB.md.").add_argument
    repo = "keep the training in this repository of the Hub, USER/NAME, or 'USER/NAME-stage{stage}' for one per stage: "
    add("--hub-repo", metavar="USER/NAME", help=f"{repo}pushed at half-way and at the end, pulled into an empty --out")
    add("--hub-every", type=int, metavar="N", help="also push at the first save after every N steps (default: off)")
    add("--hub-keep", type=int, metavar="N", help="checkpoints that stay in the repository (default: 2)")
    add("--hub-public", action="store_true", help="if the repository has to be made, make it public (default: private)")


@contextmanager
def kept_on_hub(args: argparse.Namespace, stages: Sequence[tuple[int, object]]) -> Iterator[None]:
    """Pull what the Hub has, let the block train `stages`, and wait for the last upload.

    Stage functions get their watcher from `hub_watchers`. Raises ValueError for flags that make no sense, with
    --dry-run too, and what `open_hub` raises.
    """
    numbers = [number for number, _ in stages]
    # stages before the first one are pulled as well; 0 is a tokenizer that comes before them
    names = repo_names(args, range(min(1, *numbers), max(numbers) + 1))
    check_hub_flags(args, names, numbers)
    args.hub = open_hub(args, names, numbers) if names and not args.dry_run else None
    try:
        yield
    except KeyboardInterrupt:
        _close(args, 0.0)
        raise
    finally:
        _close(args, END_SECONDS)


def _close(args: argparse.Namespace, seconds: float) -> None:
    hub, args.hub = args.hub, None
    if hub is not None and hub.uploader is not None:
        hub.uploader.close(seconds)


def check_hub_flags(args: argparse.Namespace, names: Mapping[int, str], numbers: Sequence[int]) -> None:
    """ValueError for values out of range, or flags without a repository for one of the stages that are trained."""
    if not names:
        refuse_flags(args, HUB_FLAGS[1:], "without --hub-repo")
    elif not any(number in names for number in numbers):
        stage = numbers[-1]
        refuse_flags(args, HUB_FLAGS[1:], f"without a repository for stage {stage} (--hub-repo or HUB_REPO_S{stage})")
    for name in ("hub_every", "hub_keep"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


def repo_names(args: argparse.Namespace, numbers: Sequence[int]) -> dict[int, str]:
    """Stage number -> repository, from --hub-repo or HUB_REPO_S1...; says which variables it uses, and which not.

    Raises ValueError for a name that no repository can have. The Hub is not asked.
    """
    if args.hub_repo == "":  # an unset variable of the shell must not mean none
        raise ValueError("--hub-repo is empty; give USER/NAME, or drop the flag")
    names = {}
    unused = {*HUB_VARIABLES}
    for number in numbers:
        variable = f"HUB_REPO_S{number}"
        name = args.hub_repo
        if name is None and (name := os.environ.get(variable)):
            print(f"Hub repository of stage {number}: {name} (environment: {variable})")
            unused -= {variable}
        if name:
            names[number] = name.replace("{stage}", str(number))
    user = os.environ.get("HF_USER")
    plain = [number for number, name in names.items() if "/" not in name]
    if plain and not user:
        raise ValueError(f"--hub-repo {names[plain[0]]} names no user; give USER/NAME, or set HF_USER")
    if plain:
        print(f"Hub user {user} (environment: HF_USER)")
        unused -= {"HF_USER"}
    say_unused_environment(*sorted(unused))
    names |= {number: f"{user}/{names[number]}" for number in plain}
    if names:
        from motiongpt.hub import check_repo_name

        for name in names.values():
            check_repo_name(name)
    return names


@dataclass
class Hub:
    """The repositories of a run, and what they had when the script began."""

    repos: dict[int, "HubRepo"]  # by the number of the stage
    trained: Sequence[int]  # numbers of the stages that this command trains
    there: dict[str, "Pulled"] = field(default_factory=dict)  # by name
    refused: dict[str, str] = field(default_factory=dict)  # by name: why nothing is pushed there
    unread: dict[str, str] = field(default_factory=dict)  # by name: why nothing could be pulled from there
    is_away: bool = False  # whether one of them has not answered
    uploader: "HubUploader | None" = None

    def watchers(self, number: int, folder: Path, fresh: bool) -> "list[Watcher]":
        """The uploader, told that the stage in `folder` is trained now; nobody if the stage has no repository."""
        repo = self.repos.get(number)
        if self.uploader is None or repo is None or repo.name in self.uploader.refused:
            return []
        if fresh:  # and so are the stages after it, which may have repositories of their own
            later = [other for other in self.trained if other > number and other in self.repos]
            since = {self.repos[other].name: f"stage{other}" for other in sorted(later, reverse=True)}
            self.uploader.replace(since | {repo.name: folder.name})
        newest = self.there[repo.name].newest if repo.name in self.there else None
        pushed = newest.step if newest is not None and newest.stage == folder.name else 0
        self.uploader.begin(repo, folder, carried=self.carried(repo), pushed=pushed)
        return [self.uploader]

    def carried(self, repo: "HubRepo") -> list[str]:
        """The stage folders that live in a repository."""
        return [f"stage{number}" for number, other in self.repos.items() if other.name == repo.name]

    def push_what_is_missing(self, run: Path) -> None:
        """Push the furthest finished stages whose push did not arrive when they were trained."""
        from motiongpt.training.hub_checkpoints import order_of, replaced, stage_progress, stages_of

        missing: dict[str, tuple[HubRepo, Path]] = {}
        for folder in stages_of(run):
            repo = self.repos.get(max(order_of(folder.name), min(self.repos)))  # a tokenizer may be stage 1
            progress = stage_progress(folder)
            if repo is None or progress is None or repo.name not in self.there:
                continue
            if repo.name in replaced(run) and not self.uploader.replaces(repo.name, folder.name):
                continue  # a later one was started over
            newest = self.there[repo.name].newest
            missing.pop(repo.name, None)
            if progress.finished and (newest is None or progress > newest.progress):
                missing[repo.name] = (repo, folder)
        for repo, folder in missing.values():
            self.uploader.push_stage(repo, folder, self.carried(repo))


def hub_watchers(args: argparse.Namespace, number: int, folder: Path) -> "list[Watcher]":
    """Who pushes the stage in `folder`: nobody without --hub-repo, nor in a script that has no such flag."""
    hub = getattr(args, "hub", None)
    return [] if hub is None else hub.watchers(number, folder, args.fresh)


def open_hub(args: argparse.Namespace, names: dict[int, str], numbers: Sequence[int]) -> Hub | None:
    """Pull what is further along than --out, and make ready to push the stages `numbers` to the repositories `names`.

    Of several processes the first does it while the others wait, and they get None.

    Raises FileNotFoundError if --resume was given, and there is nothing unfinished, here or on the Hub; and what
    `pull_run` raises for a folder that cannot be written.
    """
    from motiongpt.training.world import this_world

    opened: list[Hub] = []
    this_world().from_first(lambda: opened.append(_open_first(args, names, numbers)))
    return opened[0] if opened else None


def _open_first(args: argparse.Namespace, names: dict[int, str], numbers: Sequence[int]) -> Hub:
    from huggingface_hub.utils import logging

    from motiongpt.hub import HubRepo, is_offline
    from motiongpt.stages.run_folder import check_place
    from motiongpt.training.hub_upload import HubUploader

    logging.set_verbosity_error()  # it reports every single try
    check_place(args.out)
    offline = is_offline()
    token, where = (None, "") if offline else hub_token()
    repos = {name: HubRepo(name, token) for name in dict.fromkeys(names.values())}
    hub = Hub({number: repos[name] for number, name in names.items()}, numbers)
    if offline:
        print(f"HF_HUB_OFFLINE is set; unset it to pull and push. The training goes on {_from_where(args.out)}")
        hub.unread |= dict.fromkeys(repos, "HF_HUB_OFFLINE is set; unset it")
    else:
        print(f"Hub token ({where})" if token else f"{NO_TOKEN}; nothing is pushed, and the training goes on")
        for repo in repos.values():
            _look(hub, repo, args, token is not None)
    if args.resume and hub.unread and not _has_unfinished(args.out):
        why = "; ".join(dict.fromkeys(hub.unread.values()))
        raise FileNotFoundError(f"--resume: {args.out} has nothing unfinished, and nothing came from the Hub: {why}")
    if token is None or args.debug:
        return hub
    new = args.fresh and min(numbers) <= 1  # all of a run that is begun anew is another training
    private = not args.hub_public
    hub.uploader = HubUploader(args.out, every=args.hub_every or 0, keep=args.hub_keep or 2, private=private, new=new)
    hub.uploader.refused |= hub.refused
    hub.uploader.damaged |= {name: pulled.damaged for name, pulled in hub.there.items()}
    if not args.fresh:
        hub.push_what_is_missing(args.out)
    return hub


def _look(hub: Hub, repo: "HubRepo", args: argparse.Namespace, has_token: bool) -> None:
    """Pull from one repository, or make it if a stage is trained for it; a line for whatever is not as it should."""
    from motiongpt.hub import HubError
    from motiongpt.training import hub_pull
    from motiongpt.training.hub_checkpoints import AnotherTraining, order_of, replaced

    before = min(hub.trained) if args.fresh else None
    if not args.fresh and (since := replaced(args.out).get(repo.name)):
        before = order_of(since)
        print(f"{args.out} was begun with --fresh: its next push replaces what {repo.name} has from {since} on")
    try:
        listing = _read(repo, patient=not hub.is_away)
        if args.debug:
            state = "is not there yet" if listing is None else "can be read"
            print(f"{repo.name} {state}; --debug pulls and pushes nothing")
        elif listing is not None:
            if not listing.private and not args.hub_public:
                print(f"note: {repo.name} is public, and so is what is pushed there")
            pulled = hub_pull.pull_run(args.out, repo, listing, print, before)
            hub.there[repo.name] = pulled if before is None else pulled._replace(newest=None)  # it is replaced
            if pulled.newest is None:
                hub.unread[repo.name] = f"{repo.name} has no checkpoint that is whole"
        elif args.resume and not _has_unfinished(args.out):
            hub.unread[repo.name] = f"there is no {repo.name}"
        elif has_token and any(hub.repos.get(number) is repo for number in hub.trained):
            repo.create(not args.hub_public)
            hub.there[repo.name] = hub_pull.Pulled(None, frozenset())
            print(f"made {repo.name} on the Hub, {'public' if args.hub_public else 'private'}")
    except AnotherTraining as error:
        hub.refused[repo.name] = hub.unread[repo.name] = str(error)
        print(error)
    except HubError as error:
        hub.unread[repo.name] = str(error)
        hub.is_away = hub.is_away or error.kind == "failed"
        if error.kind == "denied":
            hub.refused[repo.name] = str(error)
        if has_token or error.kind != "denied":  # that there is no token has been said
            print(f"{error}; the training goes on {_from_where(args.out)}")


def _read(repo: "HubRepo", patient: bool) -> "Listing | None":
    """What a repository holds; if it does not answer, tried again, unless another one has not answered either."""
    from motiongpt.hub import ANSWER_SECONDS, insist
    from motiongpt.training.hub_pull import PULL_WAITS

    waits = PULL_WAITS if patient else ()
    limit = sum(waits) + ANSWER_SECONDS * len(waits)
    left = [f"{repo.name} does not answer; it is tried again for about {limit:.0f} s at most"]

    def wait(seconds: float) -> None:
        while left:
            print(left.pop(), flush=True)
        time.sleep(seconds)

    return insist(repo.read, waits, wait, limit)


def _has_unfinished(run: Path) -> bool:
    """Whether there is something that --resume can go on with."""
    from motiongpt.training.hub_checkpoints import is_finished, stages_of

    return any((folder / "state").is_dir() and not is_finished(folder) for folder in stages_of(run))


def _from_where(run: Path) -> str:
    """Where a training begins that gets nothing from the Hub."""
    from motiongpt.training.hub_checkpoints import run_progress

    return "from the beginning" if run_progress(run) is None else f"with what is in {run}"
