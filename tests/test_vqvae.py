"""The VQ-VAE: padded batches equal clips alone, the codebook learns by averages and survives a resume."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import seeded
from torch import nn

from motiongpt.config import VQVAEConfig
from motiongpt.files.store import read_tensors, write_tensors
from motiongpt.quantizers import EMAQuantizer, Part
from motiongpt.vqvae import LOSS_PARTS, VQVAE, frame_mask

TINY = VQVAEConfig(feature_dim=23, joint_dim=6, codes=16, code_dim=8, width=12, dead_below=0.0)
LENGTHS = [1, 2, 3, 4, 5, 7, 8, 13, 22, 37, 63, 64]


def make(config: VQVAEConfig = TINY, seed: int = 0) -> VQVAE:
    """A tiny VQ-VAE in eval mode, whose codebook is spread like its latents."""
    torch.manual_seed(seed)
    model = VQVAE(config).eval()
    book = 0.2 * torch.randn(config.codes, config.code_dim)
    model.quantizer.codebook.copy_(book)
    model.quantizer.code_sum.copy_(book)
    model.quantizer.code_count.fill_(1.0)
    model.quantizer.ready.fill_(True)
    return model


def padded(lengths: list[int], size: int, noise: float = 100.0, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of these lengths in one batch, with garbage in the padding."""
    generator = seeded(seed)
    motion = torch.randn(len(lengths), size, TINY.feature_dim, generator=generator)
    garbage = noise * torch.randn(motion.shape)
    lengths = torch.tensor(lengths)
    return torch.where(frame_mask(lengths, size)[..., None], motion, garbage), lengths


def assert_same_codes(quantizer: EMAQuantizer, ours: list[int], theirs: list[int], latents: torch.Tensor) -> None:
    """Equal, unless the rows of both codes are equally near to within fp32 rounding of the latents (1e-5)."""
    assert len(ours) == len(theirs)
    for a, b, latent in zip(ours, theirs, latents, strict=True):
        near = (quantizer.codebook[[a, b]] - latent).norm(dim=-1)
        assert a == b or abs(float(near[0] - near[1])) < 1e-5


# ---- architecture -----------------------------------------------------------------------------------------------


def convolutions(module: nn.Module) -> list[tuple]:
    return [
        (c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.dilation[0], c.padding[0])
        for c in module.modules()
        if isinstance(c, nn.Conv1d)
    ]


def test_architecture_is_t2m_gpts():
    """Facts of the published network: two halvings by conv 4 stride 2 pad 1, dilations 9 3 1, then conv 3."""
    model = VQVAE(TINY)
    C, stack = 12, [x for d in (9, 3, 1) for x in ((12, 12, 3, 1, d, d), (12, 12, 1, 1, 1, 0))]
    down, plain = (C, C, 4, 2, 1, 1), (C, C, 3, 1, 1, 1)
    assert convolutions(model.encoder) == [(23, C, 3, 1, 1, 1), down, down, *stack, *stack, (C, 8, 3, 1, 1, 1)]
    assert convolutions(model.decoder) == [(8, C, 3, 1, 1, 1), *stack, *stack, plain, plain, plain, (C, 23, 3, 1, 1, 1)]


def test_parameter_count_is_the_published_one():
    """T2M-GPT's VQ-VAE (width 512, code dim 512, depth 3, 263 features): 19.4 M, counted here layer by layer."""

    def conv(inp: int, out: int, kernel: int) -> int:
        return inp * out * kernel + out

    stack = 3 * (conv(512, 512, 3) + conv(512, 512, 1))
    encoder = conv(263, 512, 3) + 2 * (conv(512, 512, 4) + stack) + conv(512, 512, 3)
    decoder = conv(512, 512, 3) + 2 * (stack + conv(512, 512, 3)) + conv(512, 512, 3) + conv(512, 263, 3)
    with torch.device("meta"):
        model = VQVAE(VQVAEConfig())
    assert sum(p.numel() for p in model.parameters()) == encoder + decoder == 19_436_807
    assert not list(model.quantizer.parameters())  # the codebook, 512 x 512, is learned by averages, not by gradients


