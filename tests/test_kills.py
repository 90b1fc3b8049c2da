"""A kill at any write, rename or remove of a script: run again, it ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# of `kill_points.LIVES`, with the number of points that they have at least
GROUPS = {
    "train_vqvae": (["train_vqvae"], 30),
    "finetune": (["finetune"], 40),
    "train_evaluator": (["train_evaluator"], 12),
    "data": (
        [
            "prepare procedural",
            "prepare edits",
            "prepare joints",
            "tokenize again",
            "tokenize a folder",
            "tokenize shards",
        ],
        40,
    ),
    "motions": (["sample", "sample several", "sample by default", "describe", "render"], 35),
    "given away": (["export a file", "export a folder", "export instructions", "ship", "assets"], 40),
    "reports": (["evaluate a tokenizer", "evaluate tokens"], 20),
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed life is a fork of this process")
@pytest.mark.parametrize("group", GROUPS)
def test_whatever_is_killed_ends_as_if_it_had_not_been(tmp_path, group):
    """The same bytes, no leftovers, and no codes of one tokenizer under the name of another."""
    names, least = GROUPS[group]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    program = ROOT / "tests" / "kill_points.py"
    done = subprocess.run([sys.executable, program, tmp_path, *names], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    wrong = [problem for life in report.values() for problem in life["wrong"]]
    assert not wrong, "\n".join(wrong[:20]) + done.stderr[-2000:]
    assert sum(life["points"] for life in report.values()) >= least


def test_every_life_is_tried():
    import kill_points

    assert sorted(kill_points.LIVES) == sorted(name for names, _ in GROUPS.values() for name in names)
