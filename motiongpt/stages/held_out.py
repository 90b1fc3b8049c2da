"""What a model in training writes for held-out captions, measured against the real motions."""

from collections import Counter
from collections.abc import Sequence

import torch

from motiongpt.config import SampleConfig
from motiongpt.data.tokens import Entry, plain_entries
from motiongpt.data.training_captions import Prompts
from motiongpt.lengths import limits_from_guess, limits_from_median
from motiongpt.metrics.joints import mpjpe
from motiongpt.metrics.tokens import token_distances
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.sampling import generate
from motiongpt.stages.plan import Plan
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.sequences import Renderer
from motiongpt.training.world import ALONE, World
from motiongpt.weights.backbone import Backbone

DECODED = 8  # held-out captions that a motion is written for once in a while


def written_errors(
    model: Backbone,
    plan: Plan,
    renderer: Renderer,
    known: Prompts,
    motion_tokenizer: MotionTokenizer | None,
    device: torch.device,
    world: World = ALONE,
) -> dict[str, float]:
    """How far the motions written for some held-out captions are from the real ones, mean over captions.

    `edit_distance` in codes, and `edit_share` of the longer motion of each pair; with a tokenizer also the
    `motion_errors`. The model is greedy and may use all codes. It has the length limits of sampling. Empty for a stage
    that does not learn t2m, or writes motions as digits.

    Args:
        known: the captions of training, whose lengths limit those of what is written.
        world: its processes write for some of the captions each.
    """
    if "t2m" not in plan.job.tasks or renderer.templates.motion_as == "digits":
        return {}
    entries = plain_entries(plan.held_out)[:DECODED]  # in an order that is random already
    own = entries[world.part(len(entries))]
    errors = {}
    if own:
        written = write_greedily(model, plan, renderer, known, own, device)
        found = token_distances(written, [[entry.codes] for entry in own])
        errors = {"edit_distance": float(found["mean"].mean()), "edit_share": float(found["mean_share"].mean())}
    if own and motion_tokenizer is not None:
        errors |= motion_errors(written, [entry.codes for entry in own], motion_tokenizer)
    sums = world.merge(Counter({name: value * len(own) for name, value in errors.items()}))
    return {name: value / len(entries) for name, value in sums.items()}


def write_greedily(
    model: Backbone, plan: Plan, renderer: Renderer, known: Prompts, entries: Sequence[Entry], device: torch.device
) -> list[list[int]]:
    """The likeliest codes for the caption of each entry; see `written_errors`."""
    limits = []
    for entry in entries:
        around = limits_from_median if known.find(entry.text) else limits_from_guess
        limits.append(around(known.expected_length(entry.text)))
    prompts = [
        renderer.request(Request("t2m", renderer.read(entry.text), participant=entry.participant)) for entry in entries
    ]
    room = model.config.max_positions - max(map(len, prompts)) - 1  # 1 for <MOT_BEGIN>
    return generate(
        model,
        prompts,
        begin_id=renderer.vocab.begin_id,
        codes=plan.codes,
        limits=[row.capped(room) for row in limits],
        seeds=[0] * len(entries),
        config=SampleConfig(temperature=0.0),
        device=device,
    )


def motion_errors(
    written: Sequence[Sequence[int]], real: Sequence[Sequence[int]], motion_tokenizer: MotionTokenizer
) -> dict[str, float]:
    """`mpjpe_mm` of decoded codes, root-aligned, to those of the real motions, over the frames that both have.

    For features that are no joints (SMPL-X) it is `feature_rmse`, as in `tokenizer.reconstruction_errors`. Every pair
    counts once.
    """
    representation, normalizer = motion_tokenizer.representation, motion_tokenizer.normalizer
    errors = []
    # in fp32, whatever the precision of the training
    with torch.autocast(motion_tokenizer.device.type, enabled=False):
        decoded = motion_tokenizer.decode_features([*written, *real])
    for own, true in zip(decoded[: len(written)], decoded[len(written) :], strict=True):
        frames = min(len(own), len(true))
        if representation.has_joints:
            joints, true_joints = (motion_tokenizer.joints(features[:frames]) for features in (own, true))
            errors.append(1000 * float(mpjpe(joints, true_joints).mean()))
        else:
            difference = normalizer.normalise(own[:frames]) - normalizer.normalise(true[:frames])
            errors.append(float(difference.square().mean()) ** 0.5)
    return {"mpjpe_mm" if representation.has_joints else "feature_rmse": sum(errors) / len(errors)}
