"""`runs/kit.sh`: from a folder of KIT's XML to a GIF, and a second call does nothing twice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_chains import make_kit_xml

SIZES = {"STEPS": "2", "SIZE": "16", "OMP_NUM_THREADS": "1"}


def kit(folder: Path, work: Path, **settings: str) -> subprocess.CompletedProcess:
    """The script as a person starts it; the settings are its environment variables."""
    environment = os.environ | SIZES | {"PYTHON": sys.executable, "WORK": str(work)} | settings
    return subprocess.run(["bash", ROOT / "runs" / "kit.sh", folder], env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_from_xml_to_a_gif(tmp_path):
    xml = tmp_path / "KIT files"
    make_kit_xml(xml)
    work = tmp_path / "my work"
    done = kit(xml, work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one batch: motion (" in done.stdout and "nothing was written" in done.stdout
    assert (work / "sample" / "motion.gif").read_bytes()[:3] == b"GIF"
    joints = np.load(work / "sample" / "motion.npy")
    assert joints.shape[1:] == (22, 3) and np.isfinite(joints).all()
    weights = work / "flow" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = kit(xml, work, PROMPT="he walks")
    assert again.returncode == 0 and weights.stat().st_mtime_ns == before and "he walks: " in again.stdout
    assert "resumed at step 2 of 2" in again.stdout and "step      3" not in again.stdout  # nothing was trained
    # what it would have to train or read anew is no finished step, and is said
    other = kit(xml, work, SIZE="32")
    assert other.returncode == 2 and "other settings" in other.stderr and "WORK=outputs/other" in other.stderr
    elsewhere = tmp_path / "others"
    shutil.copytree(xml, elsewhere)
    other = kit(elsewhere, work)
    assert other.returncode == 2 and f"data was made of {xml}, not of {elsewhere}" in other.stderr
    assert weights.stat().st_mtime_ns == before


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_what_is_missing_is_said(tmp_path):
    assert "usage: runs/kit.sh DIR" in subprocess.run(
        ["bash", ROOT / "runs" / "kit.sh"], capture_output=True, text=True
    ).stderr  # fmt: skip
