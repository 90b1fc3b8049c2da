"""The tokenizer's losses that know joints, each by hand; and dead codes as a share of their usual usage."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import for_each, seeded

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.config import VQVAEConfig
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.quantizers import GRACE, EMAQuantizer, Part, make_quantizer
from motiongpt.stages.joint_loss import joint_loss, part_weights
from motiongpt.vqvae import VQVAE

TINY = VQVAEConfig(codes=16, code_dim=8, width=12)
HUMANML = get_representation("humanml3d", HUMANML3D)
HEAD = HUMANML3D.index("head")


@pytest.fixture
def normalizer() -> Normalizer:
    """A mean and deviations as real ones: one deviation for all positions."""
    rng = np.random.default_rng(0)
    std = np.full(263, 0.3, np.float32)
    std[3] = 0.02  # the root's height has its own
    return Normalizer(rng.normal(size=263).astype(np.float32), std)


def motions(normalizer: Normalizer) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoded and true motion (2, 12, 263), normalised."""
    true = torch.randn(2, 12, 263, generator=seeded(1))
    return true + 0.1 * torch.randn(2, 12, 263, generator=seeded(2)), true


def extra(normalizer: Normalizer, **changes):
    return joint_loss(replace(TINY, **changes), normalizer, HUMANML)


def huber(error: torch.Tensor) -> torch.Tensor:
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")


def test_nothing_is_added_unless_it_is_asked_for(normalizer):
    assert extra(normalizer) is None
    for weight in ("velocity_weight", "acceleration_weight", "bone_weight"):
        assert extra(normalizer, **{weight: 1.0}) is not None


def bones_of(motion: torch.Tensor, normalizer: Normalizer) -> torch.Tensor:
    """Normalised features -> bones (..., F, J - 1, 3), through the joints that the features decode to."""
    joints = HUMANML.decode(normalizer.denormalise(motion))
    return joints[..., 1:, :] - joints[..., list(HUMANML3D.parents[1:]), :]


def test_a_part_is_judged_from_its_parent(normalizer):
    """Moving the whole body costs it nothing; moving the head by d costs w times d, in the unit of positions."""
    _, true = motions(normalizer)
    loss = extra(normalizer, part_weights="head=4,wrist=2")
    moved = true.clone()
    moved[..., 4:67:3] += 0.5
    moved[..., 3] += 0.3 / 0.02  # the root's height, 0.3 m, and that of all others
    moved[..., 5:67:3] += 1.0
    cost, parts = loss(moved, true, None)
    assert set(parts) == {"emphasis"} and cost < 1e-3
    nods = true.clone()
    nods[..., 4 + 3 * (HEAD - 1)] -= 0.1
    torch.testing.assert_close(loss(nods, true, None)[0], torch.tensor(2 * 12 * 4 * 0.1 / 3), rtol=1e-3, atol=0)
    wrist = HUMANML3D.index("left_wrist")
    waves = true.clone()
    waves[..., 4 + 3 * (wrist - 1)] += 0.1
    torch.testing.assert_close(loss(waves, true, None)[0], torch.tensor(2 * 12 * 2 * 0.1 / 3), rtol=1e-3, atol=0)


def test_velocity_and_acceleration_are_of_the_error(normalizer):
    """An error that stays costs nothing, one that grows steadily costs no acceleration, jitter costs both."""
    _, true = motions(normalizer)
    steady, growing, jitter = (torch.zeros(12) for _ in range(3))
    steady += 0.5
    growing += 0.1 * torch.arange(12)
    jitter[::2] = 0.1
    cost = {}
    for name, error in {"steady": steady, "growing": growing, "jitter": jitter}.items():
        for weight in ("velocity_weight", "acceleration_weight"):
            cost[name, weight], _ = extra(normalizer, **{weight: 3.0})(true + error[:, None], true, None)
    assert max(cost["steady", w] for w in ("velocity_weight", "acceleration_weight")) < 1e-9
    assert cost["growing", "acceleration_weight"] < 1e-9
    torch.testing.assert_close(cost["growing", "velocity_weight"], torch.tensor(3 * 2 * 11 * 0.5 * 0.1**2))
    torch.testing.assert_close(cost["jitter", "acceleration_weight"], torch.tensor(3 * 2 * 10 * 0.5 * 0.2**2))


def test_bones_are_those_of_the_decoded_joints(normalizer):
    decoded, true = motions(normalizer)
    total, _ = extra(normalizer, bone_weight=2.0)(decoded, true, None)

    # the facing of a frame turns its joints, and no bone is longer for that
    long, short = (bones_of(x, normalizer).norm(dim=-1) for x in (decoded, true))
    wanted = 2 * huber((long - short) / 0.3).mean(-1).sum()
    torch.testing.assert_close(total, wanted, rtol=1e-4, atol=1e-4)
    assert extra(normalizer, bone_weight=2.0)(true, true, None)[0] == 0


