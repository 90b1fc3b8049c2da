"""The fast step of a model that writes, against `LLM.hidden`: states, codes, and when it stays off."""

import copy

import pytest
import torch

from motiongpt.config import LoRAConfig, SampleConfig
from motiongpt.decoding import DecodingLLM
from motiongpt.decoding import model as decoding
from motiongpt.decoding.products import CAN_PACK, FEW, Matrix, Norm
from motiongpt.kernels.threads import ONE_THREAD, threads_for
from motiongpt.layers import RMSNorm
from motiongpt.lengths import limits_from_length
from motiongpt.lora import inject, merge
from motiongpt.sampling import generate
from motiongpt.weights.llm import save_llm
from tests.test_llm import CLOSE, KINDS, draw, for_each, make

BIASES = dict(qkv_bias=True, o_bias=True, mlp_bias=True, qk_norm=False)
SHAPES = {**KINDS, "biases": BIASES, "own rotary": dict(rope_scaling="linear", rope_factor=4.0, query_scalar=3.0)}


def steps(model, ids: torch.Tensor, prompt: int, start: torch.Tensor | None = None) -> torch.Tensor:
    """The last state of a prompt and those of single steps after it."""
    with torch.inference_mode():
        cache = model.new_cache(*ids.shape)
        pieces = ids.split([prompt] + [1] * (ids.shape[1] - prompt), dim=1)
        return torch.cat([model.hidden(piece, cache, start)[:, -1:] for piece in pieces], 1)


@for_each("kind", SHAPES)
@for_each("B", [1, 3])
@for_each("padded", [False, True])
def test_steps_are_those_of_the_model(processor, kind, B, padded):
    llm = make(**SHAPES[kind])
    llm.extend(290, 20)
    ids = draw(0, 310, B, 12)
    start = torch.arange(B) + 1 if padded else None
    before = {name: value.clone() for name, value in llm.state_dict().items()}
    expected = steps(llm, ids, 7, start)
    fast = DecodingLLM(llm)
    found = steps(fast, ids, 7, start)
    attention, fused = llm.layers[0].self_attn, fast._blocks[0].qkv.weight
    memory = {
        weight.untyped_storage().data_ptr() for weight in (fused, attention.q_proj.weight, attention.v_proj.weight)
    }
    assert len(memory) == 1
    torch.testing.assert_close(found, expected, **CLOSE)
    # fused matrices hold the model's own weights, which have not changed
    assert all(torch.equal(value, before[name]) for name, value in llm.state_dict().items())
    torch.testing.assert_close(steps(llm, ids, 7, start), expected, **CLOSE)


@for_each("B", [1, 4])
@for_each("kind", ["qwen3", "gemma3"])
def test_bf16_is_as_near_to_fp32_as_the_plain_model_is(B, kind):
    """bf16 rounds to 8 bits at every operation, so the two are compared with what both should be."""
    llm = make(**KINDS[kind])
    ids = draw(0, 300, B, 12)
    exact = steps(llm, ids, 6)
    llm.to(torch.bfloat16)
    plain, fast = steps(llm, ids, 6).float(), steps(DecodingLLM(llm), ids, 6).float()
    assert (fast - exact).norm() < 1.2 * (plain - exact).norm() < 0.1 * exact.norm()


@pytest.fixture(params=["AVX2", "AVX512"])
def processor(request, monkeypatch) -> str:
    """The rules of both kinds of processors, on whichever this is."""
    monkeypatch.setattr("motiongpt.decoding.products.blocks_are_best", lambda: request.param == "AVX2")
    return request.param


@for_each("large", [False, True])
def test_products_in_every_order_are_the_linear_layer(processor, large, monkeypatch):
    monkeypatch.setattr("motiongpt.decoding.products.LARGE", 1 if large else 10_000)
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(24, 40, generator=generator), torch.randn(24, generator=generator)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):  # of sums of 40 products near 6
        for R in (1, 2, 9, FEW + 1):
            x, onto = torch.randn(R, 40, generator=generator), torch.randn(R, 24, generator=generator)
            for given in (bias.to(dtype), None):
                matrix = Matrix(weight.to(dtype), given, copies=True)
                expected = x @ weight.T + (0 if given is None else bias)
                close = dict(rtol=tolerance, atol=tolerance * 6)
                torch.testing.assert_close(matrix(x.to(dtype)).float(), expected, **close)
                torch.testing.assert_close(matrix(x.to(dtype), onto.to(dtype)).float(), onto + expected, **close)
            if not CAN_PACK or dtype == torch.bfloat16:
                assert matrix.blocks is matrix.columns is None
            elif processor == "AVX2":
                assert (matrix.blocks is None) == (R == 1 and not large) == (matrix.columns is not None)
            else:
                assert (matrix.blocks is not None) == (large and 1 < R <= FEW) and matrix.columns is None


