"""The field's protocol (Guo et al. 2022): which clips count, what a repeat draws, and the rows of the table.

Everything is measured `repeats` times with other draws: one caption of several per clip, the groups of R-precision, the
seed of each motion. A number is the mean of the repeats and 1.96 standard deviations (ddof 0) / sqrt(repeats).

Unlike the field's loaders, which take a random piece at every reading, a clip is always its first frames, a multiple
of 4: the real row's FID is 0, not some thousandths. A report holds no time, no path and no unrounded number.

An evaluator is what has `embed_motion(list of (F, D)) -> (N, E)`, `embed_text(list of tokens or sentences) -> (N, E)`,
`hash`, `packing`, `describe()`, `config.max_frames`, `skeleton`, `representation` and `fps`.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from motiongpt import __version__
from motiongpt.data.motions import MotionDataset
from motiongpt.data.texts import Caption
from motiongpt.evaluation.clips import CURVE, GROUP, Item, items_hash, read_items, shortest_clip
from motiongpt.evaluation.networks import UNIT
from motiongpt.evaluation.qualities import qualities
from motiongpt.evaluation.word_vectors import caption_tokens
from motiongpt.metrics.embeddings import diversity, fid, pair_distances, retrieval_ranks, top_shares
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion

if TYPE_CHECKING:
    from motiongpt.evaluation.evaluators import Evaluator

DIGITS = 6


def interval(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Mean and half of the 95 % interval over repeats, as the field: 1.96 std (ddof 0) / sqrt(repeats); of one repeat
    there is none."""
    if not len(values) or any(value is None for value in values):
        return None
    spread = 0.0 if len(set(values)) == 1 else float(np.std(values))  # of equal values it is not always quite 0
    half = 1.96 * spread / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "interval": half}


def rounded(value: object) -> object:
    """The same with every float to `DIGITS` significant digits, and NaN as None: what goes into report.json."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


class Texts:
    """The captions of items, embedded once, and which of them a repeat draws."""

    def __init__(self, evaluator: "Evaluator", items: Sequence[Item], seed: int) -> None:
        tokens = {tuple(caption_tokens(caption)): None for item in items for caption in item.captions}
        self.row = {row: i for i, row in enumerate(tokens)}
        self.embeddings = evaluator.embed_text([list(row) for row in tokens])
        self.items, self.seed = items, seed

    def draw(self, repeat: int) -> tuple[list[Caption], Tensor]:
        """A caption of each item, and their embeddings (N, E)."""
        rng = np.random.default_rng([self.seed, repeat])
        chosen = [item.captions[rng.integers(len(item.captions))] for item in self.items]
        return chosen, self.embeddings[[self.row[tuple(caption_tokens(caption))] for caption in chosen]]

    def shuffle(self, repeat: int) -> np.random.Generator:
        """What groups and pairs of a repeat are drawn with: the same ones in every row of the table."""
        return np.random.default_rng([self.seed, repeat, 1])

    def deal(self, repeat: int) -> Tensor:
        """(N,) whose motion each text gets in the row of chance: shuffled, so about one text gets its own."""
        return torch.from_numpy(np.random.default_rng([self.seed, repeat, 2]).permutation(len(self.items)))


class TableRow:
    """One row of the table, filled repeat by repeat: values of the whole set and of each clip."""

    def __init__(self) -> None:
        self.values: dict[str, list[float | None]] = defaultdict(list)
        self.clips: dict[str, list[np.ndarray]] = defaultdict(list)
        self.curves: list[tuple[float, ...]] = []

    def add(self, clips: dict[str, np.ndarray], **values: float | None) -> None:
        """Values per clip (NaN: none), of which the mean is the set's; and values of the set alone."""
        for name, value in clips.items():
            self.clips[name].append(value)
            values[name] = float(np.nanmean(value)) if np.isfinite(value).any() else None
        for name, value in values.items():
            self.values[name].append(value)

    def match(self, text: Tensor, motion: Tensor, rng: np.random.Generator) -> None:
        """R-precision, MM-Dist and Diversity of one repeat."""
        ranks = retrieval_ranks(text, motion, rng, GROUP)
        self.curves.append(top_shares(ranks, CURVE))
        hits = torch.where(ranks[:, None] > 0, (ranks[:, None] <= torch.tensor([1, 2, 3])).double(), math.nan).numpy()
        tops = {f"r_precision_{k}": hits[:, k - 1] for k in (1, 2, 3)}
        self.add(tops | {"mm_dist": pair_distances(text, motion).numpy()}, diversity=diversity(motion, rng))

    def summary(self) -> dict:
        return {name: interval(values) for name, values in self.values.items()}

    def per_clip(self, i: int) -> dict[str, float | None]:
        """The mean over repeats of one clip."""
        columns = {name: np.array([repeat[i] for repeat in repeats]) for name, repeats in self.clips.items()}
        return {n: float(np.nanmean(x)) if np.isfinite(x).any() else None for n, x in columns.items()}


