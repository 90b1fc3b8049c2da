"""Token entries to batches of ids and labels, and the loss on them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.batches import pad
from motiongpt.data.tokens import Entry
from motiongpt.tasks.render import TASKS, Renderer


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
