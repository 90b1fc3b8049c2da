"""The decoder: new rows beside the embedding, cache, left padding, spans."""

from dataclasses import replace

import pytest
import torch
from cases import for_each, seeded

from motiongpt.config import LLM_PRESETS
from motiongpt.layers import rotary
from motiongpt.llm import LLM, attention_mask

TINY = LLM_PRESETS["tiny"]  # V = 300
CLOSE = dict(atol=1e-5, rtol=1e-5)  # fp32, the same sums in another order


def make(seed: int = 0, **changes) -> LLM:
    generator = seeded(seed)
    llm = LLM(replace(TINY, **changes), generator).eval()
    with torch.no_grad():
        for parameter in llm.parameters():  # far from the initial values, so that every path matters
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(5 * parameter if parameter.dim() == 2 else parameter + 0.2 * noise)
    return llm


def draw(low: int, high: int, *shape: int) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=seeded(7))


def test_same_generator_same_weights():
    one, two = LLM(TINY, seeded(3)), LLM(TINY, seeded(3))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


# New rows


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_a_longer_table(tied):
    """Base rows up to first_id and the new rows equal one table of V rows, in logits and in gradients."""
    llm = make(tie_embeddings=tied)
    llm.extend(290, 25, seeded(1))
    assert llm.vocab_size == 315
    merged = make(tie_embeddings=tied, vocab_size=315)
    state = llm.state_dict()
    new_in = state.pop("new_in")
    state["embed_tokens.weight"] = torch.cat((state["embed_tokens.weight"][:290], new_in))
    if not tied:
        state["lm_head.weight"] = torch.cat((state["lm_head.weight"][:290], state.pop("new_out")))
    merged.load_state_dict(state)
    ids = draw(0, 315, 2, 12)
    assert (ids >= 290).any() and (ids < 290).any()
    torch.testing.assert_close(llm(ids), merged(ids), **CLOSE)
    for model in (llm, merged):
        model(ids).logsumexp(-1).sum().backward()
    torch.testing.assert_close(llm.new_in.grad, merged.embed_tokens.weight.grad[290:], **CLOSE)
    torch.testing.assert_close(llm.embed_tokens.weight.grad[:290], merged.embed_tokens.weight.grad[:290], **CLOSE)
    assert not llm.embed_tokens.weight.grad[290:].any()  # padded base rows are never read
    if not tied:
        torch.testing.assert_close(llm.new_out.grad, merged.lm_head.weight.grad[290:], **CLOSE)


def test_new_rows_are_drawn_like_the_base_rows():
    llm = make(hidden_size=64, head_dim=16)
    base = llm.embed_tokens.weight.detach().clone()
    llm.embed_tokens.weight.data[200:] = 1e6  # padding of the table: it must not count
    llm.extend(200, 400, seeded(1))
    mean, std = base[:200].mean(0), base[:200].std(0, correction=0)
    noise = (llm.new_in - mean) / std
    assert abs(noise.mean().item()) < 0.03  # 25,600 draws: the standard errors are 0.006 and 0.004
    assert abs(noise.std().item() - 1) < 0.02
    assert len(llm.new_in.unique(dim=0)) == 400  # no two words start as equals
    assert torch.equal(llm.embed_tokens.weight[:200], base[:200])
    again = make(hidden_size=64, head_dim=16)
    again.extend(200, 400, seeded(1))
    assert torch.equal(again.new_in, llm.new_in)


def test_extend_from_base_takes_rows_out_of_a_merged_table():
    llm, ids = make(), draw(0, 300, 2, 9)
    before = llm(ids)
    llm.extend(280, 20, from_base=True)
    assert llm.vocab_size == 300
    torch.testing.assert_close(llm(ids), before, **CLOSE)


@for_each(
    "arguments, message",
    [
        ((365, 5), "first id 365"),
        ((0, 5), "first id 0"),
        ((300, 0), "count 0"),
        ((290, 11, None, True), "290 to 300"),
    ],
)
def test_extend_refuses_impossible_ranges(arguments, message):
    with pytest.raises(ValueError, match=message):
        make().extend(*arguments)


@pytest.mark.parametrize("tied", [True, False])
def test_tokens_without_a_base_row_get_new_rows(tied):
    """A tokenizer with three tokens more than the table has rows; the words of motion keep the ids it leaves them."""
    llm = make(tie_embeddings=tied)
    base = llm.embed_tokens.weight.detach().clone()
    llm.extend(303, 20, seeded(1))
    assert (llm.first_id, llm.vocab_size, len(llm.new_in)) == (300, 323, 23)
    ids = torch.cat((draw(0, 323, 2, 30), torch.tensor([[300, 302], [301, 303]])), 1)
    logits = llm(ids)
    assert logits.shape == (2, 32, 323) and logits.isfinite().all()
    assert torch.equal(llm.embed_tokens.weight, base)
    hidden = torch.randn(2, TINY.hidden_size)
    torch.testing.assert_close(llm.logits(hidden, (303, 323)), llm.logits(hidden)[:, 303:], **CLOSE)
    llm = make(tie_embeddings=tied)
    llm.extend(364, 1)  # the largest gap
    assert llm.vocab_size == 365


