"""Several processes train as one does: the same losses, weights and codebooks; saves that any number of them resumes.

Processes are forks of this one, which has imported everything already. torchrun starts the real script once.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from cases import for_each, random_dataset, seeded
from test_packing import packed_job
from torch import nn

from motiongpt import lora
from motiongpt.cli import processes
from motiongpt.cli.parser import Parser, run_script
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig, VQVAEConfig
from motiongpt.data.batches import BucketedBatches, WindowBatches
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.reconstruction import evaluate_vqvae
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
from motiongpt.llm import LLM
from motiongpt.loops import train
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.tokenizer import reconstruction_errors, tokenise_dataset
from motiongpt.training import world as world_module
from motiongpt.training.engines import Shards
from motiongpt.training.schedule import count_micro_batches
from motiongpt.training.world import ALONE, World, join_world
from motiongpt.vqvae import VQVAE

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
CONFIG = TrainConfig(lr=1e-2, max_steps=6, warmup=2, eval_every=3, save_every=1000, log_every=1, grad_accum=4)
STORES: list[dist.TCPStore] = []
LIMIT = 300  # seconds after which a process that hangs is ended
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forks here, which this system does not have"),
]


def start(size: int, work: Callable[[World], object]) -> list[int]:
    """Begin `work` in as many forks of this process, which are one world; their process numbers."""
    # as torchrun does: a store that outlives every process
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    STORES.append(store)
    children = []
    for rank in range(size):
        if child := os.fork():
            children.append(child)
            continue
        code = 1
        try:
            signal.alarm(LIMIT)
            torch.set_num_threads(1)
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
            os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
            with join_world("cpu") as (world, _):
                work(world)
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return children


def codes_of(children: list[int]) -> list[int]:
    """The exit codes of processes, which are waited for in the order in which they end, as torchrun does."""
    codes = {}
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return [codes[child] for child in children]


def in_processes(size: int, work: Callable[[World], object]) -> None:
    assert codes_of(start(size, work)) == [0] * size


# ---- what is trained -------------------------------------------------------------------------------------------------


def language_job(world: World, adapted: bool, dropout: float = 0.0) -> dict:
    """A tiny language model on random ids, with a number of labels that differs from batch to batch."""
    generator = seeded(1)
    llm = LLM(LLM_PRESETS["tiny"], generator)
    llm.extend(290, 20, generator)
    if adapted:
        lora.inject(llm, LoRAConfig(lora_r=4, lora_dropout=dropout), generator)

    def collate(indices: np.ndarray, rng: np.random.Generator) -> dict:
        ids = torch.from_numpy(rng.integers(310, size=(len(indices), 12)))
        hidden = rng.random((len(indices), 11)) < rng.random()
        hidden[0, 0] = False
        labels = ids[:, 1:].masked_fill(torch.from_numpy(hidden), -100)
        return {"ids": ids, "labels": labels, "count": int((labels >= 0).sum())}

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        logits = llm.logits(llm.states(batch))[:, :-1]
        value = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum")
        return value, {"rows": len(batch["ids"])}

    def validate() -> dict[str, float]:
        sums: Counter[str] = Counter()
        for i, own in world.turns(5):
            batch = collate(np.arange(3), np.random.default_rng(i))
            value, _ = loss(batch)
            if own:
                sums.update({"loss": float(value), "count": batch["count"]})
        sums = world.merge(sums)
        return {"loss": sums["loss"] / sums["count"]}

    batches = BucketedBatches(list(range(11)), 2, 5, collate)
    return {"module": llm, "batches": batches, "loss": loss, "validate": validate}


QUANTIZERS = {
    "ema": {"dead_below": 0.97},
    "shares": {"dead_share": 0.6, "ema_decay": 0.7, "codes": 64},  # more rows than a batch has latents
    "residual": {"quantizer": "residual", "rvq_layers": 3, "rvq_dropout": 0.5, "dead_below": 0.97},
    "fsq": {"quantizer": "fsq", "codes": 15, "fsq_levels": "5 3"},
}


def tokenizer_job(world: World, name: str) -> dict:
    """A tiny VQ-VAE on random clips, some of them shorter than a window; batches of 5 rows."""
    torch.manual_seed(1)
    values = {"feature_dim": 23, "joint_dim": 6, "codes": 16, "code_dim": 8, "width": 12} | QUANTIZERS[name]
    model = VQVAE(VQVAEConfig(**values))
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal((frames, 23)).astype(np.float32) for frames in (6, 19, 40, 33, 70)]
    batches = WindowBatches(clips, window=16, batch_size=5, seed=3, rows=world.part(5))

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        total, _, out = model.loss(batch["motion"], batch["lengths"])
        return total, {stat: out[stat] for stat in model.quantizer.stats}

    return {"module": model, "batches": batches, "loss": loss, "by_rows": True}


class Parts(nn.Module):
    """Layers that every batch uses, that one of four uses, and that none does; the batches and the loss, too."""

    per_epoch = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.always, self.sometimes, self.never = (nn.Linear(3, 1) for _ in range(3))

    def forward(self, micro_step: int) -> dict:
        x = torch.randn(2 + micro_step % 3, 3, generator=seeded(micro_step))
        return {"x": x, "more": micro_step % 4 == 1, "count": len(x)}

    def loss(self, batch: dict) -> tuple[torch.Tensor, dict]:
        out = self.always(batch["x"]) + (self.sometimes(batch["x"]) if batch["more"] else 0.0)
        return (out - batch["x"].sum(-1, keepdim=True)).square().sum(), {}


def parts_job(world: World) -> dict:
    module = Parts()
    return {"module": module, "batches": module, "loss": module.loss}


JOBS: dict[str, Callable[[World], dict]] = {
    "parts": parts_job,
    "lora": lambda world: language_job(world, adapted=True, dropout=0.3),
    "full": lambda world: language_job(world, adapted=False),
    "shards": lambda world: language_job(world, adapted=False),
    "packed": lambda world: dict(zip(("module", "batches", "loss"), packed_job(128), strict=True)),
    "shards, packed": lambda world: dict(zip(("module", "batches", "loss"), packed_job(128, lora=False), strict=True)),
    **{name: lambda world, name=name: tokenizer_job(world, name) for name in QUANTIZERS},
}


def run(world: World, name: str, folder: Path, config: TrainConfig = CONFIG, loss: Callable | None = None, **keywords):
    """Train a job in `folder`; the weights it ends with are in weights.safetensors."""
    job = JOBS[name](world)
    module = job.pop("module")
    if name.startswith("shards"):
        keywords["blocks"] = list(module.layers)
        module.checkpoint_activations = world.size > 1  # blocks are then gathered a third time
    if job.get("by_rows"):
        config = replace(config, grad_accum=1)

    def export(folder: Path) -> None:
        write_tensors(folder / "weights.safetensors", module.state_dict())

    loss = loss(job.pop("loss")) if loss else job.pop("loss")
    keywords = {"device": CPU, "log": lambda line: None, "world": world, "export": export, "fingerprint": {}} | keywords
    return train(module, job.pop("batches"), loss, config, folder, **job | keywords)


def records(folder: Path) -> list[dict]:
    """metrics.jsonl without the speeds, which depend on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith("_per_s")} for line in lines]


