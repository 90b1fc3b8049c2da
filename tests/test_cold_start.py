"""From the shell to an answer, only what is used is imported: most of the waiting is imports."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "checkpoints" / "demo"
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
# the whole libraries, which a motion needs and a usage line does not
LIBRARIES = {"torch", "numpy", "matplotlib", "safetensors", "tqdm", "PIL", "h5py", "smplx", "huggingface_hub"}
# what a motion needs neither
HEAVY = {
    *("matplotlib", "PIL", "h5py", "smplx", "huggingface_hub", "scipy", "transformers", "peft"),
    *("torch._dynamo", "torch._inductor", "sympy"),  # torch's compiler: as long to import as torch itself
}
# script -> a command line without something that the script needs
INCOMPLETE = {
    "sample": "", "finetune": "", "render": "", "prepare": "--from bvh --input x", "ship": "--run x --data x",
    "export": "--format t2m-gpt --out x", "tokenize_motions": "--data x --out x", "train_vqvae": "--data x",
    "train_evaluator": "--data x", "evaluate": "--what t2m", "train_continuous": "--data x",
}  # fmt: skip
REPORT = "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"


def modules_after(code: str) -> set[str]:
    """The modules that a new process has imported after running `code`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DATA_JSON_PATH", "WORK_DIR")}
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def running(script: str, *args: str, code: int) -> str:
    """Python code that runs a script as a program and asserts its exit code."""
    return f"""
import runpy, sys
sys.argv = {[f"{script}.py", *args]!r}
try:
    runpy.run_path("scripts/{script}.py", run_name="__main__")
except SystemExit as end:
    assert (end.code or 0) == {code}, end.code
"""


# 1) A usage line waits for no library.


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_wrong_flags_import_no_library(script):
    """All in one process: what the first imported, the last would report."""
    code = running(script, "--help", code=0) + running(script, "--nonsense", code=2)
    if script in INCOMPLETE:
        code += running(script, *INCOMPLETE[script].split(), code=2)
    assert modules_after(code) & LIBRARIES == set()


def test_every_script_is_tried_without_what_it_needs():
    """A new script goes into INCOMPLETE, unless it runs without any flag."""
    assert set(SCRIPTS) - set(INCOMPLETE) == {"assets", "demo_report", "studio"}


def test_the_check_sees_libraries():
    assert modules_after("import numpy") & LIBRARIES == {"numpy"}


# 2) A motion waits for no library that it does not use.


@pytest.mark.slow
@pytest.mark.skipif(not (DEMO / "config.json").is_file(), reason="the shipped demo is not here")
def test_a_sentence_to_npy_imports_nothing_heavy(tmp_path):
    args = ["--prompt", "a person walks forward", "--run", str(DEMO), "--device", "cpu"]
    code = running("sample", *args, "--output", str(tmp_path / "walk.npy"), code=0)
    assert modules_after(code) & HEAVY == set()
    assert (tmp_path / "walk.npy").is_file()


def test_the_check_sees_heavy_modules():
    assert modules_after("import PIL") & HEAVY == {"PIL"}


@pytest.mark.slow
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
    assert modules_after(code) & HEAVY == set()


# 3) Ctrl-C while modules are imported, which takes seconds on a cold machine.

