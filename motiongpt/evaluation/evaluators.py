"""Evaluators: matching networks with normalisation and words, by which the field measures text to motion.

The networks are in `matching.py`. An evaluator is a folder, of one of two kinds:

    checkpoints/t2m/   text_mot_match/model/finest.tar, Comp_v6_KLD01/meta/{mean,std}.npy (KIT-ML: Comp_v6_KLD005);
                       its word vectors are in a folder of their own (`word_vectors.py`)
    ours               config.json, model.safetensors (with the word vectors), words.json, Mean.npy, Std.npy
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motiongpt import __version__
from motiongpt.body.skeletons import Skeleton, load_skeleton, save_skeleton
from motiongpt.config import EvaluatorConfig
from motiongpt.data.batches import pad_motions
from motiongpt.evaluation.networks import (
    UNIT,
    MatchingNetwork,
    MovementConvEncoder,
    pad_captions,
    pad_clips,
    usable_frames,
)
from motiongpt.evaluation.word_vectors import Vocabulary, glove_hash, read_glove
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation, get_representation
from motiongpt.files.arrays import load_array
from motiongpt.files.hashes import short_hash
from motiongpt.files.store import read_json, read_tensors, tensors_hash, write_json, write_tensors
from motiongpt.files.unpickle import load_pickle
from motiongpt.weights.checks import Unfilled, check_total

PUBLISHED_FILE = Path("text_mot_match", "model", "finest.tar")
PUBLISHED_STATS = "Comp_v6_KLD0*/meta"
PUBLISHED_BIAS = 25.0
PARTS = ("movement_encoder", "motion_encoder", "text_encoder")
NOT_NEEDED = {"epoch", "iter", "opt_text_encoder", "opt_motion_encoder"}  # what training left in the published file
PACKINGS = {
    "guo": "each clip at its own length, as Guo et al. and most papers",
    "openmotionlab": "the GRU runs over the batch's padding, as MotionGPT of OpenMotionLab; depends on the batch",
}


def _account(expected: nn.Module, tensors: dict[str, Any], source: Path | str) -> dict[str, Tensor]:
    """The tensors as float32 if they are exactly those of the module; ValueError naming those that are not."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{source}: {name} is not a tensor of floating-point numbers")
    shapes = [{name: value.shape for name, value in state.items()} for state in (expected.state_dict(), tensors)]
    check_total(*shapes, source)
    # copies: in torch's own memory, which is aligned, the same numbers give the same sums
    return {name: value.to(torch.float32, copy=True) for name, value in tensors.items()}


def _part(content: Any, name: str, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not isinstance(content.get(name), dict):
        keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} has no {name}; it holds: {keys}")
    return content[name]


def _sizes(tensors: dict[str, Any], path: Path, **keys: str) -> dict[str, Any]:
    """Shapes of some tensors by a name of ours; ValueError naming one that is missing."""
    for key in keys.values():
        if getattr(tensors.get(key), "ndim", 0) < 2:
            raise ValueError(f"{path}: {key} is missing or no matrix")
    return {name: tuple(tensors[key].shape) for name, key in keys.items()}


def load_movement_encoder(path: Path | str) -> MovementConvEncoder:
    """The encoder of a decomposed checkpoint (Decomp_SP001_SM001_H512/model/latest.tar), which training starts from.

    Of the file's other parts nothing is used (decoder, discriminator, optimiser states). Errors as of `load_pickle`,
    and ValueError naming tensors that do not fit.
    """
    path = Path(path)
    tensors = _part(load_pickle(path), "movement_enc", path)
    sizes = _sizes(tensors, path, first="main.0.weight", out="out_net.weight")
    encoder = MovementConvEncoder(sizes["first"][1], sizes["first"][0], sizes["out"][0])
    encoder.load_state_dict(_account(encoder, tensors, path))
    return encoder


