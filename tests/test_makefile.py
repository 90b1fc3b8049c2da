"""`make demo` and `make reader` in a copy whose Python is a stand-in: it notes what it is asked, and does no more."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

PYTHON = """#!/bin/sh
echo "$*" >> asked
case "$*" in
*"pip install"*gguf*) echo "WARNING: no network" >&2; [ -f online ] ;;
*"--fetch smollm2"*)
    [ -f online ] || { echo "no network" >&2; exit 2; }
    mkdir -p checkpoints/smollm2 && touch checkpoints/smollm2/config.json ;;
esac
"""
NO_BASE = "no SmolLM2, so the demo now reads sentences itself, less well; make reader tries again"
FETCHED = ["pip", "assets", "sample"]
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS")


class Checkout:
    """A folder with a space in its name, a finished environment, and the shipped reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "checkpoints" / "demo-smollm2").mkdir(parents=True)
        (folder / ".venv" / "bin").mkdir(parents=True)
        for name in ("Makefile", "requirements.txt", "requirements-test.txt"):
            shutil.copyfile(ROOT / name, folder / name)
        python = folder / ".venv" / "bin" / "python"
        python.write_text(PYTHON)
        python.chmod(0o755)
        for name in ("made", "torch", "core"):  # in this order, each not older than the one before
            (folder / ".venv" / f"{name}.stamp").touch()

    def make(self, *arguments: str) -> subprocess.CompletedProcess:
        # as a person starts it: a make around the suite would pass its own flags on, and both would announce folders
        around = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
        return subprocess.run(["make", *arguments], cwd=self.folder, env=around, capture_output=True, text=True)

    def asked(self) -> list[str]:
        """Which programs were started since the last call."""
        path = self.folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [next(name for name in ("pip", "assets", "sample") if name in line) for line in lines]

    def go_online(self) -> None:
        (self.folder / "online").touch()


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    return Checkout(tmp_path / "a checkout")


def test_the_base_of_the_reader_is_fetched_once(checkout):
    checkout.go_online()
    done = checkout.make("demo")
    assert done.returncode == 0 and checkout.asked() == FETCHED
    assert done.stdout.startswith("fetching SmolLM2-135M once, 93 to 270 MB: ") and NO_BASE not in done.stdout
    assert "WARNING" not in done.stderr
    shutil.rmtree(checkout.folder / "checkpoints" / "smollm2")  # who deletes it is not made to fetch it again
    assert checkout.make("demo").returncode == 0 and checkout.asked() == ["sample"]


def test_without_it_the_demo_goes_on_and_says_so_once(checkout):
    done = checkout.make("demo")
    assert done.returncode == 0 and checkout.asked() == FETCHED
    assert done.stdout.count(NO_BASE) == 1 and done.stderr == "no network\n"
    again = checkout.make("demo")
    assert again.returncode == 0 and checkout.asked() == ["sample"] and "SmolLM2" not in again.stdout


def test_make_reader_tries_again(checkout):
    checkout.make("demo")
    checkout.asked()
    assert checkout.make("reader").returncode != 0 and checkout.asked() == FETCHED[:2]
    checkout.go_online()
    done = checkout.make("reader")
    assert done.returncode == 0 and checkout.asked() == FETCHED[:2]
    assert done.stdout.endswith("SmolLM2 is in checkpoints/smollm2, and the demo reads sentences with it\n")
    assert checkout.make("reader").returncode == 0 and checkout.asked() == []


def test_nothing_is_fetched_that_is_there_or_not_wanted(checkout):
    assert checkout.make("demo", "READER=").returncode == 0 and checkout.asked() == ["sample"]
    base = checkout.folder / "checkpoints" / "smollm2"
    base.mkdir()
    (base / "config.json").touch()
    done = checkout.make("demo")
    assert done.returncode == 0 and checkout.asked() == ["sample"] and "SmolLM2" not in done.stdout


def test_a_checkout_without_the_reader_needs_no_base(checkout):
    (checkout.folder / "checkpoints" / "demo-smollm2").rmdir()
    assert checkout.make("demo").returncode == 0 and checkout.asked() == ["sample"]


def test_make_n_does_nothing(checkout):
    done = checkout.make("-n", "demo")
    assert done.returncode == 0 and "assets.py --fetch smollm2" in done.stdout and checkout.asked() == []
    assert not (checkout.folder / ".venv" / "reader.stamp").exists()
