"""The three quantisers: closed forms, equality of those that must agree, masks, resets, and resume."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import for_each, seeded

from motiongpt.config import QUANTIZERS, VQVAEConfig
from motiongpt.quantizers import EMAQuantizer, FSQuantizer, ResidualQuantizer, make_quantizer
from motiongpt.vqvae import VQVAE, frame_mask

SIZES = {"feature_dim": 23, "joint_dim": 6, "codes": 30, "code_dim": 8, "width": 12, "dead_below": 0.0}
LENGTHS = [1, 3, 4, 7, 8, 13, 22, 37, 64]


def config(kind: str, **changes) -> VQVAEConfig:
    return VQVAEConfig(**SIZES | {"quantizer": kind, "rvq_layers": 3} | changes)


def trained(settings: VQVAEConfig, steps: int = 3) -> VQVAE:
    """A model after a few steps, in eval mode: its codebooks have seen data."""
    torch.manual_seed(0)
    model = VQVAE(settings).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        step(model, optimizer)
    return model.eval()


def step(model: VQVAE, optimizer: torch.optim.Optimizer) -> dict:
    value, count, out = model.loss(torch.randn(4, 32, 23))
    (value / count).backward()
    optimizer.step()
    optimizer.zero_grad()
    return out


def padded(size: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of LENGTHS in one batch, with garbage of that size in the padding."""
    motion = torch.randn(len(LENGTHS), size, 23, generator=seeded(1))
    lengths = torch.tensor(LENGTHS)
    return torch.where(frame_mask(lengths, size)[..., None], motion, noise * torch.randn(motion.shape)), lengths


# ---- settings -----------------------------------------------------------------------------------------------------


@for_each(
    "codes, levels, product",
    [(512, "8,8,8", 512), (1024, "8,5,5,5", 1000), (1000, "8,5,5,5", 1000), (240, "8,6,5", 240), (5, "5", 5),
     (65536, "8,8,8,5,5,5", 64000)],
)  # fmt: skip
def test_levels_are_chosen_from_the_codes(codes, levels, product):
    """If no product of levels fits, the config says how many codes there are, and survives JSON."""
    settings = config("fsq", codes=codes)
    assert (settings.fsq_levels, settings.codes) == (levels, product)
    assert VQVAEConfig.from_dict(settings.to_dict()) == settings


def test_given_levels_decide():
    settings = config("fsq", fsq_levels="7 5, 3", codes=512)
    assert settings.levels == (7, 5, 3) and settings.codes == 105 and settings.fsq_levels == "7,5,3"
    assert config("ema_reset", codes=1024).codes == 1024  # the other quantisers keep what was asked for


