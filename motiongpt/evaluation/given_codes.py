"""What a language model makes of a part of a motion: prediction and in-betweening, measured.

Of each clip the model gets the codes of the first fifth (predict) or of the first and the last
quarter (inbetween), as the tasks of that name are trained (`tasks/table.py`), and writes the whole
motion. The motion is turned and moved on the ground onto the given frames (`completion.fit_ground`),
and the other frames are compared with what the person did. Rows of the table:

    reconstruction         the clip through the motion tokenizer: about the least error a model can have
    hold last pose         predict, without a model
    interpolation          inbetween, without a model
    model                  asked with the clip's caption
    model, no caption      asked with the given codes alone, if the stage has learnt that
    ..., best of k         the smallest of each error over k motions: what happens next is not certain
    ..., greedy            always the most likely code

Neither row without a model goes through the tokenizer: their given frames are exact. This file only
measures; `report` writes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt import __version__
from motiongpt.config import SampleConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.clips import UNIT, items_hash, items_in_train, read_items, shortest_clip
from motiongpt.evaluation.completion import (
    as_long_as,
    completion_errors,
    fit_ground,
    given_frames,
    hold_last_pose,
    interpolate_poses,
)
from motiongpt.evaluation.model_answers import run_facts, write_motions
from motiongpt.evaluation.protocol import DIGITS, SHOWN, ProtocolConfig, TableRow, draw_captions, rounded
from motiongpt.generator import MotionGenerator
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion
from motiongpt.tasks.table import BETWEEN_SHARE, PREDICT_SHARE, end_codes, first_codes

POSITIONS = {"predict": first_codes, "inbetween": end_codes}
"""Task -> the function (S, rng) that says which of S codes are given: that of training."""

BASELINES = {"predict": ("hold last pose", hold_last_pose), "inbetween": ("interpolation", interpolate_poses)}
"""Task -> name and function (joints, given frames) of the row without a model."""

LENGTHS = {
    "gt": "the length of the real motion is demanded",
    "own": "the model ends its motions itself; a shorter one holds its last pose, a longer one is cut",
}
CAPTIONS = {"both": (True, False), "with": (True,), "without": (False,)}
"""Which rows the model has: --captions -> whether it is told the caption."""
MOST_FRAMES = 196  # of a clip, as in the field's protocol for text to motion
FEWEST_CODES = 3  # two are given at the ends, so one is left


@dataclass(frozen=True)
class GivenOptions:
    """How the model is asked.

    task: predict or inbetween.
    length_policy: key of LENGTHS. The request of inbetween tells the length, so there it is "gt".
    captions: key of CAPTIONS.
    best_of: motions of each clip and repeat for the row "best of"; 1 leaves it out.
    batch_size: motions written at a time; it does not change them.
    """

    task: str
    sampling: SampleConfig = field(default_factory=SampleConfig)
    length_policy: str = "gt"
    captions: str = "both"
    best_of: int = 5
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.task not in POSITIONS:
            raise ValueError(f"the task is one of {', '.join(POSITIONS)}, got {self.task!r}")
        if self.length_policy not in LENGTHS or (self.task == "inbetween" and self.length_policy != "gt"):
            allowed = "gt, for its request tells the length" if self.task == "inbetween" else " or ".join(LENGTHS)
            raise ValueError(f"--length-policy of {self.task} is {allowed}; got {self.length_policy}")
        if self.captions not in CAPTIONS:
            raise ValueError(f"--captions is one of {', '.join(CAPTIONS)}, got {self.captions!r}")
        if self.best_of < 1:
            raise ValueError(f"--best-of must be at least 1, got {self.best_of}")


@dataclass(frozen=True)
class Clip:
    """A clip as it is measured: its codes, those that are given, its joints (F, J, 3) and the given frames (F,)."""

    codes: list[int]
    given: dict[int, int]
    joints: Tensor
    mask: Tensor


@dataclass(frozen=True)
class GivenEvaluation:
    """A measured model, before anything is written: the content of report.json,
    and rank in `SHOWN` -> (real joints, written joints), (F, J, 3) each."""

    report: dict
    shown: dict[str, tuple[Tensor, Tensor]]


def give_part(task: str, features: np.ndarray, codes: Sequence[int], motion_tokenizer: MotionTokenizer) -> Clip:
    """A clip (F, D) with the codes that the task gives; frames past its last whole code are left out."""
    S = len(codes)
    positions = POSITIONS[task](S, np.random.default_rng(0))  # neither of the two draws from it
    frames_per_code = motion_tokenizer.config.frames_per_code
    joints = motion_tokenizer.joints(torch.as_tensor(features))[: S * frames_per_code]
    given = {position: codes[position] for position in positions}
    return Clip(list(codes), given, joints, given_frames(positions, S, frames_per_code))


def fitted(joints: Tensor, clip: Clip) -> Tensor:
    """A written motion (F, J, 3) in the place and at the length of the clip."""
    return fit_ground(as_long_as(joints, len(clip.joints)), clip.joints, clip.mask)


def errors_of(motions: Sequence[Tensor], clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    """`completion_errors` of `fitted` joints (F_i, J, 3) against each clip, (N,) by name."""
    values = defaultdict(list)
    for joints, clip in zip(motions, clips, strict=True):
        for name, value in completion_errors(fitted(joints, clip), clip.joints, clip.mask).items():
            values[name].append(value)
    return {name: np.array(row) for name, row in values.items()}


class Writer:
    """The model's rows of the table: it writes motions around the given codes, and scores them."""

    def __init__(
        self,
        generator: MotionGenerator,
        motion_tokenizer: MotionTokenizer,
        clips: Sequence[Clip],
        seed: int,
        options: GivenOptions,
    ) -> None:
        self.generator = generator
        self.motion_tokenizer = motion_tokenizer
        self.clips = clips
        self.seed = seed
        self.options = options
        self.rows: dict[str, TableRow] = defaultdict(TableRow)

    def write(
        self, texts: Sequence[str | None], first_seed: int, sampling: SampleConfig
    ) -> tuple[list[list[int]], list[Tensor]]:
        """Codes and joints of a motion for each clip."""
        o = self.options
        lengths = [len(clip.codes) for clip in self.clips] if o.length_policy == "gt" else None
        given = [clip.given for clip in self.clips]
        codes = write_motions(
            self.generator, texts, first_seed, lengths, sampling, o.batch_size, task=o.task, given=given
        )
        return codes, [self.motion_tokenizer.joints(x) for x in self.motion_tokenizer.decode_features(codes)]

    def score(self, codes: Sequence[Sequence[int]], motions: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """Errors, and whether every given code is where it should be, (N,) by name."""
        kept = [
            all(row[position : position + 1] == [code] for position, code in clip.given.items())
            for row, clip in zip(codes, self.clips, strict=True)
        ]
        return errors_of(motions, self.clips) | {"given_kept": np.array(kept, dtype=float)}

    def add_repeat(
        self, repeat: int, name: str, texts: Sequence[str | None]
    ) -> tuple[list[list[int]], list[Tensor], dict[str, np.ndarray]]:
        """`best_of` motions of each clip, in the rows `name` (the first of them) and "best of".

        Returns codes, joints and scores of the first.
        """
        N, k = len(self.clips), self.options.best_of
        scores = []
        for sample in range(k):
            codes, motions = self.write(texts, self.seed + (repeat * k + sample) * N, self.options.sampling)
            scores.append(self.score(codes, motions))
            if sample == 0:
                first = codes, motions, scores[0]
        self.rows[name].add(scores[0])
        if k > 1:
            best = {metric: np.min([row[metric] for row in scores], axis=0) for metric in scores[0]}
            self.rows[f"{name}, best of {k}"].add(best)
        return first

    def add_greedy(self, name: str, texts: Sequence[str | None]) -> None:
        """A repeat of the row "greedy"; its motions depend on the texts alone."""
        codes, motions = self.write(texts, self.seed, replace(self.options.sampling, temperature=0.0))
        self.rows[f"{name}, greedy"].add(self.score(codes, motions))


def asked_rows(generator: MotionGenerator, options: GivenOptions) -> dict[str, bool]:
    """The model's rows: name -> whether it is told the caption; the first one is "model".

    Raises ValueError if only captions are to be left out and the stage has not learnt to do without.
    """
    wanted = CAPTIONS[options.captions]
    if not generator.learnt(options.task):
        if True not in wanted:
            raise ValueError(
                f"this stage never learnt {options.task}, so it needs captions: --captions with. To train it: "
                f"finetune.py --tasks t2m {options.task}"
            )
        wanted = (True,)
    names = ["model"] + ["model, no caption"] * (len(wanted) > 1)
    return dict(zip(names, wanted, strict=True))


def evaluate_given(
    data: MotionDataset,
    generator: MotionGenerator,
    options: GivenOptions,
    protocol: ProtocolConfig | None = None,
) -> GivenEvaluation:
    """Measure prediction or in-betweening on the clips of a split; see the top of the file.

    A stage that never learnt the task is asked for text to motion, and the sampler keeps the given
    codes. Every repeat draws other captions and other motions.

    Raises ValueError if the run has no motion tokenizer, if the features hold no joints (SMPL-X), if
    data and tokenizer do not fit together, or fewer than two clips are usable.
    """
    protocol = protocol or ProtocolConfig(repeats=1)
    motion_tokenizer = generator.motion_tokenizer
    if motion_tokenizer is None:
        raise ValueError(f"{generator.run.folder} has no motion tokenizer, and {options.task} is measured on joints")
    check_same_motion(motion_tokenizer, data)
    if not data.representation.has_joints:
        raise ValueError(f"{options.task} is measured on joints, and {data.representation.name} has none")
    asked = asked_rows(generator, options)

    # 1) Clips, and what is given of them.
    wanted = shortest_clip(data) if protocol.min_frames is None else protocol.min_frames
    least = max(UNIT, FEWEST_CODES * motion_tokenizer.config.frames_per_code, wanted)
    usable, dropped = read_items(data, protocol.split, least, MOST_FRAMES)
    items = usable[: protocol.clips]
    layers = motion_tokenizer.encode_all([item.features for item in items])  # (S, Q) each
    codes = [row[:, 0].tolist() for row in layers]  # the first quantiser layer: the language model's codes
    clips = [
        give_part(options.task, item.features, row, motion_tokenizer) for item, row in zip(items, codes, strict=True)
    ]

    # 2) The rows without a model are the same in every repeat.
    baseline_name, baseline = BASELINES[options.task]
    reconstructed = [motion_tokenizer.joints(x) for x in motion_tokenizer.decode_features(layers)]
    without = [baseline(clip.joints, clip.mask) for clip in clips]
    fixed = {"reconstruction": errors_of(reconstructed, clips), baseline_name: errors_of(without, clips)}

    # 3) The model, repeat by repeat.
    rows = {name: TableRow() for name in fixed}
    writer = Writer(generator, motion_tokenizer, clips, protocol.seed, options)
    for repeat in tqdm(range(protocol.repeats), unit="repeat", disable=None):
        captions = [caption.text.strip() for caption in draw_captions(items, protocol.seed, repeat)]
        for name, values in fixed.items():
            rows[name].add(values)
        for name, told in asked.items():
            texts = captions if told else [None] * len(clips)
            written = writer.add_repeat(repeat, name, texts)
            writer.add_greedy(name, texts)
            if repeat == 0 and name == "model":
                first = (*written, texts)
    rows |= writer.rows

    # 4) The report, with the motions of the first repeat.
    written, joints, scores, texts = first
    ranked = sorted(range(len(items)), key=lambda i: (float(scores["ade"][i]), items[i].name))
    chosen = dict(zip(SHOWN, (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True))
    report = {
        "what": options.task,
        "protocol": {
            "what": options.task,
            "data": data.folder.resolve().name,
            "data_hash": items_hash(items),
            "split": protocol.split,
            "N": len(items),
            "usable": len(usable),
            "dropped": len(dropped),
            "in_train": items_in_train(data, items),
            "min_frames": least,
            "max_frames": MOST_FRAMES,
            "repeats": protocol.repeats,
            "seed": protocol.seed,
            "skeleton": motion_tokenizer.skeleton.name,
            "tokenizer_hash": motion_tokenizer.hash,
            "digits": DIGITS,
            **_model_facts(generator, options, asked),
            "motiongpt": __version__,
            "torch": torch.__version__,
        },
        "rows": {name: row.summary() for name, row in rows.items()},
        "shown": {rank: {"clip": items[i].name, "ade": float(scores["ade"][i])} for rank, i in chosen.items()},
        "lengths": {"real": [len(clip.codes) for clip in clips], "model": [len(row) for row in written]},
        "dropped": dropped,
        "clips": {
            item.name: {
                "frames": len(clip.joints),
                "given_frames": int(clip.mask.sum()),
                "captions": [caption.text for caption in item.captions],
                **({"asked": texts[i]} if texts[i] else {}),
                "written": " ".join(map(str, written[i])),
                **rows["model"].of_clip(i),
            }
            for i, (item, clip) in enumerate(zip(items, clips, strict=True))
        },
    }
    shown = {rank: (clips[i].joints, fitted(joints[i], clips[i])) for rank, i in chosen.items()}
    return GivenEvaluation(rounded(report), shown)


def _model_facts(generator: MotionGenerator, options: GivenOptions, asked: Mapping[str, bool]) -> dict:
    """The protocol's entries about the model and how it was asked."""
    return run_facts(generator.run, options.sampling) | {
        "length_policy": options.length_policy,
        "captions": "with and without" if len(asked) > 1 else "with" if asked["model"] else "without",
        "asked_for": options.task if generator.learnt(options.task) else "t2m",
        "best_of": options.best_of,
        "given_share": {"predict": PREDICT_SHARE, "inbetween": BETWEEN_SHARE}[options.task],
    }
