"""Token entries to batches of ids and targets, and the loss on them.

Training batches are right-padded. A padded position has no target, so it never trains, and
causality keeps real tokens from seeing it. Packed rows hold several examples, and next to no padding.
For an encoder-decoder an example is split at its first label: the encoder gets the instruction
before it, the decoder the answer.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.batches import pack, pad
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

    With `motion_alone` the loss of an example that learns motion words alone is over these; see `lm_losses`.
    With `pack` rows hold several examples, up to so many tokens.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        tasks: dict[str, float],
        renderer: Renderer,
        motion_alone: bool = False,
        pack: int = 0,
    ) -> None:
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
        if pack and renderer.encoder:
            raise ValueError(
                "--pack is for decoders; an encoder-decoder reads and writes an example as two sequences: drop the flag"
            )
        self.pack = pack
        self.names = list(tasks)
        self.shares = np.array(list(tasks.values())) / sum(tasks.values())
        self.alone = np.array([motion_alone and learns_motion_alone(name, renderer) for name in tasks])
        if motion_alone and not self.alone.any():
            raise ValueError(
                "--loss-vocab motion needs a task that learns motion words and nothing else, and here none does "
                f"({', '.join(tasks)}): drop the flag"
            )

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        """A batch as `collate` makes it, with `task` (B,), numbers of `names`, and `task_labels`:
        name -> labels. Where motions are digits, `text_ids` is the number of ids below the new words. Where
        some losses are over motion words alone, these are the ids of `motion_span`, and `motion_alone` (B,)
        says of which examples. Packed, the order of the B examples is that of their rows."""
        # `rng` is a function of the step, so a resumed run draws the same tasks
        drawn = rng.choice(len(self.names), size=len(indices), p=self.shares)
        asked = zip(drawn, indices, strict=True)
        examples = [self._example(self.names[task], self.entries[i], rng) for task, i in asked]
        if self.pack:
            rows = pack([len(ids) - 1 for ids, _ in examples], self.pack)
            order = [i for row in rows for i in row]
            drawn = drawn[order]
            batch = collate_packed([[examples[i] for i in row] for row in rows])
        else:
            batch = collate(examples, self.renderer.encoder)
        if self.renderer.templates.motion_as == "digits":
            batch["text_ids"] = self.renderer.vocab.first_id
        if self.alone.any():
            batch["motion_span"] = self.renderer.vocab.motion_span
            batch["motion_alone"] = torch.from_numpy(self.alone[drawn])
        labels = batch["labels"].numpy()  # (B,)
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
        sums = losses.new_zeros(len(self.names)).index_add_(0, for_labels(batch["task"], batch), losses)
        return {name: sums[self.names.index(name)] for name in batch["task_labels"]}

    @property
    def loss_words(self) -> str:
        """For people: what the losses are over, where that is not all words for all tasks; else empty."""
        if not self.alone.any():
            return ""
        of_motion, others = (
            [n for n, own in zip(self.names, self.alone, strict=True) if own == a] for a in (True, False)
        )
        over = f"{self.renderer.vocab.codes + 2} motion words for {', '.join(of_motion)}"
        over += f", all words for {', '.join(others)}" if others else ""
        return f"--loss-vocab motion: all losses are over {over}; they do not compare with those over all words"

    def lengths(self) -> np.ndarray | Measured:
        """Rough length of the sequence of each of `entries`, for bucketing:
        four characters of a sentence count as one token."""
        if all(TABLE[name].of_text for name in self.names):  # no codes: the two sentences count
            return measured(self.entries, lambda codes, text, plain: (text + plain) // 4)
        return measured(self.entries, lambda codes, text, plain: codes + text // 4)


def learns_motion_alone(task: str, renderer: Renderer) -> bool:
    """Whether all labels of the task's examples are motion words.

    Not if the motion is digits, if the prompt is learnt too, or if sentinels stand between codes, as in
    the gaps that an encoder-decoder fills.
    """
    templates = renderer.templates
    only_answers = templates.motion_as == "words" and not templates.loss_on_prompt
    return TABLE[task].writes == "motion" and only_answers and not (renderer.encoder and task == "motion")


def collate(examples: Sequence[tuple[list[int], list[bool]]], encoder: bool = False) -> dict[str, Tensor | int]:
    """Examples (ids, labels) -> ids (B, T) and targets (B, T):
    the next id if it is labelled, else -1.

    ids [5, 6, 7], labels [F, F, T] -> ids [[5, 6]], targets [[-1, 7]]. `labels` (B,) has the number of
    targets of each example, `count` that of all, `units` the number of real ids. With `encoder`, see
    `collate_pairs`.
    """
    if encoder:
        return collate_pairs(examples)
    inputs, targets = zip(*map(shifted, examples), strict=True)
    return {"ids": pad(inputs, 0), "targets": pad(targets, -1)} | counted(inputs, targets)


def collate_packed(rows: Sequence[Sequence[tuple[list[int], list[bool]]]]) -> dict[str, Any]:
    """The same of rows that hold several examples, one after another: `packed` has their lengths, a list
    for each row, and the examples of `labels` and of all else are counted through, row by row.

    [[([5, 6], [F, T]), ([7, 8, 9], [F, F, T])]] -> ids [[5, 7, 8]], targets [[6, -1, 9]], packed [[1, 2]]
    """
    pairs = [[shifted(example) for example in row] for row in rows]
    ids = [[i for inputs, _ in row for i in inputs] for row in pairs]
    targets = [[i for _, targets in row for i in targets] for row in pairs]
    batch = {"ids": pad(ids, 0), "targets": pad(targets, -1), "packed": [[len(one) for one, _ in row] for row in pairs]}
    return batch | counted(ids, [targets for row in pairs for _, targets in row])


def shifted(example: tuple[list[int], list[bool]]) -> tuple[list[int], list[int]]:
    """Inputs and targets of an example: position t predicts id t + 1, so the last id is no input, the first no
    target."""
    ids, labels = example
    return ids[:-1], [i if labelled else -1 for i, labelled in zip(ids[1:], labels[1:], strict=True)]


def counted(inputs: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> dict[str, Tensor | int]:
    """How much of what is in a batch."""
    labels = [sum(target >= 0 for target in one) for one in targets]
    return {"labels": torch.tensor(labels), "count": sum(labels), "units": sum(map(len, inputs))}


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
    return {
        "instruction": pad(instructions, 0),
        "instruction_lengths": torch.tensor([len(row) for row in instructions]),
        "ids": pad([row[:-1] for row in answers], 0),
        "targets": pad(answers, -1),
    } | counted([ids for ids, _ in examples], answers)


def for_labels(values: Tensor, batch: dict) -> Tensor:
    """A value for each example of a batch (B,) -> that of each labelled position (n,), row by row."""
    return values.repeat_interleave(batch["labels"], output_size=batch["count"])


def lm_losses(llm: torch.nn.Module, batch: dict, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy in fp32: the sum () over the labelled positions of a batch,
    and the value (n,) of each of them.

    Only the sum has a gradient and is smoothed. Hidden states are gathered before the product with
    the vocabulary, the most expensive one of a step, whose logits are never all in memory. With
    `text_ids` in the batch, V ends there: new words that no answer has take no probability. With
    `motion_span` the labels of the examples `motion_alone` are compared with the words of the span, from
    which sampling draws, and with no others.
    """
    labelled = batch["targets"] >= 0  # (B, T)
    targets = batch["targets"][labelled]  # (n,)
    hidden = llm.states(batch)[labelled]  # (n, C)
    whole = 0, batch.get("text_ids", llm.vocab_size)
    if "motion_span" not in batch:
        return span_losses(llm, hidden, targets, whole, label_smoothing)
    # by example and not by batch: whatever else is in its batch, an example has the same loss
    alone = for_labels(batch["motion_alone"], batch)  # (n,)
    total, single = [], torch.zeros_like(targets, dtype=torch.float32)
    for chosen, span in ((alone, batch["motion_span"]), (~alone, whole)):
        rows = chosen.nonzero()[:, 0]
        if len(rows):  # without it, no part of the whole table is touched
            part, single[rows] = span_losses(llm, hidden[rows], targets[rows], span, label_smoothing)
            total.append(part)
    return sum(total), single


def span_losses(
    llm: torch.nn.Module, hidden: Tensor, targets: Tensor, span: tuple[int, int], label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """`lm_losses` of states (n, C) and targets (n,), over the words first .. last - 1 of a span."""
    parts = llm.head_parts(span)
    targets = targets - span[0]

    def logits(hidden: Tensor) -> list[Tensor]:
        return [llm.logits(hidden, part) for part, _ in parts]

    # the definition where its gradient is scaled before it is rounded, see `chunked_losses`
    if llm.compute_dtype() == torch.float16:
        return plain_losses(hidden, logits, targets, label_smoothing)
    tables, width = [table for _, table in parts], sum(last - first for (first, last), _ in parts)
    return chunked_losses(hidden, logits, targets, label_smoothing, tables, width)


def lm_loss(llm: torch.nn.Module, batch: dict, label_smoothing: float = 0.0) -> Tensor:
    """The sum of `lm_losses`."""
    return lm_losses(llm, batch, label_smoothing)[0]