@for_each("unit_offset", [False, True])
def test_norm(unit_offset):
    plain = RMSNorm(16, 1e-2, unit_offset)  # an eps that matters
    with torch.no_grad():
        plain.weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
        x = 0.1 * torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(Norm.of(plain)(x), plain(x), **CLOSE)
        assert Norm.of(plain)(torch.zeros(1, 16)).abs().max() == 0


def test_merged_adapters_are_in_the_fused_matrices():
    llm = make()
    inject(llm, LoRAConfig(lora_r=2), torch.Generator().manual_seed(0))
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    ids = draw(0, 300, 2, 8)
    expected = steps(llm, ids, 4)
    with pytest.raises(ValueError, match="merged"):
        steps(DecodingLLM(llm), ids, 4)
    merge(llm, keep=False)
    torch.testing.assert_close(steps(DecodingLLM(llm), ids, 4), expected, **CLOSE)


@for_each("change", ["moved", "loaded", "written to"])
def test_weights_that_changed_are_fused_anew(change, monkeypatch):
    monkeypatch.setattr("motiongpt.decoding.products.LARGE", 1)  # packed copies change too
    llm, other = make(), make(seed=1)
    ids = draw(0, 300, 2, 8)
    fast = DecodingLLM(llm)
    steps(fast, ids, 4)
    if change == "moved":  # as `.to` does, which puts other tensors in their place
        for parameter, new in zip(llm.parameters(), other.parameters(), strict=True):
            parameter.data = new.data
    elif change == "loaded":
        llm.load_state_dict(other.state_dict())
    else:
        with torch.no_grad():
            llm.layers[1].mlp.up_proj.weight.mul_(2)
    torch.testing.assert_close(steps(fast, ids, 4), steps(llm, ids, 4), **CLOSE)


def test_large_models_are_not_copied(monkeypatch):
    monkeypatch.setattr("motiongpt.decoding.products.LARGE", 1)
    for most, copies in ((0, False), (1 << 30, True)):
        monkeypatch.setattr("motiongpt.decoding.model.MAX_COPIED", most)
        fast = DecodingLLM(make())
        steps(fast, draw(0, 300, 2, 8), 4)
        assert (fast._blocks[0].qkv.blocks is not None) == (copies and CAN_PACK)


