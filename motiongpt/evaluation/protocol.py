"""The field's protocol (Guo et al. 2022): what a repeat draws, and the rows of the table.

Everything is measured `repeats` times with other draws: one of a clip's captions, the groups of
R-precision, the seed of each motion. A table shows the mean over repeats and 1.96 standard
deviations (ddof 0) / sqrt(repeats).

A clip is always measured from its first frame (see `clips`), so the real row's FID is 0; with the
field's random pieces it is some thousandths. A report holds no time, no path and no unrounded
number: the same input gives the same bytes.

The evaluator is `evaluators.Evaluator` or anything with its `embed_motion`, `embed_text`, `hash`,
`packing`, `describe()`, `config.max_frames`, `skeleton`, `representation` and `fps`.
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
from motiongpt.data.motions import MotionDataset
from motiongpt.data.texts import Caption
from motiongpt.evaluation.clips import (
    CURVE,
    FEWEST,
    UNIT,
    Item,
    items_hash,
    items_in_train,
    read_items,
    shortest_clip,
)
from motiongpt.evaluation.qualities import clip_qualities
from motiongpt.evaluation.word_vectors import caption_tokens
from motiongpt.metrics.embeddings import GROUP, diversity, fid, pair_distances, retrieval_ranks, top_shares
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion

if TYPE_CHECKING:
    from motiongpt.evaluation.evaluators import Evaluator

DIGITS = 6  # significant digits in report.json
SHOWN = ("best", "median", "worst")  # ranks of the clips that a report shows


@dataclass(frozen=True)
class ProtocolConfig:
    """Which clips are measured and how often: the flags of the same names.

    `clips`: only the first N usable clips; None: all. `min_frames`: shorter clips are dropped;
    None: `shortest_clip`.
    """

    split: str = "test"
    clips: int | None = None
    min_frames: int | None = None
    repeats: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.seed < 0:
            got = f"{self.repeats} and {self.seed}"
            raise ValueError(f"--repeats must be at least 1 and --seed 0 or more, got {got}")


@dataclass(frozen=True)
class Evaluation:
    """A measured model or tokenizer, before anything is written.

    report: the content of report.json.
    embeddings: name -> (N, E) of the first repeat: "real", "text", "model" ...
    shown_motions: rank in `SHOWN` -> features (F, D) of the motion to draw.
    """

    report: dict
    embeddings: dict[str, Tensor]
    shown_motions: dict[str, Tensor]


def interval(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Mean over repeats and half of its 95 % interval:
    1.96 std (ddof 0) / sqrt(repeats), as in Guo et al.'s code.

    One repeat has no interval. None when a repeat has no value.
    """
    if not len(values) or any(value is None for value in values):
        return None
    # equal values: np.std rounds and may give 1e-17
    deviation = 0.0 if len(set(values)) == 1 else float(np.std(values))
    half = 1.96 * deviation / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "interval": half}


