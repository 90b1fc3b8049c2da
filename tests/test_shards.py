"""Weights from disk into final memory: every byte, the hash on the way, the errors, and the check for free memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cases import for_each
from safetensors.torch import load_file, save_file

from motiongpt.config import LLM_PRESETS
from motiongpt.files import hashes
from motiongpt.files.hashes import file_hash, known_hash
from motiongpt.files.store import write_tensors
from motiongpt.llm import LLM
from motiongpt.weights import memory, shards
from motiongpt.weights.llm import load_llm, save_llm
from motiongpt.weights.memory import check_memory, free_memory
from motiongpt.weights.shards import equal_on_disk, read_state, stored_tensors, weight_files, weights_hash

SHAPES = {"a": (7, 5), "b": (3,), "c": (), "d": (0, 4), "e": (64, 33)}


def settle(path: Path) -> None:
    """Make a file as old as a hash must be to be remembered."""
    old = time.time() - 60
    os.utime(path, (old, old))


@for_each("stored_as", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@for_each("dtype", [torch.float32, torch.bfloat16])
@for_each("block", [8, 1 << 22])
def test_every_number_arrives(stored_as, dtype, block, tmp_path, monkeypatch):
    """Blocks smaller than a tensor and larger than the file; the tensors asked for are converted, others skipped."""
    monkeypatch.setattr(shards, "BLOCK_BYTES", block)
    tensors = {name: torch.randn(shape).to(stored_as) for name, shape in SHAPES.items()}
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, {"format": "pt"})
    names = {"a": "ours.a", "c": "c", "d": "d", "e": "ours.e"}
    settle(path)
    state = read_state(stored_tensors([path]), names, dtype, "cpu", "it")
    assert set(state) == set(names.values())
    for key, name in names.items():
        assert state[name].dtype == dtype and torch.equal(state[name], tensors[key].to(dtype))
    assert known_hash(path) == file_hash(path)


def test_the_hash_of_a_loaded_model_reads_no_file(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    settle(folder / "model.safetensors")
    expected = weights_hash(folder)
    hashes._hash_of_version.cache_clear()
    load_llm(folder)
    monkeypatch.setattr(hashes, "file_hash", lambda path: pytest.fail(f"{path} is read again"))
    assert weights_hash(folder) == expected
    monkeypatch.undo()
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)  # other weights of the same size, written a moment ago
    assert weights_hash(folder) != expected


def test_a_file_of_this_moment_is_not_remembered(tmp_path):
    """Two writes within the resolution of a clock could look the same."""
    folder = tmp_path / "model"
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes())  # by others
    load_llm(folder)
    assert not any(version[0] == path for version in hashes._NOTED)


def test_the_hash_of_a_written_file_is_computed_once(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.zeros(5)})
    expected = file_hash(path)
    read = []
    monkeypatch.setattr(hashes, "file_hash", lambda path: read.append(path) or expected)
    assert {known_hash(path) for _ in range(3)} == {expected} and read == [path]


def test_damage_right_after_a_write_shows(tmp_path):
    """In place and of the same size, well within a tick of the clock."""
    for number in range(50):
        path = tmp_path / f"{number}.safetensors"
        write_tensors(path, {"a": torch.zeros(5)})
        written = known_hash(path)
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")
        assert known_hash(path) == file_hash(path) != written


def test_loaded_weights_outlive_their_file(tmp_path):
    folder = tmp_path / "model"
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    llm = load_llm(folder)
    before = {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    path = folder / "model.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in llm.state_dict().items())


def test_broken_files_are_named(tmp_path):
    folder = tmp_path / "model"
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (
        b"",
        b"\0" * 7,
        whole[:-1],
        whole[:100],
        whole + b"\0",
        b"\xff" * len(whole),
        b"<!DOCTYPE html>" * 9,
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model.safetensors is damaged or cut short") as error:
            load_llm(folder)
        assert "\n" not in str(error.value)
    path.write_bytes(whole)
    load_llm(folder)


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(100)}, path)
    stored = stored_tensors([path])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="model.safetensors is cut short"):
        read_state(stored, {"a": "a"}, torch.float32, "cpu", "it")


def test_file_and_tensor_are_named(tmp_path):
    """A shape, a kind of numbers that no model has, and a key in two shards."""
    folder = tmp_path / "model"
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    first = {key: tensors.pop(key) for key in list(tensors)[:5]}

    def write(**changes) -> None:
        save_file(first, folder / "one.safetensors")
        save_file(tensors | changes, folder / "two.safetensors")
        where = dict.fromkeys(first, "one.safetensors") | dict.fromkeys(tensors, "two.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))

    write()
    load_llm(folder)
    for changes, message in (
        (
            {"model.norm.weight": torch.zeros(31)},
            r"two.safetensors: model.norm.weight is \(31,\), the model has \(32,\)",
        ),
        (
            {"model.norm.weight": torch.zeros(32, dtype=torch.int8)},
            "two.safetensors: model.norm.weight is stored as I8",
        ),
        ({next(iter(first)): torch.zeros(1)}, "two.safetensors holds .*, which an earlier shard holds too"),
    ):
        write(**changes)
        with pytest.raises(ValueError, match=message):
            load_llm(folder)


def test_equal_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "BLOCK_BYTES", 16)
    path = tmp_path / "model.safetensors"
    a = torch.randn(5, 7)
    changed = a.clone()
    changed[-1, -1] += 1
    save_file({"a": a, "same": a.clone(), "changed": changed, "half": a.half(), "flat": a.flatten().clone()}, path)
    stored = stored_tensors([path])
    assert [key for key in stored if equal_on_disk(stored["a"], stored[key])] == ["a", "same"]


def test_which_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model.safetensors and no model.safetensors.index.json"):
        weight_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="gone.safetensors does not exist"):
        stored_tensors([tmp_path / "gone.safetensors"])


# ---- memory -------------------------------------------------------------------------------------------------------


def test_a_model_that_cannot_fit_is_refused_in_one_line(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    monkeypatch.setattr(memory, "free_memory", lambda device: 100_000)
    with pytest.raises(ValueError, match=r"model needs 0.0 GB in fp32, 0.0 GB in bf16; this machine has 0.0 GB free: "):
        load_llm(folder)
    monkeypatch.setattr(memory, "free_memory", lambda device: int(16e9))
    with pytest.raises(ValueError, match="^it needs 28.0 GB in fp32, 14.0 GB in bf16; this machine has 16.0 GB free:"):
        check_memory(7_000_000_000, torch.float32, "cpu", "it")


def test_a_large_model_is_announced(monkeypatch, capsys):
    monkeypatch.setattr(memory, "free_memory", lambda device: int(16e9))
    check_memory(7_000_000_000, torch.bfloat16, "cpu", "it")
    said = (
        "note: it needs 14.0 GB in bf16, 28.0 GB in fp32; this machine has 16.0 GB free (little is left to work with)"
    )
    assert capsys.readouterr().err == said + "\n"
    check_memory(600_000_000, torch.bfloat16, "cpu", "it")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(memory, "free_memory", lambda device: None)  # a system that does not say
    check_memory(7_000_000_000, torch.bfloat16, "cpu", "it")
    assert capsys.readouterr().err == "note: it needs 14.0 GB in bf16, 28.0 GB in fp32\n"


def test_free_memory_inside_a_container(tmp_path, monkeypatch):
    """The limit of a container counts, and its page cache does not; without a limit the machine decides."""
    machine = free_memory(torch.device("cpu"))
    assert machine is None or machine > 0
    for name, content in (("limit", "5000"), ("used", "4000"), ("memory.stat", "anon 1500\ncached 2500\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "CGROUPS", ((str(tmp_path), "limit", "used", "cached"),))
    assert free_memory(torch.device("cpu")) == 3500
    (tmp_path / "limit").write_text("max\n")
    monkeypatch.setattr(memory, "_of_machine", lambda: 77)
    assert free_memory(torch.device("cpu")) == 77


PEAK = """
import sys, torch
from motiongpt.weights.llm import load_llm
def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
load_llm(sys.argv[2])  # a small one: what the first load takes for good
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS:")
model = load_llm(sys.argv[1], dtype=getattr(torch, sys.argv[3]))
print((status("VmHWM:") - before) / sum(p.numel() * p.element_size() for p in model.parameters()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak memory is read from /proc")
def test_peak_memory(tmp_path):
    """At most 1.15 times the weights, whether the file's numbers are converted or not."""
    sizes = dict(
        vocab_size=40_000, hidden_size=768, intermediate_size=2048, num_layers=8, num_heads=12, num_kv_heads=12
    )
    from motiongpt.config import LLMConfig

    save_llm(LLM(LLMConfig(**sizes)), tmp_path / "large", torch.bfloat16)
    save_llm(LLM(LLM_PRESETS["tiny"]), tmp_path / "small")
    for dtype in ("float32", "bfloat16"):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "large"), str(tmp_path / "small"), dtype]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        assert float(done.stdout) <= 1.15, (dtype, done.stdout)
