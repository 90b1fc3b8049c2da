"""--pack: several examples in a row give the losses and gradients that they give in rows of their own."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import for_each, seeded
from test_memory import WINDOWS, adapted
from tiny_templates import CODES, tiny_renderer, tiny_vocab

from motiongpt import layers
from motiongpt.config import LLM_PRESETS, LLMConfig, TrainConfig
from motiongpt.data.batches import BucketedBatches, pack
from motiongpt.data.tokens import Entry
from motiongpt.files.store import read_tensors
from motiongpt.kernels.packed_attention import Samples, by_sample
from motiongpt.llm import LLM
from motiongpt.loops import train
from motiongpt.tasks.collate import TaskCollate, collate_packed, lm_losses

TASKS = {"t2m": 2.0, "m2t": 1.0, "denoise": 1.0, "predict": 1.0}
LLAMA = replace(LLM_PRESETS["tiny"], qk_norm=False, rope_scaling="llama3", rope_factor=4.0, rope_original_positions=16)


def entries(count: int = 24) -> list[Entry]:
    """Of 1 to 40 codes, as mixed as real motions are."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 41, count)
    return [
        Entry("a person " + "walks " * (i % 7), tuple(map(int, rng.integers(0, CODES, S))), "P1")
        for i, S in enumerate(lengths)
    ]


def batches(most: int, alone: bool = False, rows: int = 12) -> tuple[dict, dict, TaskCollate]:
    """The same examples a row each, and packed."""
    made = [TaskCollate(entries(), TASKS, tiny_renderer("qwen"), alone, most) for most in (0, most)]
    plain, packed = (one(np.arange(rows), np.random.default_rng(2)) for one in made)
    return plain, packed, made[0]


def model(config: LLMConfig = LLM_PRESETS["tiny"]) -> LLM:
    vocab = tiny_vocab("qwen")
    llm = LLM(replace(config, vocab_size=vocab.first_id + 5, max_positions=128), seeded(1))
    llm.extend(vocab.first_id, len(vocab), seeded(2))
    return llm


MODELS = {
    "qwen3": model,
    "llama": lambda: model(LLAMA),
    "gemma, windows": lambda: model(WINDOWS),
    "lora": lambda: adapted(model(), dropout=0.0),
}


def found(llm: LLM, batch: dict, by_task: TaskCollate) -> tuple[torch.Tensor, dict, dict]:
    """The mean loss, the sums of each task, and all gradients."""
    llm.train().zero_grad()
    total, single = lm_losses(llm, batch, 0.1)
    mean = total / batch["count"]
    mean.backward()
    gradients = {name: p.grad.clone() for name, p in llm.named_parameters() if p.grad is not None}
    return mean.detach(), by_task.split_by_task(single, batch), gradients


