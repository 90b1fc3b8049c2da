"""The reward stage: group-relative policy optimisation, GRPO (Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300).

    sentence -> k motions, drawn from the model itself -> a reward each -> advantage: how much better than its siblings

A code of a motion that beats its siblings becomes likelier, and one of a worse motion less likely. The step is clipped
once the ratio of its new to its old probability leaves 1 +- `clip_ratio`, and `kl_weight` keeps the model near the one
before. Only adapters are trained.

A probability is that of the distribution that drew the code: masked by length and vocabulary, with the slope of the
end, at `reward_temperature`. Nothing is cut off by top-k or top-p, as a code cut off later would have no probability.

`loops.train` trains it like any stage: which sentences and seeds a step has is a function of the step, and the motions
of several steps on the same motions are buffers of the module, so that a resumed training finds them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motiongpt.backbones.t5 import T5
from motiongpt.config import RewardConfig, SampleConfig
from motiongpt.faithfulness.wants import Want
from motiongpt.files.hashes import values_hash
from motiongpt.files.store import read_json, write_json
from motiongpt.lengths import Limits
from motiongpt.lora import adapter_state, load_adapter_state
from motiongpt.sampling import CODE_COLUMN, END_COLUMN, generate, length_mask
from motiongpt.stages.language import Prepared
from motiongpt.tasks.collate import collate
from motiongpt.weights.backbone import Backbone

SPREAD = 0.1  # added to a group's spread: motions that differ by a little jerk only shall not count as best and worst


@dataclass(frozen=True)
class Ask:
    """A sentence that motions are written for, as the sampler gets it, and what it wants."""

    text: str
    want: Want
    ids: tuple[int, ...]
    limits: Limits
    allowed: Tensor  # (N,) bool: the codes it may have


Reward = Callable[[Sequence[Ask], Sequence[list[int]]], tuple[Tensor, dict[str, float]]]
"""Asks and the codes written for each -> their rewards (B,), and numbers to log."""


# 1) The formulas.


def advantages(rewards: Tensor) -> Tensor:
    """(groups, k) -> (groups, k): (reward - mean) / (standard deviation + SPREAD) in each group.

    [0, 1] -> [-5/6, 5/6]. A group of equal rewards gives zeros.
    """
    mean = rewards.mean(1, keepdim=True)
    scaled = (rewards - mean) / (rewards.std(1, correction=0, keepdim=True) + SPREAD)
    equal = rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True)
    return scaled.masked_fill(equal, 0.0)  # exactly: a mean may be off by a rounding


def kl_estimate(log_p: Tensor, reference: Tensor) -> Tensor:
    """The estimate k3 of KL(p | reference) from draws of p: r - log r - 1 with r = reference / p; never negative
    (Schulman 2020, "Approximating KL divergence")."""
    difference = reference - log_p
    return difference.exp() - difference - 1


def policy_loss(log_p: Tensor, old: Tensor, reference: Tensor, advantage: Tensor, config: RewardConfig) -> Tensor:
    """The loss (n,) of each code: minus the clipped gain, plus the weighted distance from the model before."""
    ratio = (log_p - old).exp()
    clipped = ratio.clamp(1 - config.clip_ratio, 1 + config.clip_ratio)
    return config.kl_weight * kl_estimate(log_p, reference) - torch.minimum(ratio * advantage, clipped * advantage)


def log_probs(
    llm: Backbone, asks: Sequence[Ask], rows: Sequence[Sequence[int]], begin_id: int, sample: SampleConfig
) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n,) of all codes of `rows`, and of the end after each row; and the row of each, (n,).

    They are those of the distribution that `sampling.generate` draws from, without top-k, top-p and penalties.
    """
    device, N = llm.input_table.weight.device, len(asks[0].allowed)
    examples = []
    for ask, codes in zip(asks, rows, strict=True):
        written = [begin_id, *(begin_id + CODE_COLUMN + code for code in codes), begin_id + END_COLUMN]
        examples.append(([*ask.ids, *written], [False] * len(ask.ids) + [True] * len(written)))
    batch = {k: v.to(device) for k, v in collate(examples, isinstance(llm, T5)).items() if isinstance(v, Tensor)}
    drawn = (batch["targets"] >= 0) & (batch["targets"] != begin_id)  # (B, T): the begin is given, not drawn
    logits = llm.logits(llm.states(batch)[drawn], (begin_id, begin_id + CODE_COLUMN + N)).float()  # (n, N + 2)
    row = drawn.nonzero()[:, 0]  # (n,)
    written = (drawn.cumsum(1) - 1)[drawn]  # (n,): codes before this one
    limits = [ask.limits for ask in asks]
    bounds = torch.tensor([(own.hard_min, own.target, own.hard_max) for own in limits], device=device)[row]  # (n, 3)
    allowed = torch.stack([ask.allowed for ask in asks]).to(device)[row]  # (n, N)
    mask = length_mask(allowed, written, bounds, torch.zeros_like(written, dtype=torch.bool))
    slope = nn.functional.one_hot(torch.tensor(END_COLUMN, device=device), N + CODE_COLUMN) * sample.end_logit_slope
    logits = logits + slope * (written - bounds[:, 1]).clamp(min=0)[:, None]
    log_p = (logits / sample.temperature).masked_fill(~mask, -math.inf).log_softmax(-1)
    return log_p.gather(1, (batch["targets"][drawn] - begin_id)[:, None])[:, 0], row


