"""Adapters: they start as the identity, only they move, and merging adds (alpha / r) B A once and can be undone."""

from dataclasses import replace

import pytest
import torch
from cases import seeded
from torch import nn

from motiongpt import lora
from motiongpt.config import LLM_PRESETS, PROJECTIONS, LoRAConfig
from motiongpt.kernels import adapter_products
from motiongpt.llm import LLM

CONFIG = LoRAConfig(lora_r=3, lora_alpha=12.0)  # scale 4, so that a forgotten alpha / r shows
CLOSE = dict(atol=1e-5, rtol=1e-5)  # fp32, the same sums in another order


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def make(config: LoRAConfig = CONFIG, random_b: bool = True) -> LLM:
    """A tiny adapted model. lora_B is random, so that the adapter matters."""
    llm = LLM(LLM_PRESETS["tiny"], seeded(0)).eval()
    llm.extend(290, 20, seeded(1))
    lora.inject(llm, config, seeded(2))
    if random_b:
        with torch.no_grad():
            for layer in lora.lora_layers(llm).values():
                layer.lora_B.normal_(0, 0.1, generator=seeded(3))
    return llm


@pytest.fixture
def ids():
    return torch.randint(0, 310, (2, 9), generator=seeded(4))


def test_identity_at_the_start(ids):
    llm = LLM(LLM_PRESETS["tiny"], seeded(0)).eval()
    llm.extend(290, 20, seeded(1))
    before = llm(ids)
    names = lora.inject(llm, CONFIG, seeded(2))
    assert len(names) == 2 * len(PROJECTIONS) and names[0] == "layers.0.self_attn.q_proj"
    assert torch.equal(llm(ids), before)
    assert all(layer.lora_A.abs().sum() > 0 for layer in lora.lora_layers(llm).values())


def test_base_keys_stay(ids):
    """The state dict is the base's plus the adapters, so a base checkpoint loads before and after injecting."""
    base = LLM(LLM_PRESETS["tiny"]).state_dict()
    own = make().state_dict()
    assert set(own) - set(base) == {"new_in", *lora.adapter_state(make())}


