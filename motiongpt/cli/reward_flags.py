"""The flags of the reward stage, which `reward_stage.py` reads. Like `parser.py`, it imports no torch."""

from pathlib import Path

from motiongpt.cli.parser import Parser, add_config_flags
from motiongpt.config import RewardConfig

REWARD_FLAGS = ("requests", "held_out", "evaluator", "judge", *RewardConfig.__dataclass_fields__)
"""Flags that have an effect in the reward stage only."""


def add_reward_flags(parser: Parser) -> None:
    """What --stage reward needs beside the flags of every stage."""
    add = parser.add_argument
    form = "a JSON list such as benchmarks/free_sentences.json"
    add("--requests", type=Path, help=f"reward: sentences to write for, {form} (default: the captions of --data)")
    add("--held-out", type=Path, help="reward: sentences to look at, such as --requests (default: those of --data)")
    add("--evaluator", type=Path, help="reward: evaluator folder whose matching score is rewarded (default: none)")
    add("--judge", type=Path, help="reward: evaluator folder that only looks on, of another seed (default: none)")
    add_config_flags(parser, RewardConfig)
