"""From the shell to a motion, only what is used is imported: most of the waiting is imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "checkpoints" / "demo"
HEAVY = {
    *("matplotlib", "PIL", "h5py", "smplx", "huggingface_hub", "scipy", "transformers", "peft"),
    *("torch._dynamo", "torch._inductor", "sympy"),  # torch's compiler: as long to import as torch itself
}


def imported(code: str) -> set[str]:
    """Which of `HEAVY` a new process has imported after running `code`."""
    code += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(not (DEMO / "config.json").is_file(), reason="the shipped demo is not here")
def test_a_sentence_to_npy_imports_nothing_heavy(tmp_path):
    argv = ["sample.py", "--prompt", "a person walks forward", "--run", str(DEMO), "--device", "cpu",
            "--output", str(tmp_path / "walk.npy")]  # fmt: skip
    code = f"""
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_path("scripts/sample.py", run_name="__main__")
except SystemExit as done:
    assert not done.code, done.code
"""
    assert imported(code) == set()
    assert (tmp_path / "walk.npy").is_file()


def test_the_check_sees_heavy_modules():
    assert imported("import PIL") == {"PIL"}


def test_models_to_be_filled_draw_nothing():
    """Drawing on the meta device is what imports the compiler; and a load must not move the global generator."""
    code = """
import torch
from motiongpt.config import LLM_PRESETS, VQVAEConfig
from motiongpt.weights.checks import Unfilled
from motiongpt.llm import LLM
from motiongpt.vqvae import VQVAE
before = torch.get_rng_state()
with Unfilled():
    models = LLM(LLM_PRESETS["tiny"]), VQVAE(VQVAEConfig())
assert all(tensor.is_meta for model in models for tensor in model.state_dict().values())
assert all(parameter.requires_grad for model in models for parameter in model.parameters())
assert torch.equal(torch.get_rng_state(), before)
assert not torch.empty(1).is_meta
"""
    assert imported(code) == set()
