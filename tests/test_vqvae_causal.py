"""The causal VQ-VAE: the past never changes, padded batches equal clips alone, and files say what it is."""

from dataclasses import replace

import pytest
import torch
from cases import for_each, seeded

from motiongpt.config import VQVAEConfig
from motiongpt.vqvae import VQVAE, decoder_reach, frame_mask
from motiongpt.weights import load_vqvae, save_vqvae
from motiongpt.weights.vqvae import save_t2m_gpt

TINY = VQVAEConfig(feature_dim=23, joint_dim=6, codes=16, code_dim=8, width=12, dead_below=0.0, causal=True)
F = 200  # more frames than the encoder and the decoder reach


def make(config: VQVAEConfig = TINY) -> VQVAE:
    torch.manual_seed(0)
    model = VQVAE(config).eval()
    model.quantizer.codebook.copy_(0.2 * torch.randn(config.codes, config.code_dim))
    return model


def clip(frames: int = F, rows: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, frames, TINY.feature_dim, generator=seeded(seed))


def code_row(S: int, seed: int = 2) -> torch.Tensor:
    return torch.randint(0, TINY.codes, (1, S), generator=seeded(seed))


@for_each("cut", [1, 4, 57, 100, 103, 199])
@torch.no_grad()
def test_later_frames_never_change_earlier_codes(cut):
    """Code s depends on frames before 4 (s + 1): the first cut // 4 latents are equal bit for bit."""
    model, motion = make(), clip()
    changed = motion.clone()
    changed[:, cut:] += 5
    a, b = model.latents(motion, None), model.latents(changed, None)
    assert torch.equal(a[:, : cut // 4], b[:, : cut // 4])
    assert not torch.equal(a[:, cut // 4], b[:, cut // 4])  # frame `cut` belongs to that code, and it shows


@for_each("cut", [1, 13, 25, 49])
def test_later_codes_never_change_earlier_frames(cut):
    model, codes = make(), code_row(F // 4)
    changed = codes.clone()
    changed[:, cut:] = (changed[:, cut:] + 1) % TINY.codes
    a, b = model.decode(codes), model.decode(changed)
    assert torch.equal(a[:, : 4 * cut], b[:, : 4 * cut])
    assert not torch.equal(a[:, 4 * cut], b[:, 4 * cut])


@for_each("cut", [13, 25])
def test_the_other_kind_does_change_them(cut):
    """The two tests above can fail."""
    model, codes = make(replace(TINY, causal=False)), code_row(F // 4)
    changed = codes.clone()
    changed[:, cut:] = (changed[:, cut:] + 1) % TINY.codes
    assert not torch.equal(model.decode(codes)[:, 4 * cut - 1], model.decode(changed)[:, 4 * cut - 1])


@for_each(
    "config, wanted",
    [(replace(TINY, causal=False), (22, 22)), (TINY, (44, 0)), (replace(TINY, causal=False, down=1, depth=2), None),
     (replace(TINY, down=1, depth=2), None), (replace(TINY, causal=False, down=3, depth=1), None),
     (replace(TINY, down=3, dilation_growth=2), None)],
)  # fmt: skip
def test_the_reach_of_the_decoder_is_what_changes(config, wanted):
    """One code is changed in the middle: the codes whose frames differ are exactly those that reach it."""
    past, future = decoder_reach(config)
    assert wanted in (None, (past, future))
    model = make(config).double()  # the outermost influence is a product of many small weights
    S = past + future + 20
    here = future + 5
    codes = code_row(S)
    changed = codes.clone()
    changed[:, here] = (changed[:, here] + 1) % config.codes
    differs = (model.decode(codes) != model.decode(changed)).any(-1)[0].view(S, -1).any(-1).nonzero().flatten()
    assert (int(differs.min()), int(differs.max())) == (here - future, here + past)


@for_each("size", [64, 67])
@torch.no_grad()
def test_padded_batch_equals_each_clip_alone(size):
    model, lengths = make(), torch.tensor([1, 4, 5, 7, 22, 37, 63, 64])
    motion = clip(size, len(lengths))
    motion = torch.where(frame_mask(lengths, size)[..., None], motion, 100.0)
    latents = model.latents(motion, lengths)
    assert latents.shape == (len(lengths), size // 4, 8)
    decoded = model.decode(model.encode(motion, lengths).clamp(min=0), lengths // 4)
    for row, length in enumerate(lengths.tolist()):
        alone = model.latents(motion[row : row + 1, :length], None)[0]
        # the same sums in another order: fp32 rounding of values near 1
        torch.testing.assert_close(latents[row, : length // 4], alone, atol=1e-5, rtol=0)
        own = model.decode(model.encode(motion[row : row + 1], lengths[row : row + 1])[:, : length // 4])[0]
        torch.testing.assert_close(decoded[row, : len(own)], own, atol=1e-5, rtol=0)
        assert (decoded[row, len(own) :] == 0).all()


def test_it_has_the_tensors_of_the_other_kind():
    """The same seed gives the same tensors: only where the zeros are put differs."""
    a, b = make().state_dict(), make(replace(TINY, causal=False)).state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns():
    torch.manual_seed(0)
    model, motion = VQVAE(TINY), 0.3 * clip(64, 8).cumsum(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        total, count, _ = model.loss(motion)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
        losses.append(float(total.detach() / count))
    assert losses[-1] < 0.8 * losses[0]


def test_its_folder_says_so_and_t2m_gpts_file_cannot(tmp_path):
    from motiongpt.files import write_json

    model = make()
    save_vqvae(model, tmp_path)
    write_json(tmp_path / "config.json", {"VQVAEConfig": model.config.to_dict()})
    back = load_vqvae(tmp_path)
    assert back.config == model.config
    assert torch.equal(back.decode(code_row(9)), model.decode(code_row(9)))
    for facts in (None, {"fps": 20.0}):
        with pytest.raises(ValueError, match="T2M-GPT's layout cannot say that a tokenizer is causal"):
            save_t2m_gpt(model, tmp_path / "out.pth", facts)
    assert not (tmp_path / "out.pth").exists()
