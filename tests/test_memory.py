"""What a training keeps in memory: activations computed again give the same gradients, frozen weights take half the
bytes and give the same loss, and the size of a step is chosen from the data."""

import json
import math
import re
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from cases import for_each, seeded
from torch import nn

from motiongpt import layers, lora
from motiongpt.backbones.t5 import T5, T5Config
from motiongpt.cli.parser import Parser, add_config_flags, resolve_config, run_script
from motiongpt.config import LLM_PRESETS, LLMConfig, LoRAConfig, TrainConfig
from motiongpt.files.store import read_json, read_tensors, write_json
from motiongpt.llm import LLM
from motiongpt.loops import make_optimizer
from motiongpt.stages.fitting import fit_step
from motiongpt.tasks.collate import lm_loss
from motiongpt.training.memory import accumulation, base_dtype, cast_frozen, parameter_bytes

SHAPE = {"vocab_size": 90, "hidden_size": 24, "intermediate_size": 32, "num_layers": 3, "num_heads": 4}
WINDOWS = LLMConfig(**SHAPE, num_kv_heads=2, head_dim=8, window=3, max_positions=64,
                    layer_types=("sliding_attention", "full_attention", "sliding_attention"))  # fmt: skip
T5_CONFIG = T5Config(**{**SHAPE, "num_heads": 3}, num_decoder_layers=2, head_dim=4, gated=True, tie_embeddings=False)


def decoder(config=LLM_PRESETS["tiny"]) -> LLM:
    llm = LLM(config, seeded(1))
    llm.extend(config.vocab_size - 10, 12, seeded(2))
    return llm


def t5() -> T5:
    torch.manual_seed(0)
    llm = T5(T5_CONFIG)
    llm.extend(80, 12, seeded(2))
    return llm


def adapted(llm, dropout: float = 0.3):
    targets = ("q", "wo") if isinstance(llm, T5) else ("q_proj", "down_proj")
    lora.inject(llm, LoRAConfig(lora_r=4, lora_dropout=dropout, lora_targets=targets), seeded(3))
    for layer in lora.lora_layers(llm).values():
        nn.init.normal_(layer.lora_B, std=0.1)  # at zero, lora_A would have no gradient
    return llm


def batch_for(llm, rows: int = 4, T: int = 9) -> dict:
    rng = torch.Generator().manual_seed(5)
    ids = torch.randint(2, llm.vocab_size, (rows, T), generator=rng)
    targets = torch.randint(2, llm.vocab_size, (rows, T), generator=rng)
    targets[0, 5:] = -1
    if isinstance(llm, T5):
        return {"instruction": ids, "instruction_lengths": torch.tensor([9, 4, 7, 9]), "ids": ids[:, :8],
                "targets": targets}  # fmt: skip
    return {"ids": ids, "targets": targets}


