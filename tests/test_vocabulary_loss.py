"""The loss in chunks is the loss as it is defined: its sum, its single values, and every gradient."""

import pytest
import torch
from cases import for_each, seeded

from motiongpt.config import LLMConfig
from motiongpt.kernels import vocabulary_loss
from motiongpt.kernels.vocabulary_loss import chunked_losses, plain_losses
from motiongpt.llm import LLM

N, V = 23, 70  # labels; words, of which the last 20 are new
SHAPE = dict(vocab_size=50, hidden_size=16, intermediate_size=32, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8)


def model(tied: bool = True, trained: bool = False, dtype: torch.dtype = torch.float32) -> LLM:
    llm = LLM(LLMConfig(**SHAPE, tie_embeddings=tied), seeded(0)).to(dtype)
    llm.extend(50, V - 50, seeded(1))
    llm.requires_grad_(trained)
    for table in (llm.new_in, llm.new_out):
        if table is not None:
            table.requires_grad_(True)
    return llm


def found(losses, llm: LLM, hidden: torch.Tensor, smoothing: float, span=None, scale: float = 0.5):
    """Sum, single losses and all gradients; `scale` is what the sum is multiplied by, as a mean over a step's labels
    does."""
    parts = llm.head_parts(span)
    targets = torch.arange(len(hidden)) * 3 % (V if span is None else span[1])
    tables = [table for _, table in parts]
    hidden = hidden.clone().requires_grad_()
    more = () if losses is plain_losses else (tables, V if span is None else span[1])
    total, single = losses(
        hidden, lambda h: [llm.logits(h, part) for part, _ in parts], targets, smoothing, *more
    )  # fmt: skip
    assert not single.requires_grad
    (total * scale).backward()
    gradients = {name: p.grad.clone() for name, p in llm.named_parameters() if p.grad is not None}
    llm.zero_grad()
    return total.detach(), single, hidden.grad, gradients


CASES = [
    (tied, trained, smoothing, span)
    for tied in (True, False)
    for trained in (True, False)
    for smoothing in (0.0, 0.1)
    for span in (None, (0, 50), (0, 60))
]


@for_each("tied, trained, smoothing, span", CASES)
def test_chunks_are_the_whole(monkeypatch, tied, trained, smoothing, span):
    """fp32: the same terms, summed chunk by chunk."""
    llm = model(tied, trained)
    hidden = torch.randn(N, 16, generator=seeded(2))
    wanted = found(plain_losses, llm, hidden, smoothing, span)
    monkeypatch.setattr(vocabulary_loss, "CHUNK", 5 * V)
    monkeypatch.setattr(vocabulary_loss, "CACHED", 2 * V)
    ours = found(chunked_losses, llm, hidden, smoothing, span)
    for a, b in zip(ours[:3], wanted[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert ours[3].keys() == wanted[3].keys()
    assert bool(wanted[3]) == (trained or span != (0, 50))  # without new words in the span, nothing may be trained
    for name, gradient in wanted[3].items():
        torch.testing.assert_close(ours[3][name], gradient, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("autocast", [True, False])
def test_in_bf16(autocast):
    """Losses are those of the same logits; gradients are rounded to 8 bits before their products, as autocast does,
    though in another order than their scale: 2 ** -6 of the largest."""
    llm = model(dtype=torch.bfloat16)
    llm.new_in.data = llm.new_in.data.float()
    hidden = torch.randn(N, 16, generator=seeded(2)).to(torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        wanted, ours = (found(losses, llm, hidden, 0.0, scale=1 / 3) for losses in (plain_losses, chunked_losses))
    torch.testing.assert_close(ours[1], wanted[1], rtol=1e-6, atol=1e-6)
    assert ours[0].dtype == torch.float32 and ours[2].dtype == hidden.dtype
    for a, b in ((ours[2], wanted[2]), (ours[3]["new_in"], wanted[3]["new_in"])):
        torch.testing.assert_close(a, b, rtol=0, atol=float(b.abs().max()) * 2**-6)


def test_logits_are_never_kept():
    """What is kept for the backward pass has the size of hidden states and trained tables."""
    llm = model()
    hidden = torch.randn(N, 16, generator=seeded(2)).requires_grad_()
    parts = llm.head_parts()
    total, _ = chunked_losses(
        hidden, lambda h: [llm.logits(h, part) for part, _ in parts], torch.arange(N), 0.0, [llm.new_in], V
    )
    assert [t.shape for t in total.grad_fn.saved_tensors] == [hidden.shape, llm.new_in.shape]


def test_without_a_gradient(monkeypatch):
    """Validation: the same values, and nothing is differentiated."""
    llm = model()
    hidden = torch.randn(N, 16, generator=seeded(2))
    total, single, *_ = found(chunked_losses, llm, hidden, 0.0)
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: pytest.fail("differentiates"))
    parts = llm.head_parts()
    with torch.no_grad():
        targets = torch.arange(N) * 3 % V
        again = chunked_losses(hidden, lambda h: [llm.logits(h, p) for p, _ in parts], targets, 0.0, [llm.new_in], V)
    assert torch.equal(again[0], total) and torch.equal(again[1], single)
    assert torch.isfinite(
        chunked_losses(hidden[:0], lambda h: [llm.logits(h)], targets[:0], 0.0, [], V)[0]
    )  # no labels


@for_each("n, rows", [(1, 1), (7, 3), (6, 3), (5, 100), (5, 0)])
def test_slices_cover_all_once(n, rows):
    slices = vocabulary_loss._slices(n, rows)
    assert [i for one in slices for i in range(n)[one]] == list(range(n))
    sizes = [one.stop - one.start for one in slices]
    assert max(sizes) <= max(1, rows) and max(sizes) - min(sizes) <= 1
