"""Recipes: which stages there are, and what each is asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from motiongpt.tasks.render import TASKS


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe: its name, its tasks with their shares, and the hyper-parameters it brings.

    A stage without tasks trains the motion tokenizer, not the language model.
    """

    name: str
    tasks: dict[str, float]
    values: dict = field(default_factory=dict)
    demo: dict = field(default_factory=dict)  # what a small backbone on a laptop gets instead
    missing: tuple[str, ...] = ()  # tasks of its source that are not written yet

    @property
    def trains_tokenizer(self) -> bool:
        return not self.tasks


_SIGN = {"lr": 1e-5, "batch_size": 8, "grad_accum": 8, "warmup": 0.1, "weight_decay": 0.0, "clip": 1.0, "seed": 42}


MULTITASK = {"t2m": 0.5, "m2t": 0.3, "denoise": 0.2}


_MYO = {"beta2": 0.99, "clip": 1.0}


_SHORT = {"max_steps": 250}


RECIPES: dict[str, tuple[Stage, ...]] = {
    # SignMotionGPT's README: three stages with LoRA r 16 on Qwen3-1.7B
    "signmotiongpt": (
        Stage("motion-lm", {"motion": 1.0}, _SIGN | {"epochs": 3.0}, {"max_steps": 150}),
        Stage("multitask", MULTITASK, _SIGN | {"epochs": 2.0}, _SHORT),
        Stage("sft", {"t2m": 1.0}, _SIGN | {"epochs": 3.0}, {"max_steps": 500, "caption_dropout": 0.2}),
    ),
    # the shipped demo's backbone: a small model from random weights learns the captions as plain text
    "captions": (Stage("captions", {"caption": 1.0}, {"lr": 1e-3, "batch_size": 32, "epochs": 3.0}),),
    # Zhang et al. 2023 (MotionGPT, AAAI 2024), their code's values: 37,500 micro-steps of 4 are 585 steps of 256
    "zhang": (
        Stage(
            "finetune",
            {"t2m": 1.0},
            {"lr": 3e-3, "schedule": "constant", "warmup": 100.0, "weight_decay": 0.01, "batch_size": 4,
             "grad_accum": 64, "max_steps": 585, "max_seq_len": 512, "lora_r": 64, "lora_alpha": 16.0,
             "lora_dropout": 0.05, "lora_targets": ("q_proj", "v_proj")},
            _SHORT,
            missing=("init", "last", "keys"),
        ),
    ),
    # MyoSkeleton's guide and configuration files; its two shares are not published, so they are equal here, and its
    # warmups of 50 and 20 come without a unit: they are taken as steps
    "myoskeleton": (
        Stage("tokenizer", {}, _MYO | {"lr": 2e-4, "weight_decay": 1e-5, "warmup": 0.0, "batch_size": 32,
                                       "epochs": 3000.0, "commit_weight": 0.02, "joint_weight": 0.5}),
        Stage("pretrain", {"t2m": 0.5, "m2t": 0.5}, _MYO | {"lr": 1e-4, "weight_decay": 1e-4, "warmup": 50.0,
              "epochs": 2000.0, "batch_size": 64, "grad_accum": 2}, _SHORT, missing=("predict",)),
        Stage("instruct", {"t2m": 0.5, "m2t": 0.5}, _MYO | {"lr": 5e-5, "warmup": 20.0, "epochs": 1500.0,
              "batch_size": 32, "max_seq_len": 256}, _SHORT, missing=("predict", "inbetween")),
    ),
}  # fmt: skip


ALIASES = {"motiongpt": "zhang"}


UNLIKE_THE_SOURCE = {
    "zhang": "also not there yet: LLaMA backbones, loss over the prompt too; any decoder of ours serves; "
    "its sampling values are not applied: sample.py --temperature 0.8 --top-k 200",
    "myoskeleton": "also not there yet: T5 and its span noise; a decoder stands in, with --train full as theirs; "
    "not applied: clip lengths of 40 to 196 frames, captions in quotes, its sampling values",
}
"""What else of a recipe's source cannot be had here, for people."""


# A 3.5 M parameter backbone needs larger steps than a 1.7 B one. Used where the backbone is the demo's.
DEMO_VALUES = {"lr": 1e-3, "batch_size": 32, "grad_accum": 1, "warmup": 0.05, "lora_r": 32, "lora_alpha": 32.0,
               "max_seq_len": 256, "eval_every": 75}  # fmt: skip


def find_stage(recipe: str, stage: str) -> tuple[int, Stage]:
    """(1-based number, stage) of a recipe by number or name. Raises ValueError naming what there is."""
    stages = RECIPES[recipe_name(recipe)]
    for number, candidate in enumerate(stages, 1):
        if stage in (str(number), candidate.name):
            return number, candidate
    known = ", ".join(f"{number} {candidate.name}" for number, candidate in enumerate(stages, 1))
    how_many = "one stage" if len(stages) == 1 else f"{len(stages)} stages"
    raise ValueError(f"recipe {recipe} has no stage {stage!r}; it has {how_many}: {known}")


def recipe_name(name: str) -> str:
    """A recipe's own name, its aliases resolved. Raises ValueError naming what there is."""
    if (name := ALIASES.get(name, name)) not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return name


def first_language_stage(recipe: str) -> int:
    """Number of the first stage that trains the language model: it starts from the backbone, the rest in a row."""
    return next(number for number, stage in enumerate(RECIPES[recipe], 1) if not stage.trains_tokenizer)


def list_recipes() -> str:
    """Recipe x stage x tasks, a line each, with what their sources have and this project lacks."""
    lines = []
    for recipe, stages in RECIPES.items():
        for number, stage in enumerate(stages, 1):
            tasks = ", ".join(f"{task} {100 * share:.0f} %" for task, share in stage.tasks.items())
            lacks = f"; not there yet: {', '.join(stage.missing)}" if stage.missing else ""
            lines.append(f"{recipe:15} {number} {stage.name:12} {tasks or 'the motion tokenizer (VQ-VAE)'}{lacks}")
        alias = ", ".join(alias for alias, name in ALIASES.items() if name == recipe)
        notes = [f"also called {alias}"] if alias else []
        notes += [UNLIKE_THE_SOURCE[recipe]] if recipe in UNLIKE_THE_SOURCE else []
        lines += [f"{'':15}   {note}" for note in notes]
    return "\n".join(lines)


def parse_tasks(words: Sequence[str]) -> dict[str, float]:
    """["t2m=0.5", "m2t=0.5"] -> shares; a bare name has share 1. Raises ValueError naming the bad word."""
    tasks: dict[str, float] = {}
    for word in words:
        name, _, share = word.partition("=")
        try:
            value = float(share or 1)
        except ValueError:
            value = math.nan
        if name not in TASKS or name in tasks or not 0 < value < math.inf:
            raise ValueError(
                f"--tasks {word}: expected TASK or TASK=SHARE, such as t2m=0.5, each once; tasks: {', '.join(TASKS)}"
            )
        tasks[name] = value
    return tasks
