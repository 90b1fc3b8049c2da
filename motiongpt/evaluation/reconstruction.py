"""What a motion tokenizer gives back of every clip, at its own length: `report.json` for programs, `report.md` and
pictures for people.

`evaluate_vqvae` measures (returns a dict, writes nothing), `write_vqvae_report` writes. Every frame counts once, so
long clips count more, as in the field's code. No time, no path and no random number is in a report: the same input
gives the same bytes. What joints are made of is in metres; where features are no joints (SMPL-X), the parameters
themselves are compared, and nothing is drawn.
"""

import sys
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt import __version__
from motiongpt.data.batches import by_length
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.clips import clips_hash, load_clips, other_lists
from motiongpt.evaluation.markdown import ranking
from motiongpt.evaluation.qualities import SHOWN, average, code_usage, frame_errors, frame_qualities, parameter_errors
from motiongpt.metrics.tokens import code_counts
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion


def reconstruct(
    motion_tokenizer: MotionTokenizer, clips: Mapping[str, np.ndarray], batch_size: int
) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """Encode and decode clips (F, D) in batches of similar length, each at its own length.

    Yields name, codes (S, Q), and features (4 S, D) decoded from the first 1, 2, ... Q layers.
    """
    ordered = sorted(clips)
    for batch in by_length([len(clips[name]) for name in ordered], batch_size):
        names = [ordered[i] for i in batch]
        codes = motion_tokenizer.encode_all([clips[name] for name in names])
        layers = range(1, motion_tokenizer.vqvae.quantizer.num_layers + 1)
        decoded = [motion_tokenizer.decode_features([row[:, :q] for row in codes]) for q in layers]
        for name, row, *features in zip(names, codes, *decoded, strict=True):
            yield name, row, features


def measure_clip(
    motion_tokenizer: MotionTokenizer, original: np.ndarray, decoded: list[Tensor]
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Errors and qualities of a clip (F, D) decoded from 1, 2, ... layers, and the qualities of the original."""
    target = torch.as_tensor(original)
    if not motion_tokenizer.representation.has_joints:
        cut = target[: len(decoded[-1])]
        return [
            parameter_errors(x, cut, motion_tokenizer.representation, motion_tokenizer.normalizer) for x in decoded
        ], {}
    joints = motion_tokenizer.joints(target)
    floor, joints = float(joints[..., 1].min()), joints[: len(decoded[-1])]

    def quality(x: Tensor) -> dict[str, Tensor]:
        return frame_qualities(x, motion_tokenizer.skeleton, motion_tokenizer.fps, floor)

    layers = [motion_tokenizer.joints(x) for x in decoded]
    return [frame_errors(x, joints, motion_tokenizer.fps) | quality(x) for x in layers], quality(joints)


def evaluate_vqvae(
    motion_tokenizer: MotionTokenizer,
    data: MotionDataset,
    split: str = "test",
    clips: int | None = None,
    batch_size: int = 32,
) -> dict:
    """Measure reconstruction on a split, or on its first `clips` usable ones; returns what report.json holds.

    Raises ValueError where tokenizer and data have different skeletons, representations or frame rates, or no clip is
    usable, and FileNotFoundError where there is no such split.
    """
    check_same_motion(motion_tokenizer, data)
    usable, dropped = load_clips(data, split)
    unit = motion_tokenizer.config.frames_per_code
    dropped |= {name: f"{len(x)} frames, shorter than one code" for name, x in usable.items() if len(x) < unit}
    usable = {name: x for name, x in usable.items() if len(x) >= unit}
    if not usable:
        others = other_lists(data, split, frames=range(unit, sys.maxsize))
        raise ValueError(f"{data.folder}/{split}.txt has no usable clip of at least {unit} frames{others}")
    chosen = dict(list(usable.items())[:clips])

    layers = [{} for _ in range(motion_tokenizer.vqvae.quantizer.num_layers)]  # per layer: name -> values per frame
    qualities, codes = {}, {}
    bar = tqdm(total=len(chosen), unit="clip", disable=None)
    for name, codes[name], decoded in reconstruct(motion_tokenizer, chosen, batch_size):
        errors, qualities[name] = measure_clip(motion_tokenizer, chosen[name], decoded)
        for layer, values in zip(layers, errors, strict=True):
            layer[name] = values
        bar.update()
    bar.close()

    rows = {name: {"frames": unit * len(codes[name])} | average([layers[-1][name]]) for name in chosen}
    ranked = sorted(rows, key=lambda name: (rows[name][ranking(rows[name])], name))
    size = motion_tokenizer.config.codes
    histograms = [code_counts(torch.cat([codes[name][:, q] for name in chosen]), size) for q in range(len(layers))]
    return {
        "what": "vqvae",
        "protocol": {
            "data": data.folder.resolve().name,
            "data_hash": clips_hash((name, x, "") for name, x in chosen.items()),
            "tokenizer_hash": motion_tokenizer.hash,
            "split": split, "clips": len(chosen), "in_train": len(chosen.keys() & set(data.ids("train"))),
            "usable_clips": len(usable), "dropped_clips": len(dropped),
            "frames": sum(row["frames"] for row in rows.values()), "fps": data.fps,
            "skeleton": motion_tokenizer.skeleton.name if data.representation.has_joints else None,
            "representation": data.representation.name,
            "motiongpt": __version__, "torch": torch.__version__,
        },
        "metrics": average([layers[-1][name] for name in chosen]),
        "original": average([qualities[name] for name in chosen]),
        "layers": [average([layer[name] for name in chosen]) for layer in layers],
        "codebook": [code_usage(counts) for counts in histograms],
        "shown": dict(zip(SHOWN, (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True)),
        "dropped": dropped,
        "clips": rows,
    }  # fmt: skip
