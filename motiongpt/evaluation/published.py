"""The files of the published evaluators (Guo et al. 2022):
finest.tar, meta/{mean,std}.npy, a decomposed checkpoint.

Every tensor of a file is accounted for: one that is missing,
unknown or of another shape is an error.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motiongpt.config import EvaluatorConfig
from motiongpt.evaluation.networks import MovementConvEncoder
from motiongpt.features.normalizer import Normalizer
from motiongpt.files.arrays import load_array
from motiongpt.files.unpickle import load_pickle
from motiongpt.weights.checks import check_total

PUBLISHED_FILE = Path("text_mot_match", "model", "finest.tar")
PUBLISHED_STATS = "Comp_v6_KLD0*/meta"
PUBLISHED_BIAS = 25.0  # the feature bias (`Normalizer.with_feature_bias`) in meta/std.npy
PARTS = ("movement_encoder", "motion_encoder", "text_encoder")
NOT_NEEDED = {"epoch", "iter", "opt_text_encoder", "opt_motion_encoder"}  # training state in the published file


def check_tensors(expected: nn.Module, tensors: dict[str, Any], source: Path | str) -> dict[str, Tensor]:
    """The tensors in float32, if they are exactly those of the module;
    else ValueError naming the ones that differ."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{source}: {name} is not a tensor of floating-point numbers")
    wanted = {name: value.shape for name, value in expected.state_dict().items()}
    check_total(wanted, {name: value.shape for name, value in tensors.items()}, source)
    # copies: torch's own memory is aligned, and only then do the same numbers give the same sums
    return {name: value.to(torch.float32, copy=True) for name, value in tensors.items()}


def _part(content: Any, name: str, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not isinstance(content.get(name), dict):
        keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} has no {name}; it holds: {keys}")
    return content[name]


def _sizes(tensors: dict[str, Any], path: Path, **keys: str) -> dict[str, Any]:
    """Shapes of some tensors, given as name = key in the file;
    ValueError naming a key that is missing."""
    for key in keys.values():
        if getattr(tensors.get(key), "ndim", 0) < 2:
            raise ValueError(f"{path}: {key} is missing or no matrix")
    return {name: tuple(tensors[key].shape) for name, key in keys.items()}


def load_movement_encoder(path: Path | str) -> MovementConvEncoder:
    """The encoder of a decomposed checkpoint (Decomp_SP001_SM001_H512/model/latest.tar),
    for training to start from.

    The file's decoder, discriminator and optimiser states are not used. Raises as `load_pickle`,
    and ValueError naming tensors that do not fit.
    """
    path = Path(path)
    tensors = _part(load_pickle(path), "movement_enc", path)
    sizes = _sizes(tensors, path, first="main.0.weight", out="out_net.weight")
    # a convolution's weight is (out, in, kernel)
    encoder = MovementConvEncoder(sizes["first"][1], sizes["first"][0], sizes["out"][0])
    encoder.load_state_dict(check_tensors(encoder, tensors, path))
    return encoder


def read_published(path: Path) -> tuple[EvaluatorConfig, dict[str, Tensor]]:
    """Config and tensors of a finest.tar, under the names of `MatchingNetwork`.
    ValueError for any unknown part."""
    content = load_pickle(path)
    parts = {name: _part(content, name, path) for name in PARTS}
    if unknown := sorted(set(content) - set(PARTS) - NOT_NEEDED):
        raise ValueError(f"{path} holds {', '.join(map(str, unknown))}, which is no part of the matching networks")
    tensors = {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
    sizes = _sizes(
        tensors,
        path,
        first="movement_encoder.main.0.weight",
        movement="movement_encoder.out_net.weight",
        motion="motion_encoder.input_emb.weight",
        out="motion_encoder.output_net.3.weight",
        text="text_encoder.input_emb.weight",
    )
    config = EvaluatorConfig(
        feature_dim=sizes["first"][1] + 4,  # the networks do not see the four foot contacts
        contacts=4,
        movement_width=sizes["first"][0],
        movement_dim=sizes["movement"][0],
        motion_width=sizes["motion"][0],
        embedding_dim=sizes["out"][0],
        text_width=sizes["text"][0],
        word_dim=sizes["text"][1],
        feature_bias=PUBLISHED_BIAS,
        objective="contrastive",
    )
    return config, tensors


def published_stats(folder: Path) -> Normalizer:
    # in lower case as published, else as data sets have them
    for mean, std in (("mean.npy", "std.npy"), ("Mean.npy", "Std.npy")):
        if (folder / mean).is_file() and (folder / std).is_file():
            return Normalizer(load_array(folder / mean, 1), load_array(folder / std, 1))
    raise FileNotFoundError(f"no mean.npy and std.npy in {folder}; they are in Comp_v6_KLD01/meta (KIT-ML: KLD005)")
