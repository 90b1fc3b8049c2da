"""Text ids after a prompt, such as the description of a motion: the filters and draws of `sampling.py` over words."""

from collections.abc import Sequence

import torch

from motiongpt.config import SampleConfig
from motiongpt.sampling import Model, Rows, check_rows, join, row_uniforms, sample_next


@torch.inference_mode()
def generate_text(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    first_id: int,
    stop_ids: Sequence[int],
    seeds: Sequence[int],
    config: SampleConfig,
    max_new_tokens: int | None = None,
    allowed: Sequence[int] | None = None,
    banned: Sequence[int] = (),
    min_new_tokens: int = 0,
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
) -> list[list[int]]:
    """Write text ids after each prompt (motion to text): only ids in [0, first_id), where the motion words begin.

    Args:
        stop_ids: text ids; each of them ends its row.
        max_new_tokens: a row without a stop id is cut here; None = `config.max_new_tokens`.
        allowed: the text ids that may be written, such as digits, beside the stop ids; None = all.
        banned: text ids that are never written, such as other special tokens, whether allowed or not.
        min_new_tokens: no row stops before it has so many; the cut at `max_new_tokens` comes first.

    Returns: B lists of text ids, without the stop id; a row may be empty.
    Raises ValueError like `sampling.generate`, and if ids are no text ids or leave nothing to write.
    """
    check_rows(model, prompts, seeds=seeds)
    steps = config.max_new_tokens if max_new_tokens is None else max_new_tokens
    if not all(prompts) or steps < 1:
        raise ValueError(
            f"text needs non-empty prompts and max_new_tokens >= 1, got {list(map(len, prompts))}, {steps}"
        )
    for name, given in (("stop_ids", stop_ids), ("allowed", allowed or ()), ("banned", banned)):
        if not all(0 <= i < first_id for i in given):
            raise ValueError(f"{name} must be text ids in [0, {first_id}), got {list(given)}")
    if not stop_ids or set(stop_ids) & set(banned):
        raise ValueError("stop_ids must name at least one id, none of them banned")
    B = len(prompts)
    stops = torch.zeros(first_id, dtype=torch.bool)  # (W,)
    stops[list(stop_ids)] = True
    text = torch.full_like(stops, allowed is None)  # (W,)
    text[list(allowed or ())] = True
    text[list(banned)] = False
    if min_new_tokens > 0 and not (text & ~stops).any():
        raise ValueError(f"min_new_tokens is {min_new_tokens}, but only stop ids are allowed: allow another id")
    stops, text = stops.to(device), text.to(device)
    uniform = row_uniforms(seeds, [steps] * B, device)  # (B, steps)
    rows = Rows(model, prompts, (0, first_id), steps, config, device, autocast)
    written = []
    for step in range(steps):
        stop_now = stops & (rows.written >= min_new_tokens)[:, None]  # (B, W)
        mask = rows.without_repeats((text & ~stops) | stop_now)  # a row that has ended still draws; nothing reads it
        index = sample_next(rows.logits(), uniform[:, step], mask, config)
        written.append(rows.append(index, stops[index]))
        if max(written[-1]) < 0:
            break
        kept = rows.leave(written[-1])
        uniform = uniform if kept is None else uniform[kept]
    return join(written)
