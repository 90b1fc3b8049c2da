"""A free sentence to the plain caption that it means: a beam search that can write nothing but plain captions.

    "could the boxer please stroll ahead, then wave?"  ->  "a person walks forward then waves the right hand"

The model is one that learnt the task `read`: the motion model itself, or another one. What it may write is a prefix
tree over ids (`PlainTree`): a subject, a clause, and up to two more clauses after "then", all of them plain captions of
the training. So every answer is a sentence that the motion model knows, and only which of them is the model's choice.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from motiongpt.data.plain_captions import THEN, ReadingTable, action_of
from motiongpt.data.spelling import fold
from motiongpt.generation.said import CONTRADICTED, contradictions
from motiongpt.stages.model import LoadedRun
from motiongpt.tasks.prompts import Request

MOST_CLAUSES = 3
WIDTH = 5  # beams of a sentence
TOGETHER = 32  # sentences of a batch; the cache holds WIDTH rows of each
END = -1  # key of a node where a caption may end; the other keys are ids

Node = dict[int, Any]  # id -> node


class PlainTree:
    """All plain captions as a prefix tree over ids: `root` is a node, and a node with `END` ends a caption. No caption
    has more than `depth` ids.

    Ids are those of whole sentences, since letters may join over the seams of words. ValueError for a text tokenizer
    that lets them join over a space: then a clause has other ids after another subject.
    """

    def __init__(self, table: ReadingTable, encode: Callable[[str], list[int]], most: int = MOST_CLAUSES) -> None:
        self.root: Node = {}
        self.depth = max((len(encode(whole)) for whole in table["wholes"]), default=0)
        subjects, clauses = table["subjects"], table["clauses"]
        if subjects and clauses:
            self._encode, first = encode, f"{subjects[0]} {clauses[0]}"
            again = self._tail(first, f"{first}{THEN.rstrip()}")
            tails = [self._tail(subjects[0], f"{subjects[0]} {clause}") for clause in clauses]
            if self._tail(f"{first}{THEN.rstrip()}", f"{first}{THEN}{clauses[-1]}") != tails[-1]:
                raise ValueError(f"the tokenizer joins {clauses[-1]!r} with the words before it; no plain captions")
            following: Node | None = None
            for _ in range(most):
                following = _clause_level(tails, again, following)
            for subject in subjects:
                self._tail(subject, f"{subject} {clauses[0]}")
                _grow(self.root, encode(subject)).update(following)
            longest = max(map(len, map(encode, subjects)))
            self.depth = max(self.depth, longest + most * max(map(len, tails)) + (most - 1) * len(again))
        for whole in table["wholes"]:
            _grow(self.root, encode(whole))[END] = {}

    def _tail(self, start: str, text: str) -> list[int]:
        """The ids of a text after those of its start."""
        head, ids = self._encode(start), self._encode(text)
        if ids[: len(head)] != head:
            raise ValueError(f"the tokenizer joins the words of {text!r:.80} over a space; no plain captions")
        return ids[len(head) :]


def _grow(node: Node, ids: Sequence[int]) -> Node:
    """The node at the end of a path, which is made where it is missing."""
    for i in ids:
        node = node.setdefault(i, {})
    return node


def _clause_level(tails: Sequence[Sequence[int]], again: Sequence[int], following: Node | None) -> Node:
    """The tree of one clause, after which a caption ends or, unless `following` is None, goes on with " then"."""
    level: Node = {}
    ends = [_grow(level, tail) for tail in tails]
    for end in ends:
        end[END] = {}
        if following is not None:
            before = _grow(end, again[:-1])
            # all clauses share what may follow; only where a clause itself goes on with these ids there is a node
            before[again[-1]] = following | before.get(again[-1], {}) if again[-1] in before else following
    return level


@dataclass(frozen=True)
class Beam:
    """A caption that is being written: its ids so far, their log-probability, and where in the tree it is."""

    ids: tuple[int, ...]
    score: float
    node: Node = field(repr=False)


@dataclass(frozen=True)
class Reading:
    """What a sentence was read as."""

    text: str  # a plain caption
    score: float  # log-probability of a token of it, on average
    certainty: float  # in [0, 1]: the probability of its action, over the captions that the search found
    others: tuple[tuple[str, float], ...] = ()  # the best caption of each other action, and its probability


class Reader:
    """A run that learnt `read`, and the captions it may read sentences as."""

    def __init__(self, run: LoadedRun, table: ReadingTable, device: torch.device | str = "cpu") -> None:
        self.run, self.device = run, device
        self.tree = PlainTree(table, run.vocab.text_tokenizer.encode)

    def read(self, sentences: Sequence[str], width: int = WIDTH) -> list[Reading]:
        """What each sentence means; none depends on its neighbours. ValueError for one that is too long."""
        return self._write([Request("read", text) for text in sentences], width)

    def describe(self, motions: Sequence[Sequence[int]], width: int = WIDTH) -> list[Reading]:
        """The plain caption of each motion (codes), by a model that learnt m2t too."""
        return self._write([Request("m2t", motion=codes) for codes in motions], width)

    def _write(self, requests: Sequence[Request], width: int) -> list[Reading]:
        """`TOGETHER` at a time. What leaves no room for every caption is alone: its neighbours would have no more."""
        prompts = list(map(self.run.renderer.request, requests))
        room = [self.run.llm.config.max_positions - len(prompt) - 1 for prompt in prompts]
        roomy = [i for i, own in enumerate(room) if own >= self.tree.depth]
        batches = [roomy[first : first + TOGETHER] for first in range(0, len(roomy), TOGETHER)]
        batches += [[i] for i, own in enumerate(room) if own < self.tree.depth]
        found: dict[int, Reading] = {}
        for batch in batches:
            beams = self._search([prompts[i] for i in batch], min(self.tree.depth, *(room[i] for i in batch)), width)
            if not all(beams):  # of a batch of one
                what = requests[batch[0]].caption or "the motion"
                raise ValueError(
                    f"{what!r:.60} has {len(prompts[batch[0]])} tokens: of the model's "
                    f"{self.run.llm.config.max_positions} positions they leave too few for a plain caption; shorten it"
                )
            sentences = [fold(requests[i].caption) if requests[i].task == "read" else "" for i in batch]
            found |= zip(batch, map(self._reading, sentences, beams), strict=True)
        return [found[i] for i in range(len(requests))]

    def _search(self, prompts: Sequence[Sequence[int]], most: int, width: int) -> list[list[Beam]]:
        """The best captions of each prompt, of at most so many ids; none if that is too few."""
        run = self.run
        if most < 1:
            return [[] for _ in prompts]
        stop = run.renderer.frame.stop_id
        return search(run.llm, prompts, self.tree.root, stop, run.vocab.first_id, width, most, self.device)

    def _reading(self, sentence: str, beams: Sequence[Beam]) -> Reading:
        """The likeliest action of some whole captions, its best caption, and what speaks for others.

        A caption that contradicts the sentence counts less; "" is contradicted by none.
        """
        decode = self.run.vocab.text_tokenizer.decode
        texts = [decode(beam.ids).strip() for beam in beams]
        against = [CONTRADICTED * contradictions(sentence, text) for text in texts]
        shares: dict[tuple[str, ...], float] = defaultdict(float)  # of each action, contradictions or not,
        weights: dict[tuple[str, ...], float] = defaultdict(float)  # and with them
        best: dict[tuple[str, ...], int] = {}
        for place in sorted(range(len(beams)), key=lambda place: against[place] - beams[place].score):
            action = action_of(texts[place])
            shares[action] += math.exp(beams[place].score)
            weights[action] += math.exp(beams[place].score - against[place])
            best.setdefault(action, place)
        own, *others = sorted(weights, key=weights.__getitem__, reverse=True)
        chosen = beams[best[own]]
        each = chosen.score / (len(chosen.ids) + 1)  # the end is one more
        rest = tuple((texts[best[action]], shares[action]) for action in others)
        certainty = sum(shares.values()) * weights[own] / sum(weights.values())  # its share, if nothing contradicts
        return Reading(texts[best[own]], each, min(1.0, certainty), rest)


@torch.inference_mode()
def search(
    model: Any,
    prompts: Sequence[Sequence[int]],
    root: Node,
    stop_id: int,
    first_id: int,
    width: int,
    most: int,
    device: torch.device | str = "cpu",
) -> list[list[Beam]]:
    """The `width` most likely paths of a prefix tree after each prompt, best first; of at most `most` ids.

    Probabilities are the model's own over all text ids [0, first_id), not over what the tree allows: a sentence that
    fits no caption gets low ones. One step of the model for all beams of all prompts; no row depends on its neighbours.

    Args:
        model: see `sampling.Model`; on `device`, in eval mode.
        stop_id: the id that ends a caption, where the tree has `END`.
    """
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    start = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    cache = model.new_cache(len(prompts), longest + most)
    done: list[list[Beam]] = [[] for _ in prompts]
    live = [(row, Beam((), 0.0, root)) for row in range(len(prompts))]
    for _ in range(most + 1):
        hidden = model.hidden(ids, cache=cache, start=start if bool(start.any()) else None)
        log_p = model.logits(hidden[:, -1], span=(0, first_id)).float().log_softmax(-1).cpu()  # (rows, first_id)
        grown = _grown(live, log_p, done, stop_id, width)
        if not grown:
            break
        live = [(row, beam) for row, beam, _ in grown]
        rows = torch.tensor([place for _, _, place in grown], device=device)
        cache.take(rows)
        start = start[rows]
        ids = torch.tensor([[beam.ids[-1]] for _, beam in live], device=device)
    return [sorted(beams, key=lambda beam: -beam.score)[:width] for beams in done]


def _grown(
    live: Sequence[tuple[int, Beam]], log_p: torch.Tensor, done: list[list[Beam]], stop_id: int, width: int
) -> list[tuple[int, Beam, int]]:
    """The beams after one more id: (prompt, beam, its former place in the batch). Whole captions go into `done`."""
    found: list[list[tuple[float, int, int, Beam]]] = [[] for _ in done]
    for place, (row, beam) in enumerate(live):
        keys = [key for key in beam.node if key != END]
        for key, value in zip(keys, log_p[place, keys].tolist(), strict=True):
            found[row].append((beam.score + value, place, key, beam))
        if END in beam.node:
            done[row].append(Beam(beam.ids, beam.score + float(log_p[place, stop_id]), beam.node))
    grown = []
    for row, candidates in enumerate(found):
        # whole captions that are better than any unfinished one can become need no more steps
        ranked = sorted((beam.score for beam in done[row]), reverse=True)
        least = ranked[width - 1] if len(ranked) >= width else -math.inf
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1], candidate[2]))
        for score, place, key, beam in candidates[:width]:
            if score > least:
                grown.append((row, Beam((*beam.ids, key), score, beam.node[key]), place))
    return grown