def rounded(value: object) -> object:
    """A report as it is written: every float to `DIGITS` significant digits, NaN as None,
    keys as strings."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def draw_captions(items: Sequence[Item], seed: int, repeat: int) -> list[Caption]:
    """One caption of each item: those of a repeat, the same in every evaluation of these items."""
    rng = np.random.default_rng([seed, repeat])
    return [item.captions[rng.integers(len(item.captions))] for item in items]


class RepeatDraws:
    """Everything that a repeat draws, as a pure function of (seed, repeat):
    every row of the table gets the same.

    All captions are embedded once, at the start.
    """

    def __init__(self, evaluator: "Evaluator", items: Sequence[Item], seed: int) -> None:
        # each caption once, in a fixed order
        tokens = dict.fromkeys(tuple(caption_tokens(caption)) for item in items for caption in item.captions)
        self.row_of = {caption: row for row, caption in enumerate(tokens)}
        self.embeddings = evaluator.embed_text([list(caption) for caption in tokens])
        self.items = items
        self.seed = seed

    def captions(self, repeat: int) -> tuple[list[Caption], Tensor]:
        """`draw_captions`, and their embeddings (N, E)."""
        chosen = draw_captions(self.items, self.seed, repeat)
        return chosen, self.embeddings[[self.row_of[tuple(caption_tokens(caption))] for caption in chosen]]

    def rng(self, repeat: int) -> np.random.Generator:
        """The generator of groups and pairs, fresh at every call."""
        return np.random.default_rng([self.seed, repeat, 1])

    def chance(self, repeat: int) -> Tensor:
        """(N,) which motion each text gets in the row of chance:
        a shuffle, so about one text keeps its own."""
        return torch.from_numpy(np.random.default_rng([self.seed, repeat, 2]).permutation(len(self.items)))


class TableRow:
    """The numbers of one row of the table (real, reconstruction, model, chance),
    collected repeat by repeat.

    `values` has one number per repeat and metric, `clips` an array (N,) per repeat for metrics that
    each clip has, `curves` R-precision for top 1 ... `CURVE`.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[float | None]] = defaultdict(list)
        self.clips: dict[str, list[np.ndarray]] = defaultdict(list)
        self.curves: list[tuple[float, ...]] = []

    def add(self, per_clip: dict[str, np.ndarray], **whole_set: float | None) -> None:
        """One repeat: metrics with a value per clip (NaN: none), whose mean is the set's,
        and metrics of the set."""
        # a metric is NaN for a clip that has none, and None if no clip has one
        for name, value in per_clip.items():
            self.clips[name].append(value)
            whole_set[name] = float(np.nanmean(value)) if np.isfinite(value).any() else None
        for name, value in whole_set.items():
            self.values[name].append(value)

    def add_matching(self, text: Tensor, motion: Tensor, rng: np.random.Generator) -> None:
        """One repeat of R-precision, MM-Dist and Diversity,
        from embeddings (N, E) of texts and motions.

        Fewer clips than a group of R-precision have none.
        """
        per_clip = {}
        if len(text) >= GROUP:
            # groups first, pairs of Diversity after them: both draw from `rng`
            ranks = retrieval_ranks(text, motion, rng, GROUP)
            self.curves.append(top_shares(ranks, CURVE))
            hits = (ranks[:, None] <= torch.tensor([1, 2, 3])).double()
            hits = torch.where(ranks[:, None] > 0, hits, math.nan).numpy()  # rank 0: left over, in no group
            per_clip |= {f"r_precision_{k}": hits[:, k - 1] for k in (1, 2, 3)}
        per_clip["mm_dist"] = pair_distances(text, motion).numpy()
        self.add(per_clip, diversity=diversity(motion, rng))

    def summary(self) -> dict:
        """Metric -> mean and interval over repeats."""
        return {name: interval(values) for name, values in self.values.items()}

    def of_clip(self, i: int) -> dict[str, float | None]:
        """Metric -> mean over repeats of clip i."""
        means = {}
        for name, repeats in self.clips.items():
            values = np.array([repeat[i] for repeat in repeats])
            means[name] = float(np.nanmean(values)) if np.isfinite(values).any() else None
        return means