# ---- clips of different lengths in one batch ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 65, 67])
def test_padded_batch_equals_each_clip_alone(size):
    model = make()
    motion, lengths = padded(LENGTHS, size)
    with torch.no_grad():
        latents = model.latents(motion, lengths)
        codes = model.encode(motion, lengths)
        assert latents.shape == (len(LENGTHS), size // 4, 8) and codes.shape == (len(LENGTHS), size // 4)
        for row, length in enumerate(LENGTHS):
            S = length // 4
            alone = model.latents(motion[row : row + 1, :length], None)[0]
            assert alone.shape == (S, 8)
            # the same sums in another order: fp32 rounding of values near 1
            torch.testing.assert_close(latents[row, :S], alone, atol=1e-5, rtol=0)
            single = model.encode(motion[row : row + 1, :length])[0].tolist()
            assert_same_codes(model.quantizer, codes[row, :S].tolist(), single, alone)
            assert (codes[row, S:] == -1).all() and (codes[row, :S] >= 0).all()


def test_lengths_matter():
    """The test above can fail: without the lengths, a network lets the padding in."""
    model = make()
    motion, lengths = padded([22, 64], 64)
    with torch.no_grad():
        difference = model.latents(motion, None)[0, :5] - model.latents(motion, lengths)[0, :5]
    assert difference.abs().max() > 0.01


def test_garbage_in_the_padding_never_leaks():
    model = make()
    clean, lengths = padded(LENGTHS, 64, noise=0.0)
    dirty, _ = padded(LENGTHS, 64, noise=1000.0)
    with torch.no_grad():
        real = frame_mask(lengths // 4, 16)
        # the same computation on the same numbers: equal bit for bit
        assert torch.equal(model.latents(clean, lengths)[real], model.latents(dirty, lengths)[real])
        a, b = model(clean, lengths), model(dirty, lengths)
    for key in ("motion", "codes", "commit"):
        assert torch.equal(a[key], b[key])
    assert torch.equal(model.loss(clean, lengths)[0], model.loss(dirty, lengths)[0])


def test_full_lengths_are_no_lengths():
    model = make()
    motion, lengths = padded([32, 32], 32)
    with torch.no_grad():
        assert torch.equal(model.latents(motion, lengths), model.latents(motion, None))
        assert torch.equal(model(motion, lengths)["motion"], model(motion)["motion"])


def test_decode_padded_equals_alone():
    model = make()
    lengths = torch.tensor([0, 1, 2, 5, 9])
    codes = torch.randint(0, 16, (5, 9)).masked_fill(~frame_mask(lengths, 9), -1)
    motion = model.decode(codes, lengths)
    assert motion.shape == (5, 36, 23)
    for row, S in enumerate(lengths.tolist()):
        assert (motion[row, 4 * S :] == 0).all()
        alone = model.decode(codes[row : row + 1, :S])
        assert alone.shape == (1, 4 * S, 23)
        torch.testing.assert_close(motion[row, : 4 * S], alone[0], atol=1e-5, rtol=0)  # fp32, another order of sums


def test_clips_shorter_than_a_code_give_none():
    model = make()
    for length in (1, 2, 3):
        assert model.encode(torch.randn(2, length, 23)).shape == (2, 0)
        assert model.encode(torch.randn(1, 8, 23), torch.tensor([length])).tolist() == [[-1, -1]]


# ---- the quantiser ------------------------------------------------------------------------------------------------


def reference_update(book, total, count, latents, codes, decay):
    """One step of the moving averages, literally: one-hot matrix products."""
    hot = F.one_hot(codes, len(book)).to(latents.dtype)  # (n, N)
    total = decay * total + (1 - decay) * hot.T @ latents
    count = decay * count + (1 - decay) * hot.sum(0)
    return total / count[:, None], total, count


def test_ema_equals_a_literal_reference():
    """With dead_below 0 every row is alive, so the codebook is sum / count and nothing else."""
    quantizer = make().quantizer.train()
    book, total, count = (getattr(quantizer, n).double() for n in ("codebook", "code_sum", "code_count"))
    for _ in range(5):
        latents = 0.3 * torch.randn(3, 20, 8)
        flat = latents.flatten(0, 1)
        codes = torch.cdist(flat.double(), book).argmin(-1)
        _, found, _, stats = quantizer(latents, None)
        assert torch.equal(found.flatten(), codes) and stats["resets"] == 0
        book, total, count = reference_update(book, total, count, flat.double(), codes, 0.99)
        for name, wanted in (("codebook", book), ("code_sum", total), ("code_count", count)):
            # fp32 against float64 after a few steps
            torch.testing.assert_close(getattr(quantizer, name).double(), wanted, atol=1e-6, rtol=1e-5)


def test_padding_never_enters_the_averages():
    one, other = make().quantizer.train(), make().quantizer.train()
    latents, mask = torch.randn(2, 6, 8), frame_mask(torch.tensor([2, 6]), 6)
    one(latents, mask)
    other(torch.where(mask[..., None], latents, 50 * torch.randn(2, 6, 8)), mask)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))
    total = float(one.code_count.sum())
    assert total == pytest.approx(0.99 * 16 + 0.01 * 8, rel=1e-5)  # 16 rows of count 1 before, 8 real latents; fp32


