"""The continuous model: padding changes nothing, the cache changes nothing, a row is its own, and each head learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.config import ContinuousConfig, FlowConfig
from motiongpt.continuous.batches import Clip, ClipBatches, Collate
from motiongpt.continuous.heads import batch_loss, regress, write
from motiongpt.continuous.model import ContinuousModel, frame_errors
from motiongpt.continuous.text import WordReader, words_of
from motiongpt.vqvae import frame_mask

D = 6
TINY = ContinuousConfig(
    feature_dim=D,
    words=12,
    text_dim=16,
    hidden_size=16,
    num_layers=2,
    num_heads=2,
    text_layers=1,
    max_frames=24,
    patch=4,
)
HEADS = ("regression", "autoregressive", "flow")
KINDS = [
    (head, condition, encoder, patch)
    for head in HEADS
    for condition in ("cross", "add")
    for encoder, patch in (("trainable", 4), ("clip", 1), ("smollm2", 3))
]
# fp32; sums over masked keys are taken in another order, and values are of order 1
CLOSE = dict(atol=2e-5, rtol=1e-5)


def make(head="flow", condition="cross", encoder="trainable", patch=4, **changes) -> ContinuousModel:
    """A model whose parameters are all random, so that one that is forgotten would show."""
    config = replace(TINY, head=head, condition=condition, text_encoder=encoder, patch=patch, **changes)
    model = ContinuousModel(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + ("norm" in name))
        model.length_head[-1].bias.fill_(2.0)
    return model


def make_batch(model: ContinuousModel, sizes=(9, 17, 4)) -> dict:
    """Random clips with texts of different lengths; the second text is hidden."""
    rng = torch.Generator().manual_seed(2)
    B, F = len(sizes), max(sizes)
    lengths = torch.tensor(sizes)
    mask = torch.arange(5) < torch.tensor([3, 5, 2])[:B, None]
    words = torch.randint(0, 12, (B, 5), generator=rng)
    states = torch.randn(B, 5, 16, generator=rng)
    real = frame_mask(lengths, F)[..., None]
    return {
        "motion": torch.randn(B, F, D, generator=rng) * real,
        "noise": torch.randn(B, F, D, generator=rng) * real,
        "lengths": lengths,
        "text": words if model.encoder is not None else states,
        "text_mask": mask,
        "keep": torch.tensor([True, False, True])[:B],
        "level": torch.rand(B, generator=rng),
        "count": sum(sizes),
    }


def padded(batch: dict, frames: int, words: int) -> dict:
    """The same batch with more padding, which is full of large numbers instead of zeros where that is allowed."""
    grow = torch.nn.functional.pad
    text = batch["text"]
    text = grow(text, (0, 0, 0, words), value=9.0) if text.ndim == 3 else grow(text, (0, words), value=7)
    moved = {name: grow(batch[name], (0, 0, 0, frames)) for name in ("motion", "noise")}
    return batch | moved | {"text": text, "text_mask": grow(batch["text_mask"], (0, words))}


def one_row(batch: dict, i: int) -> dict:
    """A row as a batch of its own, without padding."""
    F, U = int(batch["lengths"][i]), int(batch["text_mask"][i].sum())
    row = {name: value[i : i + 1] for name, value in batch.items() if name != "count"}
    row |= {name: row[name][:, :F] for name in ("motion", "noise")}
    return row | {name: row[name][:, :U] for name in ("text", "text_mask")} | {"count": F}


# 1) Padding and company.


@for_each("head, condition, encoder, patch", KINDS)
def test_padding_changes_no_loss(head, condition, encoder, patch):
    model = make(head, condition, encoder, patch)
    batch = make_batch(model)
    loss, parts = batch_loss(model, batch)
    more, other = batch_loss(model, padded(batch, 6, 3))
    assert torch.allclose(loss, more, **CLOSE)
    assert all(torch.allclose(parts[name], other[name], **CLOSE) for name in parts)


@for_each("head, condition, encoder, patch", KINDS)
def test_the_loss_of_a_batch_is_the_sum_of_its_rows(head, condition, encoder, patch):
    model = make(head, condition, encoder, patch)
    batch = make_batch(model)
    alone = sum(batch_loss(model, one_row(batch, i))[0] for i in range(3))
    assert torch.allclose(batch_loss(model, batch)[0], alone, **CLOSE)


@for_each("head, condition, encoder, patch", KINDS)
def test_a_motion_does_not_depend_on_the_others(head, condition, encoder, patch):
    model = make(head, condition, encoder, patch)
    batch = make_batch(model)
    how = FlowConfig(flow_steps=3, guidance=1.5)
    together = write(model, batch["text"], batch["text_mask"], batch["lengths"], batch["noise"], how)
    assert together.shape == (3, 17, D)
    for i in range(3):
        row = one_row(batch, i)
        alone = write(model, row["text"], row["text_mask"], row["lengths"], row["noise"], how)[0]
        # four times as much, as an autoregressive motion reads its own roundings
        assert torch.allclose(together[i, : len(alone)], alone, atol=8e-5, rtol=1e-5)
        assert not together[i, len(alone) :].any()


def test_a_loss_without_its_mask_would_be_another():
    """The properties above can fail: the same errors without the mask depend on the padding."""
    model = make("regression")
    batch = make_batch(model)
    condition = model.condition(batch["text"], batch["text_mask"])
    made = regress(model, condition, batch["lengths"], 17)[:, :17]
    mask = frame_mask(batch["lengths"], 17)
    assert frame_errors(made, batch["motion"], torch.ones_like(mask), "mse").sum() > 1.1 * (
        frame_errors(made, batch["motion"], mask, "mse").sum()
    )


def test_smooth_l1_is_less_than_the_square_where_errors_are_large():
    a, b, mask = torch.full((1, 2, D), 3.0), torch.zeros(1, 2, D), torch.tensor([[True, False]])
    assert frame_errors(a, b, mask, "mse").tolist() == [[9.0, 0.0]]
    assert frame_errors(a, b, mask, "smooth_l1").tolist() == [[2.5, 0.0]]


# 2) The cache, the guidance, the text.


@for_each("condition, patch", [("cross", 4), ("add", 1), ("cross", 1)])
def test_writing_with_a_cache_is_reading_the_whole_motion(condition, patch):
    """A motion that was written patch by patch, fed in whole, predicts itself: cache = no cache."""
    model = make("autoregressive", condition, "trainable", patch)
    batch = make_batch(model)
    made = write(model, batch["text"], batch["text_mask"], batch["lengths"], None, FlowConfig())
    # a patch beyond a motion's end is zero here, and was not when it was written: compare each row up to its end
    for i in range(3):
        row = one_row(batch | {"motion": made}, i)
        condition_ = model.condition(row["text"], row["text_mask"])
        before = model.frame_in(model.fold(row["motion"])[:, :-1])
        x = torch.cat((model.first.expand(1, 1, -1), before), 1) + model.places(row["lengths"], 0, before.shape[1] + 1)
        whole = model.frames(x, condition_, causal=True)[0, : int(row["lengths"])]
        assert torch.allclose(whole, row["motion"][0], atol=8e-5, rtol=1e-5)


def test_no_patch_sees_a_later_one():
    model = make("autoregressive")
    batch = make_batch(model)
    changed = batch["motion"].clone()
    changed[:, 8:] += 1.0
    condition = model.condition(batch["text"], batch["text_mask"])
    outs = []
    for motion in (batch["motion"], changed):
        x = torch.cat((model.first.expand(3, 1, -1), model.frame_in(model.fold(motion)[:, :-1])), 1)
        outs.append(model.frames(x + model.places(batch["lengths"], 0, x.shape[1]), condition, causal=True))
    assert torch.equal(outs[0][:, :12], outs[1][:, :12])  # patches 0 to 2 are made of frames 0 to 7
    assert not torch.allclose(outs[0][1, 12:], outs[1][1, 12:], atol=1e-3)


def test_guidance_one_is_no_guidance_and_zero_is_no_text():
    model = make("flow")
    batch = make_batch(model)
    text, mask, lengths, noise = (batch[name] for name in ("text", "text_mask", "lengths", "noise"))
    plain = write(model, text, mask, lengths, noise, FlowConfig(4, 1.0))
    # 1 is computed without the empty text; 1 + 1e-6 with it, by the formula
    assert torch.allclose(plain, write(model, text, mask, lengths, noise, FlowConfig(4, 1.0 + 1e-6)), atol=1e-4)
    without = write(model, text, mask, lengths, noise, FlowConfig(4, 0.0))
    other = write(model, text.flip(0), mask, lengths, noise, FlowConfig(4, 0.0))
    assert torch.equal(without, other) and not torch.allclose(plain, without, atol=1e-2)


def test_the_flow_ends_at_the_motion_it_sees():
    """A model that always sees one motion leads every noise to it, in however few steps."""
    model = make("flow")
    with torch.no_grad():
        model.frame_out.weight.zero_()
    target = model.frame_out.bias.view(4, D)
    for steps in (1, 7):
        batch = make_batch(model)
        inputs = batch["text"], batch["text_mask"], torch.tensor([8, 8, 8]), batch["noise"][:, :8]
        made = write(model, *inputs, FlowConfig(steps, 1.0))
        assert torch.allclose(made, target.repeat(2, 1).expand(3, -1, -1), atol=1e-5)


@for_each("condition", ["cross", "add"])
def test_the_text_reaches_every_frame(condition):
    model = make("regression", condition)
    batch = make_batch(model)
    a = write(model, batch["text"], batch["text_mask"], batch["lengths"], None, FlowConfig())
    b = write(model, (batch["text"] + 1) % 12, batch["text_mask"], batch["lengths"], None, FlowConfig())
    real = frame_mask(batch["lengths"], 17)
    assert ((a - b).abs().amax(-1) > 1e-3)[real].all()


def test_words_and_unknown_ones():
    assert words_of("Someone's WAVING!! (2 x)  naïve_café") == ["someone's", "waving", "2", "x", "naïve", "café"]
    reader = WordReader.of(["a person walks", "a person runs"])
    ids, mask = reader(["a person flies", "runs"])
    assert ids.tolist() == [[2, 3, 0, 1], [4, 1, 0, 0]] and mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert reader([""])[1].tolist() == [[True]]  # the end alone: a text is never empty
    with pytest.raises(ValueError, match="begins with"):
        WordReader(["a", "b"])


# 3) Batches.


def clips(count: int = 6) -> list[Clip]:
    rng = np.random.default_rng(3)
    return [
        Clip(str(i), rng.standard_normal((5 + 5 * i, D), np.float32), (f"kind {i}", f"sort {i}")) for i in range(count)
    ]


@for_each("head", HEADS)
def test_a_batch_is_a_function_of_the_step(head):
    config = replace(TINY, head=head, max_frames=20, noise_steps=4)
    reader = WordReader.of(text for clip in clips() for text in clip.captions)
    one, other = (ClipBatches(clips(), config, 2, 7, reader) for _ in range(2))
    for step in (0, 5, 2):
        a, b = one(step), other(step)
        assert a.keys() == b.keys() and ("noise" in a) == (head != "regression")
        assert all(torch.equal(a[name], b[name]) for name in a if name != "count")
        assert a["count"] == int(a["lengths"].sum()) and a["motion"].shape[1] <= 20
        if "noise" in a:  # a row's own numbers, and nothing past its end
            past = ~frame_mask(a["lengths"], a["motion"].shape[1])
            assert not a["noise"][past].any() and not a["motion"][past].any()
    if head == "autoregressive":  # the noise on the inputs grows with the steps
        assert not one(0)["level"].any() and one(2)["level"].max() <= 0.5 and one(9)["level"].max() > 0.5


def test_captions_are_hidden_as_often_as_asked():
    reader = WordReader.of(text for clip in clips() for text in clip.captions)
    collate = Collate(clips(), TINY, reader, hide=0.25)
    shown = collate(np.zeros(2000, np.int64), np.random.default_rng(0))["keep"].float().mean()
    assert abs(float(shown) - 0.75) < 4 * (0.25 * 0.75 / 2000) ** 0.5  # four standard deviations
    assert Collate(clips(), TINY, reader, hide=0.0)(np.arange(6), np.random.default_rng(0))["keep"].all()


def test_only_a_flow_has_use_for_hidden_captions():
    """Guidance asks what the model does without a text; a head without guidance sees every caption."""
    reader = WordReader.of(text for clip in clips() for text in clip.captions)
    for head in HEADS:
        batches = ClipBatches(clips(), replace(TINY, head=head, text_dropout=0.9), 6, 7, reader)
        shown = torch.cat([batches(step)["keep"] for step in range(8)])
        assert bool(shown.all()) == (head != "flow")


@for_each("change, message", [({"patch": 25}, "--patch must be at most --max-frames, 24"), ({"patch": 0}, "patch"),
                              ({"hidden_size": 18, "num_heads": 4}, "multiple of 2 x 4 heads")])  # fmt: skip
def test_a_shape_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


# 4) Learning.


@for_each("head", HEADS)
def test_the_first_guess_is_the_mean(head):
    """Which is 0, as features are normalised: training begins at the error of the mean, not above."""
    model = ContinuousModel(replace(TINY, head=head))
    batch = make_batch(model)
    _, parts = batch_loss(model, batch)
    assert torch.allclose(parts["frame_loss"], batch["motion"].square().sum() / (D * batch["lengths"].sum()), **CLOSE)


def learn(head: str, steps: int, target: torch.Tensor, **changes) -> ContinuousModel:
    """A model that has seen one clip (F, D) with one text so often."""
    torch.manual_seed(0)
    model = ContinuousModel(replace(TINY, head=head, hidden_size=32, text_dropout=0.0, **changes))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    F = len(target)
    for _ in range(steps):
        batch = {
            "motion": target[None].expand(4, -1, -1),
            "noise": torch.randn(4, F, D),
            "lengths": torch.full((4,), F),
            "text": torch.tensor([[3, 4, 1]]).expand(4, -1),
            "text_mask": torch.ones(4, 3, dtype=torch.bool),
            "keep": torch.ones(4, dtype=torch.bool),
            "level": torch.rand(4),
        }
        loss, _ = batch_loss(model, batch)
        (loss / (4 * F)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("head", "steps", "most"), [("regression", 150, 0.01), ("autoregressive", 300, 0.05),
                                                     ("flow", 300, 0.05)])  # fmt: skip
def test_each_head_learns_one_clip_and_its_length(head, steps, most):
    """The error is a share of the clip's variance, which is 1; before training it is that or more."""
    t = torch.arange(18.0)[:, None]
    target = torch.sin(t / 3 + torch.arange(D)) * 2**0.5
    model = learn(head, steps, target)
    text, mask = torch.tensor([[3, 4, 1]]), torch.ones(1, 3, dtype=torch.bool)
    lengths = model.predicted_lengths(model.condition(text, mask))
    assert 17 <= int(lengths) <= 19
    made = write(model, text, mask, torch.tensor([18]), torch.randn(1, 18, D), FlowConfig(8, 1.0))
    assert float((made[0] - target).square().mean()) < most
