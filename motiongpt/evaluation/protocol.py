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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from motiongpt import __version__
from motiongpt.data.motions import Caption, MotionDataset, by_time
from motiongpt.evaluation.networks import UNIT, usable_frames
from motiongpt.evaluation.reconstruction import clips_hash, frame_qualities, load_clips, other_lists
from motiongpt.evaluation.word_vectors import UNKNOWN, Vocabulary, caption_tokens
from motiongpt.features.representations import Representation
from motiongpt.metrics.joints import diversity, fid, pair_distances, retrieval_ranks, top_shares
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion

if TYPE_CHECKING:
    from motiongpt.evaluation.evaluators import Evaluator

GROUP, CURVE = 32, 10  # R-precision: motions a text is asked to find its own among; the longest list it may name
DIGITS = 6


@dataclass(frozen=True)
class Item:
    """A piece of a clip, (F, D) with F a multiple of 4, and what is said about it."""

    name: str
    features: np.ndarray
    captions: tuple[Caption, ...]


def shortest_clip(data: MotionDataset) -> int:
    """The field's least number of frames: 24 of KIT-ML's, 40 at 20 fps; two seconds elsewhere."""
    return 24 if data.skeleton.name.startswith("kit") else round(2 * data.fps)


def read_items(data: MotionDataset, split: str, min_frames: int, max_frames: int) -> tuple[list[Item], dict[str, str]]:
    """The pieces of a split that the field's loaders keep; and the others, name -> reason.

    A clip has from min_frames to max_frames + 3 frames and finite features; the frames over max_frames are cut off. A
    caption has a letter or a digit; one with times makes an item of its own, ID@start-end. Raises ValueError where
    fewer than 32 are left, and as of `check_tokens`.
    """
    usable, dropped = load_clips(data, split)
    items = []

    def fits(name: str, features: np.ndarray) -> bool:
        if min_frames <= len(features) < max_frames + UNIT:
            return True
        dropped[name] = f"{len(features)} frames, not {min_frames} to {max_frames + UNIT - 1}"
        return False

    for clip, features in usable.items():
        pieces = by_time(data.captions(clip))
        if not pieces:
            dropped[clip] = "no caption"
        elif fits(clip, features):
            for (start, end), captions in pieces.items():
                name = clip if (start, end) == (0, 0) else f"{clip}@{start:g}-{end:g}"
                piece = captions[0].cut(features, data.fps)
                if name == clip or fits(name, piece):
                    check_tokens(data, clip, captions)
                    items.append(Item(name, piece[: usable_frames(len(piece), max_frames)], tuple(captions)))
    if len(items) < GROUP:
        raise ValueError(
            f"{data.folder.name}/{split}.txt has {len(items)} clips of {min_frames} to {max_frames + UNIT - 1} frames "
            f"with a caption; R-precision needs {GROUP} ({len(dropped)} dropped; see --min-frames)"
            f"{other_lists(data, split, GROUP, range(min_frames, max_frames + UNIT))}"
        )
    return items, dropped


def check_tokens(data: MotionDataset, clip: str, captions: Sequence[Caption]) -> None:
    """ValueError naming the file whose tokens are not word/POS."""
    for caption in captions:
        try:
            Vocabulary([UNKNOWN]).encode(caption_tokens(caption))
        except ValueError as error:
            raise ValueError(f"{data.folder / 'texts' / clip}.txt: {error}") from None


def items_hash(items: Sequence[Item]) -> str:
    """16 hex digits of the frames and captions that are measured: a changed clip or word is another data set."""
    return clips_hash((item.name, item.features, item.captions) for item in items)


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


def qualities(
    features: Sequence[np.ndarray | Tensor], representation: Representation, fps: float
) -> dict[str, np.ndarray]:
    """`evaluation.QUALITIES` of clips (F_i, D), a value per clip each, (N,); the floor is y = 0.

    Nothing where features are no joints (SMPL-X).
    """
    if not representation.has_joints:
        return {}
    skeleton, out = representation.skeleton, defaultdict(lambda: np.full(len(features), np.nan))
    by_length = defaultdict(list)
    for i, clip in enumerate(features):
        by_length[len(clip)].append(i)
    for everyone in by_length.values():
        # few at a time: what fits the processor's cache is several times as fast
        for rows in (everyone[first : first + 32] for first in range(0, len(everyone), 32)):
            stacked = torch.stack([torch.as_tensor(features[i]) for i in rows])
            joints = representation.decode(stacked) * representation.metres_per_unit  # (B, F, J, 3)
            for name, value in frame_qualities(joints, skeleton, fps, 0.0).items():
                out[name][rows] = value.double().mean(-1).numpy()
    return dict(out)


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


class Row:
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
        self, what: str, data: MotionDataset, evaluator: "Evaluator", tokenizer: MotionTokenizer, split: str,
        clips: int | None, min_frames: int | None, repeats: int, seed: int, facts: dict,
    ) -> None:  # fmt: skip
        if repeats < 1 or seed < 0:
            raise ValueError(f"--repeats must be at least 1 and --seed 0 or more, got {repeats} and {seed}")
        check_same_motion(tokenizer, data)
        check_same_motion(evaluator, data, "evaluator")
        least = max(UNIT, tokenizer.config.frames_per_code, shortest_clip(data) if min_frames is None else min_frames)
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
            "fid_few": self.N <= D, "tokenizer_hash": tokenizer.hash, "digits": DIGITS, **facts,
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
        self, rows: dict[str, Row], sentences: dict[str, Sequence[str]], more: dict
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