# 2) The module that the loop trains, and its batches.


class Policy(nn.Module):
    """The language model with the motions of its last draw. Always in eval mode: with dropout, the model that is
    trained would be another one than the model that drew."""

    def __init__(self, llm: Backbone, parts: int, rows: int, longest: int) -> None:
        super().__init__()
        self.llm = llm
        adapters = adapter_state(llm)
        for name, parameter in llm.named_parameters():
            parameter.requires_grad_(name in adapters)
        self.before = {name: value.clone() for name, value in adapters.items()}
        self.register_buffer("codes", torch.full((parts, rows, longest), -1))
        self.register_buffer("advantage", torch.zeros(parts, rows))
        self.register_buffer("old", torch.zeros(parts, rows * (longest + 1)))
        self.register_buffer("reference", torch.zeros(parts, rows * (longest + 1)))

    def train(self, mode: bool = True) -> "Policy":
        return super().train(False)

    @contextmanager
    def as_before(self) -> Iterator[None]:
        """Within it the model is the one that the stage started from, and computes no gradient."""
        now = {name: value.clone() for name, value in adapter_state(self.llm).items()}
        load_adapter_state(self.llm, {name: value.to(now[name].device) for name, value in self.before.items()})
        try:
            with torch.no_grad():
                yield
        finally:
            load_adapter_state(self.llm, now)