# script -> a command line that gets as far as the first library; assets.py needs none
COMPLETE = {
    "sample": "--prompt x", "finetune": "--stage 1 --out {here}/o", "render": "--tokens 1", "demo_report": "",
    "prepare": "--from procedural --count 4 --out {here}/o", "ship": "--run x --data x --out {here}/o",
    "export": "--vqvae x --format t2m-gpt --out {here}/o", "train_vqvae": "--data x --out {here}/o",
    "tokenize_motions": "--data x --vqvae x --out {here}/o", "train_evaluator": "--data x --out {here}/o",
    "evaluate": "--what t2m --data x --run x",
}  # fmt: skip
SLOW_LIBRARY = """
import sys, time
print("importing", flush=True)
try:
    for _ in range(6000):  # many short ones: a signal just before a sleep is answered only after it
        time.sleep(0.01)
except BaseException as error:  # as libraries do, in one way or another
    raise ImportError("the interrupt as another error") from error
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("script", sorted(COMPLETE))
def test_ctrl_c_while_a_library_is_imported_is_quiet(script, tmp_path):
    assert interrupted(script, tmp_path, "torch", "numpy") == (130, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("script", [*sorted(COMPLETE), "assets"])
@pytest.mark.parametrize("module", ["pathlib", "argparse"])
def test_ctrl_c_before_the_command_line_is_read_is_quiet(script, module, tmp_path):
    """The process dies of the signal, which a shell shows as 130; pathlib is what a script imports first."""
    assert interrupted(script, tmp_path, module) == (-signal.SIGINT, "")


def interrupted(script: str, tmp_path: Path, *modules: str) -> tuple[int, str]:
    """Exit code and stderr of a script that is interrupted while it imports one of `modules`."""
    for name in modules:
        (tmp_path / "slow" / name).mkdir(parents=True)
        (tmp_path / "slow" / name / "__init__.py").write_text(SLOW_LIBRARY)
    words = COMPLETE.get(script, "").format(here=tmp_path).split()
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / f"{script}.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "slow")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell ignores it in background
    )
    while "importing" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


# 4) The end is quick, and loses nothing.

LEAVING = """
import atexit, os, sys, threading, time
{before}
from motiongpt.cli.leaving import quick_exit

class Last:
    def __del__(self):
        os.write(1, b"taken apart\\n")

last = Last()
def work():
    time.sleep(0.2)
    os.write(1, b"thread\\n")

with quick_exit():
    atexit.register(print, "asked")
    threading.Thread(target=work).start()
    print("said", flush=False)
    {end}
"""


def left(tmp_path: Path, end: str, before: str = "", **environment: str) -> tuple[int, set[str], str]:
    """Exit code, lines and errors of a program that ends inside `quick_exit`."""
    program = tmp_path / "program.py"
    program.write_text(LEAVING.format(before=before, end=end))
    known = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "LD_PRELOAD")}
    where = {"PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=known | where)
    return done.returncode, set(done.stdout.splitlines()), done.stderr


@pytest.mark.parametrize("end, code", [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(2)", 2)])
def test_a_quick_exit_does_all_but_take_the_program_apart(tmp_path, end, code):
    assert left(tmp_path, end) == (code, {"said", "asked", "thread"}, "")


def test_what_could_be_lost_makes_the_exit_a_usual_one(tmp_path):
    usual = {"said", "asked", "thread", "taken apart"}
    assert left(tmp_path, "sys.exit(3)", "atexit.register(print, 'first')") == (3, {*usual, "first"}, "")
    assert left(tmp_path, "sys.exit(3)", CUDA_INJECTION64_PATH="/x") == (3, usual, "")
    assert left(tmp_path, "sys.exit('why')") == (1, usual, "why\n")
    assert left(tmp_path, "pass") == (0, usual, "")
    code, lines, error = left(tmp_path, "raise KeyError('k')")
    assert (code, lines) == (1, usual) and "KeyError" in error


@pytest.mark.parametrize(
    "call",
    [
        "import runpy; runpy.run_path('inner.py', run_name='__main__')",
        "exec(open('inner.py').read(), {'__name__': '__main__'})",  # as profilers and debuggers do
    ],
)
def test_a_script_inside_another_program_does_not_end_it(call, tmp_path):
    (tmp_path / "inner.py").write_text(LEAVING.format(before="", end="sys.exit(0)"))
    outer = f"import sys\ntry:\n    {call}\nexcept SystemExit:\n    pass\nsys.exit(7)"
    done = subprocess.run([sys.executable, "-c", outer], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 7


def test_a_script_inside_another_program_leaves_it_the_search_for_garbage():
    modules_after(running("sample", "--nonsense", code=2) + "import gc; assert gc.isenabled()")
