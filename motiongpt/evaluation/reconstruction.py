"""What a motion tokenizer makes of every clip, at its own length.

Every frame counts once, so long clips count more, as in the field's code. A report holds no time,
no path and no random number: the same input gives the same bytes. Joints are measured in metres;
features without joints (SMPL-X) are compared as parameters. This file only measures;
`report.write_reconstruction` writes.
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
from motiongpt.evaluation.labels import ranking
from motiongpt.evaluation.protocol import SHOWN
from motiongpt.evaluation.qualities import average, code_usage, frame_errors, frame_qualities, parameter_errors
from motiongpt.metrics.tokens import code_counts
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion
from motiongpt.training.world import ALONE, World, this_world


def reconstruct(
    motion_tokenizer: MotionTokenizer, clips: Mapping[str, np.ndarray], batch_size: int, world: World = ALONE
) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """Encode and decode clips (F, D) in batches of similar length, each at its own length.

    Yields name, codes (S, Q), and features (4 S, D) decoded from the first 1, 2, ... Q layers. Each
    process of `world` has some of the batches.
    """
    # by name: the batches do not depend on the order of the split
    ordered = sorted(clips)
    layers = range(1, motion_tokenizer.vqvae.quantizer.num_layers + 1)
    batches = by_length([len(clips[name]) for name in ordered], batch_size)
    for turn, own in world.turns(len(batches)):
        if not own:
            continue
        names = [ordered[i] for i in batches[turn]]
        codes = motion_tokenizer.encode_all([clips[name] for name in names])
        # by the first q layers, to see what each further one adds
        decoded = [motion_tokenizer.decode_features([row[:, :q] for row in codes]) for q in layers]
        for name, row, *features in zip(names, codes, *decoded, strict=True):
            yield name, row, features


def measure_clip(
    motion_tokenizer: MotionTokenizer, original: np.ndarray, decoded: list[Tensor]
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Errors and qualities of a clip (F, D) decoded from 1, 2, ...
    layers, and the qualities of the original.

    Frames past the last whole code are left out of both.
    """
    fps = motion_tokenizer.fps
    frames = len(decoded[-1])
    target = torch.as_tensor(original)
    if not motion_tokenizer.representation.has_joints:
        representation, normalizer = motion_tokenizer.representation, motion_tokenizer.normalizer
        return [parameter_errors(x, target[:frames], representation, normalizer) for x in decoded], {}
    joints = motion_tokenizer.joints(target)
    floor = float(joints[..., 1].min())  # of the whole original
    joints = joints[:frames]

    def qualities(x: Tensor) -> dict[str, Tensor]:
        return frame_qualities(x, motion_tokenizer.skeleton, fps, floor)

    layers = [motion_tokenizer.joints(x) for x in decoded]
    return [frame_errors(x, joints, fps) | qualities(x) for x in layers], qualities(joints)


def _usable(
    motion_tokenizer: MotionTokenizer, data: MotionDataset, split: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Clips of at least one code, and those dropped: name -> reason.
    ValueError if no clip is left."""
    unit = motion_tokenizer.config.frames_per_code
    clips, dropped = load_clips(data, split)
    dropped |= {name: f"{len(x)} frames, shorter than one code" for name, x in clips.items() if len(x) < unit}
    usable = {name: x for name, x in clips.items() if len(x) >= unit}
    if not usable:
        others = other_lists(data, split, frames=range(unit, sys.maxsize))
        raise ValueError(f"{data.folder}/{split}.txt has no usable clip of at least {unit} frames{others}")
    return usable, dropped


def evaluate_vqvae(
    motion_tokenizer: MotionTokenizer,
    data: MotionDataset,
    split: str = "test",
    clips: int | None = None,
    batch_size: int = 32,
) -> dict:
    """Measure reconstruction on a split, or on its first `clips` usable ones;
    returns the content of report.json.

    Raises ValueError if tokenizer and data have different skeletons, representations or frame
    rates, or no clip is usable; FileNotFoundError if there is no such split.
    """
    check_same_motion(motion_tokenizer, data)
    usable, dropped = _usable(motion_tokenizer, data, split)
    chosen = dict(list(usable.items())[:clips])

    # 1) Every clip: values per frame.
    Q = motion_tokenizer.vqvae.quantizer.num_layers
    layers = [{} for _ in range(Q)]  # decoded from 1, 2, ... layers: clip -> metric -> values per frame
    originals = {}
    codes = {}
    world = this_world()
    bar = tqdm(total=len(chosen) // world.size, unit="clip", disable=None)
    for name, row, decoded in reconstruct(motion_tokenizer, chosen, batch_size, world):
        codes[name] = row
        errors, originals[name] = measure_clip(motion_tokenizer, chosen[name], decoded)
        for layer, values in zip(layers, errors, strict=True):
            layer[name] = values
        bar.update()
    bar.close()
    for others in world.gather((codes, originals, layers)):
        codes |= others[0]
        originals |= others[1]
        layers = [own | their for own, their in zip(layers, others[2], strict=True)]

    # 2) Means: of each clip with all layers, and over all frames.
    unit = motion_tokenizer.config.frames_per_code
    rows = {name: {"frames": unit * len(codes[name])} | average([layers[-1][name]]) for name in chosen}
    # the name decides between equals
    ranked = sorted(rows, key=lambda name: (rows[name][ranking(rows[name])], name))
    size = motion_tokenizer.config.codes
    histograms = [code_counts(torch.cat([codes[name][:, q] for name in chosen]), size) for q in range(Q)]
    return {
        "what": "vqvae",
        "protocol": {
            "data": data.folder.resolve().name,
            "data_hash": clips_hash((name, x, "") for name, x in chosen.items()),
            "tokenizer_hash": motion_tokenizer.hash,
            "split": split,
            "clips": len(chosen),
            "in_train": len(chosen.keys() & set(data.ids("train"))),
            "usable_clips": len(usable),
            "dropped_clips": len(dropped),
            "frames": sum(row["frames"] for row in rows.values()),
            "fps": data.fps,
            "skeleton": motion_tokenizer.skeleton.name if data.representation.has_joints else None,
            "representation": data.representation.name,
            "motiongpt": __version__,
            "torch": torch.__version__,
        },
        "metrics": average([layers[-1][name] for name in chosen]),
        "original": average([originals[name] for name in chosen]),
        "layers": [average([layer[name] for name in chosen]) for layer in layers],
        "codebook": [code_usage(counts) for counts in histograms],
        "shown": dict(zip(SHOWN, (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True)),
        "dropped": dropped,
        "clips": rows,
    }
