"""Token entries to batches of ids and targets, and the loss on them.

Training batches are right-padded. A padded position has no target, so it never trains, and causality keeps real tokens
from seeing it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.batches import pad
from motiongpt.data.tokens import Entry
from motiongpt.tasks.sequences import TASKS, Renderer


class TaskCollate:
    """Turns entries into a batch. Every entry gets a task, drawn with the probability of its share."""

    def __init__(self, entries: Sequence[Entry], tasks: dict[str, float], renderer: Renderer) -> None:
        unknown = sorted(set(tasks) - set(TASKS))
        if unknown or not tasks or not all(0 < share < math.inf for share in tasks.values()):
            raise ValueError(f"tasks must be positive shares of {', '.join(TASKS)}; got {tasks}")
        self.entries, self.renderer = entries, renderer
        self.names = list(tasks)
        self.shares = np.array(list(tasks.values())) / sum(tasks.values())

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor | int]:
        # `rng` is a function of the step, so a resumed run draws the same tasks
        drawn = rng.choice(len(self.names), size=len(indices), p=self.shares)
        pairs = zip(drawn, indices, strict=True)
        return collate([self.renderer.render(self.names[task], self.entries[i], rng) for task, i in pairs])

    def lengths(self) -> np.ndarray:
        """Rough length of each entry's sequence, for bucketing: four characters of caption count as one token."""
        return np.array([len(entry.codes) + len(entry.text) // 4 for entry in self.entries])


def collate(examples: Sequence[tuple[list[int], list[bool]]]) -> dict[str, Tensor | int]:
    """Examples (ids, labels) -> ids (B, T) and targets (B, T): the next id if it is labelled, else -1.

    ids [5, 6, 7], labels [F, F, T] -> ids [[5, 6]], targets [[-1, 7]]. `count` is the number of targets, `units` the
    number of real ids.
    """
    inputs, targets = [], []
    for ids, labels in examples:
        inputs.append(ids[:-1])
        targets.append([i if labelled else -1 for i, labelled in zip(ids[1:], labels[1:], strict=True)])
    padded = pad(targets, -1)
    return {
        "ids": pad(inputs, 0),
        "targets": padded,
        "count": int((padded >= 0).sum()),
        "units": sum(map(len, inputs)),
    }


def lm_loss(llm: torch.nn.Module, batch: dict, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy summed over the labelled positions of a batch, in fp32.

    Hidden states are gathered before the product with the vocabulary, the most expensive one of a step.
    """
    labelled = batch["targets"] >= 0  # (B, T)
    logits = llm.logits(llm.hidden(batch["ids"])[labelled])  # (n, V)
    with torch.autocast(logits.device.type, enabled=False):
        return torch.nn.functional.cross_entropy(
            logits.float(), batch["targets"][labelled], reduction="sum", label_smoothing=label_smoothing
        )
