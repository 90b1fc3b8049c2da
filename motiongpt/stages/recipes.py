"""Recipes: which stages there are, and what each one learns.

A recipe is a row of `RECIPES`: its stages in order, each with its tasks, their shares and the hyper-parameters of its
source. Where this project cannot do what the source does, `UNLIKE_THE_SOURCE` says so.

It knows no run and no flag: `cli/stages.py` puts the user's values on top.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from motiongpt.config import VQVAE_TRAINING
from motiongpt.tasks.table import TASKS


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe: its name, its tasks with their shares, and its hyper-parameters.

    A stage without tasks trains the motion tokenizer, not the language model.
    """

    name: str
    tasks: dict[str, float]
    values: dict = field(default_factory=dict)
    demo: dict = field(default_factory=dict)  # values for a small backbone on a laptop, on top of `values`
    full: dict = field(default_factory=dict)  # values for --train full, on top of `values` and below `demo`
    templates: str = "plain"  # of `templates.BUILT_IN`: how requests are worded
    train: str = "lora"  # the default of --train
    rewarded: bool = False  # it learns from rewards for what it writes, not from the data

    @property
    def trains_tokenizer(self) -> bool:
        return not self.tasks


_PAPER = {"lr": 1e-5, "batch_size": 8, "grad_accum": 8, "warmup": 0.1, "weight_decay": 0.0, "clip": 1.0, "seed": 42,
          "tell_length": 0.0}  # fmt: skip
# measured (LOG.md): at the source's rate and batch, a LoRA on a thousand clips stays worse than chance
_SIGN = _PAPER | {"lr": 1e-3, "grad_accum": 1, "tell_length": 0.5}
_SIGN_FULL = {"lr": 1e-4}
_LATER = {"batch_size": 8, "warmup": 0.1, "weight_decay": 0.0, "clip": 1.0, "seed": 42}
_MYO = {"beta2": 0.99, "clip": 1.0}
_SHORT = {"max_steps": 250}


def _three_stages(values: dict, full: dict) -> tuple[Stage, ...]:
    """The stages of SignMotionGPT's README: LoRA r 16 on Qwen3-1.7B."""
    multitask = {"t2m": 0.5, "m2t": 0.3, "denoise": 0.2}
    sft_demo = {"max_steps": 500, "caption_dropout": 0.2}
    return (
        Stage("motion-lm", {"motion": 1.0}, values | {"epochs": 3.0}, {"max_steps": 150}, full=full),
        Stage("multitask", multitask, values | {"epochs": 2.0}, _SHORT, full=full),
        Stage("sft", {"t2m": 1.0}, values | {"epochs": 3.0}, sft_demo, full=full),
    )


RECIPES: dict[str, tuple[Stage, ...]] = {
    "signmotiongpt": _three_stages(_SIGN, _SIGN_FULL),
    "signmotiongpt-paper": _three_stages(_PAPER, {}),
    # SignMotionGPT's later code: Qwen3-0.6B, all weights
    "signmotiongpt-full": (
        Stage("motion-lm", {"motion": 1.0}, _LATER | {"lr": 5e-5, "epochs": 20.0}, _SHORT, train="full"),
        Stage("text-to-motion", {"t2m": 1.0}, _LATER | {"lr": 2e-5, "epochs": 20.0}, _SHORT, train="full"),
        Stage("words-only", {"t2m": 1.0}, _LATER | {"lr": 1e-5, "epochs": 2.0}, _SHORT, train="full"),
    ),
    # the shipped demo's backbone: a small model from random weights learns the captions as plain text
    "captions": (Stage("captions", {"caption": 1.0}, {"lr": 1e-3, "batch_size": 32, "epochs": 3.0}),),
    # Zhang et al. (MotionGPT, AAAI 2024), values of their code: 37,500 micro-steps of 4 are 585 steps of 256. They
    # make four examples of each clip, one per task
    "zhang": (
        Stage(
            "finetune",
            {"t2m": 0.25, "init": 0.25, "last": 0.25, "keys": 0.25},
            {"lr": 3e-3, "schedule": "constant", "warmup": 100.0, "weight_decay": 0.01, "batch_size": 4,
             "grad_accum": 64, "max_steps": 585, "max_seq_len": 512, "lora_r": 64, "lora_alpha": 16.0,
             "lora_dropout": 0.05, "lora_targets": ("q_proj", "v_proj")},
            _SHORT | {"max_seq_len": 512},  # its requests are long
            templates="zhang",
        ),
    ),
    # MyoSkeleton's guide and configuration files. The shares of its tasks are not published, so they are equal
    # here. Its warm-ups of 50 and 20 have no unit; they are taken as steps
    "myoskeleton": (
        Stage("tokenizer", {}, _MYO | {"lr": 2e-4, "weight_decay": 1e-5, "warmup": 0.0, "batch_size": 32,
                                       "epochs": 3000.0, "commit_weight": 0.02, "joint_weight": 0.5}),
        Stage("pretrain", {"t2m": 1 / 3, "m2t": 1 / 3, "predict": 1 / 3}, _MYO | {"lr": 1e-4, "weight_decay": 1e-4,
              "warmup": 50.0, "epochs": 2000.0, "batch_size": 64, "grad_accum": 2}, _SHORT,
              templates="myoskeleton-pretrain"),
        Stage("instruct", {"t2m": 0.25, "m2t": 0.25, "predict": 0.25, "inbetween": 0.25}, _MYO | {"lr": 5e-5,
              "warmup": 20.0, "epochs": 1500.0, "batch_size": 32, "max_seq_len": 256}, _SHORT,
              templates="myoskeleton-instruct"),
    ),
}  # fmt: skip

