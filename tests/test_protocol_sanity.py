"""Real motions spoilt in known ways: a copy equals the real row, and the metric that should notice does."""

import importlib.util
import sys
from pathlib import Path

import pytest
from test_protocol import CLIPS, Stub, data, folder  # noqa: F401 (fixtures)

from motiongpt.evaluation.evaluators import Evaluator

PATH = Path(__file__).resolve().parents[1] / "benchmarks" / "protocol_sanity.py"


@pytest.fixture(scope="module")
def sanity():
    spec, before = importlib.util.spec_from_file_location("protocol_sanity", PATH), sys.path[:]
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.mark.slow
def test_rows(sanity, data):  # noqa: F811
    rows, half, protocol = sanity.measure(data, Stub(), "test", 3, 0)
    real = rows["real"]
    assert protocol["N"] == CLIPS + 1 and list(rows) == list(sanity.SHOULD_NOTICE) and half > 0
    assert rows["copy"] == real  # to the bit
    assert not any(sanity.noticed(name, real, real, half) for name in sanity.COLUMNS)
    assert rows["joints and back"]["jerk_m_s3"]["mean"] == pytest.approx(real["jerk_m_s3"]["mean"], rel=1e-3)
    assert rows["shuffled captions"]["jerk_m_s3"] == real["jerk_m_s3"]
    assert rows["shuffled captions"]["mm_dist"] != real["mm_dist"]
    for row in ("noise 1 cm", "noise 5 cm", "sunk 10 cm"):  # what joints alone say: the stub's texts know nothing
        assert sanity.noticed(sanity.SHOULD_NOTICE[row], rows[row], real, half), row
    assert sanity.measure(data, Stub(), "test", 3, 0)[0] == rows  # the noise too


def test_script(sanity, folder, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(Evaluator, "load", lambda folder: Stub())
    base = ["--data", str(folder), "--evaluator", "x", "--repeats", "2"]
    sanity.main([*base, "--out", str(tmp_path / "table.md")])
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    with pytest.raises(SystemExit):
        sanity.main([*base, "--repeats", "0"])
    assert "--repeats must be at least 1" in capsys.readouterr().err
