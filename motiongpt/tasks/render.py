"""What the language model is asked to do: tasks rendered to ids and labels, stages, recipes.

A task is rendered by adding pieces, each with its label bit, so a label can never drift from its token:

    t2m      user(<T2M><PID>\n\ncaption)                            -> [<MOT_BEGIN> codes <MOT_END>]
    m2t      user(<M2T><PID>\n\n<MOT_BEGIN> codes <MOT_END>)        -> [caption <|im_end|>]
    denoise  user(<DENOISE><PID>\n\n<MOT_BEGIN> masked <MOT_END>)   -> [<MOT_BEGIN> codes <MOT_END>]
    motion   [<MOT_BEGIN> codes <MOT_END>]                          no text at all
    caption  [caption <|im_end|>]                                   no motion at all

[...] is what the loss is on. The frame of user(...) is SignMotionGPT's text inside Qwen's chat turn; with a
Qwen3 tokenizer the assistant's turn opens with the empty think block that Qwen3's own template writes when
thinking is off. A backbone without chat markers gets the same pieces with a newline between them.
A sequence that does not fit is an error before training, never a silent cut of its end marker.

<PID> is the participant's word, or <PID_NULL> where the entry names none. Of the examples that name one, 30 %
(`NULL_SHARE`) are rendered with <PID_NULL> all the same: a prompt without a participant is the usual one at sampling
and must not meet a word that was never trained.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.batches import pad
from motiongpt.data.tokens import Entry
from motiongpt.vocab import MotionVocab

# the tasks of a recipe's stages and of --tasks
TASKS = ("t2m", "m2t", "denoise", "motion", "caption")
MASKED_SHARE = 0.15  # of the codes, in denoising
NULL_SHARE = 0.3  # of the examples with a participant that are shown without, so that <PID_NULL> is learnt too
THINK = ("auto", "none", "empty")


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


class Frame:
    """The chat turn around a prompt, as ids: `before` + prompt + `after` + answer."""

    def __init__(self, vocab: MotionVocab, think: str = "auto") -> None:
        if think not in THINK:
            raise ValueError(f"--think must be one of {', '.join(THINK)}, got {think!r}")
        tokenizer = vocab.tokenizer
        start, end = tokenizer.token_id("<|im_start|>"), tokenizer.token_id("<|im_end|>")
        if start is None or end is None:
            # no chat markers: a plain newline, and the text ends where the tokenizer says a document does
            self.stop_id = next(
                (i for i in map(tokenizer.token_id, ("<|endoftext|>", "</s>", "<eos>")) if i is not None), None
            )
            if self.stop_id is None:
                raise ValueError("the tokenizer has neither chat markers nor an end-of-text token we know")
            self.before, self.after = [], tokenizer.encode("\n")
            return
        self.stop_id = end
        self.before = [start, *tokenizer.encode("user\n")]
        self.after = [end, *tokenizer.encode("\n"), start, *tokenizer.encode("assistant\n")]
        opened, closed = tokenizer.token_id("<think>"), tokenizer.token_id("</think>")
        if think == "empty" and (opened is None or closed is None):
            raise ValueError("--think empty needs a tokenizer with <think> and </think>; this one has none")
        if think != "none" and opened is not None and closed is not None:
            blank = tokenizer.encode("\n\n")
            self.after += [opened, *blank, closed, *blank]


class Renderer:
    """Entries to (ids, label mask) for one vocabulary; the caption's ids are looked up, its task words are ours."""

    def __init__(
        self, vocab: MotionVocab, think: str = "auto", max_seq_len: int = 512, caption_dropout: float = 0.0
    ) -> None:
        self.vocab, self.frame, self.max_seq_len = vocab, Frame(vocab, think), max_seq_len
        self.caption_dropout = caption_dropout
        self._blank = vocab.tokenizer.encode("\n\n")
        self._captions: dict[str, list[int]] = {}  # of training: a data set repeats them, an epoch all of them

    def prompt(self, task: str, content: Sequence[int], participant: str | None = None) -> list[int]:
        """A framed request: the ids sampling starts from, and the unlabelled part of a training example."""
        head = [self.vocab.id(f"<{task.upper()}>"), self.vocab.participant_id(participant)]
        return [*self.frame.before, *head, *self._blank, *content, *self.frame.after]

    def text_prompt(self, text: str, participant: str | None = None) -> list[int]:
        """The prompt of text to motion."""
        return self.prompt("t2m", self.vocab.tokenizer.encode(text), participant)

    def motion_prompt(self, codes: Sequence[int], participant: str | None = None) -> list[int]:
        """The prompt of motion to text."""
        return self.prompt("m2t", self.vocab.motion_ids(codes), participant)

    def render(self, task: str, entry: Entry, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        """One training example: ids, and for each id whether the loss asks the model to predict it.

        Raises ValueError for a sequence longer than max_seq_len: cutting it would lose its end marker.
        """
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; there are: {', '.join(TASKS)}")
        ids: list[int] = []
        labels: list[bool] = []

        def add(piece: Sequence[int], label: bool) -> None:
            ids.extend(piece)
            labels.extend([label] * len(piece))

        who = None if entry.participant is not None and rng.random() < NULL_SHARE else entry.participant
        caption = self._caption(entry.text) if task in ("t2m", "m2t", "caption") else []
        motion = self.vocab.motion_ids(entry.codes) if task != "caption" else []
        if task == "t2m":
            if self.caption_dropout:  # new sentences come without words the model leant on
                kept = rng.random(len(caption)) >= self.caption_dropout
                caption = [token for token, keep in zip(caption, kept, strict=True) if keep] or caption
            add(self.prompt(task, caption, who), False)
        elif task == "m2t":
            add(self.prompt(task, motion, who), False)
        elif task == "denoise":
            add(self.prompt(task, self.corrupt(motion, rng), who), False)
        add([*caption, self.frame.stop_id] if task in ("m2t", "caption") else motion, True)
        if len(ids) > self.max_seq_len:
            raise ValueError(
                f"entry {entry.id or entry.text[:40]!r} needs {len(ids)} tokens for task {task}, "
                f"--max-seq-len is {self.max_seq_len}"
            )
        return ids, labels

    def _caption(self, text: str) -> list[int]:
        if text not in self._captions:
            self._captions[text] = self.vocab.tokenizer.encode(text)
        return self._captions[text]

    def corrupt(self, motion: Sequence[int], rng: np.random.Generator) -> list[int]:
        """<MOT_BEGIN> codes <MOT_END> with 15 % of the codes, at least one, replaced by <MOTION_MASK>."""
        S = len(motion) - 2
        hidden = rng.choice(S, size=max(1, round(MASKED_SHARE * S)), replace=False) + 1
        masked = list(motion)
        for position in hidden:
            masked[position] = self.vocab.id("<MOTION_MASK>")
        return masked


class TaskCollate:
    """Entries of a batch, each given a task drawn by its share, as right-padded tensors for the loss."""

    def __init__(self, entries: Sequence[Entry], tasks: dict[str, float], renderer: Renderer) -> None:
        unknown = sorted(set(tasks) - set(TASKS))
        if unknown or not tasks or not all(0 < share < math.inf for share in tasks.values()):
            raise ValueError(f"tasks must be positive shares of {', '.join(TASKS)}; got {tasks}")
        self.entries, self.renderer = entries, renderer
        self.names = list(tasks)
        self.shares = np.array(list(tasks.values())) / sum(tasks.values())

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor | int]:
        drawn = rng.choice(len(self.names), size=len(indices), p=self.shares)
        return collate(
            [self.renderer.render(self.names[t], self.entries[i], rng) for t, i in zip(drawn, indices, strict=True)]
        )

    def lengths(self) -> np.ndarray:
        """Roughly how long each entry's sequence is, for bucketing: four characters of caption are one token."""
        return np.array([len(entry.codes) + len(entry.text) // 4 for entry in self.entries])


def collate(examples: Sequence[tuple[list[int], list[bool]]]) -> dict[str, Tensor | int]:
    """Examples -> ids (B, T) and targets (B, T): the next id where it is labelled, -1 elsewhere.

    ids [5, 6, 7], labels [F, F, T] -> ids [[5, 6]], targets [[-1, 7]]. `count` is the number of targets.
    """
    ids = pad([example[0][:-1] for example in examples], 0)
    targets = pad([[i if wanted else -1 for i, wanted in zip(e[0][1:], e[1][1:], strict=True)] for e in examples], -1)
    real = sum(len(example[0]) - 1 for example in examples)
    return {"ids": ids, "targets": targets, "count": int((targets >= 0).sum()), "units": real}


def lm_loss(llm: torch.nn.Module, batch: dict, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy summed over the labelled positions of a batch; only those meet the vocabulary, in fp32."""
    labelled = batch["targets"] >= 0
    logits = llm.logits(llm.hidden(batch["ids"])[labelled])  # (n, V)
    with torch.autocast(logits.device.type, enabled=False):
        return torch.nn.functional.cross_entropy(
            logits.float(), batch["targets"][labelled], reduction="sum", label_smoothing=label_smoothing
        )