class Setting:
    """What both directions need: items, their embeddings and texts, and the protocol."""

    def __init__(
        self, what: str, data: MotionDataset, evaluator: "Evaluator", motion_tokenizer: MotionTokenizer, split: str,
        clips: int | None, min_frames: int | None, repeats: int, seed: int, facts: dict,
    ) -> None:  # fmt: skip
        if repeats < 1 or seed < 0:
            raise ValueError(f"--repeats must be at least 1 and --seed 0 or more, got {repeats} and {seed}")
        check_same_motion(motion_tokenizer, data)
        check_same_motion(evaluator, data, "evaluator")
        least = max(
            UNIT, motion_tokenizer.config.frames_per_code, shortest_clip(data) if min_frames is None else min_frames
        )
        if clips is not None and clips < GROUP:
            raise ValueError(f"--clips {clips} is too small: R-precision needs {GROUP}")
        usable, self.dropped = read_items(data, split, least, evaluator.config.max_frames)
        self.items, train = usable[:clips], set(data.ids("train"))
        in_train = sum(bool({item.name, item.name.rpartition("@")[0]} & train) for item in self.items)
        self.data, self.evaluator, self.N, self.repeats, self.seed = data, evaluator, len(self.items), repeats, seed
        self.features = [item.features for item in self.items]
        self.motion = evaluator.embed_motion(self.features)
        self.texts = Texts(evaluator, self.items, seed)
        D = self.motion.shape[1]
        self.protocol = {
            "what": what, "evaluator": evaluator.describe(), "evaluator_hash": evaluator.hash,
            "packing": evaluator.packing, "data": data.folder.resolve().name,
            "data_hash": items_hash(self.items), "split": split,
            "N": self.N, "usable": len(usable), "dropped": len(self.dropped), "in_train": in_train, "min_frames": least,
            "max_frames": evaluator.config.max_frames,
            "repeats": repeats, "seed": seed, "diversity_pairs": min(300, self.N // 2), "embedding_dim": D,
            "fid_few": self.N <= D, "tokenizer_hash": motion_tokenizer.hash, "digits": DIGITS, **facts,
            "motiongpt": __version__, "torch": torch.__version__,
        }  # fmt: skip

    def embed(self, motions: Sequence[np.ndarray | Tensor]) -> Tensor:
        """`embed_motion`; the last frame of a motion that is too short for a movement (UNIT frames) is held."""
        rows = [torch.as_tensor(x) for x in motions]
        held = [torch.cat([x, x[-1:].expand(UNIT - len(x), -1)]) if len(x) < UNIT else x for x in rows]
        return self.evaluator.embed_motion(held)

    def fid(self, motion: Tensor, real: Tensor | None = None) -> float:
        """To 1e-6: of a set with itself it is 0, not the rounding errors of one machine."""
        return max(0.0, round(fid(self.motion if real is None else real, motion, allow_few=True), 6))

    def qualities(self, motions: Sequence[np.ndarray | Tensor]) -> dict[str, np.ndarray]:
        return qualities(motions, self.data.representation, self.data.fps)

    def report(
        self, rows: dict[str, TableRow], sentences: dict[str, Sequence[str]], more: dict
    ) -> tuple[dict, dict[str, int]]:
        """What report.json holds, and which items are the best, median and worst by MM-Dist of the first repeat; the
        values of clips are those of what is evaluated, with what was "asked" or "written" of each in `sentences`."""
        main = rows["model" if "model" in rows else "reconstruction"]
        clips = {
            item.name: {"frames": len(item.features), "captions": [caption.text for caption in item.captions]}
            | {word: said[i] for word, said in sentences.items()}
            | main.per_clip(i)
            for i, item in enumerate(self.items)
        }
        first = main.clips["mm_dist"][0]
        ranked = sorted(range(self.N), key=lambda i: (float(first[i]), self.items[i].name))
        shown = {"best": ranked[0], "median": ranked[self.N // 2], "worst": ranked[-1]}
        report = rounded({
            "protocol": self.protocol, "rows": {name: row.summary() for name, row in rows.items()},
            "r_precision_curve": {name: np.mean(row.curves, axis=0).tolist() for name, row in rows.items()},
            "shown": {rank: {"clip": self.items[i].name, "mm_dist": float(first[i])} for rank, i in shown.items()},
            "dropped": self.dropped, "clips": clips, **more,
        })  # fmt: skip
        return report, shown
