"""The length-aware masked sampler: from next-token logits to motion codes (`generation/text.py`: to text ids).

Motion is written inside one contiguous span of ids, and only the logits of that span are ever computed:

    id      begin_id      begin_id + 1   begin_id + 2  ...  begin_id + 1 + N
    word    <MOT_BEGIN>   <MOT_END>      <motion_0>    ...  <motion_{N-1}>
    column  0             1              2             ...  N + 1

<MOT_BEGIN> is forced, so it is appended to the prompt and costs no model step. Only codes may follow until `hard_min`
are written, then codes or <MOT_END>. The logit of <MOT_END> grows by `end_logit_slope` for every code past `target`,
and at `hard_max` it is forced. The three limits of a row come from `lengths.py`; here they are (B,) tensors and one
(B, N + 2) mask per step, without a loop over rows.

The order of the filters is fixed: repetition penalty, no-repeat n-gram, mask and slope, temperature, top-k, top-p.

Every row draws from its own seed by inverse CDF, so a motion does not depend on who shares its batch. This module
knows no text, tokenizers, files or devices. It takes ids as ints and a `Model` (below).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from motiongpt.config import SampleConfig
from motiongpt.kernels import likeliest
from motiongpt.kernels.threads import threads_for
from motiongpt.lengths import Limits

END_COLUMN = 1  # of <MOT_END> in the motion span; column 0 is <MOT_BEGIN>, which is never drawn
CODE_COLUMN = 2  # of <motion_0>
STAYING = 0.75  # as many rows or fewer that have not ended are worth a copy of what the model remembers of them
OPERATIONS = 16  # of a draw for every logit, about


class Model(Protocol):
    """What the sampler needs from a language model. `training` must be False: dropout would defeat the seeds."""

    training: bool

    def new_cache(self, B: int, T: int) -> Any:
        """Room for T positions of B rows. Its `take(rows)` keeps some rows; without one, all stay to the end."""

    def hidden(self, ids: Tensor, cache: Any, start: Tensor | None) -> Tensor:
        """ids (B, T) after the cache -> (B, .., C), the last one of the last id; row b is padding before start[b]."""

    def logits(self, hidden: Tensor, span: tuple[int, int]) -> Tensor:
        """hidden (B, C), span (first, last) -> (B, last - first), the logits of ids first .. last - 1."""


def repetition_penalty(logits: Tensor, factors: Tensor) -> Tensor:
    """Make ids less likely that have a factor above 1: positive logits divided by it, negative ones multiplied
    (CTRL, Keskar 2019).

    [2, -2, 2], factors [2, 2, 1] -> [1, -4, 2]. As transformers' RepetitionPenaltyLogitsProcessor.
    """
    return torch.where(logits < 0, logits * factors, logits / factors)


def ngram_ban(tokens: Tensor, n: int, span: tuple[int, int]) -> Tensor:
    """Ids of the span that would complete an n-gram which is already in `tokens`: (B, T) -> (B, last - first) bool.

    tokens [5, 6, 7, 5, 6], n 3 -> id 7 is banned. Negative tokens (padding) belong to no n-gram.
    As transformers' NoRepeatNGramLogitsProcessor.
    """
    B, T = tokens.shape
    first, last = span
    W = last - first
    banned = tokens.new_zeros(B, W + 1, dtype=torch.bool)  # the spare column takes everything outside the span
    if T >= n:
        prefix = tokens[:, T - n + 1 :]  # (B, n - 1)
        windows = tokens.unfold(1, n, 1)  # (B, T - n + 1, n)
        match = (windows[..., :-1] == prefix[:, None]).all(-1) & (windows >= 0).all(-1)
        column = windows[..., -1] - first
        inside = match & (column >= 0) & (column < W)
        banned.scatter_(1, torch.where(inside, column, W), True)
    return banned[:, :W]


def length_mask(codes: Tensor, written: Tensor, limits: Tensor, done: Tensor) -> Tensor:
    """Which columns of the motion span may come next: codes (B, N) bool, written (B,), limits (B, 3) -> (B, N + 2).

    written  0 .. hard_min - 1   only codes          begin 0   end 0   codes as given
             .. hard_max - 1     codes or the end    begin 0   end 1   codes as given
             hard_max, or done   only the end        begin 0   end 1   codes 0
    """
    closed = done | (written >= limits[:, 2])
    end = closed | (written >= limits[:, 0])
    return torch.cat([torch.zeros_like(end)[:, None], end[:, None], codes & ~closed[:, None]], dim=1)


def top_k_keep(scores: Tensor, k: int) -> Tensor:
    """The k largest of each row, (B, W) -> (B, W) bool. Ties with the k-th stay, as in transformers' TopK."""
    return scores >= scores.topk(min(k, scores.shape[-1])).values[:, -1:]