def test_padding_costs_nothing_and_a_clip_costs_what_it_costs_alone(normalizer):
    settings = {"part_weights": "head=4", "velocity_weight": 1.0, "acceleration_weight": 1.0, "bone_weight": 1.0}
    loss = extra(normalizer, **settings)
    decoded, true = motions(normalizer)
    together, parts = loss(decoded, true, torch.tensor([8, 4]))
    alone = [loss(decoded[i : i + 1, :n], true[i : i + 1, :n], None)[0] for i, n in enumerate((8, 4))]
    torch.testing.assert_close(together, sum(alone))
    assert set(parts) == {"emphasis", "velocity", "acceleration", "bones"}


def test_the_network_adds_it_to_its_loss_and_names_the_parts(normalizer):
    torch.manual_seed(0)
    config = replace(TINY, acceleration_weight=2.0, dead_below=0.0)
    model = VQVAE(config).eval()
    motion = torch.randn(2, 16, 263)
    plain, count, _ = model.loss(motion)
    more, _, out = model.loss(motion, None, joint_loss(config, normalizer, HUMANML))
    torch.testing.assert_close((more - plain) / count, 2.0 * out["acceleration"])
    assert not out["acceleration"].requires_grad


@for_each(
    "values, message",
    [
        ({"part_weights": "head"}, "--part-weights must be name=weight"),
        ({"part_weights": "head=-1"}, "--part-weights must be name=weight"),
        ({"part_weights": "head=nan"}, "--part-weights must be name=weight"),
        ({"bone_weight": -1.0}, "--bone-weight must be 0 or more"),
        ({"dead_share": 1.0}, r"--dead-share must be in \[0, 1\)"),
    ],
)
def test_bad_weights_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **values)


def test_an_unknown_joint_is_named(normalizer):
    with pytest.raises(ValueError, match="has no joint 'hat'; it has pelvis"):
        extra(normalizer, part_weights="hat=2")
    assert part_weights({"foot": 3.0}, HUMANML3D)[list(HUMANML3D.feet_left)[1]] == 3


def test_features_without_positions_are_refused(normalizer):
    positions = get_representation("positions", HUMANML3D)
    with pytest.raises(ValueError, match="positions-66 have no joint positions"):
        joint_loss(replace(TINY, joint_dim=0, bone_weight=1.0), normalizer, positions)


# ---- dead codes -----------------------------------------------------------------------------------------------------


def filled(dead_share: float, counts: torch.Tensor) -> EMAQuantizer:
    torch.manual_seed(0)
    quantizer = make_quantizer(replace(TINY, dead_share=dead_share)).train()
    rows = torch.randn(16, 8)
    quantizer.codebook.copy_(rows)
    quantizer.code_count.copy_(counts)
    quantizer.code_sum.copy_(rows * counts[:, None])
    quantizer.ready.fill_(True)
    return quantizer


def learn(quantizer: EMAQuantizer, latents: torch.Tensor) -> int:
    """One step on a whole batch; how many rows were drawn anew."""
    return int(quantizer.step(latents, Part(0, len(latents)))[2])


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_row_is_dead_below_a_share_of_the_usual_usage_whatever_the_batch(scale):
    counts = torch.full((16,), 2.0)
    counts[:3] = 0.1  # 6 % of the mean, 1.64
    counts[3] = 0.25  # 15 %
    quantizer = filled(0.1, scale * counts)
    assert learn(quantizer, torch.randn(max(1, int(32 * scale)), 8)) == 3


def test_a_new_row_forgets_its_former_places_and_gets_time():
    counts = torch.full((16,), 2.0)
    counts[5] = 1e-3
    quantizer = filled(0.1, counts)
    latents = torch.randn(32, 8)
    learn(quantizer, latents)
    assert (latents == quantizer.codebook[5]).all(-1).any() or torch.cdist(
        quantizer.codebook[5:6], latents
    ).min() < 1e-5
    assert quantizer.code_count[5] == pytest.approx(GRACE * 0.1 * float(counts.mean()), rel=0.1)
    far = quantizer.codebook[:1].expand(32, -1)  # only row 0 is used from here on
    resets = [learn(quantizer, far) for _ in range(60)]
    assert sum(resets) == 0


def test_rows_of_the_first_batch_that_nobody_uses_die_soon():
    """4 of 16 rows are used. About 100 batches later the others have less than a tenth of the mean, which grows
    meanwhile; had they begun with that mean, it would take 229 (0.99^229 = 0.1)."""
    torch.manual_seed(0)
    quantizer = make_quantizer(replace(TINY, dead_share=0.1)).train()
    learn(quantizer, torch.randn(64, 8))
    used = quantizer.codebook[:4].clone()
    resets = [learn(quantizer, used.repeat(16, 1)) for _ in range(110)]
    assert sum(resets[:90]) == 0 and sum(resets[90:]) >= 12