@dataclass(frozen=True)
class Draws:
    """`Batches` for the loop: the sentences and seeds of a micro-step, which are those of `inner` steps in a row."""

    asks: int
    rows: int
    group: int
    parts: int  # micro-steps of a step
    inner: int
    seed: int

    @property
    def per_epoch(self) -> int:
        return math.ceil(self.asks * self.group / self.rows) * self.inner

    def __call__(self, micro_step: int) -> dict[str, Any]:
        step, part = divmod(micro_step, self.parts)
        turn, inner = divmod(step, self.inner)
        rng = np.random.default_rng((self.seed, 2, turn, part))
        asks = rng.choice(self.asks, self.rows // self.group, replace=False).repeat(self.group).tolist()
        seeds = rng.integers(2**62, size=self.rows).tolist()
        # a motion counts as one, however long it is
        return {"part": part, "fresh": inner == 0, "asks": asks, "seeds": seeds, "count": self.rows}


# 3) All of it, as the loop sees it.


class RewardLoop:
    """What `loops.train` gets in place of the stage's own loss: see `language.Prepared`."""

    decode = None

    def __init__(
        self,
        prepared: Prepared,
        asks: Sequence[Ask],
        reward: Reward,
        validate: Callable[[], dict[str, float]],
        config: RewardConfig,
        facts: dict[str, Any],
    ) -> None:
        """`facts` are what else decides the rewards, such as the hash of an evaluator: a resume must find them again.

        Raises ValueError if the group does not divide the batch, if there are too few sentences, or no adapter.
        """
        train = prepared.plan.job.config
        if train.batch_size % config.group_size:
            raise ValueError(f"--batch-size {train.batch_size} must be a multiple of --group-size {config.group_size}")
        if len(asks) * config.group_size < train.batch_size:
            raise ValueError(
                f"{len(asks)} sentences with known actions are too few for --batch-size {train.batch_size}: lower it, "
                "or give others with --requests"
            )
        if prepared.plan.job.train_mode != "lora":
            raise ValueError("the reward stage trains adapters only; drop --train full")
        self.prepared, self.asks, self.reward, self.config = prepared, asks, reward, config
        self.validate, self.facts = validate, facts
        self.sample = SampleConfig(temperature=config.reward_temperature, top_p=1.0)
        self.begin_id = prepared.start.stage_model.vocab.begin_id
        longest = max(ask.limits.hard_max for ask in asks)
        llm = prepared.start.stage_model.llm
        self.model = Policy(llm, train.grad_accum, train.batch_size, longest).to(prepared.device)
        self.batches = Draws(
            len(asks), train.batch_size, config.group_size, train.grad_accum, config.inner_steps, train.seed
        )

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The loss summed over motions, each the mean of its codes; and numbers to log."""
        policy, part, numbers = self.model, batch["part"], {}
        asks = [self.asks[i] for i in batch["asks"]]
        if batch["fresh"]:
            numbers = self._draw(asks, batch)
        rows = [codes[codes >= 0].tolist() for codes in policy.codes[part]]
        log_p, row = log_probs(policy.llm, asks, rows, self.begin_id, self.sample)
        n = len(log_p)
        if batch["fresh"]:
            policy.old[part, :n] = log_p.detach()
        old, reference = policy.old[part, :n].clone(), policy.reference[part, :n].clone()
        losses = policy_loss(log_p, old, reference, policy.advantage[part][row].clone(), self.config)
        lengths = torch.tensor([len(codes) + 1 for codes in rows], device=log_p.device)
        with torch.no_grad():
            numbers["kl"] = kl_estimate(log_p, reference).mean()
        return (losses / lengths[row]).sum(), numbers

    def _draw(self, asks: Sequence[Ask], batch: dict[str, Any]) -> dict[str, float]:
        """Write, reward and keep new motions, with what the model before thinks of them."""
        policy, part, device = self.model, batch["part"], self.prepared.device
        casts = torch.is_autocast_enabled(device.type)
        rows = generate(
            policy.llm,
            [ask.ids for ask in asks],
            begin_id=self.begin_id,
            codes=len(asks[0].allowed),
            limits=[ask.limits for ask in asks],
            seeds=batch["seeds"],
            config=self.sample,
            allowed=torch.stack([ask.allowed for ask in asks]),
            device=device,
            autocast=torch.get_autocast_dtype(device.type) if casts else None,
        )
        values, numbers = self.reward(asks, rows)
        groups = values.view(-1, self.config.group_size)
        policy.advantage[part] = advantages(groups).flatten().to(device)
        policy.codes[part] = -1
        for kept, codes in zip(policy.codes[part], rows, strict=True):
            kept[: len(codes)] = torch.tensor(codes, device=device)
        with policy.as_before():
            reference, _ = log_probs(policy.llm, asks, rows, self.begin_id, self.sample)
        policy.reference[part, : len(reference)] = reference
        # without a spread inside the groups there is nothing to learn from
        return {"reward": float(values.mean()), **numbers, "spread": float(groups.std(1, correction=0).mean())}

    def export(self, folder: Path) -> None:
        """The stage's export; the tasks of the stage before stay learnt, as the model stays near it."""
        self.prepared.export(folder)
        path, source = folder / "meta.json", self.prepared.plan.source / "meta.json"
        tasks = read_json(source).get("tasks", {}) if source.is_file() else {}
        write_json(path, read_json(path) | {"tasks": self.prepared.plan.job.tasks | tasks, "reward": self.facts})

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The facts that must match a saved state for the stage to resume from it."""
        asks = values_hash([[ask.text, asdict(ask.want)] for ask in self.asks])
        return self.prepared.fingerprint | {"reward": self.config.to_dict(), "asks": asks, **self.facts}