@for_each(
    "values, message",
    [
        ({"quantizer": "vq"}, "--quantizer must be one of ema_reset, fsq, residual, got 'vq'"),
        ({"fsq_levels": "8,x"}, "--fsq-levels must be whole numbers"),
        ({"fsq_levels": "8,1"}, "--fsq-levels must be whole numbers from 2"),
        ({"quantizer": "fsq", "fsq_levels": "60000,60000"}, "--fsq-levels must be at most 65536 codes"),
        ({"quantizer": "fsq", "codes": 4}, "--codes must be 5 to 65536 for fsq, got 4"),
        ({"rvq_layers": 0}, "--rvq-layers must be at least 1"),
        ({"rvq_dropout": 1.5}, r"--rvq-dropout must be in \[0, 1\]"),
        ({"rvq_codebooks": "some"}, "--rvq-codebooks must be one of separate, shared"),
        ({"activation": "tanh"}, "--activation must be one of relu, silu, gelu"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        VQVAEConfig(**values)


def test_older_configs_load_and_older_runs_go_on():
    young = {"quantizer", "fsq_levels", "rvq_layers", "rvq_dropout", "rvq_codebooks", "activation", "dropout", "causal"}
    young |= {"dead_share", "part_weights", "velocity_weight", "acceleration_weight", "bone_weight"}
    old = {name: value for name, value in VQVAEConfig().to_dict().items() if name not in young}
    assert VQVAEConfig.from_dict(old) == VQVAEConfig()
    assert VQVAEConfig().run_identity() == old  # an older run saved only these
    assert VQVAEConfig(rvq_layers=4).run_identity() == old | {"rvq_layers": 4}


# ---- finite scalar quantisation -----------------------------------------------------------------------------------


def paper_round(z: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Mentzer et al. 2023, section 3.1 and appendix A.1, in float64: f(z) = tanh(z + shift) half - offset, rounded."""
    half, offset = (levels - 1) * (1 - 1e-3) / 2, np.where(levels % 2 == 1, 0.0, 0.5)
    return np.round(np.tanh(z + np.tan(offset / half)) * half - offset) / np.floor(levels / 2)


@for_each("levels", ["8,8,8", "8,5,5,5", "7,6", "2,3,4"])
def test_fsq_is_the_papers_closed_form(levels):
    quantizer = FSQuantizer(config("fsq", fsq_levels=levels))
    z = 2 * torch.randn(2000, len(quantizer.levels))
    wanted = paper_round(z.double().numpy(), np.array(quantizer.levels))
    # fp32 division of small whole numbers; a value within fp32 rounding of a half would differ by a whole level
    np.testing.assert_allclose(quantizer.round(z).numpy(), wanted, atol=1e-6)


@for_each("levels", ["8,8,8", "8,5,5,5", "7,6", "2,3,4"])
def test_fsq_codes_and_values_are_inverse_for_every_code(levels):
    quantizer = FSQuantizer(config("fsq", fsq_levels=levels))
    N, sizes = quantizer.num_codes, quantizer.levels
    assert N == math.prod(sizes)
    codes = torch.arange(N)
    values = quantizer.to_values(codes)
    assert torch.equal(quantizer.to_code(values), codes)
    assert len(values.unique(dim=0)) == N and values.min() == -1 and values.max() <= 1
    digits = [[code // math.prod(sizes[:i]) % size for i, size in enumerate(sizes)] for code in range(N)]
    wanted = [[(digit - size // 2) / (size // 2) for digit, size in zip(row, sizes, strict=True)] for row in digits]
    torch.testing.assert_close(values, torch.tensor(wanted))
    # every code can be reached: the middle of its cell rounds to it
    half = (torch.tensor(sizes) - 1) * (1 - 1e-3) / 2
    offset = 0.5 * (torch.tensor(sizes) % 2 == 0)
    inside = ((values * (torch.tensor(sizes) // 2) + offset) / half).clamp(-0.9999, 0.9999)
    assert torch.equal(quantizer.to_code(quantizer.round(inside.atanh() - torch.tan(offset / half))), codes)


def test_fsq_is_bounded():
    quantizer = FSQuantizer(config("fsq", fsq_levels="8,5"))
    far = quantizer.round(torch.tensor([[-1e6, -1e6], [1e6, 1e6], [0.0, 0.0]]))
    torch.testing.assert_close(far, torch.tensor([[-1.0, -1.0], [0.75, 1.0], [0.0, 0.0]]))
    assert quantizer.to_code(far).tolist() == [0, 39, 4 + 2 * 8]


def test_fsq_gradients_pass_the_rounding():
    """The gradient is that of the bounded number before rounding, divided by the half width."""
    quantizer = FSQuantizer(config("fsq", fsq_levels="8,5"))
    z, weight = torch.randn(50, 2, requires_grad=True), torch.randn(50, 2)
    (quantizer.round(z) * weight).sum().backward()
    half, offset = torch.tensor([7, 4]) * 0.999 / 2, torch.tensor([0.5, 0.0])
    slope = half * (1 - torch.tanh(z + torch.tan(offset / half)) ** 2) / torch.tensor([4, 2])
    torch.testing.assert_close(z.grad, (slope * weight).detach())


def test_fsq_has_no_state_and_no_commitment():
    quantizer = FSQuantizer(config("fsq")).train()
    assert {name.split(".")[0] for name in quantizer.state_dict()} == {"project_in", "project_out"}
    assert not list(quantizer.buffers())
    latents = torch.randn(2, 6, 8, requires_grad=True)
    quantised, codes, commit, stats = quantizer(latents, None)
    assert commit == 0 and stats["resets"] == 0
    torch.testing.assert_close(quantised, quantizer.lookup(codes))
    torch.testing.assert_close(quantizer.codebook[codes[..., 0]], quantised)
    quantised.sum().backward()
    assert latents.grad.abs().sum() > 0 and quantizer.project_in.weight.grad.abs().sum() > 0


# ---- residual quantisation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead_below", [0.0, 1.0])
def test_one_residual_layer_is_ema_reset_bit_for_bit(dead_below):
    """With one layer, even the random draws (for dead rows) are those of ema_reset, whatever rvq_dropout says."""
    runs = []
    for kind in ("ema_reset", "residual"):
        torch.manual_seed(0)
        model = VQVAE(config(kind, rvq_layers=1, rvq_dropout=1.0, dead_below=dead_below)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        outs = [step(model, optimizer) for _ in range(5)]
        motion, lengths = padded(64, 1.0)
        codes = model.eval().encode(motion, lengths)
        runs.append((list(model.state_dict().values()), outs[-1]["motion"], codes, model.decode(codes, lengths // 4)))
    for ours, theirs in zip(*runs, strict=True):
        pairs = zip(ours, theirs, strict=True) if isinstance(ours, list) else [(ours, theirs)]
        assert all(torch.equal(a, b) for a, b in pairs)


def toy() -> torch.Tensor:
    """(1, 600, 8) latents in 12 tight clusters: one layer finds the clusters, the next ones what is left."""
    generator = seeded(3)
    centres = 3 * torch.randn(12, 8, generator=generator)
    which = torch.randint(12, (600,), generator=generator)
    return (centres[which] + 0.3 * torch.randn(600, 8, generator=generator))[None]


@pytest.mark.parametrize("codebooks", ["separate", "shared"])
def test_every_layer_lowers_the_error(codebooks):
    quantizer = ResidualQuantizer(config("residual", rvq_layers=4, rvq_codebooks=codebooks)).train()
    latents = toy()
    for _ in range(300):
        quantizer(latents, None)
    quantised, codes, _, _ = quantizer.eval()(latents, None)
    errors = [(latents - quantizer.lookup(codes[..., :q])).square().mean().item() for q in range(1, 5)]
    # fp32: later layers of a shared codebook may add nothing, so the error may stay within rounding
    assert all(after <= before * (1 + 1e-5) for before, after in zip(errors, errors[1:], strict=False)), errors
    if codebooks == "separate":
        assert errors[3] < 0.5 * errors[0]
    torch.testing.assert_close(quantised, quantizer.lookup(codes))


def test_a_layer_codes_what_is_left_over():
    quantizer = trained(config("residual")).quantizer
    latents = torch.randn(2, 9, 8)
    quantised, codes, commit, stats = quantizer(latents, None)
    rest, squares = latents, []
    for k in range(3):
        book = quantizer.layers[k].codebook
        index = torch.cdist(rest.double(), book.double().expand(2, -1, -1)).argmin(-1)
        assert torch.equal(codes[..., k], index)
        rest = rest - book[index]
        squares.append(rest.square().mean(-1).sum())
    torch.testing.assert_close(quantised, latents - rest)
    torch.testing.assert_close(commit, sum(squares) / 3)  # MoMask: the mean over the layers
    counts = [np.unique(codes[..., k], return_counts=True)[1] / 18 for k in range(3)]
    perplexities = [math.exp(-(p * np.log(p)).sum()) for p in counts]
    assert float(stats["perplexity"]) == pytest.approx(perplexities[0], rel=1e-5)  # fp32
    assert float(stats["perplexity_all"]) == pytest.approx(sum(perplexities) / 3, rel=1e-5)
    assert (stats["active"], stats["active_all"]) == (len(counts[0]), sum(map(len, counts)))


def test_straight_through_once():
    """The latents get the gradient of the sum once, however many layers there are."""
    quantizer = trained(config("residual")).quantizer
    latents, weight = torch.randn(2, 5, 8, requires_grad=True), torch.randn(2, 5, 8)
    (quantizer(latents, None)[0] * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)


def test_dropout_leaves_out_the_last_layers():
    quantizer = trained(config("residual", rvq_layers=4, rvq_dropout=1.0)).quantizer.train()
    seen = []
    for _ in range(60):
        before = [layer.code_sum.clone() for layer in quantizer.layers]
        quantised, codes, _, _ = quantizer(torch.randn(2, 20, 8), None)
        used = int((codes[0, 0] >= 0).sum())
        assert (codes[..., :used] >= 0).all() and (codes[..., used:] == -1).all()
        moved = [not torch.equal(a, layer.code_sum) for a, layer in zip(before, quantizer.layers, strict=True)]
        assert moved == [k < used for k in range(4)]
        seen.append(used)
    assert set(seen) == {1, 2, 3, 4}  # to miss one of four in 60 even draws has odds of 1 in 8 million
    assert (quantizer.eval()(torch.randn(1, 5, 8), None)[1] >= 0).all()


def test_dropout_happens_as_often_as_asked():
    quantizer = ResidualQuantizer(config("residual", rvq_dropout=0.4)).train()
    short = sum(quantizer.layers_used() < 3 for _ in range(3000)) / 3000
    assert short == pytest.approx(0.4 * 2 / 3, abs=0.04)  # five standard deviations of 3,000 draws


def test_shared_is_one_codebook():
    quantizer = ResidualQuantizer(config("residual", rvq_codebooks="shared", rvq_dropout=0.0)).train()
    assert set(quantizer.state_dict()) == {f"layers.0.{n}" for n in ("codebook", "code_sum", "code_count", "ready")}
    quantizer(torch.randn(1, 40, 8), None)
    # three layers each put 40 latents into averages that began at 30 rows of count 1
    wanted = 30 * 0.99**3 + 0.01 * 40 * (1 + 0.99 + 0.99**2)
    assert float(quantizer.layers[0].code_count.sum()) == pytest.approx(wanted, rel=1e-5)  # fp32


def test_dead_rows_are_replaced_in_each_layer():
    quantizer = trained(config("residual", rvq_dropout=0.0)).quantizer.train()
    for layer in quantizer.layers:
        layer.dead_below = 0.5
        layer.code_count[5:] = 0.1
        layer.codebook[5:] = 1000.0 + torch.arange(25.0)[:, None]  # nothing is near these rows
    books = [layer.codebook.clone() for layer in quantizer.layers]
    latents = torch.randn(1, 64, 8)
    _, codes, _, stats = quantizer(latents, None)
    assert int(codes.max()) < 5 and stats["resets"] == 25 and stats["resets_all"] == 75
    rest = latents[0]
    for k, layer in enumerate(quantizer.layers):
        for row in layer.codebook[5:]:  # 64 latents for 30 rows: drawn without noise, from the input of this layer
            assert (rest == row).all(-1).any()
        rest = rest - books[k][codes[0, :, k]]


def test_decode_from_one_layer_or_all():
    model = trained(config("residual"))
    motion = torch.randn(2, 32, 23)
    codes = model.encode_all(motion)
    assert codes.shape == (2, 8, 3) and torch.equal(model.encode(motion), codes[..., 0])
    first = model.decode(codes[..., 0])
    assert torch.equal(first, model.decode(codes[..., :1]))
    assert not torch.equal(first, model.decode(codes))
    cut = codes.clone()
    cut[..., 2] = -1
    assert torch.equal(model.decode(cut), model.decode(codes[..., :2]))
    with pytest.raises(ValueError, match="codes are of 4 layers, this tokenizer has 3"):
        model.decode(torch.zeros(1, 2, 4, dtype=torch.long))
    for bad in (-1, 30):
        with pytest.raises(ValueError, match=f"motion code {bad} is outside"):
            model.decode(torch.tensor([[[bad, 0, 0]]]))
    with pytest.raises(ValueError, match="motion code -2 is outside"):
        model.decode(torch.tensor([[[0, -2, 0]]]))


# ---- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_interface(kind):
    quantizer = make_quantizer(config(kind)).train()
    latents, mask = torch.randn(3, 6, 8), frame_mask(torch.tensor([0, 2, 6]), 6)
    quantised, codes, commit, stats = quantizer(latents, mask)
    assert quantised.shape == (3, 6, 8) and codes.shape == (3, 6, quantizer.num_layers) and commit.shape == ()
    assert tuple(stats) == quantizer.stats and stats.keys() >= {"perplexity", "active", "resets"}
    assert all(value.shape == () for value in stats.values())
    assert (codes[~mask] == -1).all() and (quantised[~mask] == 0).all() and (codes[mask][:, 0] >= 0).all()
    assert quantizer.num_codes == 30 and quantizer.codebook.shape == (30, 8)
    quantizer.eval()
    quantised, codes, _, _ = quantizer(latents, None)
    assert torch.equal(quantizer.indices(latents.flatten(0, 1)).view_as(codes), codes)
    torch.testing.assert_close(quantizer.lookup(codes), quantised)


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_masked_rows_are_quantised_as_alone(kind):
    quantizer = trained(config(kind)).quantizer
    latents, lengths = torch.randn(3, 6, 8), [1, 4, 6]
    quantised, codes, commit, _ = quantizer(latents, frame_mask(torch.tensor(lengths), 6))
    alone = [quantizer(latents[row : row + 1, :S], None) for row, S in enumerate(lengths)]
    for row, S in enumerate(lengths):
        assert torch.equal(codes[row, :S], alone[row][1][0])
        # fp32: a projection of another number of rows may round differently
        torch.testing.assert_close(quantised[row, :S], alone[row][0][0], atol=1e-6, rtol=0)
    torch.testing.assert_close(commit, sum(one[2] for one in alone))


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_garbage_in_the_padding_never_leaks(kind):
    clean, lengths = padded(64, 0.0)
    dirty, _ = padded(64, 1000.0)
    runs = []
    for motion in (clean, dirty):
        torch.manual_seed(0)
        model = trained(config(kind, rvq_dropout=0.0)).train()
        torch.manual_seed(1)
        out = model(motion, lengths)
        out["motion"].square().mean().backward()
        gradients = [p.grad for p in model.parameters()]
        runs.append([*out.values(), *model.buffers(), *gradients, model.eval().encode_all(motion, lengths)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_padded_batch_equals_each_clip_alone(kind):
    model = trained(config(kind))
    motion, lengths = padded(66, 100.0)
    codes = model.encode_all(motion, lengths)
    decoded = model.decode(codes, lengths // 4)
    differ = 0
    for row, length in enumerate(LENGTHS):
        S = length // 4
        alone = model.encode_all(motion[row : row + 1, :length])[0]
        assert alone.shape == (S, codes.shape[-1]) and (codes[row, S:] == -1).all()
        differ += int((alone != codes[row, :S]).sum())
        single = model.decode(codes[row : row + 1, :S])[0]
        torch.testing.assert_close(decoded[row, : 4 * S], single, atol=1e-5, rtol=0)  # fp32, another order of sums
    assert differ == 0  # fp32 latents could tie within rounding; none of these 38 x Q does


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("codebooks", ["separate", "shared"])
@pytest.mark.parametrize("dead_share", [0.0, 0.5])
def test_resumed_training_continues_bit_for_bit(kind, codebooks, dead_share):
    changes = {"rvq_codebooks": codebooks, "dead_share": dead_share}
    settings = config(kind, rvq_dropout=0.5, dead_below=1.0, dropout=0.1, **changes)
    model = trained(settings, steps=4).train()
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    runs = []
    for one in (model, VQVAE(settings).train()):
        one.load_state_dict(state)
        torch.set_rng_state(random)
        optimizer = torch.optim.SGD(one.parameters(), lr=0.01)  # SGD has no state: this tests the model's
        codes = [step(one, optimizer)["codes"] for _ in range(3)]
        runs.append([*codes, *one.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_nan_batch_leaves_the_codebooks_alone(kind):
    model = trained(config(kind)).train()
    before = [buffer.clone() for buffer in model.quantizer.buffers()]
    motion = torch.randn(2, 16, 23)
    motion[0, 3, 7] = float("nan")
    assert model.loss(motion)[0].isnan()
    assert all(torch.equal(a, b) for a, b in zip(before, model.quantizer.buffers(), strict=True))


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_a_batch_of_no_codes_is_no_lesson(kind):
    quantizer = make_quantizer(config(kind)).train()
    _, codes, commit, _ = quantizer(torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.bool))
    assert (codes == -1).all() and commit == 0 and not any(b.any() for b in quantizer.buffers())


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_bf16_autocast_leaves_the_quantiser_in_fp32(kind):
    model = trained(config(kind)).train()
    motion = torch.randn(2, 32, 23)
    with torch.autocast("cpu", torch.bfloat16):
        quantised, _, commit, _ = model.quantizer(model.latents(motion, None), None)
    assert quantised.dtype == commit.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUANTIZERS)
def test_training_lowers_the_loss(kind):
    torch.manual_seed(0)
    model = VQVAE(config(kind)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    motion = torch.sin(torch.arange(32.0)[:, None] * torch.rand(4, 1, 23) + torch.rand(4, 1, 23))
    losses = []
    for _ in range(40):
        value, count, _ = model.loss(motion)
        (value / count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(value.item() / count.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
def test_activation_and_dropout_of_the_residual_blocks(activation):
    model = VQVAE(config("ema_reset", activation=activation, dropout=0.5)).eval()
    block = model.encoder.stacks[0].blocks[0]
    x, function = torch.randn(2, 12, 20), {"relu": F.relu, "silu": F.silu, "gelu": F.gelu}[activation]
    torch.testing.assert_close(block(x, None), x + block.conv2(function(block.conv1(function(x)))))
    block.train()
    share = float((block(x, None) == x).float().mean())  # a dropped branch leaves x
    assert share == pytest.approx(0.5, abs=0.12)  # five standard deviations of 480 draws


@pytest.mark.slow
@pytest.mark.parametrize("kind", QUANTIZERS)
def test_train_vqvae_runs_and_logs(kind, script, tmp_path):
    """Each quantiser through the script: trained, resumed and loaded, with its numbers in every log line."""
    from motiongpt.motion_tokenizer import MotionTokenizer

    data, out = tmp_path / "data", tmp_path / "vq"
    assert script("prepare", "--from", "procedural", "--count", 8, "--out", data).code == 0
    args = ("--data", data, "--out", out, "--width", 16, "--depth", 1, "--code-dim", 8, "--codes", 30, "--max-steps", 2,
            "--eval-every", 2, "--log-every", 1, "--batch-size", 4, "--quantizer", kind, "--rvq-layers", 2)  # fmt: skip
    done = script("train_vqvae", *args)
    assert done.code == 0, done.err
    lines = [line for line in (out / "metrics.jsonl").read_text().splitlines() if '"lr"' in line]
    names = ["perplexity", "active", "resets"]
    names += ["perplexity_all", "active_all", "resets_all"] if kind == "residual" else []
    assert len(lines) == 2 and all(f'"{name}"' in line for line in lines for name in names)
    assert kind != "fsq" or "fsq levels 6,5: 30 codes" in done.out
    again = script("train_vqvae", *args)
    assert again.code == 0 and "resumed at step 2 of 2" in again.out
    tokenizer = MotionTokenizer.load(out)
    clip = np.load(next((data / "new_joint_vecs").glob("*.npy")))
    (codes,) = tokenizer.encode([clip])
    assert len(codes) == len(clip) // 4 and tokenizer.decode([codes])[0].shape == (4 * len(codes), 22, 3)
    assert isinstance(tokenizer.vqvae.quantizer, {"ema_reset": EMAQuantizer, "fsq": FSQuantizer,
                                                  "residual": ResidualQuantizer}[kind])  # fmt: skip