def test_dead_codes_are_replaced_from_the_batch():
    config = VQVAEConfig(feature_dim=23, joint_dim=6, codes=16, code_dim=8, width=12, dead_below=1.0)
    quantizer = make(config).quantizer.train()
    quantizer.codebook[5:] = 1000.0 + torch.arange(11.0)[:, None]  # no latent is near these rows
    latents = 0.2 * torch.randn(1, 64, 8)
    _, codes, _, stats = quantizer(latents, None)
    resets = stats["resets"]
    used = codes.unique()
    assert int(used.max()) < 5 and resets >= 11
    dead = quantizer.code_count < 1.0
    assert resets == int(dead.sum()) and dead[5:].all()
    for row in quantizer.codebook[dead]:  # 64 latents for 16 rows: drawn without noise
        assert (row == latents[0]).all(-1).any()
    assert len(quantizer.codebook[dead].unique(dim=0)) == resets  # drawn without replacement
    live = quantizer.codebook[~dead]
    torch.testing.assert_close(live, quantizer.code_sum[~dead] / quantizer.code_count[~dead, None])


def test_the_first_batch_starts_the_codebook_once():
    quantizer = EMAQuantizer(TINY).train()
    assert not quantizer.ready
    quantizer.eval()(torch.randn(2, 20, 8), None)
    assert not quantizer.ready and not quantizer.codebook.any()  # encoding does not learn
    latents = torch.randn(2, 20, 8)
    quantizer.train()(latents, None)
    assert quantizer.ready
    # after its first step a row is the latent it was drawn from, or the average of the latents that chose it
    assert len(quantizer.codebook.unique(dim=0)) == 16 and quantizer.codebook.abs().max() <= latents.abs().max()


def test_a_batch_smaller_than_the_codebook_is_tiled():
    rows = EMAQuantizer(TINY).sample_rows(torch.randn(3, 8), Part(0, 3))
    assert rows.shape == (16, 8) and len(rows.unique(dim=0)) == 16


def test_straight_through():
    quantizer = make().quantizer
    latents = torch.randn(2, 5, 8, requires_grad=True)
    weight = torch.randn(2, 5, 8)
    quantised, codes, _, _ = quantizer(latents, None)
    # latents + (row - latents): the row, up to fp32 rounding
    torch.testing.assert_close(quantised, quantizer.codebook[codes[..., 0]], atol=1e-6, rtol=0)
    (quantised * weight).sum().backward()
    assert torch.equal(latents.grad, weight)  # as if the quantiser were not there


