"""Fixtures shared by the suite: real data where it is there, deterministic torch everywhere."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def shared_data() -> Path:
    """The folder of real motion capture and reference outputs beside the checkout; most users do not have it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the motion capture and goldens in ../shared/data, which are not part of the project")
    return folder


@pytest.fixture(autouse=True)
def seeded():
    """Same weights in every run; a test that changes the default dtype does not leak it."""
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)