class EvaluationSet:
    """The clips of one evaluation, their embeddings and draws,
    and the `protocol` entry of its report.

    `what` is "t2m", "m2t" or "vqvae"; `facts` are further entries of the protocol, about the model.
    """

    def __init__(
        self,
        what: str,
        data: MotionDataset,
        evaluator: "Evaluator",
        motion_tokenizer: MotionTokenizer | None,
        config: ProtocolConfig,
        facts: dict,
    ) -> None:
        if config.clips is not None and config.clips < FEWEST:
            raise ValueError(f"--clips {config.clips} is too small: FID and Diversity need {FEWEST}")
        if motion_tokenizer:
            check_same_motion(motion_tokenizer, data)
        check_same_motion(evaluator, data, "evaluator")
        self.data = data
        self.evaluator = evaluator
        self.config = config

        # 1) Clips: long enough for the networks, the tokenizer and the protocol.
        wanted = shortest_clip(data) if config.min_frames is None else config.min_frames
        least = max(UNIT, motion_tokenizer.config.frames_per_code if motion_tokenizer else 1, wanted)
        usable, self.dropped = read_items(data, config.split, least, evaluator.config.max_frames)
        self.items = usable[: config.clips]
        self.features = [item.features for item in self.items]
        self.N = len(self.items)

        # 2) Embeddings: the real motions and all captions, once.
        self.motion = evaluator.embed_motion(self.features)
        self.draws = RepeatDraws(evaluator, self.items, config.seed)

        # 3) What a reader must know to compare numbers.
        D = self.motion.shape[1]
        self.protocol = {
            "what": what,
            "evaluator": evaluator.describe(),
            "evaluator_hash": evaluator.hash,
            "packing": evaluator.packing,
            "data": data.folder.resolve().name,
            "data_hash": items_hash(self.items),
            "split": config.split,
            "N": self.N,
            "usable": len(usable),
            "dropped": len(self.dropped),
            "in_train": items_in_train(data, self.items),
            "min_frames": least,
            "max_frames": evaluator.config.max_frames,
            "repeats": config.repeats,
            "seed": config.seed,
            "diversity_pairs": min(300, self.N // 2),
            "embedding_dim": D,
            "fid_few": self.N <= D,  # the covariance is singular: FID depends on N
            **({"tokenizer_hash": motion_tokenizer.hash} if motion_tokenizer else {}),
            "digits": DIGITS,
            **facts,
            "motiongpt": __version__,
            "torch": torch.__version__,
        }

    def embed(self, motions: Sequence[np.ndarray | Tensor]) -> Tensor:
        """`embed_motion`, with the last frame of a motion repeated if it is shorter than a movement
        (UNIT frames)."""
        rows = [torch.as_tensor(x) for x in motions]
        # a model may end a motion before its first movement is full
        held = [torch.cat([x, x[-1:].expand(UNIT - len(x), -1)]) if len(x) < UNIT else x for x in rows]
        return self.evaluator.embed_motion(held)

    def fid(self, motion: Tensor, real: Tensor | None = None) -> float:
        """FID to 1e-6: a set against itself gives 0, not the rounding errors of one machine."""
        return max(0.0, round(fid(self.motion if real is None else real, motion, allow_few=True), 6))

    def qualities(self, motions: Sequence[np.ndarray | Tensor]) -> dict[str, np.ndarray]:
        """`clip_qualities` of motions of this data set."""
        return clip_qualities(motions, self.data.representation, self.data.fps)

    def report(
        self, rows: dict[str, TableRow], sentences: dict[str, Sequence[str]], more: dict
    ) -> tuple[dict, dict[str, int]]:
        """The content of report.json, and rank -> index of the clips it shows (by MM-Dist of the
        first repeat).

        Values of clips are those of the row "model", else "reconstruction". `sentences` are texts
        of each clip: what was "asked" or "written". `more` are further entries of the report.
        """
        evaluated = rows["model" if "model" in rows else "reconstruction"]
        clips = {}
        for i, item in enumerate(self.items):
            entry = {"frames": len(item.features), "captions": [caption.text for caption in item.captions]}
            entry |= {kind: texts[i] for kind, texts in sentences.items()}
            clips[item.name] = entry | evaluated.of_clip(i)
        # best, median and worst of the first repeat; the name decides between equals
        distances = evaluated.clips["mm_dist"][0]
        ranked = sorted(range(self.N), key=lambda i: (float(distances[i]), self.items[i].name))
        shown = dict(zip(SHOWN, (ranked[0], ranked[self.N // 2], ranked[-1]), strict=True))
        report = rounded(
            {
                "protocol": self.protocol,
                "rows": {name: row.summary() for name, row in rows.items()},
                "r_precision_curve": {
                    name: np.mean(row.curves, axis=0).tolist() for name, row in rows.items() if row.curves
                },
                "shown": {
                    rank: {"clip": self.items[i].name, "mm_dist": float(distances[i])} for rank, i in shown.items()
                },
                "dropped": self.dropped,
                "clips": clips,
                **more,
            }
        )
        return report, shown