def test_only_adapters_and_new_rows_move(ids):
    llm = make(random_b=False).train()
    before = {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    parameters = trainable(llm)
    assert set(parameters) == {"new_in", *lora.adapter_state(llm)}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.01)
    for _ in range(2):  # lora_A has no gradient while lora_B is zero: it moves from the second step on
        optimizer.zero_grad()
        llm(ids).logsumexp(-1).sum().backward()
        optimizer.step()
    moved = {name for name, tensor in llm.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == set(parameters)


def test_only_targets_are_replaced():
    llm = make(replace(CONFIG, lora_targets=("q_proj", "down_proj")))
    assert {name.rpartition(".")[2] for name in lora.lora_layers(llm)} == {"q_proj", "down_proj"}
    assert not llm.layers[0].self_attn.k_proj.weight.requires_grad


def test_merge_is_the_formula_once_and_unmerge_is_exact(ids):
    llm = make()
    layer = llm.layers[1].mlp.down_proj
    expected_output, weight = llm(ids), layer.weight.detach().clone()
    expected = weight + 4.0 * layer.lora_B @ layer.lora_A
    assert not torch.allclose(expected_output, make(random_b=False)(ids), atol=1e-3)  # the adapter matters
    lora.merge(llm)
    torch.testing.assert_close(layer.weight, expected)
    torch.testing.assert_close(llm(ids), expected_output, **CLOSE)
    merged = layer.weight.clone()
    lora.merge(llm)
    assert torch.equal(layer.weight, merged)
    lora.unmerge(llm)
    assert torch.equal(layer.weight, weight)
    lora.unmerge(llm)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(llm(ids), expected_output)


def test_merge_without_keeping_cannot_be_undone(ids):
    llm = make()
    expected = llm(ids)
    lora.merge(llm, keep=False)
    torch.testing.assert_close(llm(ids), expected, **CLOSE)
    with pytest.raises(ValueError, match="keep=False"):
        lora.unmerge(llm)


def test_dropout_acts_on_the_adapter_in_training_only(ids):
    llm = make(replace(CONFIG, lora_dropout=0.5))
    assert torch.equal(llm(ids), make()(ids))
    llm.train()
    assert not torch.equal(llm(ids), llm(ids))
    with torch.no_grad():
        for layer in lora.lora_layers(llm).values():
            layer.lora_B.zero_()  # the base's own path has no dropout
    assert torch.equal(llm(ids), llm(ids)) and torch.equal(llm(ids), make(random_b=False)(ids))


def test_state_goes_round(ids):
    source, target = make(), make(random_b=False)
    lora.load_adapter_state(target, lora.adapter_state(source))
    assert torch.equal(target(ids), source(ids))


def test_load_is_total():
    llm, state = make(), lora.adapter_state(make())
    key = "layers.0.self_attn.q_proj.lora_A"
    with pytest.raises(ValueError, match="1 matrices missing.*q_proj.lora_A"):
        lora.load_adapter_state(llm, {k: v for k, v in state.items() if k != key})
    with pytest.raises(ValueError, match="1 unexpected.*'more'"):
        lora.load_adapter_state(llm, state | {"more": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"q_proj.lora_A is \(2, 32\) in the adapter and \(3, 32\)"):
        lora.load_adapter_state(llm, state | {key: torch.zeros(2, 32)})
    lora.merge(llm)
    with pytest.raises(ValueError, match="unmerge"):
        lora.load_adapter_state(llm, state)


def test_inject_refuses_unknown_targets_and_a_second_time():
    with pytest.raises(ValueError, match="--lora-targets c_attn names no linear layer; there are: down_proj, "):
        lora.inject(LLM(LLM_PRESETS["tiny"]), replace(CONFIG, lora_targets=("q_proj", "c_attn")))
    with pytest.raises(ValueError, match="already has adapters"):
        lora.inject(make(), CONFIG)


def test_works_on_any_module_with_biases():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(5, 4)
    before = model(x)
    assert lora.inject(model, replace(CONFIG, lora_targets=("2",)), seeded(0)) == ["2"]
    assert torch.equal(model(x), before)
    assert set(trainable(model)) == {"2.lora_A", "2.lora_B"}


def test_bf16_base_keeps_fp32_adapters(ids):
    llm = LLM(LLM_PRESETS["tiny"], seeded(0)).to(torch.bfloat16)
    lora.inject(llm, CONFIG, seeded(2))
    assert llm(ids % 300).dtype == torch.bfloat16
    llm(ids % 300).float().logsumexp(-1).sum().backward()
    assert all(layer.lora_B.grad.dtype == torch.float32 for layer in lora.lora_layers(llm).values())


def formula(x: torch.Tensor, layer: lora.LoRALinear) -> torch.Tensor:
    W, A, B = layer.weight.to(x.dtype), layer.lora_A.to(x.dtype), layer.lora_B.to(x.dtype)
    return nn.functional.linear(x, W, layer.bias) + layer.scale * (x @ A.T) @ B.T


def adapted_layers(dtype: torch.dtype = torch.float32) -> list[lora.LoRALinear]:
    """Three layers that read one x: with and without a bias, of other widths, ranks and scales."""
    torch.manual_seed(5)
    layers = [
        lora.LoRALinear(nn.Linear(12, out, bias=bias).to(dtype), r, 2.0 * r + out, 0.0, seeded(r))
        for out, bias, r in ((8, True, 2), (20, False, 3), (5, True, 1))
    ]
    for layer in layers:
        nn.init.normal_(layer.lora_B)
    return layers


@pytest.mark.parametrize("together", [True, False])
def test_products_are_the_formula(together):
    """Outputs and every gradient; fp32, the same sums in another order."""
    layers = adapted_layers()
    x = torch.randn(2, 7, 12, requires_grad=True)
    weights = [torch.randn(2, 7, layer.out_features) for layer in layers]
    parameters = [x, *(p for layer in layers for p in (layer.lora_A, layer.lora_B))]
    outputs = lora.project(x, *layers) if together else [layer(x) for layer in layers]
    found = torch.autograd.grad(sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)), parameters)
    wanted = [formula(x, layer) for layer in layers]
    gradients = torch.autograd.grad(sum((y * w).sum() for y, w in zip(wanted, weights, strict=True)), parameters)
    for a, b in zip((*outputs, *found), (*wanted, *gradients), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)  # sums of up to 140 terms of about 5


def test_products_in_bf16():
    """Under autocast and on a bf16 base the same bits as each other: both round x, A and B once. Gradients of A and B
    are fp32, and within what 8 bits leave of the formula's."""
    x = torch.randn(30, 12)
    found = []
    for base in (torch.float32, torch.bfloat16):
        layers = adapted_layers(base)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = lora.project(x, *layers)
        sum(y.float().square().sum() for y in outputs).backward()
        assert all(y.dtype == torch.bfloat16 for y in outputs)
        found.append([*outputs, *(p.grad for layer in layers for p in (layer.lora_A, layer.lora_B))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    layers = adapted_layers()
    sum(formula(x, layer).square().sum() for layer in layers).backward()
    wanted = [p.grad for layer in layers for p in (layer.lora_A, layer.lora_B)]
    for a, b in zip(found[0][3:], wanted, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=float(b.abs().max()) * 0.02)


def test_products_keep_x_once():
    layers, kept = adapted_layers(), []
    x = torch.randn(7, 12, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        lora.project(x, *layers)
    weights = {p.data_ptr() for layer in layers for p in layer.parameters()}
    assert sorted(t.numel() for t in kept if t.data_ptr() not in weights) == [7 * 6, 7 * 12]  # 6 ranks in all


def test_who_goes_the_way_of_the_formula(monkeypatch):
    """Dropout, a merged adapter, no gradient, and layers without adapters."""
    monkeypatch.setattr(adapter_products, "products", lambda *a: pytest.fail("computed by the fast form"))
    x = torch.randn(3, 12)
    layers = adapted_layers()
    with torch.no_grad():
        for layer in layers:
            torch.testing.assert_close(layer(x), formula(x, layer), **CLOSE)
    dropping = lora.LoRALinear(nn.Linear(12, 4), 2, 2.0, 0.5, seeded(0))
    plain = nn.Linear(12, 4)
    assert [y.shape[-1] for y in lora.project(x, plain, dropping)] == [4, 4]
    layers[0].merge()
    layers[0](x)
