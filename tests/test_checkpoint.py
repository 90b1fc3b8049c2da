"""Training states: two generations, on the disk to the last byte, and total loads. test_faults.py strikes them."""

import errno
import os
import shutil

import pytest
import torch
import torch.distributed as dist
from cases import for_each
from torch import nn

from motiongpt import checkpoint
from motiongpt.checkpoint import TENSORS, find_state, pack_state, save_shards, save_state, unpack_state
from motiongpt.files.store import read_tensors


def fail(message: str) -> None:
    raise AssertionError(message)


def state(step: int) -> tuple[dict, dict]:
    return {"x": torch.full((50,), float(step))}, {"step": step}


def saved_steps(folder) -> int:
    place, values = find_state(folder, warn=fail)
    tensors = read_tensors(place / TENSORS)
    assert torch.equal(tensors["x"], torch.full((50,), float(values["step"])))
    return values["step"]


def test_two_generations(tmp_path):
    assert find_state(tmp_path / "state", warn=fail) is None
    for step in (1, 2, 3):
        save_state(tmp_path / "state", *state(step))
        assert saved_steps(tmp_path / "state") == step
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == ["last", "previous"]
    shutil.rmtree(tmp_path / "state" / "last")
    assert saved_steps(tmp_path / "state") == 2


@pytest.fixture
def group():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_shards_are_on_the_disk_before_their_state_is(group, tmp_path, monkeypatch):
    """To the last byte: a flush of an open file misses what Python still holds back."""
    fsync, flushed = os.fsync, []

    def flush(number):
        found = [path for path in tmp_path.rglob("*") if os.path.samestat(path.stat(), os.fstat(number))]
        flushed.extend((path.name, path.stat().st_size) for path in found)
        fsync(number)

    monkeypatch.setattr(os, "fsync", flush)
    save_shards(tmp_path, {"x": torch.ones(5000)}, {"step": 1}, is_first=True)
    (shard,) = (tmp_path / "last").glob("*.safetensors")
    places = [i for i, entry in enumerate(flushed) if entry == (shard.name, shard.stat().st_size)]
    assert places and "state.json" in flushed[-1][0] and places[-1] < len(flushed) - 1
    assert find_state(tmp_path, fail)[1] == {"step": 1}


def test_a_shard_that_cannot_be_flushed_leaves_the_former_state(group, tmp_path, monkeypatch):
    save_shards(tmp_path, {"x": torch.ones(5)}, {"step": 1}, is_first=True)

    def broken(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(checkpoint, "flush_to_disk", broken)
    with pytest.raises(OSError, match=f"shard-00001.* cannot be written .{os.strerror(errno.EIO)}"):
        save_shards(tmp_path, {"x": torch.ones(5)}, {"step": 2}, is_first=True)
    assert find_state(tmp_path, fail)[1] == {"step": 1} and [path.name for path in tmp_path.iterdir()] == ["last"]


def trained(width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Two layers, the first frozen, a batch norm for its buffers; two Adam steps old."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)
    for _ in range(2):
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def fresh(width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    model, _ = trained(width)
    for p in model.parameters():
        if p.requires_grad:
            nn.init.constant_(p, 7.0)
    return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)


def test_pack_and_unpack():
    model, optimizer = trained()
    tensors = pack_state(model, optimizer)
    assert not any("0.weight" in name for name in tensors)  # frozen
    assert {"model/2.weight", "buffer/1.running_mean", "optimizer/2.bias/exp_avg"} <= set(tensors)
    other, other_optimizer = fresh()
    unpack_state(tensors, other, other_optimizer)
    for (m, o), inputs in zip(((model, optimizer), (other, other_optimizer)), (torch.ones(4, 3),) * 2, strict=True):
        m(inputs).square().sum().backward()
        o.step()
    for (name, a), b in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_pack_is_a_copy():
    model, optimizer = trained()
    tensors = pack_state(model, optimizer)
    before = tensors["model/2.weight"].clone()
    with torch.no_grad():
        model[2].weight.add_(1)
    assert torch.equal(tensors["model/2.weight"], before)


def test_moments_are_copies_of_what_was_read():
    """A tensor read from disk lies in a mapped file, which Windows locks as long as a tensor points into it."""
    tensors = pack_state(*trained())
    other, optimizer = fresh()
    unpack_state(tensors, other, optimizer)
    mine = {value.data_ptr() for values in optimizer.state.values() for value in values.values()}
    assert mine and not mine & {tensor.data_ptr() for tensor in tensors.values()}


def test_the_generators_of_an_older_state_are_left_alone():
    """Until a step's random numbers became a function of the step, states had them."""
    tensors = pack_state(*trained()) | {
        "rng/cpu": torch.get_rng_state(),
        "rng/cuda": torch.zeros(16, dtype=torch.uint8),
    }
    drawn = torch.get_rng_state()
    model, optimizer = fresh()
    torch.set_rng_state(drawn)
    unpack_state(tensors, model, optimizer)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(model[2].weight, tensors["model/2.weight"])


@for_each(
    "change, named",
    [
        (lambda t: t.pop("model/2.weight"), "model/2.weight"),
        (lambda t: t.pop("buffer/1.running_var"), "buffer/1.running_var"),
        (lambda t: t.update({"model/9.weight": torch.ones(1)}), "model/9.weight"),
        (lambda t: t.update({"optimizer/9.weight/exp_avg": torch.ones(1)}), "optimizer/9.weight/exp_avg"),
        (lambda t: t.update({"stray": torch.ones(1)}), "stray"),
        (lambda t: t.update({"model/2.weight": torch.ones(2, 4)}), r"model/2.weight: saved shape \(2, 4\), model"),
        (lambda t: t.update({"optimizer/2.bias/exp_avg": torch.ones(5)}), "optimizer/2.bias/exp_avg: saved shape"),
    ],
)
def test_unpack_is_total_and_copies_nothing_when_it_fails(change, named):
    model, optimizer = trained()
    tensors = pack_state(model, optimizer)
    change(tensors)
    other, other_optimizer = fresh()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=named):
        unpack_state(tensors, other, other_optimizer)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())
    assert not other_optimizer.state


def test_another_width_is_refused():
    model, optimizer = trained(width=3)
    with pytest.raises(ValueError, match="saved shape"):
        unpack_state(pack_state(model, optimizer), *fresh(width=4))