def read_published(path: Path) -> tuple[EvaluatorConfig, dict[str, Tensor]]:
    """Widths and tensors, by our names, of a finest.tar; every tensor in it is accounted for, or it is a ValueError."""
    content = load_pickle(path)
    parts = {name: _part(content, name, path) for name in PARTS}
    if unknown := sorted(set(content) - set(PARTS) - NOT_NEEDED):
        raise ValueError(f"{path} holds {', '.join(map(str, unknown))}, which is no part of the matching networks")
    tensors = {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
    sizes = _sizes(
        tensors, path, first="movement_encoder.main.0.weight", movement="movement_encoder.out_net.weight",
        motion="motion_encoder.input_emb.weight", out="motion_encoder.output_net.3.weight",
        text="text_encoder.input_emb.weight",
    )  # fmt: skip
    config = EvaluatorConfig(
        feature_dim=sizes["first"][1] + 4, contacts=4, movement_width=sizes["first"][0],
        movement_dim=sizes["movement"][0], motion_width=sizes["motion"][0], embedding_dim=sizes["out"][0],
        text_width=sizes["text"][0], word_dim=sizes["text"][1], feature_bias=PUBLISHED_BIAS, objective="contrastive",
    )  # fmt: skip
    return config, tensors


def _published_stats(folder: Path) -> Normalizer:
    names = [("mean.npy", "std.npy"), ("Mean.npy", "Std.npy")]
    pair = next((p for p in names if all((folder / name).is_file() for name in p)), None)
    if pair is None:
        raise FileNotFoundError(f"no mean.npy and std.npy in {folder}; they are in Comp_v6_KLD01/meta (KIT-ML: KLD005)")
    return Normalizer(*(load_array(folder / name, 1) for name in pair))


class Evaluator:
    """The matching networks with their normalisation and words: clips and captions in, embeddings (N, D) out.

    `facts` are what config.json says about the training (data hash, seed ...). `hash`, once loaded, is `identity`.
    """

    def __init__(
        self,
        network: MatchingNetwork,
        vocabulary: Vocabulary,
        normalizer: Normalizer,
        skeleton: Skeleton,
        fps: float,
        representation: Representation,
        packing: str = "guo",
        facts: dict[str, Any] | None = None,
    ) -> None:
        if packing not in PACKINGS:
            raise ValueError(f"packing must be one of {', '.join(PACKINGS)}, got {packing!r}")
        widths = {network.config.feature_dim, representation.dim, len(normalizer.mean)}
        if len(widths) > 1:
            raise ValueError(f"networks, representation {representation.name} and statistics differ in width: {widths}")
        self.network, self.vocabulary, self.normalizer = network, vocabulary, normalizer
        self.skeleton, self.fps, self.representation = skeleton, fps, representation
        self.packing, self.facts, self.hash = packing, facts or {}, ""

    @property
    def config(self) -> EvaluatorConfig:
        return self.network.config

    @property
    def device(self) -> torch.device:
        return self.network.words.weight.device

    def identity(self) -> str:
        """16 hex digits over what decides an embedding but the packing: weights, word vectors, words, mean, deviation,
        config. A published evaluator and its copy of ours have the same."""
        stats = {"mean": torch.from_numpy(self.normalizer.mean), "std": torch.from_numpy(self.normalizer.std)}
        rest = json.dumps([self.config.to_dict(), self.vocabulary.words], sort_keys=True)
        return short_hash([tensors_hash(self.network.state_dict() | stats).encode(), rest.encode()])

    def describe(self) -> str:
        """One line for the reader of numbers: which evaluator this is."""
        words = f"GloVe {self.facts['glove']}" if self.facts.get("glove") else "its own words"
        return (
            f"evaluator {self.hash or 'not saved'} ({self.representation.name}, {self.fps:g} fps, {words}), packing "
            f"{self.packing}: {PACKINGS[self.packing]}"
        )

    @classmethod
    def load(
        cls,
        folder: Path | str,
        glove: Path | str | None = None,
        packing: str | None = None,
        stats: Path | str | None = None,
        device: str | torch.device = "cpu",
    ) -> "Evaluator":
        """Read one of our folders, or a published one (checkpoints/t2m, checkpoints/kit).

        Args:
            glove: folder of the word vectors; a published evaluator needs it, ours has its own.
            packing: a key of PACKINGS; default: what the folder says, guo for a published one.
            stats: folder of mean.npy and std.npy, for a published one whose meta/ is elsewhere.

        Raises FileNotFoundError, or ValueError naming the file, also where mean and deviation are another pair than
        the networks were trained with.
        """
        folder = Path(folder)
        if (folder / PUBLISHED_FILE).is_file():
            evaluator = cls._load_published(folder, glove, packing or "guo", stats)
        elif glove is not None or stats is not None:
            raise ValueError(f"{folder} holds no {PUBLISHED_FILE}; word vectors and statistics are only for such a one")
        else:
            evaluator = cls._load_own(folder, packing)
        evaluator.hash = evaluator.identity()
        evaluator.network.to(device)
        return evaluator

    @classmethod
    def _load_published(
        cls, folder: Path, glove: Path | str | None, packing: str, stats: Path | str | None
    ) -> "Evaluator":
        path = folder / PUBLISHED_FILE
        if glove is None:
            raise ValueError(f"{folder} has no word vectors: give the GloVe folder of our_vab_data.npy (--glove)")
        config, tensors = read_published(path)
        vocabulary, vectors = read_glove(glove)
        skeleton = skeleton_of_width(config.feature_dim)
        if skeleton is None:
            raise ValueError(f"{path} reads {config.feature_dim - 4} columns: neither HumanML3D (259) nor KIT-ML (247)")
        representation = get_representation("humanml3d", skeleton)
        found = [Path(stats)] if stats is not None else sorted(folder.glob(PUBLISHED_STATS))
        if len(found) != 1:
            raise ValueError(
                f"{folder} has {len(found)} folders {PUBLISHED_STATS}, expected one: this evaluator's; name another "
                "(--evaluator-stats)"
            )
        normalizer = _published_stats(found[0])
        normalizer.check_pair(representation, PUBLISHED_BIAS, found[0])
        network = _fill(config, tensors | {"words.weight": torch.from_numpy(vectors)}, path)
        facts = {"glove": glove_hash(glove)}
        return cls(network, vocabulary, normalizer, skeleton, skeleton.fps, representation, packing, facts)

    @classmethod
    def _load_own(cls, folder: Path, packing: str | None) -> "Evaluator":
        if not (folder / "model.safetensors").is_file() or not (folder / "words.json").is_file():
            raise FileNotFoundError(
                f"{folder} holds no evaluator: neither {PUBLISHED_FILE} nor model.safetensors with words.json; "
                "scripts/train_evaluator.py makes one"
            )
        content = read_json(folder / "config.json")
        missing = [key for key in ("EvaluatorConfig", "skeleton", "representation", "fps") if key not in content]
        if missing:
            raise ValueError(f"{folder / 'config.json'} is not an evaluator's: it has no {', '.join(missing)}")
        if not isinstance(content.get("facts") or {}, dict):
            raise ValueError(f"{folder / 'config.json'}: facts must be an object, got {str(content['facts'])[:60]}")
        config = EvaluatorConfig.from_dict(content["EvaluatorConfig"])
        skeleton = load_skeleton(folder, content["skeleton"])
        representation = get_representation(content["representation"], skeleton)
        normalizer = Normalizer.load(folder)
        normalizer.check_pair(representation, config.feature_bias, folder / "Std.npy")
        vocabulary = Vocabulary(read_json(folder / "words.json", list))
        path = folder / "model.safetensors"
        network = _fill(config, read_tensors(path), path)
        if len(network.words.weight) != len(vocabulary.words):
            raise ValueError(f"{folder}: {len(network.words.weight)} word vectors, {len(vocabulary.words)} words")
        facts = content.get("facts", {})
        packing = packing or content.get("packing", "guo")
        return cls(network, vocabulary, normalizer, skeleton, content["fps"], representation, packing, facts)

    def save(self, folder: Path | str) -> None:
        """Write a folder of ours, also of a published one; `load` reads it without GloVe."""
        folder = Path(folder)
        write_tensors(folder / "model.safetensors", self.network.state_dict())
        write_json(folder / "words.json", self.vocabulary.words, indent=None)
        self.normalizer.save(folder)
        save_skeleton(self.skeleton, folder)
        content = {"EvaluatorConfig": self.config.to_dict(), "skeleton": self.skeleton.name, "fps": self.fps}
        content |= {"representation": self.representation.name, "unit_length": UNIT, "packing": self.packing}
        versions = {"motiongpt": __version__, "torch": torch.__version__}
        write_json(folder / "config.json", content | {"facts": self.facts, "versions": versions})

    @torch.inference_mode()
    def embed_motion(
        self, clips: Sequence[np.ndarray | Tensor], lengths: Sequence[int] | None = None, batch_size: int = 32
    ) -> Tensor:
        """Clips (F_i, D) in their own units, or a padded batch (N, F, D) and its lengths -> (N, 512) on the CPU.

        Of each clip its first `usable_frames` count. Rows are in the order of the clips; with the packing `guo` a row
        does not depend on the others. `openmotionlab` pads each batch_size clips in a row to the longest of them.
        Raises ValueError for a clip shorter than 4 frames, of another width, or with NaN.
        """
        arrays = []
        for i, clip in enumerate(clips):
            clip = clip.detach().cpu().float().numpy() if isinstance(clip, Tensor) else np.asarray(clip, np.float32)
            size = usable_frames(len(clip) if lengths is None else int(lengths[i]), self.config.max_frames)
            if clip.ndim != 2 or clip.shape[1] != self.config.feature_dim or not UNIT <= size <= len(clip):
                got = f"{tuple(clip.shape)}, length {len(clip) if lengths is None else int(lengths[i])}"
                raise ValueError(f"clip {i}: expected ({UNIT} frames or more, {self.config.feature_dim}), got {got}")
            if not np.isfinite(clip[:size]).all():
                raise ValueError(f"clip {i} has NaN or infinite features; drop it and say so")
            arrays.append(self.normalizer.normalise(clip[:size]))
        guo = self.packing == "guo"
        sizes = [len(clip) for clip in arrays] if guo else [0] * len(arrays)  # sorted, there is less padding

        def embed(indices: list[int]) -> Tensor:
            chosen = [arrays[i] for i in indices]
            motion, frames = pad_clips(chosen, self.config.max_frames) if guo else pad_motions(chosen)
            return self.network.motion(motion.to(self.device), frames, self.packing)

        return self._in_batches(sizes, batch_size, embed)

    @torch.inference_mode()
    def embed_text(self, captions: Sequence[str | Sequence[str]], batch_size: int = 256) -> Tensor:
        """Captions, each a sentence or its tokens `word/POS` -> (N, 512) on the CPU, each on its own, in their order.

        Give tokens where there are some: the published text encoder was trained on lemmas with parts of speech.
        """
        encoded = [self.vocabulary.encode(caption) for caption in captions]

        def embed(indices: list[int]) -> Tensor:
            words, parts, lengths = pad_captions([encoded[i] for i in indices])
            return self.network.text(words.to(self.device), parts.to(self.device), lengths)

        return self._in_batches([len(words) for words, _ in encoded], batch_size, embed)

    def _in_batches(self, sizes: list[int], batch_size: int, embed: Callable[[list[int]], Tensor]) -> Tensor:
        """`embed` of batches of similar size, the rows back in order; in eval mode, which is put back."""
        out = torch.zeros(len(sizes), self.config.embedding_dim)
        order = sorted(range(len(sizes)), key=lambda i: sizes[i])
        training = self.network.training
        self.network.eval()
        for first in range(0, len(order), batch_size):
            indices = order[first : first + batch_size]
            out[indices] = embed(indices).float().cpu()
        self.network.train(training)
        return out


def _fill(config: EvaluatorConfig, tensors: dict[str, Tensor], path: Path) -> MatchingNetwork:
    """The networks with these weights, in eval mode; ValueError naming the file and what does not fit."""
    if getattr(tensors.get("words.weight"), "ndim", 0) != 2:
        raise ValueError(f"{path}: words.weight is missing or no matrix")
    width = tensors["words.weight"].shape[1]
    if width != config.word_dim:
        raise ValueError(f"{path} takes word vectors of width {config.word_dim}, these have {width}")
    with Unfilled():
        network = MatchingNetwork(config, len(tensors["words.weight"]))
    network.load_state_dict(_account(network, tensors, path), assign=True)
    return network.eval()