def test_a_model_that_wrote_can_be_copied_moved_and_written_to_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("motiongpt.decoding.products.LARGE", 1)
    fast, ids = DecodingLLM(make()), draw(0, 300, 2, 8)
    expected = steps(fast, ids, 4)
    torch.testing.assert_close(steps(copy.deepcopy(fast), ids, 4), expected, **CLOSE)
    assert not fast.to("cpu")._blocks
    save_llm(fast.llm, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 1.1 * sum(p.nbytes for p in fast.llm.parameters())


def test_a_model_that_wrote_can_still_learn():
    """Tensors made in inference mode could not."""
    llm = make()
    ids = draw(0, 300, 2, 8)
    steps(DecodingLLM(llm), ids, 4)
    llm(ids).sum().backward()
    assert all(p.grad is not None for p in llm.layers.parameters())


def test_a_model_made_in_inference_mode_writes():
    """As one does that is loaded within `with torch.inference_mode()`: its weights have no count of writes."""
    with torch.inference_mode():
        llm = make()
        ids = draw(0, 300, 2, 8)
        fast = DecodingLLM(llm)
        for _ in range(2):  # the second motion asks whether weights have changed
            torch.testing.assert_close(steps(fast, ids, 4), steps(llm, ids, 4), **CLOSE)


def test_fp64_is_kept():
    """Results are closer than fp32 could be. (The plain norms of Gemma are fp32 in any case.)"""
    for kind in ("qwen2", "qwen3"):
        llm = make(**KINDS[kind]).double()
        ids = draw(0, 300, 2, 8)
        torch.testing.assert_close(steps(DecodingLLM(llm), ids, 4), steps(llm, ids, 4), rtol=1e-12, atol=1e-12)


@for_each("tied", [True, False])
def test_logits_of_every_span_are_those_of_the_model(processor, tied):
    """Of one table, of the other, of both, and of none: an error as ever."""
    llm = make(tie_embeddings=tied)
    llm.extend(290, 20)
    fast = DecodingLLM(llm)
    ids = draw(0, 300, 3, 8)
    state = steps(fast, ids, 4)[:, -1]
    with torch.inference_mode():
        for span in ((0, 290), (3, 20), (290, 310), (295, 300), (280, 300), (0, 310)):
            for rows in (state, state[:1]):
                torch.testing.assert_close(fast.logits(rows, span), llm.logits(rows, span), **CLOSE)
        assert set(fast._heads) == {(0, 290), (3, 20), (290, 310), (295, 300)}
        for span in ((290, 311), (-3, 5), (5, 5), (300, 295), (0, 311)):
            with pytest.raises(ValueError, match="span must be inside ids 0 to 310"):
                fast.logits(state, span)


def test_autocast_takes_the_plain_model(monkeypatch):
    llm = make()
    fast = DecodingLLM(llm)
    monkeypatch.setattr(fast, "_read", None)
    monkeypatch.setattr(fast, "_write", None)
    ids = draw(0, 300, 2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(steps(fast, ids, 4), steps(llm, ids, 4))


@for_each("kind", KINDS)
def test_prompts_may_come_in_pieces(kind):
    llm = make(**KINDS[kind])
    ids = draw(0, 300, 2, 12)
    fast, pieces = DecodingLLM(llm), ids.split([5, 3, 1, 3], 1)
    with torch.inference_mode():
        for start in (None, torch.tensor([0, 2])):
            cache = fast.new_cache(2, 12)
            found = [fast.hidden(piece, cache, start) for piece in pieces][-1]
            torch.testing.assert_close(found, steps(llm, ids, 12, start), **CLOSE)


@for_each("kind", KINDS)
def test_equal_prompts_are_read_once(kind, monkeypatch):
    llm = make(**KINDS[kind])
    ids = draw(0, 300, 3, 9)[[2, 0, 1, 0, 2]]
    starts = torch.tensor([1, 0, 2, 3, 1])  # so rows 1 and 3 are two prompts
    for start, distinct in ((None, 3), (starts, 4)):
        fast, widths = DecodingLLM(llm), []
        attend = decoding.attend
        monkeypatch.setattr(decoding, "attend", lambda q, *rest: widths.append(len(q)) or attend(q, *rest))  # noqa: B023
        torch.testing.assert_close(steps(fast, ids, 6, start), steps(llm, ids, 6, start), **CLOSE)
        assert set(widths) == {distinct}
        monkeypatch.undo()


@for_each("operations", [0, 2 << 20, 3 << 20])
def test_small_products_take_one_thread(operations):
    former = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(operations):
            assert torch.get_num_threads() == (1 if operations <= ONE_THREAD else 2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(former)


def test_too_many_tokens_are_named():
    llm = make(max_positions=8)
    with pytest.raises(ValueError, match="exceed"), torch.inference_mode():
        fast = DecodingLLM(llm)
        cache = fast.new_cache(1, 4)
        fast.hidden(draw(0, 300, 1, 4), cache)
        fast.hidden(draw(0, 300, 1, 1), cache)


@for_each("kind", KINDS)
def test_same_seeds_write_the_same_codes(kind):
    """Rows of different lengths, and each of them alone."""
    llm = make(**KINDS[kind])
    llm.extend(300, 34)
    prompts = [draw(0, 300, 1, 3 + row)[0].tolist() for row in range(5)]
    config = SampleConfig(temperature=1.0, top_k=20, top_p=0.95, repetition_penalty=1.1)

    def written(model, rows) -> list[list[int]]:
        return generate(
            model,
            [prompts[row] for row in rows],
            begin_id=300,
            codes=32,
            limits=[limits_from_length(6 + 2 * row, exact=True) for row in rows],
            seeds=list(rows),
            config=config,
        )

    expected = written(llm, range(5))
    assert written(DecodingLLM(llm), range(5)) == expected
    assert [written(DecodingLLM(llm), [row])[0] for row in range(5)] == expected