def check_same(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    """The same numbers and weights, but for the order of sums in fp32."""
    a, b = records(one), records(other)
    assert len(a) == len(b) and len(a) >= CONFIG.max_steps
    for left, right in zip(a, b, strict=True):
        assert left == pytest.approx(right, abs=tolerance, rel=tolerance)
    weights = [read_tensors(folder / "weights.safetensors") for folder in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for key, tensor in weights[0].items():
        # Adam moves a weight by up to the learning rate, whatever the size of its gradient: one that is nearly zero
        # may point elsewhere, so single weights may differ more than losses
        torch.testing.assert_close(tensor, weights[1][key], atol=100 * tolerance, rtol=0, msg=key)


# ---- two processes are one with the doubled batch --------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Every job, trained by two processes; in "one", by this process alone."""
    folder = tmp_path_factory.mktemp("two")

    def work(world: World) -> None:
        for name in JOBS:
            run(world, name, folder / name)

    in_processes(2, work)
    torch.set_num_threads(1)
    for name in JOBS:
        run(ALONE, name, folder / "one" / name)
    return folder


@for_each("name", JOBS)
def test_two_processes_train_as_one(two, name):
    """With dropout of adapters, labels that differ from process to process, unused parameters, and codebooks."""
    check_same(two / name, two / "one" / name)
    state = read_json(two / name / "state" / "last" / "state.json")
    assert state["micro_batches"] == (1 if name in QUANTIZERS else 4)


def test_the_jobs_test_what_they_should(two):
    """Rows are drawn anew, some passes use fewer layers, and the processes see unequal numbers of labels."""
    for name in ("ema", "shares", "residual"):
        assert sum(line["resets"] for line in records(two / name) if "resets" in line) > 0, name
    assert len({line["active_all"] for line in records(two / "residual")}) > 3
    job = JOBS["lora"](ALONE)
    counts = [[job["batches"](4 * step + i)["count"] for i in range(4)] for step in range(6)]
    assert any(sum(row[::2]) != sum(row[1::2]) for row in counts)


def test_the_files_of_two_processes(two):
    """One writes, whoever has what; a sharded state has a file of each."""
    names = {path.name for path in (two / "lora").iterdir()}
    assert names == {path.name for path in (two / "one" / "lora").iterdir()}
    assert {path.name for path in (two / "lora" / "state" / "last").iterdir()} == {"state.json", "tensors.safetensors"}
    shards = {path.name for path in (two / "shards" / "state" / "last").glob("*.safetensors")}
    assert len(shards) == 2 and set(read_json(two / "shards/state/last/state.json")["hashes"]) == shards | {
        "state.json"
    }


# ---- resumed by others -----------------------------------------------------------------------------------------------

RESUMED = ("lora", "shards", "packed")


def stopping(world: World) -> Callable[[Callable], Callable]:
    """Makes a loss with which the second process gets a SIGTERM in its third step; the first does not hear of it."""

    def wrap(loss: Callable) -> Callable:
        calls = 0

        def wrapped(batch: dict):
            nonlocal calls
            calls += 1
            if world.rank == 1 and calls == 5:  # it has two of four micro-batches
                os.kill(os.getpid(), signal.SIGTERM)
            return loss(batch)

        return wrapped

    return wrap


@pytest.fixture(scope="module")
def stopped(two) -> Path:
    """Some jobs, stopped by a signal to one of two processes, and resumed by four in "four"."""
    folder = two / "stopped"

    def stop(world: World) -> None:
        for name in RESUMED:
            result = run(world, name, folder / name, loss=stopping(world))
            assert (result.step, result.finished, result.signal) == (3, False, signal.SIGTERM)

    in_processes(2, stop)
    for name in RESUMED:
        for place in ("one", "four", "three"):
            subprocess.run(["cp", "-r", folder / name, folder / f"{name} {place}"], check=True)

    def resume(world: World) -> None:
        for name in RESUMED:
            assert run(world, name, folder / f"{name} four").finished

    in_processes(4, resume)
    return folder


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_of_two_is_resumed_by_four_and_by_one(two, stopped, name):
    """The data order is one of all processes, and so are the steps."""
    check_same(stopped / f"{name} four", two / "one" / name, 1e-4)
    lines = []
    assert run(ALONE, name, stopped / f"{name} one", log=lines.append).finished
    assert "resumed at step 3 of 6" in lines
    check_same(stopped / f"{name} one", two / "one" / name, 1e-4)


def test_a_number_of_processes_that_does_not_fit(stopped, capfd):
    codes = codes_of(start(3, lambda world: run(world, "lora", stopped / "lora three")))
    assert codes == [1, 1, 1]
    err = capfd.readouterr().err
    assert err.count("Traceback") == 1  # one of them speaks
    assert "a step of this training has 4 micro-batches, which 3 processes cannot share evenly" in err
    assert "start one of 1, 2, 4 processes" in err


def test_micro_batches():
    assert [count_micro_batches(1, n) for n in (1, 2, 3)] == [1, 2, 3]
    assert [count_micro_batches(5, n) for n in (1, 2, 3, 8)] == [5, 6, 6, 8]
    assert [count_micro_batches(1, n, saved=4) for n in (1, 2, 4)] == [4, 4, 4]


def test_a_sharded_state_that_lacks_a_file_gives_way(two, tmp_path):
    subprocess.run(["cp", "-r", two / "shards" / "state", tmp_path / "state"], check=True)
    next((tmp_path / "state" / "last").glob("shard-00002*")).unlink()
    with pytest.raises(ValueError, match="shard-00002.*, which .*state.json names, does not exist"):
        run(ALONE, "shards", tmp_path)


# ---- what they agree on ----------------------------------------------------------------------------------------------


def test_a_loss_that_is_nan_in_one_process_is_skipped_by_all(tmp_path):
    def nan(world: World) -> Callable:
        def wrap(loss: Callable) -> Callable:
            calls = 0

            def wrapped(batch: dict):
                nonlocal calls
                calls += 1
                value, extra = loss(batch)
                return value * (float("nan") if world.rank == 1 and calls == 3 else 1.0), extra

            return wrapped

        return wrap

    def work(world: World) -> None:
        for name, folder in (("lora", tmp_path / "lora"), ("ema", tmp_path / "ema")):
            assert run(world, name, folder, loss=nan(world)).finished

    in_processes(2, work)
    for name in ("lora", "ema"):
        assert read_json(tmp_path / name / "state" / "last" / "state.json")["skipped"] == 1
        assert all(tensor.isfinite().all() for tensor in read_tensors(tmp_path / name / "weights.safetensors").values())


def test_turns_and_parts():
    """Every process gets as many turns, and together they have every item once, in order."""

    def work(world: World) -> None:
        for count in (0, 1, 3, 4, 7):
            turns = list(world.turns(count))
            assert [len(other) for other in world.gather(turns)] == [-(-count // 3)] * 3
            own = [i for i, mine in turns if mine]
            assert sorted(sum(world.gather(own), [])) == list(range(count))
            assert sum(world.gather(list(range(count))[world.part(count)]), []) == list(range(count))
        assert world.total(world.rank, 1) == [3, 3] and world.of_first(world.rank) == 0
        assert world.merge(Counter({"all": 1, f"only {world.rank}": 2}))["all"] == 3

    in_processes(3, work)
    assert list(ALONE.turns(2)) == [(0, True), (1, True)] and ALONE.part(5) == slice(0, 5)
    assert ALONE.total(3, False) == [3, False]


def test_other_settings_in_one_process_end_all(tmp_path, capfd):
    def work(world: World) -> None:
        run(world, "lora", tmp_path, fingerprint={"data": "abc" if world.is_first else "xyz"})

    assert codes_of(start(2, work)) == [1, 1]
    err = capfd.readouterr().err
    assert "other settings or data than the first (data 'abc' there, 'xyz' here)" in err and err.count("Error: ") == 1


def test_fp16_is_not_sharded():
    with pytest.raises(ValueError, match="--shard cannot scale fp16 gradients"):
        Shards(nn.Linear(1, 1), lambda batch: None, World(0, 2), [], "fp16", CPU)


# ---- work that is dealt out ------------------------------------------------------------------------------------------


def test_tokens_and_reports_of_two_processes(tiny, tmp_path):
    """Byte for byte, as every clip is coded in the batch that it shares with the same clips."""
    data = MotionDataset(random_dataset(tmp_path / "data", ["walks", "runs", "sits", "waves", "jumps"], 4))

    def make(folder: Path, world: World) -> None:
        tokenizer = MotionTokenizer.load(tiny.vqvae)
        folder.mkdir(exist_ok=True)
        tokenise_dataset(data, tokenizer, folder / "tokens.json", say=lambda line: None)
        report = evaluate_vqvae(tokenizer, data, "train", batch_size=1)
        clips = list(data.load_split("train")[0].values())
        errors = reconstruction_errors(tokenizer, clips[world.part(len(clips))], world)
        if world.is_first:
            write_json(folder / "report.json", report)
            write_json(folder / "errors.json", errors)

    in_processes(2, lambda world: make(tmp_path / "two", world))
    make(tmp_path / "one", ALONE)
    for name in ("tokens.json", "report.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    errors = [read_json(tmp_path / name / "errors.json") for name in ("one", "two")]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)  # the sums of two parts


# ---- processes that die ----------------------------------------------------------------------------------------------


def test_a_process_ends_if_one_beside_it_dies_while_it_waits(capfd, monkeypatch):
    """As in NCCL, where waiting for a dead process lasts until the timeout: here in a sleep."""
    monkeypatch.setattr(world_module, "PATIENCE", 0.2)

    def work(world: World) -> None:
        if not world.is_first:
            os._exit(9)
        time.sleep(60)

    began = time.monotonic()
    assert codes_of(start(2, work)) == [1, 9] and time.monotonic() - began < 50
    assert capfd.readouterr().err.count("process 1 of 2: another process of this training has died") == 1


def test_long_work_of_the_first_ends_no_other(monkeypatch):
    """As a large checkpoint from the Hub is: longer than a wait without a sign of life may be. A hang is still one."""
    monkeypatch.setattr(world_module, "TIMEOUT", timedelta(seconds=1.5))

    def long(world: World) -> None:
        def work() -> str:
            time.sleep(4)
            return "pulled"

        assert world.from_first(work) == "pulled" and world.gather(world.rank) == [0, 1, 2]

    in_processes(3, long)
    assert codes_of(start(2, lambda world: time.sleep(4) if world.is_first else world.wait())) == [0, 1]


def test_who_leaves_earlier_is_not_missed():
    in_processes(2, lambda world: time.sleep(2.5) if world.is_first else None)


@for_each(
    "device, cuda, local, expected",
    [
        ("cpu", 0, 1, ("cpu", "gloo")),
        (None, 0, 1, ("cpu", "gloo")),
        (None, 2, 1, ("cuda:1", "cpu:gloo,cuda:nccl")),
        ("cuda", 2, 0, ("cuda:0", "cpu:gloo,cuda:nccl")),
        ("cpu", 2, 0, ("cpu", "gloo")),
        ("cuda:1", 2, 0, "--device cuda:1 is one device for several processes"),
        ("mps", 0, 0, "--device mps is one device for several processes"),
        ("cuda", 0, 0, "there is no CUDA device here"),
        (None, 1, 1, "more processes than the 1 CUDA devices of this machine"),
    ],
)
def test_every_process_takes_its_own_device(monkeypatch, device, cuda, local, expected):
    taken = []
    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            world_module._own_device(device)
        return
    assert world_module._own_device(device) == expected
    assert taken == ([local] if expected[0] != "cpu" else [])


def test_scripts_that_run_in_one_process(monkeypatch, capsys):
    """torchrun starts them several times: one line, from the first."""
    monkeypatch.setattr(sys, "argv", ["sample.py"])
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    for rank, said in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as end:
            run_script(lambda args: None, Parser("A script."))
        assert end.value.code == 2
        assert capsys.readouterr().err.count("this runs in one process: start it with python, not with torch") == said
        monkeypatch.setattr(sys, "argv", ["sample.py", "--nonsense"])
        with pytest.raises(SystemExit):
            run_script(lambda args: None, Parser("A script."), shared=processes.always)
        assert capsys.readouterr().err.count("unrecognized arguments: --nonsense") == said
        monkeypatch.setattr(sys, "argv", ["sample.py"])


# ---- the real script -------------------------------------------------------------------------------------------------


def begin(command: list[object], log: Path) -> subprocess.Popen:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*torchrun, *map(str, command)], env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT
    )


def wait_for(place: Path, process: subprocess.Popen) -> None:
    while not place.exists():
        assert process.poll() is None
        time.sleep(0.05)


def test_torchrun_a_signal_a_kill_and_the_losses_of_one_process(tiny, script, tmp_path):
    flags = ["--stage", 1, "--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae, "--device", "cpu"]
    flags += ["--batch-size", 2, "--max-steps", 100_000, "--save-every", 2, "--log-every", 1, "--lora-r", 4]
    flags += ["--lora-alpha", 4, "--precision", "fp32", "--eval-every", 100_000]
    command = [ROOT / "scripts" / "finetune.py", *flags, "--out", tmp_path / "two"]
    folder = tmp_path / "two" / "stage1"

    process = begin(command, tmp_path / "log")
    wait_for(folder / "state" / "last" / "state.json", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT) != 0
    log = (tmp_path / "log").read_text()
    saved = read_json(folder / "state" / "last" / "state.json")["step"]
    assert f"stopped at step {saved} of 100000; the same command continues from there" in log
    assert log.count("recipe signmotiongpt, stage 1") == 1  # the first process alone speaks

    process = begin(command, tmp_path / "log")
    wait_for(folder / ".lock", process)
    first = (folder / "metrics.jsonl").stat().st_size
    while (folder / "metrics.jsonl").stat().st_size <= first:
        time.sleep(0.05)
    os.kill(int((folder / ".lock").read_text()), signal.SIGKILL)
    began = time.monotonic()
    assert process.wait(LIMIT) != 0 and time.monotonic() - began < 60
    log = (tmp_path / "log").read_text()
    assert f"resumed at step {saved} of 100000" in log
    assert log.count("error: another process of this training has died") == 1 and "process 2 of 2: finetune.py" in log

    # one process, the doubled batch, as long as the other two
    steps = len(records(folder))
    alone = ["finetune", *flags, "--out", tmp_path / "one", "--grad-accum", 2]
    assert script(*alone, "--max-minutes", 0.05).code == 0
    pairs = list(zip(records(folder), records(tmp_path / "one" / "stage1"), strict=False))
    assert len(pairs) >= min(3, steps)
    for left, right in pairs:
        assert left == pytest.approx(right, abs=1e-5)
