"""The reward stage: how motions are rewarded, and how far a step may go."""

from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require


@dataclass(frozen=True)
class RewardConfig(JSONConfig):
    """The reward stage (--stage reward): what a motion earns, and how far a step may go."""

    group_size: int = flag(8, "motions per sentence, which are compared with each other; it divides --batch-size")
    inner_steps: int = flag(1, "optimiser steps on the same motions before new ones are drawn")
    clip_ratio: float = flag(0.2, "a motion counts no more once its probability has changed by this share")
    kl_weight: float = flag(0.04, "weight of the distance from the model before")
    reward_temperature: float = flag(0.7, "temperature that motions are drawn at")
    pass_weight: float = flag(1.0, "reward of a motion that meets the condition of its sentence")
    match_weight: float = flag(0.5, "reward of a motion that --evaluator finds nearest to its own sentence")
    skate_weight: float = flag(0.5, "cost of a motion whose feet slide all the time")
    jerk_weight: float = flag(0.1, "cost of a jerk of 100 m/s^3")
    unrewarded: float = flag(0.25, "share of the action families that earn nothing: they show what the others cost")
    judged: int = flag(64, "held-out sentences of either kind, rewarded and not, that are looked at")

    def __post_init__(self) -> None:
        require(self.group_size >= 2, "group_size", self.group_size, "at least 2")
        for name in ("inner_steps", "judged"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("kl_weight", "pass_weight", "match_weight", "skate_weight", "jerk_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.clip_ratio > 0, "clip_ratio", self.clip_ratio, "positive")
        # at 0 nothing is drawn, so no motion differs from its siblings
        require(self.reward_temperature > 0, "reward_temperature", self.reward_temperature, "positive")
        require(0 <= self.unrewarded < 1, "unrewarded", self.unrewarded, "in [0, 1)")

    @property
    def most(self) -> float:
        """The reward of a motion without a fault."""
        return self.pass_weight + self.match_weight