def test_extend_once_only():
    llm = make()
    llm.extend(300, 5)
    with pytest.raises(ValueError, match="already has 5 new rows from id 300"):
        llm.extend(300, 5)


@for_each("tied", [True, False])
@for_each("span", [(0, 310), (10, 20), (280, 290), (285, 305), (290, 310), (300, 301), (0, 1)])
def test_span_is_a_slice_of_the_logits(tied, span):
    llm = make(tie_embeddings=tied)
    llm.extend(290, 20)
    hidden = torch.randn(2, 3, TINY.hidden_size)
    torch.testing.assert_close(llm.logits(hidden, span), llm.logits(hidden)[..., span[0] : span[1]], **CLOSE)


@for_each("span", [(5, 5), (-1, 4), (0, 301), (9, 3)])
def test_span_outside_the_vocabulary(span):
    with pytest.raises(ValueError, match="span must be inside ids 0 to 300"):
        make().logits(torch.randn(1, 32), span)


def test_ids_past_the_vocabulary_are_an_error():
    llm = make()
    llm.extend(290, 10)
    with pytest.raises(IndexError):
        llm(torch.tensor([[300]]))


# Cache and padding


KINDS = {
    "qwen2": dict(qkv_bias=True, qk_norm=False),
    "qwen3": dict(qk_norm=True),
    "gemma3": dict(
        **dict(post_norms=True, unit_offset_norms=True, scale_embeddings=True, activation="gelu_tanh", window=4),
        layer_types=("sliding_attention", "full_attention"),
    ),
}


@for_each("kind", KINDS)
@for_each("chunks", [(9, 1, 1, 1), (1,) * 12, (5, 7), (12,)])
def test_cached_steps_equal_one_pass(kind, chunks):
    """Prefill and single steps, token by token, and in two long pieces."""
    llm = make(**KINDS[kind])
    ids = draw(0, 300, 2, 12)
    with torch.inference_mode():
        cache = llm.new_cache(2, 12)
        pieces = [llm.hidden(piece, cache=cache) for piece in ids.split(chunks, dim=1)]
        assert cache.length == 12
        torch.testing.assert_close(torch.cat(pieces, 1), llm.hidden(ids), **CLOSE)


def test_masks_are_built_once_per_kind_of_layer_and_only_if_needed(monkeypatch):
    """Windows cost nothing in families without them, and single steps need no mask even past the window."""
    built = []
    real = attention_mask
    monkeypatch.setattr("motiongpt.llm.attention_mask", lambda *given: built.append(given) or real(*given))
    ids = draw(0, 300, 2, 12)

    def masks(kind: str, start: torch.Tensor | None = None) -> list[int]:
        """How many are built by a prompt of 9, by one of 3, and by each of 2 single steps."""
        llm, counts = make(num_layers=4, **(KINDS[kind] | changes)), []
        with torch.inference_mode():
            for pieces in ((ids[:, :9],), (ids[:, :3], ids[:, 3:4], ids[:, 4:5])):
                cache = llm.new_cache(2, 12)
                for piece in pieces:
                    built.clear()
                    llm.hidden(piece, cache=cache, start=start)
                    counts.append(len(built))
        return counts

    changes = {}
    assert masks("qwen3") == [0, 0, 0, 0] and masks("qwen3", torch.tensor([0, 1])) == [1, 1, 1, 1]
    changes = dict(layer_types=("sliding_attention", "sliding_attention", "full_attention", "sliding_attention"))
    assert masks("gemma3") == [1, 0, 0, 0] and masks("gemma3", torch.tensor([0, 1])) == [2, 2, 2, 2]


@pytest.mark.parametrize("cached", [False, True])
def test_left_padded_row_equals_the_row_alone(cached):
    llm = make()
    llm.extend(290, 20)
    ids, T = draw(0, 310, 3, 12), 12
    start = torch.tensor([0, 5, 11])
    with torch.inference_mode():
        if cached:
            cache = llm.new_cache(3, T + 4)  # longer than needed, as unused capacity must not be seen
            pieces = [llm.hidden(piece, cache=cache, start=start) for piece in ids.split((9, 1, 1, 1), dim=1)]
            hidden = torch.cat(pieces, 1)
        else:
            hidden = llm.hidden(ids, start=start)
        assert hidden.isfinite().all()  # also in the padding: a NaN would spread through the next layer's values
        for row, first in enumerate(start.tolist()):
            alone = llm.hidden(ids[row : row + 1, first:])
            torch.testing.assert_close(hidden[row : row + 1, first:], alone, **CLOSE)


