"""The Hugging Face Hub: a folder by name, for a backbone or a run, and a repository to keep a training in.

Only a name of the form USER/NAME can reach the network, and only if no local path fits. A bare NAME is a folder of the
checkout's checkpoints/. Nothing here knows which repositories exist, or what is in them.

`HubRepo` lists, downloads and commits; what checkpoints are made of is in `training/hub_checkpoints.py`. Whatever goes
wrong becomes a `HubError` of one line. Transfer itself is huggingface_hub's work, imported where it is used.
"""

import errno
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

BACKBONE_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json", "meta.json"),
    *("tokenizer*", "*.model", "vocab.json", "merges.txt", "special_tokens_map.json", "chat_template.jinja"),
    "generation_config.json",
)
"""The files fetched for a backbone. Many repositories also hold the same weights in other formats."""

PUSHED = "checkpoints"
"""The folder of a repository that a training pushes its states to. Who only samples does not need it."""

SILENT_SECONDS = 120.0  # an upload that neither sends nor gets a byte for so long has failed
ANSWER_SECONDS = 15.0  # a question of a few bytes, asked before the first step
REASON_LETTERS = 120  # of an error's own words
SMALL_BYTES = 1 << 20
TEXT = (".json", ".jsonl", ".jinja", ".txt", ".md")

Value = TypeVar("Value")

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"
"""Of the checkout: where `scripts/assets.py --fetch NAME` puts a backbone."""


def resolve_folder(
    name_or_path: str | Path, kind: str, advice: str, allow: Sequence[str] = ("*",), ignore: Sequence[str] = ()
) -> Path:
    """A local folder as it is; USER/NAME from the Hub or its cache, with the files that match `allow` and not `ignore`.

    If there is a local folder USER, a missing USER/NAME counts as a misspelt path, and the Hub is not asked.

    Raises FileNotFoundError, which names `kind` and `advice`, for a path that is no folder, and ValueError if the Hub
    has no such repository or cannot be reached.
    """
    path = Path(name_or_path).expanduser()
    name = str(name_or_path)
    if path.is_dir():
        return path
    # not USER/NAME, or a path that was meant to be local
    if name.count("/") != 1 or path.is_absolute() or name.startswith((".", "~")) or path.parent.is_dir():
        raise FileNotFoundError(f"no {kind} folder at {name}; {advice}")
    from huggingface_hub import snapshot_download  # here, as importing it takes long and few runs need it
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(allow), ignore_patterns=list(ignore)))
    except (HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} is neither a local folder nor a {kind} that could be fetched from the Hub ({reason}); "
            "check the name and the network, or give a folder"
        ) from error


def is_bare(name: str) -> bool:
    """Whether a name is one word, such as `smollm2`: no path and no repo id."""
    return bool(name) and Path(name).name == name and "\\" not in name and not name.startswith((".", "~"))


def named_backbone(name: str) -> str:
    """A bare name as the path of CHECKOUT/checkpoints/NAME, if a model lies there and no local folder has that name.

    Any other name is returned as it is.
    """
    folder = CHECKPOINTS / name
    known = is_bare(name) and not Path(name).is_dir() and (folder / "config.json").is_file()
    return str(folder) if known else name


def resolve_backbone(name_or_path: str | Path) -> Path:
    """The folder of a backbone, by path, repo id, or bare name. Raises what `resolve_folder` raises."""
    name = str(name_or_path)
    advice = "expected one with config.json and model.safetensors, or a Hub repo id"
    if is_bare(name):
        advice += f", or a name known to: python scripts/assets.py --fetch {name}"
    return resolve_folder(named_backbone(name), "backbone", advice, allow=BACKBONE_FILES)


# A repository to keep a training in.


class HubError(Exception):
    """What the Hub did not do, in one line: repository, reason, remedy. It never shows a token."""

    def __init__(self, message: str, kind: str = "failed") -> None:
        super().__init__(message)
        self.kind = kind
        """`failed` may work later, `conflict` needs a new look at the repository first, `denied` stays."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as a repository lists it."""

    size: int
    sha256: str = ""  # of large files (LFS) only


@dataclass(frozen=True)
class Listing:
    """All files of a repository at one commit."""

    commit: str
    private: bool
    files: dict[str, RemoteFile]