def gradients(llm, batch, precision: str) -> tuple[torch.Tensor, dict, int]:
    """The loss, the gradients by name, and the bytes that are kept for the backward pass, parameters aside."""
    llm.train().zero_grad()
    torch.manual_seed(7)  # of dropout
    kept = {}
    own = {p.untyped_storage().data_ptr() for p in llm.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    cast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
    with cast, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = lm_loss(llm, batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in llm.named_parameters() if p.grad is not None}
    return loss.detach(), found, sum(kept.values())


MODELS = {
    "decoder": decoder,
    "windows": lambda: decoder(WINDOWS),
    "t5": t5,
    "decoder, LoRA": lambda: adapted(decoder()),
    "t5, LoRA": lambda: adapted(t5()),
}


@pytest.mark.slow
@for_each("name, precision", [(name, precision) for name in MODELS for precision in ("fp32", "bf16")])
def test_gradients_of_activations_computed_again_are_the_same(monkeypatch, name, precision):
    """Bit for bit, with dropout too, and fewer bytes are kept."""
    calls = []
    monkeypatch.setattr(layers, "checkpoint", lambda *a, **k: calls.append(a) or torch_checkpoint(*a, **k))
    llm = MODELS[name]()
    batch = batch_for(llm)
    loss, plain, bytes_plain = gradients(llm, batch, precision)
    assert not calls
    llm.checkpoint_activations = True
    again, found, bytes_found = gradients(llm, batch, precision)
    blocks = T5_CONFIG.num_layers + T5_CONFIG.num_decoder_layers if isinstance(llm, T5) else llm.config.num_layers
    assert len(calls) == blocks
    assert torch.equal(loss, again) and plain.keys() == found.keys() and len(plain) > 2
    for key, value in plain.items():
        assert torch.equal(value, found[key]), key
    assert any(value.abs().max() > 0 for value in plain.values())
    assert bytes_found < 0.6 * bytes_plain


torch_checkpoint = layers.checkpoint


def test_nothing_is_computed_again_without_a_gradient_or_with_a_cache(monkeypatch):
    monkeypatch.setattr(layers, "checkpoint", lambda *a, **k: pytest.fail("recomputes"))
    llm = decoder()
    llm.checkpoint_activations = True
    ids = torch.arange(6)[None]
    with torch.no_grad():
        whole = llm.hidden(ids)
    cached = llm.hidden(ids, llm.new_cache(1, 6))  # a cache cannot be filled twice
    torch.testing.assert_close(whole, cached, atol=1e-5, rtol=0)  # another order of summation, fp32


def rounded(llm):
    """Its frozen weights as bf16 holds them, in fp32: a checkpoint that was written in bf16, as most are."""
    for p in llm.parameters():
        if not p.requires_grad:
            p.data = p.data.bfloat16().float()
    return llm


@for_each("name", ["decoder, LoRA", "t5, LoRA"])
def test_a_frozen_base_in_bf16_takes_half_the_bytes_and_changes_no_bit(name):
    """Under autocast, for a checkpoint that was written in bf16: products were rounded anyway."""
    llm = rounded(MODELS[name]())
    batch = batch_for(llm)
    loss, plain, _ = gradients(llm, batch, "bf16")
    trained = {n: p.numel() for n, p in llm.named_parameters() if p.requires_grad}
    norms = {n: p.numel() for n, p in llm.named_parameters() if "norm" in n}
    before = parameter_bytes(llm)
    cast_frozen(llm, torch.bfloat16)
    kinds = {n: p.dtype for n, p in llm.named_parameters()}
    assert {n for n, kind in kinds.items() if kind == torch.float32} == {*trained, *norms}
    small = 4 * (sum(trained.values()) + sum(norms.values()))
    assert parameter_bytes(llm) - small == (before - small) / 2
    assert all(p.dtype == torch.float32 for group in make_optimizer(llm, TrainConfig()).param_groups
               for p in group["params"])  # fmt: skip
    again, found, _ = gradients(llm, batch, "bf16")
    assert torch.equal(loss, again) and all(torch.equal(value, found[key]) for key, value in plain.items())


def test_a_base_written_in_fp32_changes_by_the_rounding_of_its_word_table():
    """2^-9 relative per number of an embedding, and nothing else: a mean loss changes by far less than 1 %."""
    llm = adapted(decoder(), dropout=0.0)
    batch = batch_for(llm)
    loss, _, _ = gradients(llm, batch, "bf16")
    cast_frozen(llm, torch.bfloat16)
    again, _, _ = gradients(llm, batch, "bf16")
    assert 0 < abs(float(again / loss) - 1) < 0.01


def test_which_format_the_base_is_kept_in():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert base_dtype("auto", "bf16", cpu) == torch.float32  # results on a CPU stay as they were
    assert base_dtype("auto", "bf16", cuda) == base_dtype("bf16", "bf16", cpu) == torch.bfloat16
    assert base_dtype("auto", "fp16", cuda) == torch.float16 and base_dtype("auto", "fp32", cuda) == torch.float32
    assert base_dtype("fp32", "bf16", cuda) == torch.float32
    with pytest.raises(ValueError, match="--base-dtype bf16 needs --precision bf16, got fp32"):
        base_dtype("bf16", "fp32", cpu)


# ---- the flags ------------------------------------------------------------------------------------------------------

FEW = ("--max-steps", 2, "--eval-every", 2, "--batch-size", 8, "--lora-r", 4, "--lora-alpha", 4, "--log-every", 1)


@pytest.mark.slow
def test_a_stage_with_less_memory_learns_the_same(script, tiny, tmp_path):
    """The tiny backbone is written in fp32, so a bf16 base differs by its rounding; what is saved stays fp32."""
    train = ("finetune", "--stage", 3, "--data", tiny.data, "--backbone", tiny.backbone, "--precision", "bf16", *FEW)
    ways = {"plain": (), "again": ("--checkpoint-activations",), "base": ("--base-dtype", "bf16")}
    metrics, adapters = {}, {}
    for name, flags in ways.items():
        done = script(*train, "--lora-dropout", 0.2, "--out", tmp_path / name, *flags)
        assert done.code == 0, done.err
        stage = tmp_path / name / "stage3"
        metrics[name] = [read_loss(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
        adapters[name] = read_tensors(stage / "adapter_model.safetensors")
        saved = read_tensors(stage / "state" / "last" / "tensors.safetensors")
        assert {t.dtype for t in saved.values() if t.is_floating_point()} == {torch.float32}
        assert {t.dtype for t in adapters[name].values()} == {torch.float32}
    assert metrics["again"] == metrics["plain"] and len(metrics["plain"]) == 3
    assert all(torch.equal(t, adapters["again"][key]) for key, t in adapters["plain"].items())
    # the first two losses of a model with ten roundings of 2^-9 on the way
    assert metrics["base"] == pytest.approx(metrics["plain"], rel=0.02) and metrics["base"] != metrics["plain"]
    done = script(*train, "--train", "full", "--base-dtype", "bf16", "--out", tmp_path / "full")
    assert done.code == 2 and "--base-dtype" in done.err, done.err


def read_loss(line: str) -> float:
    values = json.loads(line)
    return values.get("loss", values.get("val_loss"))


class Sized:
    """Batches whose real tokens are given."""

    def __init__(self, *units: int) -> None:
        self.units, self.per_epoch = units, len(units)

    def __call__(self, micro_step: int) -> dict:
        return {"units": self.units[micro_step], "count": 1}


def test_the_accumulation_comes_nearest_to_the_tokens_of_a_step():
    assert accumulation(Sized(100, 300), 1000) == (5, 200.0)
    assert accumulation(Sized(100, 300), 50) == (1, 200.0)  # a step has one batch at least
    assert accumulation(Sized(*[100] * 32, *[10**9] * 8), 1000) == (10, 100.0)  # the first 32 are looked at


@dataclass
class Stands:
    """What `fit_step` reads of a job and of a plan."""

    job: object = None
    folder: Path | None = None
    config: TrainConfig | None = None
    fresh: bool = False


@for_each(
    "tokens, processes, saved, grad_accum, line",
    [
        (1000, 1, None, 5, "--grad-accum 5, as a batch of 8 has 200 tokens; a step has 1,000"),
        (1000, 2, None, 5, "--grad-accum 5, as a batch of 8 has 200 tokens; 2 processes make that 6, so a step has "
         "1,200"),
        (1000, 1, 6, 5, "--grad-accum 5, as a batch of 8 has 200 tokens; it began with 6, so a step has 1,200"),
        (1000, 5, 5, 5, "--grad-accum 5, as a batch of 8 has 200 tokens; a step has 1,000"),
        (10, 1, None, 1, "the smallest step is one batch, 200 tokens; a smaller --batch-size lowers it"),
        (300, 2, None, 2, "the smallest step is one batch for each of 2 processes, 400 tokens; a smaller --batch-size "
         "lowers it"),
    ],
)  # fmt: skip
def test_the_size_of_a_step_is_told_as_it_will_be(tmp_path, tokens, processes, saved, grad_accum, line):
    folder = tmp_path / f"{tokens} {processes} {saved}"
    if saved is not None:
        write_json(folder / "state" / "last" / "state.json", {"micro_batches": saved})
    plan = Stands(Stands(config=TrainConfig(tokens_per_step=tokens)), folder)
    lines = []
    found = fit_step(plan, Sized(100, 300), processes, lines.append).job.config
    assert lines == [f"--tokens-per-step {tokens}: {line}"]
    assert (found.grad_accum, found.tokens_per_step) == (grad_accum, 0)


@pytest.mark.slow
def test_tokens_per_step_chooses_the_accumulation_and_resumes(script, tiny, tmp_path):
    train = ("finetune", "--stage", 3, "--data", tiny.data, "--backbone", tiny.backbone, "--out", tmp_path / "run")
    done = script(*train, *FEW, "--tokens-per-step", 1000, "--max-steps", 4, "--save-every", 1, "--max-minutes", 1e-9)
    line = next(line for line in done.out.splitlines() if line.startswith("--tokens-per-step"))
    assert done.code == 0 and re.search("time is up: stopped at step [01] of 4", done.out), done.err
    done = script(*train, *FEW, "--tokens-per-step", 1000, "--max-steps", 4)
    assert done.code == 0 and line in done.out.splitlines(), done.err  # the same choice again
    chosen = read_json(tmp_path / "run" / "config.json")["TrainConfig"]
    assert chosen["grad_accum"] > 1 and chosen["tokens_per_step"] == 0  # config.json can be a --config
    assert f"--grad-accum {chosen['grad_accum']}, as a batch of 8 has" in line
    done = script(*train, *FEW, "--tokens-per-step", 1000, "--grad-accum", 2, "--fresh")
    assert done.code == 2 and "--grad-accum must be left out with --tokens-per-step" in done.err


def test_a_stronger_layer_that_counts_tokens_drops_the_accumulation_of_a_weaker_one():
    parser = Parser("x")
    add_config_flags(parser, TrainConfig)

    def resolved(*words, **layer):
        layers = ("recipe", {"grad_accum": 8}), ("file", layer)
        config, _ = resolve_config(TrainConfig, parser.parse_args([*words]), *layers)
        return config.grad_accum, config.tokens_per_step

    assert resolved() == (8, 0)
    assert resolved("--tokens-per-step", "500") == resolved(tokens_per_step=500) == (1, 500)
    assert resolved("--grad-accum", "2", tokens_per_step=500) == (2, 0)
    assert resolved("--tokens-per-step", "500", grad_accum=3, tokens_per_step=0) == (1, 500)  # a run's config.json
    with pytest.raises(ValueError, match="--grad-accum must be left out"):
        resolved("--tokens-per-step", "500", "--grad-accum", "2")


@for_each(
    "error, full",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nand more"), "the device is"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "this machine is"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "this machine is"),
        (MemoryError(), "out of memory (none is left)"),
    ],
)
def test_a_training_out_of_memory_names_the_settings_to_change(monkeypatch, capsys, error, full):
    """Those that are not used yet."""

    def main(args):
        raise error

    def said(*words) -> str:
        parser = Parser("What it is.")
        add_config_flags(parser, TrainConfig)
        monkeypatch.setattr("sys.argv", [parser.prog, *words])
        with pytest.raises(SystemExit) as end:
            run_script(main, parser)
        assert end.value.code == 2
        return capsys.readouterr().err

    line = said()
    assert f": error: {full}" in line and "out of memory" in line and line.count("\n") == 1
    for flag in ("--batch-size", "--tokens-per-step", "--checkpoint-activations", "--max-seq-len"):
        assert flag in line
    assert "--checkpoint-activations" not in said("--checkpoint-activations")


def test_the_message_of_the_cpus_allocator_is_known(monkeypatch, capsys):
    """As PyTorch words it now: a terabyte times 2^20 is more than any address space gives."""
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        torch.empty(2**60)


def test_a_frozen_base_leaves_what_is_trained_alone():
    """All weights trained: nothing is cast."""
    llm = decoder()
    cast_frozen(llm, torch.bfloat16)
    assert {p.dtype for p in llm.parameters()} == {torch.float32}
    assert math.isfinite(float(llm(torch.arange(4)[None]).detach().sum()))