TOKENIZER_FIRST = Stage("tokenizer", {}, VQVAE_TRAINING)
"""What --stage all trains first on a dataset folder, as number 0 of a recipe without such a stage."""

REWARD = Stage(
    "reward",
    {"t2m": 1.0},
    {"lr": 1e-4, "schedule": "constant", "warmup": 5.0, "batch_size": 64, "grad_accum": 1, "max_steps": 200,
     "eval_every": 25, "lora_dropout": 0.0, "precision": "fp32", "caption_dropout": 0.0, "guard": 0.0},
    {"lr": 1e-3, "batch_size": 64, "warmup": 5.0, "eval_every": 25},
    rewarded=True,
)  # fmt: skip
"""What may follow the last stage of any recipe, and is no part of --stage all: see `stages/reward.py`."""

ALIASES = {"motiongpt": "zhang"}

FORMER_VALUES = {"signmotiongpt": "signmotiongpt-paper"}
"""Recipe -> the recipe that keeps its former values. A training begun with those is resumed with them."""

UNLIKE_THE_SOURCE = {
    "signmotiongpt": "its own learning rate and batch, measured with LoRA; those of the source: signmotiongpt-paper",
    "signmotiongpt-full": "the last stage still names the participant in 70 % of the examples; "
    "its sampling values are not applied: sample.py --temperature 0.7 --top-k 50 --repetition-penalty 1.2",
    "zhang": "motions are new words; as decimal text, as in its published LoRA: --motion-as digits; "
    "its sampling values are not applied: sample.py --temperature 0.8 --top-k 200",
    "myoskeleton": "its T5 is trained with --train full; its span noise is what a T5 learns from the tasks motion and "
    "caption (--tasks t2m m2t motion caption); "
    "not applied: clip lengths of 40 to 196 frames, quotes around captions that are answers, T5's dropout of 0.1, "
    "its sampling values",
}
"""How else a recipe differs from its source, for people."""

# for the demo's backbone: a few million parameters need larger steps than 1.7 B
DEMO_VALUES = {"lr": 1e-3, "batch_size": 32, "grad_accum": 1, "warmup": 0.05, "lora_r": 32, "lora_alpha": 32.0,
               "max_seq_len": 256, "eval_every": 75}  # fmt: skip


def find_stage(recipe: str, wanted: str) -> tuple[int, Stage]:
    """(1-based number, stage) of the stage with the number or name `wanted`. Raises ValueError listing the stages.

    `REWARD` comes after the last one of the recipe.
    """
    stages = RECIPES[recipe_name(recipe)]
    if wanted == REWARD.name:
        return len(stages) + 1, replace(REWARD, templates=stages[-1].templates)
    for number, stage in enumerate(stages, 1):
        if wanted in (str(number), stage.name):
            return number, stage
    known = ", ".join(f"{number} {stage.name}" for number, stage in enumerate(stages, 1))
    how_many = "one stage" if len(stages) == 1 else f"{len(stages)} stages"
    raise ValueError(f"recipe {recipe} has no stage {wanted!r}; it has {how_many}: {known}")


def recipe_name(name: str) -> str:
    """The name in `RECIPES` that `name` or an alias of it stands for. Raises ValueError listing the recipes."""
    name = ALIASES.get(name, name)
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return name


def former_values(recipe: str, number: int, begun: dict) -> dict:
    """Values that the recipe has changed since a training with the settings `begun` took its old defaults.

    So the training can be resumed by the command that started it.
    """
    if recipe not in FORMER_VALUES or number > len(RECIPES[recipe]):
        return {}
    now = RECIPES[recipe][number - 1].values
    former = RECIPES[FORMER_VALUES[recipe]][number - 1].values
    if not begun:
        return {}
    unnamed = {"tell_length": 0.0}  # older settings lack what did not exist
    then = unnamed | begun
    return {name: value for name, value in former.items() if value != now.get(name) and then.get(name) == value}


def first_language_stage(recipe: str) -> int:
    """Number of the first stage that trains the language model: it starts from the backbone, later ones do not."""
    return next(number for number, stage in enumerate(RECIPES[recipe], 1) if not stage.trains_tokenizer)


def list_recipes() -> str:
    """A line per stage of every recipe with its tasks, then how the recipe differs from its source."""
    lines = []
    for recipe, stages in RECIPES.items():
        for number, stage in enumerate(stages, 1):
            tasks = ", ".join(f"{task} {100 * share:.0f} %" for task, share in stage.tasks.items())
            lines.append(f"{recipe:19} {number} {stage.name:14} {tasks or 'the motion tokenizer (VQ-VAE)'}")
        alias = ", ".join(alias for alias, name in ALIASES.items() if name == recipe)
        notes = [f"also called {alias}"] if alias else []
        notes += [UNLIKE_THE_SOURCE[recipe]] if recipe in UNLIKE_THE_SOURCE else []
        lines += [f"{'':19}   {note}" for note in notes]
    lines.append(f"{'any':19} + {REWARD.name:14} t2m 100 %, from rewards for what it writes; not among --stage all")
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
