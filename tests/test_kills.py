"""A kill at any write, rename or remove of a script: run again, it ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed life is a fork of this process")
def test_whatever_is_killed_ends_as_if_it_had_not_been(tmp_path):
    """The same bytes, no leftovers, and no codes of one tokenizer under the name of another."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "kill_points.py", tmp_path], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    wrong = [problem for life in report.values() for problem in life["wrong"]]
    assert not wrong, "\n".join(wrong[:20]) + done.stderr[-2000:]
    assert sum(life["points"] for life in report.values()) >= 100