def check_repo_name(name: str) -> None:
    """ValueError for a name that no repository can have. The Hub is not asked."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name!r} cannot be the name of a repository; expected USER/NAME") from error
    if name.count("/") != 1:
        raise ValueError(f"{name!r} names no user; expected USER/NAME")


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the Hub."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


class HubRepo:
    """A model repository, read and written with an explicit token. Every method raises `HubError`, and only that.

    Raises ValueError for a name that no repository can have.
    """

    def __init__(self, name: str, token: str | None) -> None:
        check_repo_name(name)
        self.name = name
        self._token = token

    def read(self) -> Listing | None:
        """What is in it now; None if there is no such repository, or none that the token may see."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._explained("read"):
            try:
                info = self._api().model_info(self.name, files_metadata=True, timeout=ANSWER_SECONDS)
            except RepositoryNotFoundError as error:
                if _status(error) == 404:
                    return None
                raise
            large = {file.rfilename: file.lfs.sha256 if file.lfs else "" for file in info.siblings or ()}
            files = {file.rfilename: RemoteFile(file.size, large[file.rfilename]) for file in info.siblings or ()}
            return Listing(info.sha, bool(info.private), files)

    def create(self, private: bool) -> None:
        """Make it; one that exists stays as it is."""
        with self._explained("created"):
            self._api().create_repo(self.name, private=private, exist_ok=True)

    def download(self, path: str, folder: Path, commit: str, again: bool = False) -> Path:
        """Fetch one file of a commit to `folder`/`path`; with `again` also if it is there already."""
        from huggingface_hub import hf_hub_download

        token = self._token or False
        with self._explained("read"):
            where = {"revision": commit, "local_dir": folder, "force_download": again}
            return Path(hf_hub_download(self.name, path, token=token, **where))

    def commit(
        self,
        added: Mapping[str, Path | bytes],
        deleted: Sequence[str],
        message: str,
        parent: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Add files and delete files, or folders whose names end in a slash, in one commit on top of `parent`.

        Large files go first, one at a time: no thread of the library outlives the call, and a second try goes on with
        the file that failed. Between them `stopped` may end it. A HubError of kind `conflict`: `parent` is not the
        newest commit any more.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        api = self._api()
        with self._explained("pushed to"):
            operations: list[Any] = [CommitOperationAdd(path, file) for path, file in added.items()]
            for operation, (path, file) in zip(operations, added.items(), strict=True):
                if stopped():
                    raise HubError(f"{self.name}: the upload was given up")
                if not _is_small_text(path, file):
                    api.preupload_lfs_files(self.name, [operation], num_threads=1, free_memory=False)
            operations += [CommitOperationDelete(path, is_folder=path.endswith("/")) for path in deleted]
            api.create_commit(self.name, operations, commit_message=message, parent_commit=parent, num_threads=1)

    def _api(self) -> Any:
        from huggingface_hub import HfApi

        _limit_waiting()
        return HfApi(token=self._token or False)

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Any error of the library as a HubError: errors of httpx are no OSErrors, an upload's is a RuntimeError."""
        try:
            yield
        except HubError:
            raise
        except Exception as error:
            raise self._explain(error, done) from None  # a traceback could show what the library was called with

    def _explain(self, error: Exception, done: str) -> HubError:
        from huggingface_hub.errors import OfflineModeIsEnabled

        chain = _chain(error)
        status = _status(error)
        texts = [text for link in reversed(chain) if (text := " ".join(str(link).split()))]
        reason = shorten([*texts, type(error).__name__][0], REASON_LETTERS, placeholder=" ...")
        said = (getattr(error, "server_message", None) or "").rstrip(".")
        kind = "denied"
        if any(isinstance(link, OfflineModeIsEnabled) for link in chain):
            why = "HF_HUB_OFFLINE is set; unset it"
        elif status == 401 and self._token is None:
            why = "there is no token; set HF_TOKEN to one that may write"
        elif status == 401:
            why = "the Hub does not know the token (401); make a new one that may write, and set HF_TOKEN to it"
        elif status == 403:
            why = f"the token may not do that (403{said and ': '}{said}); set HF_TOKEN to one that may write there"
        elif status == 404 and _response(error).headers.get("X-Error-Code") == "EntryNotFound":
            kind, why = "conflict", "a file is not there any more (404)"
        elif status == 404:
            why = "there is no such repository (404); check its name, and what the token may see"
        elif status is None and isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
            kind, why = "failed", reason  # of a disk of this machine
        elif status in (409, 412):
            kind, why = "conflict", f"another process has changed it meanwhile ({status})"
        elif status is None or status in (408, 429) or status >= 500:
            kind, why = "failed", f"the Hub does not answer as it should ({reason if status is None else status})"
            why += "; check the network" * (status is None)
        else:
            kind, why = "failed", f"the Hub refuses it ({status}: {said or reason})"
        return HubError(self._scrubbed(f"{self.name} could not be {done}: {why}"), kind)

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text


def insist(
    call: Callable[[], Value],
    waits: Sequence[float],
    sleep: Callable[[float], object] = time.sleep,
    seconds: float = math.inf,
) -> Value:
    """What `call` returns; after a HubError of kind `failed` it is called again, once for each of `waits` (seconds).

    Not after so many `seconds` altogether: one call that waits for each address of a host may take long.
    """
    began = time.monotonic()
    for wait in waits:
        try:
            return call()
        except HubError as error:
            if error.kind != "failed" or time.monotonic() - began > seconds:
                raise
        sleep(wait)
    return call()


def _chain(error: BaseException) -> list[BaseException]:
    """An error, what it was raised from, what that was raised from, ..."""
    links = [error]
    while (before := links[-1].__cause__ or links[-1].__context__) is not None and before not in links:
        links.append(before)
    return links


def _response(error: BaseException) -> Any:
    """The answer of the Hub in an error of the library or in what it was raised from; None if there was none."""
    answers = [getattr(link, "response", None) for link in _chain(error)]
    return next((answer for answer in answers if answer is not None), None)


def _status(error: BaseException) -> int | None:
    answer = _response(error)
    return None if answer is None else answer.status_code


def _is_small_text(path: str, file: Path | bytes) -> bool:
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    return size < SMALL_BYTES and path.endswith(TEXT)


@cache
def _limit_waiting() -> None:
    """By itself the library waits for ever while it uploads: the thread of an upload would never come back."""
    import huggingface_hub

    if not hasattr(huggingface_hub, "set_client_factory"):  # before version 1.0
        return
    client = huggingface_hub.get_session()
    kind, hooks = type(client), client.event_hooks
    settings = {"event_hooks": hooks, "follow_redirects": True, "timeout": SILENT_SECONDS}
    huggingface_hub.set_client_factory(lambda: kind(**settings))