def top_p_keep(p: Tensor, top_p: float) -> Tensor:
    """The fewest most likely ids that hold `top_p` of each row's sum, (B, W) -> (B, W) bool; never empty.

    [.5, .3, .2], top_p .7 -> the first two. As transformers' TopP: it drops the tail whose sum is <= 1 - top_p.
    """
    if p.shape[1] > 2 * likeliest.HEAD and not p.is_cuda:  # on a GPU looking at the result costs more than sorting
        keep = likeliest.top_p_keep(p, top_p)
        if keep is not None:
            return keep
    ascending, order = p.sort(dim=-1, stable=True)
    tail = ascending.cumsum(-1)
    drop = tail <= (1 - top_p) * tail[:, -1:]
    drop[:, -1] = False
    return ~torch.zeros_like(drop).scatter(1, order, drop)


def sample_next(logits: Tensor, uniform: Tensor, allowed: Tensor, config: SampleConfig) -> Tensor:
    """Draw one column per row after temperature, top-k and top-p; temperature 0 takes the largest.

    Inverse CDF in id order, in float64: the first column whose cumulative probability exceeds uniform * total.
    p [.25, 0, .75]: u 0 -> 0, u .24 -> 0, u .25 -> 2, u .99 -> 2. The draw runs on the device of `uniform`.

    Args:
        logits: (B, W), penalties and slope already applied.
        uniform: (B,) float64 in [0, 1).
        allowed: (B, W) bool; a column that is False is never drawn.

    Returns: (B,) long, on the device of `logits`.
    Raises ValueError if a row allows nothing, or if its logits are NaN or infinite.
    """
    device, allowed = logits.device, allowed.to(uniform.device)
    scores = logits.to(uniform.device).masked_fill(~allowed, -math.inf)
    # all that follows is quicker for a few ids; on a GPU, looking for ties costs more than that
    narrow = 0 < config.top_k < scores.shape[1] and config.temperature > 0 and not scores.is_cuda
    scores, ids = (narrow and likeliest.top_k(scores, config.top_k)) or (scores, None)
    scores = scores.double()  # in place from here on: for many rows, one more (B, W) costs more than filling it
    best = scores.max(dim=-1, keepdim=True)  # a NaN wins the max, so one check sees every broken row
    if not best.values.isfinite().all():
        if not allowed.any(-1).all():
            raise ValueError("nothing is allowed in at least one row: every row needs one id that may be drawn")
        raise ValueError("the model's logits are NaN or infinite: its weights or the precision are broken")
    if config.temperature == 0:
        return best.indices[:, 0].to(device)

    scores.sub_(best.values).div_(config.temperature)  # the largest is 0, so no temperature can overflow
    if config.top_k and ids is None:
        scores.masked_fill_(~top_k_keep(scores, config.top_k), -math.inf)
    p = scores.softmax(dim=-1)
    if config.top_p < 1:
        p.masked_fill_(~top_p_keep(p, config.top_p), 0.0)

    cdf = p.cumsum_(-1)
    total = cdf[:, -1:]
    # below the total, even if the product rounds up to it: then the first column that reaches it takes the draw
    point = (uniform.to(cdf)[:, None] * total).minimum(total.nextafter(torch.zeros_like(total)))
    index = torch.searchsorted(cdf, point, right=True)
    return (index if ids is None else ids.gather(1, index))[:, 0].to(device)


