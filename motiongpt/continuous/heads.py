"""Three ways to write frames with one trunk: what each is trained on, and how it writes.

    regression       places -> motion, in one pass. A text that fits several motions gets their mean.
    autoregressive   the patches so far -> the next one. Training feeds in the real ones, with noise on them.
    flow             a mixture of noise and a motion -> the motion. Written in steps, from noise alone.

All three learn the motion itself, by one error. What is drawn is in the batch (`batches.py`) or comes in as `noise`, so
a loss is a function of its batch and a motion one of its seed. Frames are normalised features. Frames past a motion's
end come out as zeros.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from motiongpt.config import FlowConfig
from motiongpt.continuous.model import Condition, ContinuousModel, frame_errors
from motiongpt.vqvae import frame_mask

Batch = dict[str, Tensor]


# 1) What each head makes of a training batch, (B, F, D) or a little longer.


def regress(model: ContinuousModel, condition: Condition, lengths: Tensor, F: int) -> Tensor:
    return model.frames(model.places(lengths, 0, model.patches(F)), condition, lengths)


def regress_batch(model: ContinuousModel, batch: Batch, condition: Condition) -> Tensor:
    """Every frame at once, from nothing but the text and its place."""
    return regress(model, condition, batch["lengths"], batch["motion"].shape[1])


def continue_batch(model: ContinuousModel, batch: Batch, condition: Condition) -> Tensor:
    """Teacher forcing (Williams and Zipser 1989): each patch from the real ones before it.

    When the model writes, it reads its own patches, with their errors. Scheduled sampling (Bengio et al. 2015) feeds
    some of those in already while it learns; noise in their place prepares it too, and all patches stay one pass.
    """
    fed = batch["motion"] + model.config.input_noise * batch["level"][:, None, None] * batch["noise"]
    before = model.frame_in(model.fold(fed)[:, :-1])
    x = torch.cat((model.first.expand(len(fed), 1, -1), before), 1)
    return model.frames(x + model.places(batch["lengths"], 0, x.shape[1]), condition, causal=True)


def denoise(model: ContinuousModel, mixed: Tensor, time: Tensor, lengths: Tensor, condition: Condition) -> Tensor:
    """The motion that is in a mixture (B, F, D) with noise; `time` (B,) is its share in it.

    The motion and not the noise is asked for, as in MDM (Tevet et al. 2023): it has few degrees of freedom and passes
    through a transformer that is narrower than a patch. Noise would not.
    """
    half = model.config.hidden_size // 2
    rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(1000.0) / half))
    angles = 1000.0 * time[:, None] * rates  # (B, C / 2)
    told = model.time(torch.cat((angles.cos(), angles.sin()), -1).to(mixed.dtype))
    x = model.frame_in(model.fold(mixed))
    return model.frames(x + model.places(lengths, 0, x.shape[1]) + told[:, None], condition, lengths)


def denoise_batch(model: ContinuousModel, batch: Batch, condition: Condition) -> Tensor:
    """Rectified flow (Liu et al. 2022): mixtures lie on the straight line from noise to motion.

    Their error is that of the velocity, motion - noise. With t of the motion in the mixture, the velocity that a motion
    implies is (motion - mixed) / (1 - t): theirs is this error / (1 - t)^2. Without the divisor no mixture that is
    nearly the motion outweighs the others.
    """
    mixed = torch.lerp(batch["noise"], batch["motion"], batch["level"][:, None, None])
    return denoise(model, mixed, batch["level"], batch["lengths"], condition)


MAKE: dict[str, Callable[[ContinuousModel, Batch, Condition], Tensor]] = {
    "regression": regress_batch,
    "autoregressive": continue_batch,
    "flow": denoise_batch,
}


def batch_loss(model: ContinuousModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, a sum over its frames, and numbers to log.

    The length of a clip is learnt from its logarithm: half as long is as wrong as twice as long. Only captions that the
    model was shown teach lengths.
    """
    keep, lengths = batch["keep"], batch["lengths"]
    condition = model.condition(batch["text"], batch["text_mask"], keep)
    F = batch["motion"].shape[1]
    made = MAKE[model.config.head](model, batch, condition)[:, :F]
    errors = frame_errors(made, batch["motion"], frame_mask(lengths, F), model.config.loss).sum()
    away = (model.log_length(condition.pooled).float() - lengths.log()).abs() * keep  # (B,)
    counted = keep.sum().clamp(min=1)
    parts = {"frame_loss": errors.detach() / lengths.sum(), "length_error": away.detach().sum() / counted}
    return errors + model.config.length_weight * away.sum(), parts


# 2) Writing.


def write_regression(model: ContinuousModel, condition: Condition, lengths: Tensor) -> Tensor:
    return regress(model, condition, lengths, int(lengths.max()))


def write_autoregressive(model: ContinuousModel, condition: Condition, lengths: Tensor) -> Tensor:
    B, F = len(lengths), int(lengths.max())
    cache = model.new_cache(B, F)
    x = model.first.expand(B, 1, -1)
    patches = []
    for step in range(model.patches(F)):
        patches.append(model.frames(x + model.places(lengths, step, step + 1), condition, None, cache))
        x = model.frame_in(model.fold(patches[-1]))
    return torch.cat(patches, 1)


def write_flow(
    model: ContinuousModel,
    condition: Condition,
    empty: Condition | None,
    lengths: Tensor,
    noise: Tensor,
    how: FlowConfig,
) -> Tensor:
    """Euler's method from noise (B, F, D) to a motion, with classifier-free guidance (Ho and Salimans 2022, eq. 6).

    On a straight line the way that is left, to the motion, takes the time that is left. Guidance draws the motion away
    from that of the `empty` condition; for guidance 1 that is None.
    """
    x = noise
    mask = frame_mask(lengths, x.shape[1])[..., None]
    for step in range(how.flow_steps):
        time = torch.full((len(x),), step / how.flow_steps, device=x.device)
        motion = denoise(model, x, time, lengths, condition)
        if empty is not None:
            without = denoise(model, x, time, lengths, empty)
            motion = without + how.guidance * (motion - without)
        x = x + mask * (motion[:, : x.shape[1]] - x) / (how.flow_steps - step)
    return x


@torch.no_grad()
def write(
    model: ContinuousModel, text: Tensor, text_mask: Tensor, lengths: Tensor, noise: Tensor | None, how: FlowConfig
) -> Tensor:
    """Normalised motions (B, F, D) of so many frames, (B,), for texts; zeros behind a motion's end.

    `noise` (B, F, D) is where the flow head begins; the others need none. F is the longest length.
    """
    condition = model.condition(text, text_mask)
    if model.config.head == "flow":
        hidden = torch.zeros(len(text), dtype=torch.bool, device=text.device)
        empty = None if how.guidance == 1 else model.condition(text, text_mask, hidden)
        made = write_flow(model, condition, empty, lengths, noise, how)
    elif model.config.head == "autoregressive":
        made = write_autoregressive(model, condition, lengths)
    else:
        made = write_regression(model, condition, lengths)
    made = made[:, : int(lengths.max())]
    return made * frame_mask(lengths, made.shape[1])[..., None]