def test_commitment_pulls_latents_to_their_rows():
    quantizer = make().quantizer
    latents, mask = torch.randn(2, 5, 8, requires_grad=True), frame_mask(torch.tensor([3, 5]), 5)
    _, codes, commit, _ = quantizer(latents, mask)
    rows = quantizer.codebook[codes[..., 0].clamp(min=0)]
    torch.testing.assert_close(commit, (latents - rows).square().mean(-1)[mask].sum())
    commit.backward()
    torch.testing.assert_close(latents.grad, 2 / 8 * (latents - rows).detach() * mask[..., None])
    assert not quantizer.codebook.requires_grad


def test_nan_batch_leaves_the_codebook_alone():
    """The loop skips a step whose loss is NaN. No optimiser moves the averages, so they must skip it themselves."""
    model = make().train()
    before = [buffer.clone() for buffer in model.quantizer.buffers()]
    motion = torch.randn(2, 16, 23)
    motion[0, 3, 7] = float("nan")
    value, _, _ = model.loss(motion)
    assert value.isnan()
    assert all(torch.equal(a, b) for a, b in zip(before, model.quantizer.buffers(), strict=True))


def test_bf16_autocast_leaves_the_quantiser_in_fp32():
    model = make().train()
    motion = torch.randn(2, 32, 23)
    exact = make().encode(motion)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.latents(motion, None).dtype == torch.bfloat16  # autocast is really on
        quantised, _, commit, _ = model.quantizer(model.latents(motion, None), None)
        value, _, _ = model.loss(motion)
        assert torch.equal(make().encode(motion), exact)
    assert quantised.dtype == commit.dtype == value.dtype == torch.float32
    assert all(b.dtype in (torch.float32, torch.bool) for b in model.quantizer.buffers())


def test_encode_is_without_tf32_and_restores_the_flags(monkeypatch):
    seen, nearest = [], EMAQuantizer.nearest
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(EMAQuantizer, "nearest", lambda *args: seen.append(cudnn.allow_tf32) or nearest(*args))
    for before in (True, False):
        with cudnn.flags(enabled=cudnn.enabled, allow_tf32=before):
            make().encode(torch.randn(1, 8, 23))
            assert cudnn.allow_tf32 == before
    assert seen == [False, False]
    assert not torch.backends.cuda.matmul.allow_tf32  # off by default, and nothing here turns it on


# ---- resume -------------------------------------------------------------------------------------------------------