def left_pad(prompts: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """[[7], [8, 9]] -> ids [[0, 7], [8, 9]], start [1, 0]: the last ids of all rows share a column."""
    T = max(map(len, prompts))
    ids = torch.tensor([[0] * (T - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    return ids, torch.tensor([T - len(prompt) for prompt in prompts], device=device)


def row_uniforms(seeds: Sequence[int], steps: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Row b: steps[b] numbers in [0, 1) drawn from seeds[b], then zeros -> (B, max(steps)) float64.

    They are drawn on the CPU and for each row alone, so neither hardware nor neighbours change them. Apple's devices
    have no float64; there they stay on the CPU.
    """
    uniform = torch.zeros(len(seeds), max(steps), dtype=torch.float64)
    for row, seed, n in zip(uniform, seeds, steps, strict=True):
        row[:n] = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return uniform if torch.device(device).type == "mps" else uniform.to(device)


class Rows:
    """The rows being written: the model's cache, the tokens so far, and the filters that depend on them.

    `tokens` (B, P + steps) is -1 for what the filters must not count: padding, what is not written yet, and with
    penalty_scope "motion" the prompt.
    """

    def __init__(
        self,
        model: Model,
        prompts: Sequence[Sequence[int]],
        span: tuple[int, int],
        steps: int,
        config: SampleConfig,
        device: torch.device | str,
        autocast: torch.dtype | None,
    ) -> None:
        self.model, self.config = model, config
        self.span = span
        self.ids, start = left_pad(prompts, device)
        B, P = self.ids.shape
        self.length = P  # columns so far
        self.start = start if start.any() else None  # without padding a model may use its faster attention
        self.precision = torch.autocast(self.ids.device.type, dtype=autocast, enabled=autocast is not None)
        with self.precision:
            self.cache = model.new_cache(B, P + steps - 1)  # the last id drawn is never fed to the model
        self.places = list(range(B))  # of the rows that are still here, among all
        self.B = B
        self.written = torch.zeros(B, dtype=torch.long, device=device)
        self.done = torch.zeros(B, dtype=torch.bool, device=device)
        real = torch.arange(P, device=device) >= start[:, None]  # (B, P), False in the padding
        counted = real if config.penalty_scope == "all" else torch.zeros_like(real)
        self.tokens = self.ids.new_full((B, P + steps), -1)
        self.tokens[:, :P] = self.ids.where(counted, -1)
        seen = ngram_ban(self.tokens[:, :P], 1, span)  # (B, W): the 1-grams of the prompt
        self.penalty = config.repetition_penalty
        self.factors = torch.where(seen, self.penalty, 1.0)

    def logits(self) -> Tensor:
        """One model step -> (B, W) float32, repetition penalty applied."""
        with self.precision:
            hidden = self.model.hidden(self.ids, cache=self.cache, start=self.start)  # (B, .., C)
            logits = self.model.logits(hidden[:, -1], span=self.span)  # (B, W)
        logits = logits.float()
        return logits.clone() if self.penalty == 1 else repetition_penalty(logits, self.factors)

    def without_repeats(self, allowed: Tensor) -> Tensor:
        """`allowed` without the banned n-grams. A row that the ban would leave nothing ignores it for this step:
        length limits and vocabulary are promises, the ban is a wish."""
        if not self.config.no_repeat_ngram:
            return allowed
        kept = allowed & ~ngram_ban(self.tokens[:, : self.length], self.config.no_repeat_ngram, self.span)
        return torch.where(kept.any(-1, keepdim=True), kept, allowed)

    def append(self, index: Tensor, stop: Tensor) -> list[int]:
        """Take the columns `index` (B,) as the next ids; `stop` (B,) bool: this one ends its row and is not output.

        Returns the id that each of all rows has written, -1 for one that has ended.
        """
        self.ids = (index + self.span[0])[:, None]  # (B, 1)
        self.tokens[:, self.length] = self.ids[:, 0]
        self.factors.scatter_(1, index[:, None], self.penalty)
        self.length += 1
        self.done = self.done | stop
        self.written = self.written + (~self.done).long()
        ids = [-1] * self.B
        for place, i in zip(self.places, self.ids[:, 0].where(~self.done, -1).tolist(), strict=True):
            ids[place] = i
        return ids

    def leave(self, ids: Sequence[int]) -> Tensor | None:
        """Let ended rows go, once they are a quarter, after `ids` were appended: those here that stay, or None for all.

        What the others write does not change, only how long it takes.
        """
        here = [ids[place] >= 0 for place in self.places]
        if not 0 < sum(here) <= STAYING * len(here) or not hasattr(self.cache, "take"):
            return None
        self.places = [place for place, stays in zip(self.places, here, strict=True) if stays]
        kept = (~self.done).nonzero()[:, 0]
        for name in ("ids", "written", "done", "tokens", "factors"):
            setattr(self, name, getattr(self, name)[kept])
        self.start = None if self.start is None else self.start[kept]
        self.cache.take(kept)
        return kept


def join(steps: Iterable[Sequence[int]]) -> list[list[int]]:
    """What all rows wrote step by step, as one list per row: [[5, 6], [7, -1]] -> [[5, 7], [6]]."""
    return [[i for i in row if i >= 0] for row in zip(*steps, strict=True)]


def check_rows(model: Model, prompts: Sequence[Sequence[int]], **per_row: Sequence) -> None:
    for name, values in per_row.items():
        if not len(values) == len(prompts) > 0:
            raise ValueError(f"need at least one prompt and as many {name}, got {len(prompts)} and {len(values)}")
    if any(min(prompt, default=0) < 0 for prompt in prompts):
        raise ValueError("prompt ids must be 0 or more")
    if not all(-(2**63) <= seed < 2**63 for seed in per_row["seeds"]):
        raise ValueError(f"seeds must fit in 64 bits, got {list(per_row['seeds'])}")
    if model.training:
        raise ValueError("the model is in training mode, where dropout defeats the seeds: call model.eval() first")


def generate(model: Model, prompts: Sequence[Sequence[int]], **options: Any) -> list[list[int]]:
    """Write one motion per prompt, all rows at once: B lists of codes in [0, N), without the markers.

    Arguments and errors are those of `generate_steps`.
    """
    return join(generate_steps(model, prompts, **options))


@torch.inference_mode()
def generate_steps(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    begin_id: int,
    codes: int,
    limits: Sequence[Limits],
    seeds: Sequence[int],
    config: SampleConfig,
    allowed: Tensor | None = None,
    constrain: Callable[[Tensor, Tensor], Tensor] | None = None,
    trace: Callable[[int, dict], None] | None = None,
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
) -> Iterator[list[int]]:
    """Write one motion per prompt, all rows at once, and yield the codes of every step as soon as they are drawn.

    Args:
        model: see `Model`; on `device`, in eval mode.
        prompts: B lists of ids, without <MOT_BEGIN>; they may differ in length.
        begin_id, codes: first id of the motion span, and N, the number of codebook entries.
        limits, seeds: one per prompt; `config.max_new_tokens` caps every limit.
        allowed: (B, N) bool, the codes each row may use; None = all.
        constrain: called as constrain(mask (B, N + 2), written (B,)) before every draw. It returns the mask to draw
            from, with an id in every row, such as only the code that must stand here (`tasks/conditions.py`).
        trace: called as trace(step, record) after every draw. The record has lists of B: the codes `written` before,
            how many columns were `allowed`, `end_logit`, `end_logit_sloped`, the `code` drawn (-1 = end), `active`.
        autocast: dtype of the model steps; None = the weights' own. It casts at every step: bf16 weights are faster.

    Yields: B codes in [0, N), -1 for a row that has ended; one code per row and step, so row b has no gaps.
    Raises ValueError at the first step for arguments that contradict each other, and at any for logits that are NaN
    or infinite.
    """
    check_rows(model, prompts, limits=limits, seeds=seeds)
    B, N = len(prompts), codes
    if begin_id < 0 or N < 1:
        raise ValueError(f"the motion span needs begin_id >= 0 and codes >= 1, got {begin_id} and {N}")
    allowed = torch.ones(B, N, dtype=torch.bool) if allowed is None else allowed
    if allowed.shape != (B, N) or allowed.dtype != torch.bool:
        raise ValueError(f"allowed must be a bool tensor ({B}, {N}), got {allowed.dtype} {tuple(allowed.shape)}")
    if not allowed.any(-1).all():
        raise ValueError(f"row {int((~allowed.any(-1)).nonzero()[0])} of allowed has no code: every row needs one")

    limits = [row.capped(config.max_new_tokens) for row in limits]
    steps = max(row.hard_max for row in limits)
    bounds = torch.tensor([(row.hard_min, row.target, row.hard_max) for row in limits], device=device)  # (B, 3)
    uniform = row_uniforms(seeds, [row.hard_max for row in limits], device)  # (B, steps)
    allowed = allowed.to(device)
    span = (begin_id, begin_id + CODE_COLUMN + N)
    rows = Rows(model, [[*prompt, begin_id] for prompt in prompts], span, steps, config, device, autocast)
    first_end, first_slope = (min(getattr(row, name) for row in limits) for name in ("hard_min", "target"))
    may_follow = length_mask(allowed, rows.written, bounds, rows.done)  # the same until the first row may end
    for step in range(steps):
        logits = rows.logits()  # (B, N + 2)
        with threads_for(OPERATIONS * logits.numel()):
            end_logit = logits[:, END_COLUMN].clone()
            if step > first_slope:
                logits[:, END_COLUMN] += config.end_logit_slope * (rows.written - bounds[:, 1]).clamp(min=0)
            if step >= first_end:
                may_follow = length_mask(allowed, rows.written, bounds, rows.done)
            mask = rows.without_repeats(may_follow)
            if constrain is not None:
                mask = constrain(mask.clone(), rows.written)  # a copy to write to; `may_follow` serves more steps
            index = sample_next(logits, uniform[:, step], mask, config)
        if trace is not None:
            record = {"written": rows.written, "allowed": mask.sum(-1), "code": (index - CODE_COLUMN).clamp(min=-1)}
            record |= {"end_logit": end_logit, "end_logit_sloped": logits[:, END_COLUMN], "active": ~rows.done}
            trace(step, {name: values.tolist() for name, values in record.items()})
        ids = rows.append(index, index == END_COLUMN)
        yield [i - begin_id - CODE_COLUMN if i >= 0 else -1 for i in ids]
        if max(ids) < 0:
            break
        kept = rows.leave(ids) if trace is None and constrain is None else None  # these two count on all rows
        if kept is not None:
            bounds, uniform, allowed, may_follow = (each[kept] for each in (bounds, uniform, allowed, may_follow))