def assert_same(ours: tuple, wanted: tuple) -> None:
    """fp32: the same terms, summed in another order."""
    torch.testing.assert_close(ours[0], wanted[0], rtol=1e-5, atol=0)
    assert ours[1].keys() == wanted[1].keys() and len(ours[1]) > 2
    for name, value in wanted[1].items():
        torch.testing.assert_close(ours[1][name], value, rtol=1e-5, atol=0, msg=name)
    assert ours[2].keys() == wanted[2].keys()
    for name, gradient in wanted[2].items():
        torch.testing.assert_close(ours[2][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@for_each(
    "name, most, alone, recompute, masked",
    [
        (name, most, alone, recompute, masked)
        for name in MODELS
        for most, alone in ((110, False), (150, True), (1000, False))
        for recompute in (False, True)
        for masked in (False, True)
    ],
)
def test_packed_is_unpacked(monkeypatch, name, most, alone, recompute, masked):
    """Losses and gradients, a sample at a time and with the mask that a GPU is given; rows may be longer than the
    positions of the model."""
    plain, packed, by_task = batches(most, alone)
    assert len(packed["ids"]) < len(plain["ids"]) and packed["ids"].shape[1] <= most
    if masked:
        monkeypatch.setattr(layers, "by_sample", lambda attend, q, k, v, samples, scale: attend(
            q, k, v, samples.mask(q.device), False, scale
        ))  # fmt: skip
    llm = MODELS[name]()
    wanted = found(llm, plain, by_task)
    llm.checkpoint_activations = recompute
    assert_same(found(llm, packed, by_task), wanted)


def test_in_bf16_autocast():
    """Roundings to 8 bits, in another order: 2 ** -6 of the largest gradient. The backward kernel of a CPU is used."""
    plain, packed, by_task = batches(110)
    llm = model(WINDOWS)
    with torch.autocast("cpu", torch.bfloat16):
        wanted, ours = found(llm, plain, by_task), found(llm, packed, by_task)
    torch.testing.assert_close(ours[0], wanted[0], rtol=2**-8, atol=0)
    for name, gradient in wanted[2].items():
        torch.testing.assert_close(ours[2][name], gradient, rtol=0, atol=float(gradient.abs().max()) * 2**-5, msg=name)


def test_a_sample_sees_nothing_of_the_others():
    """With other neighbours its states are the same bits; and its own change is seen."""
    llm = model().eval()
    ids = torch.randint(0, 300, (1, 30), generator=seeded(3))
    other = ids.clone()
    other[:, :10] = 5
    other[:, 22:] = 6
    rows = [[10, 12, 8]]
    with torch.no_grad():
        one, two = llm.hidden(ids, packed=rows), llm.hidden(other, packed=rows)
        alone = llm.hidden(ids[:, 10:22])
    assert torch.equal(one[:, 10:22], two[:, 10:22]) and not torch.equal(one[:, 22:], two[:, 22:])
    torch.testing.assert_close(one[:, 10:22], alone, rtol=1e-5, atol=1e-6)


@for_each("window, H, K", [(window, H, K) for window in (0, 3) for H, K in ((4, 4), (4, 2))])
def test_a_sample_at_a_time_is_the_mask(window, H, K):
    samples = Samples.of([[3, 7], [4], [10]], 10).within(window)
    q, k, v = (torch.randn(3, 10, heads, 8).transpose(1, 2).requires_grad_() for heads in (H, K, K))
    gradient = torch.randn(3, H, 10, 8)
    results = []
    for out in (
        by_sample(layers.attend, q, k, v, samples, 0.3),
        layers.attend(q, k, v, samples.mask(q.device), False, 0.3),
    ):
        results.append((out, *torch.autograd.grad(out, (q, k, v), gradient)))
    for ours, wanted in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


def test_the_picture():
    samples = Samples.of([[3, 2]], 6)
    assert samples.positions(torch.device("cpu")).tolist() == [[0, 1, 2, 0, 1, 0]]
    picture = ["100000", "110000", "111000", "000100", "000110", "000001"]
    assert samples.mask(torch.device("cpu"))[0, 0].int().tolist() == [list(map(int, row)) for row in picture]
    narrow = samples.within(2).mask(torch.device("cpu"))[0, 0].int().tolist()
    assert narrow[2] == [0, 1, 1, 0, 0, 0] and narrow[:2] == [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert Samples.of([[3, 3]], 6).rows == ((3, 3),)


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_rows_as_literals():
    assert pack([5, 4, 3, 3], 8) == [[0, 3], [1, 2]]
    assert pack([3, 3, 3], 8) == [[0, 2], [1]] and pack([8], 8) == [[0]] and pack([4, 4, 4], 100) == [[0, 1, 2]]
    with pytest.raises(ValueError, match="an example has 9 tokens, and a row of --pack 8 holds"):
        pack([2, 9], 8)
    F, T = False, True
    batch = collate_packed([[([5, 6], [F, T]), ([7, 8, 9], [F, F, T])], [([1, 2, 3], [T, T, T])]])
    assert batch["ids"].tolist() == [[5, 7, 8], [1, 2, 0]] and batch["targets"].tolist() == [[6, -1, 9], [2, 3, -1]]
    assert batch["packed"] == [[1, 2], [2]] and batch["labels"].tolist() == [1, 1, 2]
    assert (batch["count"], batch["units"]) == (4, 5)


def test_rows_hold_everything_once_and_are_full():
    rng = np.random.default_rng(0)
    for case in range(200):
        most = int(rng.integers(20, 600))
        lengths = rng.integers(1, 1 + int(rng.integers(1, most + 1)), int(rng.integers(1, 60))).tolist()
        rows = pack(lengths, most)
        assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
        sizes = [sum(lengths[i] for i in row) for row in rows]
        assert 0 < min(sizes) and max(sizes) <= most
        if max(lengths) < most / 8 and len(rows) > 1:  # short ones: nearly as few rows as there can be, equally full
            assert len(rows) <= -(-sum(lengths) // most) + 1 and min(sizes) > 0.6 * max(sizes), case


def test_packing_needs_no_buckets_to_save_padding():
    """Share of positions that are padding: batches of mixed lengths, bucketed, and packed."""

    def padding(most: int, pool: int) -> float:
        build = TaskCollate(entries(600), {"t2m": 1.0}, tiny_renderer("qwen"), pack=most)
        made = BucketedBatches(build.lengths(), 12, 0, build, pool)
        all_batches = [made(m) for m in range(made.per_epoch)]
        return 1 - sum(b["units"] for b in all_batches) / sum(b["ids"].numel() for b in all_batches)

    assert padding(0, 1) > 0.2 and 0.02 < padding(0, 50) < 0.1 and padding(512, 1) < 0.01


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="--pack must be 0, or at least --max-seq-len 512, .*, got 256"):
        TrainConfig(pack=256)
    with pytest.raises(ValueError, match="--pack must be 0"):
        TrainConfig(pack=-1)
    assert TrainConfig(pack=256, max_seq_len=256).pack == 256
    with pytest.raises(ValueError, match="--pack is for decoders"):
        TaskCollate(entries(), {"t2m": 1.0}, tiny_renderer("t5"), pack=512)
    with pytest.raises(ValueError, match="129 tokens exceed the model's 128 positions"):
        model().hidden(torch.zeros(1, 140, dtype=torch.int64), packed=[[129, 11]])
    model().hidden(torch.zeros(1, 140, dtype=torch.int64), packed=[[128, 12]])


# ---- trainings ------------------------------------------------------------------------------------------------------

CONFIG = TrainConfig(lr=1e-2, max_steps=6, batch_size=4, grad_accum=2, eval_every=99, save_every=1, log_every=1,
                     warmup=0.0, max_seq_len=64)  # fmt: skip


def packed_job(most: int, killed_after: int | None = None, lora: bool = True) -> tuple:
    """Module, batches and loss of a training on mixed lengths, in an order that is the same packed or not."""
    torch.manual_seed(0)  # of the adapters
    llm = adapted(model(), dropout=0.0) if lora else model()
    build = TaskCollate(entries(), TASKS, tiny_renderer("qwen"), pack=most)
    made = BucketedBatches(build.lengths(), 4, 3, build, 1)
    seen = 0

    def loss(batch):
        nonlocal seen
        if seen == killed_after:
            raise KeyboardInterrupt
        seen += 1
        return lm_losses(llm, batch)[0], {}

    return llm, made, loss


def run(folder, most: int, killed_after: int | None = None, config: TrainConfig = CONFIG) -> dict[str, torch.Tensor]:
    llm, made, loss = packed_job(most, killed_after)
    train(llm, made, loss, replace(config, pack=most), folder, device=torch.device("cpu"), log=lambda line: None,
          fingerprint={"pack": most})  # fmt: skip
    return {name: p.detach().clone() for name, p in llm.named_parameters()}


def test_a_packed_training_is_the_unpacked_one(tmp_path):
    """Six steps of two micro-batches: the same weights. Adam divides by small gradients, so a step of 1e-2 may differ
    by a thousandth of itself."""
    plain, packed = run(tmp_path / "plain", 0), run(tmp_path / "packed", 128)
    start = dict(packed_job(0)[0].named_parameters())
    moved = [name for name in plain if not torch.equal(plain[name], start[name])]
    assert len(moved) > 4
    for name in plain:
        torch.testing.assert_close(packed[name], plain[name], rtol=0, atol=2e-5, msg=name)


def test_a_killed_packed_training_goes_on_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole", 128)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", 128, killed_after=7)
    with pytest.raises(ValueError, match="--pack 128 there, 0 here"):
        run(tmp_path / "parts", 0)
    parts = run(tmp_path / "parts", 128)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_a_stage_with_packed_rows(script, tiny, tmp_path):
    """The same validation, near the same losses as without; T5 and the reward stage are refused elsewhere."""
    few = ("--max-steps", 4, "--eval-every", 2, "--lora-r", 4, "--lora-alpha", 4, "--max-seq-len", 128)
    train_it = (
        "finetune",
        "--stage",
        2,
        "--data",
        tiny.data,
        "--backbone",
        tiny.backbone,
        *few,
        "--out",
        tmp_path / "run",
    )
    done = script(*train_it, "--pack", 128, "--dry-run")
    assert done.code == 0 and "ids (" in done.out, done.err
    done = script(*train_it, "--pack", 64)
    assert done.code == 2 and "--pack must be 0, or at least --max-seq-len 128" in done.err
    done = script(
        *train_it, "--pack", 128, "--checkpoint-activations", "--tokens-per-step", 900, "--loss-vocab", "motion"
    )
    assert done.code == 0 and "pack 128 (flag)" in done.out, done.err
    tensors = read_tensors(tmp_path / "run" / "stage2" / "adapter_model.safetensors")
    assert all(torch.isfinite(t).all() for t in tensors.values())
    reward = ("finetune", "--stage", "reward", "--data", tiny.data, "--out", tmp_path / "run")
    file = tmp_path / "settings.json"
    for said, origin in (({"loss_vocab": "motion"}, ""), ({"reward": {"loss_vocab": "motion"}}, ", stage reward")):
        file.write_text(json.dumps(said))
        done = script(*reward, "--config", file)
        assert done.code == 2 and "--loss-vocab has no meaning in --stage reward" in done.err, done.err
        assert f"(--config {file}{origin})" in done.err
    done = script(*reward, "--pack", 512)
    assert done.code == 2 and "--pack has no meaning in --stage reward" in done.err