def step(model: VQVAE, optimizer: torch.optim.Optimizer, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    value, count, out = model.loss(torch.randn(4, 32, TINY.feature_dim))
    (value / count).backward()
    optimizer.step()
    optimizer.zero_grad()
    return out["codes"]


def test_all_state_is_in_buffers():
    quantizer = EMAQuantizer(TINY)
    assert set(quantizer.state_dict()) == {"codebook", "code_sum", "code_count", "ready"}
    loose = [name for name, value in vars(quantizer).items() if isinstance(value, torch.Tensor)]
    assert not loose and not [b for b in vars(quantizer) if b in ("init", "initted")]


@pytest.mark.parametrize("dead_below", [0.0, 1.0])
def test_resumed_training_continues_bit_for_bit(tmp_path, dead_below):
    """Save, load, one more step: it equals the step of an uninterrupted run, and the codebook moves by EMA only."""
    config = VQVAEConfig(**TINY.to_dict() | {"dead_below": dead_below})
    torch.manual_seed(0)
    model = VQVAE(config).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # SGD has no state: this tests the model's
    for seed in range(3):
        step(model, optimizer, seed)
    write_tensors(tmp_path / "model.safetensors", model.state_dict())
    before = {name: buffer.clone() for name, buffer in model.quantizer.named_buffers()}

    resumed = VQVAE(config).train()
    resumed.load_state_dict(read_tensors(tmp_path / "model.safetensors"))
    assert bool(resumed.quantizer.ready)
    forgetful = VQVAE(config).train()  # what the public code does: weights without the quantiser's state
    forgetful.load_state_dict(read_tensors(tmp_path / "model.safetensors"))
    forgetful.quantizer.ready.fill_(False)

    torch.manual_seed(3)
    motion = torch.randn(4, 32, TINY.feature_dim)
    with torch.no_grad():
        latents = model.latents(motion, None).flatten(0, 1)
    codes = step(model, optimizer, 3).flatten()
    step(resumed, torch.optim.SGD(resumed.parameters(), lr=0.01), 3)
    step(forgetful, torch.optim.SGD(forgetful.parameters(), lr=0.01), 3)
    for (name, a), b in zip(model.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(model.quantizer.codebook, forgetful.quantizer.codebook)

    averages = reference_update(before["codebook"], before["code_sum"], before["code_count"], latents, codes, 0.99)
    alive = resumed.quantizer.code_count >= dead_below
    assert alive.any()
    torch.testing.assert_close(resumed.quantizer.codebook[alive], averages[0][alive], atol=1e-6, rtol=1e-5)  # fp32


# ---- losses and errors --------------------------------------------------------------------------------------------


def test_loss_equals_a_hand_computation():
    model = make()
    motion, lengths = padded([5, 16, 11], 16)
    total, count, out = model.loss(motion, lengths)
    assert int(count) == 4 + 16 + 8  # whole codes only
    wanted = 0.0
    for row, frames in enumerate((4, 16, 8)):
        error = out["motion"][row, :frames] - motion[row, :frames]
        huber = torch.where(error.abs() < 1, 0.5 * error**2, error.abs() - 0.5)
        wanted = wanted + huber.mean(-1).sum() + 0.5 * huber[:, 4:10].mean(-1).sum()
        latents = model.latents(motion[row : row + 1, : lengths[row]], None)[0]
        rows = model.quantizer.codebook[out["codes"][row, : frames // 4]]
        wanted = wanted + 0.02 * 4 * (latents - rows).square().mean(-1).sum()
    torch.testing.assert_close(total, wanted, atol=1e-5, rtol=1e-5)  # fp32 sums in another order


def test_loss_of_whole_windows_is_t2m_gpts_mean():
    """loss / count = smooth-L1 + 0.5 x smooth-L1 of the positions + 0.02 x mse, each a mean as in the public code."""
    model = make()
    motion = torch.randn(3, 32, 23)
    total, count, out = model.loss(motion)
    latents = model.latents(motion, None)
    wanted = F.smooth_l1_loss(out["motion"], motion)
    wanted = wanted + 0.5 * F.smooth_l1_loss(out["motion"][..., 4:10], motion[..., 4:10])
    wanted = wanted + 0.02 * F.mse_loss(latents, model.quantizer.codebook[out["codes"]])
    torch.testing.assert_close(total / count, wanted)


@pytest.mark.parametrize("joint_dim", [0, 6])
def test_the_parts_add_up_to_the_loss(joint_dim):
    model = make(replace(TINY, joint_dim=joint_dim))
    total, count, out = model.loss(*padded([5, 16, 11], 16))
    parts = {name: out[name] for name in LOSS_PARTS if name in out}
    assert set(parts) == set(LOSS_PARTS) - (set() if joint_dim else {"joints"})
    assert not any(part.requires_grad for part in parts.values())
    weights = {"reconstruction": 1.0, "joints": model.config.joint_weight, "commitment": model.config.commit_weight}
    torch.testing.assert_close(sum(weights[name] * part for name, part in parts.items()), (total / count).detach())
    torch.testing.assert_close(parts["commitment"], 4 * out["commit"].detach() / count)


@pytest.mark.parametrize("bad", [-1, 16, 99])
def test_code_out_of_range(bad):
    with pytest.raises(ValueError, match=f"motion code {bad} is outside .* of 16"):
        make().decode(torch.tensor([[3, bad, 2]]))
    # past a row's length a code may be anything
    make().decode(torch.tensor([[3, bad]]), torch.tensor([1]))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(B, F, 23\)"):
        make().encode(torch.randn(2, 8, 22))
    with pytest.raises(ValueError, match=r"\(B, F, 23\)"):
        make().encode(torch.randn(8, 23))
    with pytest.raises(ValueError, match="multiple of 4 frames, got 30"):
        make()(torch.randn(2, 30, 23))