def test_positions_count_from_the_first_real_token(monkeypatch):
    """Rotary scores depend on distances only, so logits would hardly show this: look at the positions."""
    seen = []
    monkeypatch.setattr(
        "motiongpt.llm.rotary", lambda positions, *rest: seen.append(positions) or rotary(positions, *rest)
    )
    llm, ids, start = make(), draw(0, 300, 2, 4), torch.tensor([0, 3])
    with torch.inference_mode():
        cache = llm.new_cache(2, 5)
        llm.hidden(ids, cache=cache, start=start)
        llm.hidden(ids[:, :1], cache=cache, start=start)
    assert seen[0][:, 0].tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]] and seen[1].flatten().tolist() == [4, 1]


def test_what_padding_holds_does_not_matter():
    llm, ids, start = make(), draw(0, 300, 1, 8), torch.tensor([3])
    other = ids.clone()
    other[:, :3] = 1
    assert not torch.equal(ids, other)
    with torch.inference_mode():
        torch.testing.assert_close(llm.hidden(ids, start=start)[:, 3:], llm.hidden(other, start=start)[:, 3:])


def test_right_padding_needs_no_mask():
    llm, ids = make(), draw(0, 300, 1, 8)
    padded = torch.cat((ids, torch.zeros(1, 5, dtype=torch.long)), 1)
    with torch.inference_mode():
        torch.testing.assert_close(llm(padded)[:, :8], llm(ids), **CLOSE)


def test_mask_picture():
    mask = attention_mask(0, 3, torch.tensor([0, 1]), torch.device("cpu")).int()
    assert mask[:, 0].tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]], [[1, 0, 0], [0, 1, 0], [0, 1, 1]]]
    assert attention_mask(2, 1, torch.tensor([0, 2]), torch.device("cpu")).int().flatten(1).tolist() == [
        [1, 1, 1],
        [0, 0, 1],
    ]


def test_mask_with_a_window():
    """Each position sees two keys, its own among them; keys that nobody sees have no column."""
    device = torch.device("cpu")
    assert attention_mask(0, 3, None, device, window=2)[0, 0].int().tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert attention_mask(5, 2, None, device, window=2)[0, 0].int().tolist() == [[1, 1, 0], [0, 1, 1]]
    mask = attention_mask(1, 2, torch.tensor([0, 2]), device, window=2)
    assert mask[:, 0].int().tolist() == [[[1, 1, 0], [0, 1, 1]], [[0, 1, 0], [0, 0, 1]]]
    assert attention_mask(0, 2, None, device, window=9)[0, 0].int().tolist() == [[1, 0], [1, 1]]


def test_scaled_embeddings_are_rounded_as_the_weights():
    """transformers rounds sqrt(C) to the weights' dtype first; new rows are scaled like old ones."""
    llm = make(scale_embeddings=True, hidden_size=48, num_heads=4, head_dim=12)
    llm.extend(300, 5, seeded(1))
    ids = torch.tensor([[3, 299, 300, 304]])
    rows = torch.cat((llm.embed_tokens.weight, llm.new_in))[ids]
    torch.testing.assert_close(llm.embed(ids), rows * 48**0.5)
    llm.embed_tokens.to(torch.bfloat16)
    rounded = torch.tensor(48**0.5, dtype=torch.bfloat16)
    assert torch.equal(llm.embed(ids), rows.to(torch.bfloat16) * rounded)


def test_too_many_tokens_are_named():
    llm = make(max_positions=10)
    with pytest.raises(ValueError, match="11 tokens exceed the model's 10 positions"):
        llm(torch.zeros(1, 11, dtype=torch.long))
    cache = llm.new_cache(1, 4)
    with torch.inference_mode():
        llm.hidden(torch.zeros(1, 3, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="5 tokens exceed the cache's capacity of 4"):
        llm.hidden(torch.zeros(1, 2, dtype=torch.long), cache=cache)


# Precision


def test_bf16_autocast_and_bf16_weights():
    """Both stay near fp32: 2 layers of bf16 roundings (2^-8 each) on hidden states of order 1."""
    llm, ids = make(), draw(0, 310, 2, 9)
    llm.extend(290, 20)
    with torch.inference_mode():
        expected = llm.hidden(ids)
        with torch.autocast("cpu", torch.bfloat16):
            cache = llm.new_cache(2, 9)
            assert cache.keys[0].dtype == torch.bfloat16
            autocast = torch.cat([llm.hidden(piece, cache=cache) for piece in ids.split((8, 1), 1)], 1)
        llm.to(torch.bfloat16)
        pure = llm.hidden(ids)
    assert pure.dtype == torch.bfloat16
    for name, got in (("autocast", autocast), ("pure", pure)):
        error = (got.float() - expected).norm() / expected.norm()
        assert error < 0.05, (name, error)


def test_fp32_new_rows_on_a_bf16_base():
    """A large frozen base in bf16 with trainable rows in fp32: the rows get fp32 gradients."""
    llm = make().to(torch.bfloat16)
    llm.extend(290, 20)
    assert llm.new_in.dtype == torch.float32
    llm(draw(285, 310, 1, 6)).float().logsumexp(-1).sum().backward()
    assert llm.new_in.grad.dtype == torch.float32 and llm.new_in.grad.abs().sum() > 0
