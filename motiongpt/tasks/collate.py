"""Token entries to batches of ids and targets, and the loss on them.

Training batches are right-padded. A padded position has no target, so it never trains, and
causality keeps real tokens from seeing it. For an encoder-decoder an example is split at its first
label: the encoder gets the instruction before it, the decoder the answer.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.batches import pad
from motiongpt.data.selection import Measured, measured, select
from motiongpt.data.tokens import Entry, plain_entries
from motiongpt.kernels.vocabulary_loss import chunked_losses, plain_losses
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.table import FORMER, TABLE, TASKS


class TaskCollate:
    """Turns entries into a batch. Every entry gets a task,
    drawn with the probability of its share.

    Pairs (entries with a motion to change) are for the task edit alone, so where edit is drawn a pair, drawn too,
    takes the place of the entry. So does an entry with a plain caption where read is drawn for one without.
    """

    def __init__(self, entries: Sequence[Entry], tasks: dict[str, float], renderer: Renderer) -> None:
        unknown = sorted(set(tasks) - set(TASKS))
        if unknown or not tasks or not all(0 < share < math.inf for share in tasks.values()):
            raise ValueError(f"tasks must be positive shares of {', '.join(TASKS)}; got {tasks}")
        self.entries, self.renderer = plain_entries(entries), renderer
        self.fitting = {name: select(entries, TABLE[name].takes) for name in tasks}
        for name in (name for name in tasks if not self.fitting[name]):
            if TABLE[name].of_pairs:
                raise ValueError(
                    f"task {name} needs pairs of motions, entries with source_tokens, for training and for "
                    f"validation, and one of the two has none: scripts/prepare.py --from procedural --edits N makes "
                    "them (100 or more, so that some are for validation)"
                )
            if TABLE[name].of_plain:
                raise ValueError(
                    f"task {name} needs entries with a plain caption, for training and for validation, and one of the "
                    "two has none: plain.json in the data set folder names them, scripts/prepare.py --from procedural "
                    "writes it"
                )
        if all(TABLE[name].of_pairs or TABLE[name].of_plain for name in tasks):  # no task takes any entry
            self.entries = select(entries, lambda entry: any(TABLE[name].takes(entry) for name in tasks))
        templates = renderer.templates
        wordless = [name for name in tasks if name in FORMER and name != "caption" and name not in templates.groups]
        if templates.motion_as == "digits" and wordless:
            raise ValueError(
                f"--motion-as digits needs templates that word {wordless[0]}, such as --templates zhang for t2m; these "
                f"word {', '.join(templates.groups)}"
            )
        self.names = list(tasks)
        self.shares = np.array(list(tasks.values())) / sum(tasks.values())

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        """A batch as `collate` makes it, with `task` (B,), numbers of `names`, and `task_labels`:
        name -> labels. Where motions are digits, `text_ids` is the number of ids below the new words."""
        # `rng` is a function of the step, so a resumed run draws the same tasks
        drawn = rng.choice(len(self.names), size=len(indices), p=self.shares)
        asked = zip(drawn, indices, strict=True)
        examples = [self._example(self.names[task], self.entries[i], rng) for task, i in asked]
        batch = collate(examples, self.renderer.encoder)
        if self.renderer.templates.motion_as == "digits":
            batch["text_ids"] = self.renderer.vocab.first_id
        labels = (batch["targets"] >= 0).sum(1).numpy()  # (B,)
        counts = {name: int(labels[drawn == task].sum()) for task, name in enumerate(self.names)}
        return batch | {
            "task": torch.from_numpy(drawn),
            "task_labels": {name: count for name, count in counts.items() if count},
        }

    def _example(self, task: str, entry: Entry, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        if not TABLE[task].takes(entry):
            fitting = self.fitting[task]
            entry = fitting[int(rng.integers(len(fitting)))]
        return self.renderer.render(task, entry, rng)

    def split_by_task(self, losses: Tensor, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Task -> sum () of its share of `losses` (n,), one for each labelled position;
        for the tasks in the batch."""
        task = batch["task"][:, None].expand_as(batch["targets"])[batch["targets"] >= 0]  # (n,)
        sums = losses.new_zeros(len(self.names)).index_add_(0, task, losses)
        return {name: sums[self.names.index(name)] for name in batch["task_labels"]}

    def lengths(self) -> np.ndarray | Measured:
        """Rough length of the sequence of each of `entries`, for bucketing:
        four characters of a sentence count as one token."""
        if all(TABLE[name].of_text for name in self.names):  # no codes: the two sentences count
            return measured(self.entries, lambda codes, text, plain: (text + plain) // 4)
        return measured(self.entries, lambda codes, text, plain: codes + text // 4)


def collate(examples: Sequence[tuple[list[int], list[bool]]], encoder: bool = False) -> dict[str, Tensor | int]:
    """Examples (ids, labels) -> ids (B, T) and targets (B, T):
    the next id if it is labelled, else -1.

    ids [5, 6, 7], labels [F, F, T] -> ids [[5, 6]], targets [[-1, 7]]. `count` is the number of
    targets, `units` the number of real ids. With `encoder`, see `collate_pairs`.
    """
    if encoder:
        return collate_pairs(examples)
    inputs, targets = [], []
    for ids, labels in examples:
        # position t predicts id t + 1: the last id is no input, the first no target
        inputs.append(ids[:-1])
        targets.append([i if labelled else -1 for i, labelled in zip(ids[1:], labels[1:], strict=True)])
    padded = pad(targets, -1)
    return {
        "ids": pad(inputs, 0),
        "targets": padded,
        "count": int((padded >= 0).sum()),
        "units": sum(map(len, inputs)),
    }


def collate_pairs(examples: Sequence[tuple[list[int], list[bool]]]) -> dict[str, Tensor | int]:
    """Examples (ids, labels) as instructions (B, U), and answers as ids (B, T - 1) and targets (B, T).

    ids [5, 6, 7, 8], labels [F, F, T, T] -> instruction [[5, 6]] with `instruction_lengths` [2], ids
    [[7]], targets [[7, 8]]. The decoder's start comes before the ids; the model knows it.
    """
    instructions, answers = [], []
    for ids, labels in examples:
        first = labels.index(True)
        instructions.append(ids[:first])
        answers.append(ids[first:])
    targets = pad(answers, -1)
    return {
        "instruction": pad(instructions, 0),
        "instruction_lengths": torch.tensor([len(row) for row in instructions]),
        "ids": pad([row[:-1] for row in answers], 0),
        "targets": targets,
        "count": int((targets >= 0).sum()),
        "units": sum(len(ids) for ids, _ in examples),
    }


def lm_losses(llm: torch.nn.Module, batch: dict, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy in fp32: the sum () over the labelled positions of a batch,
    and the value (n,) of each of them.

    Only the sum has a gradient and is smoothed. Hidden states are gathered before the product with
    the vocabulary, the most expensive one of a step, whose logits are never all in memory. With
    `text_ids` in the batch, V ends there: new words that no answer has take no probability.
    """
    labelled = batch["targets"] >= 0  # (B, T)
    targets = batch["targets"][labelled]  # (n,)
    parts = llm.head_parts((0, batch["text_ids"]) if "text_ids" in batch else None)
    hidden = llm.states(batch)[labelled]  # (n, C)

    def logits(hidden: Tensor) -> list[Tensor]:
        return [llm.logits(hidden, span) for span, _ in parts]

    # the definition where its gradient is scaled before it is rounded, see `chunked_losses`
    if llm.compute_dtype() == torch.float16:
        return plain_losses(hidden, logits, targets, label_smoothing)
    tables, width = [table for _, table in parts], sum(last - first for (first, last), _ in parts)
    return chunked_losses(hidden, logits, targets, label_smoothing, tables, width)


def lm_loss(llm: torch.nn.Module, batch: dict, label_smoothing: float = 0.0) -> Tensor:
    """The sum of `lm_losses`."""
    return lm_losses(llm, batch, label_smoothing)[0]
