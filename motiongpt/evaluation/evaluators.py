"""Evaluators: matching networks with normalisation and words,
the field's way to measure text to motion.

An evaluator is a folder, of one of two kinds:

    checkpoints/t2m/   text_mot_match/model/finest.tar, Comp_v6_KLD01/meta/{mean,std}.npy (KIT-ML: Comp_v6_KLD005);
                       its word vectors are in a folder of their own, see `word_vectors`
    ours               config.json, model.safetensors (with the word vectors), words.json, Mean.npy, Std.npy
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motiongpt import __version__
from motiongpt.body.skeletons import SKELETON_FILE, Skeleton, load_skeleton, save_skeleton
from motiongpt.config import EvaluatorConfig
from motiongpt.data.batches import by_length, pad_motions
from motiongpt.evaluation.clips import UNIT, usable_frames
from motiongpt.evaluation.networks import MatchingNetwork, pad_captions, pad_clips
from motiongpt.evaluation.published import (
    PUBLISHED_BIAS,
    PUBLISHED_FILE,
    PUBLISHED_STATS,
    check_tensors,
    published_stats,
    read_published,
)
from motiongpt.evaluation.word_vectors import Vocabulary, glove_hash, read_glove
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation, get_representation
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, check_hashes, check_values, file_hashes, short_hash, values_hash
from motiongpt.files.store import read_json, read_tensors, tensors_hash, write_json, write_tensors
from motiongpt.weights.checks import Unfilled

HASHED_FILES = ("model.safetensors", "words.json", "Mean.npy", "Std.npy", SKELETON_FILE)
"""What our config.json remembers by a hash, so that a damaged or replaced file shows when it is
loaded."""

PACKINGS = {
    "guo": "each clip at its own length, as Guo et al. and most papers",
    "openmotionlab": "the GRU runs over the batch's padding, as MotionGPT of OpenMotionLab; depends on the batch",
}


class Evaluator:
    """The matching networks with their normalisation and words:
    clips and captions in, embeddings (N, E) out.

    `facts` is what config.json says about the training (data hash, seed ...).
    `hash` is `identity` once loaded.
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
        self.network = network
        self.vocabulary = vocabulary
        self.normalizer = normalizer
        self.skeleton = skeleton
        self.fps = fps
        self.representation = representation
        self.packing = packing
        self.facts = facts or {}
        self.hash = ""

    @property
    def config(self) -> EvaluatorConfig:
        return self.network.config

    @property
    def device(self) -> torch.device:
        return self.network.words.weight.device

    def identity(self) -> str:
        """16 hex digits of all that decides an embedding except the packing: weights, word vectors,
        words, mean, deviation, config. A published evaluator and the folder that `save` makes of it
        have the same."""
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

        Raises FileNotFoundError, or ValueError naming the file. Mean and deviation must be the pair
        that the networks were trained with.
        """
        folder = Path(folder)
        if (folder / PUBLISHED_FILE).is_file():
            evaluator = cls._load_published(folder, glove, packing or "guo", stats)
        elif glove is not None or stats is not None:
            raise ValueError(
                f"{folder} holds no {PUBLISHED_FILE}; --glove and --evaluator-stats are for a published evaluator"
            )
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
        # its own mean and deviation: with another pair every embedding is wrong
        found = [Path(stats)] if stats is not None else sorted(folder.glob(PUBLISHED_STATS))
        if len(found) != 1:
            raise ValueError(
                f"{folder} has {len(found)} folders {PUBLISHED_STATS}, expected one: this evaluator's; name another "
                "(--evaluator-stats)"
            )
        normalizer = published_stats(found[0])
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
        # 1) what config.json says, and the statistics that go with it
        source = folder / "config.json"
        content = read_json(source)
        missing = [key for key in ("EvaluatorConfig", "skeleton", "representation", "fps") if key not in content]
        if missing:
            raise ValueError(f"{source} is not an evaluator's: it has no {', '.join(missing)}")
        for key, kind in (("skeleton", str), ("representation", str), ("fps", float)):
            get_field(content, key, kind, source)
        if not isinstance(content.get("facts") or {}, dict):
            raise ValueError(f"{source}: facts must be an object, got {str(content['facts'])[:60]}")
        config = EvaluatorConfig.from_dict(content["EvaluatorConfig"], source)
        check_values(content["EvaluatorConfig"], content, "EvaluatorConfig", source)
        skeleton = load_skeleton(folder, content["skeleton"])
        representation = get_representation(content["representation"], skeleton)
        normalizer = Normalizer.load(folder)
        normalizer.check_pair(representation, config.feature_bias, folder / "Std.npy")
        # 2) the words and the weights
        words = folder / "words.json"
        try:
            vocabulary = Vocabulary(read_json(words, list))
        except ValueError as error:
            # the file is named once
            raise ValueError(str(error) if str(words) in str(error) else f"{words}: {error}") from error
        path = folder / "model.safetensors"
        network = _fill(config, read_tensors(path), path)
        check_hashes(folder, content, HASHED_FILES, source)
        if len(network.words.weight) != len(vocabulary.words):
            raise ValueError(f"{folder}: {len(network.words.weight)} word vectors, {len(vocabulary.words)} words")
        facts = content.get("facts", {})
        packing = packing or content.get("packing", "guo")
        return cls(network, vocabulary, normalizer, skeleton, content["fps"], representation, packing, facts)

    def save(self, folder: Path | str) -> None:
        """Write a folder of the kind `ours` above, which `load` reads without GloVe."""
        folder = Path(folder)
        content = {"EvaluatorConfig": self.config.to_dict(), "skeleton": self.skeleton.name, "fps": self.fps}
        content |= {"representation": self.representation.name, "unit_length": UNIT, "packing": self.packing}
        versions = {"motiongpt": __version__, "torch": torch.__version__}
        content |= {"facts": self.facts, "versions": versions}
        # without hashes first: a kill before the last line leaves a folder that can be read
        write_json(folder / "config.json", content)
        write_tensors(folder / "model.safetensors", self.network.state_dict())
        write_json(folder / "words.json", self.vocabulary.words, indent=None)
        self.normalizer.save(folder)
        save_skeleton(self.skeleton, folder)
        hashes = file_hashes(folder, HASHED_FILES) | {"EvaluatorConfig": values_hash(content["EvaluatorConfig"])}
        write_json(folder / "config.json", content | {HASHES: hashes})

    @torch.inference_mode()
    def embed_motion(
        self, clips: Sequence[np.ndarray | Tensor], lengths: Sequence[int] | None = None, batch_size: int = 32
    ) -> Tensor:
        """Clips (F_i, D) in their own units, or a padded batch (N, F, D) and its lengths
        -> (N, E) on the CPU.

        The first `usable_frames` of a clip count. Rows are in the order of the clips. With the
        packing `guo` a row does not depend on the others; `openmotionlab` pads every batch_size
        clips in a row to the longest of them. Raises ValueError for a clip that is shorter than 4
        frames, has another width, or has NaN.
        """
        # 1) each clip by itself: checked, cut, normalised
        arrays = []
        for i, clip in enumerate(clips):
            clip = clip.detach().cpu().float().numpy() if isinstance(clip, Tensor) else np.asarray(clip, np.float32)
            # in a padded batch only the given lengths count
            length = len(clip) if lengths is None else int(lengths[i])
            size = usable_frames(length, self.config.max_frames)
            if clip.ndim != 2 or clip.shape[1] != self.config.feature_dim or not UNIT <= size <= len(clip):
                got = f"{tuple(clip.shape)}, length {length}"
                raise ValueError(f"clip {i}: expected ({UNIT} frames or more, {self.config.feature_dim}), got {got}")
            if not np.isfinite(clip[:size]).all():
                raise ValueError(f"clip {i} has NaN or infinite features; drop it and say so")
            arrays.append(self.normalizer.normalise(clip[:size]))
        # 2) in batches
        guo = self.packing == "guo"
        # guo: batches of similar length need less padding; openmotionlab depends on the order, so it is kept
        sizes = [len(clip) for clip in arrays] if guo else [0] * len(arrays)

        def embed(indices: list[int]) -> Tensor:
            chosen = [arrays[i] for i in indices]
            motion, frames = pad_clips(chosen, self.config.max_frames) if guo else pad_motions(chosen)
            return self.network.motion(motion.to(self.device), frames, self.packing)

        return self._in_batches(sizes, batch_size, embed)

    @torch.inference_mode()
    def embed_text(self, captions: Sequence[str | Sequence[str]], batch_size: int = 256) -> Tensor:
        """Captions, each a sentence or its tokens `word/POS` -> (N, E) on the CPU;
        no row depends on another.

        Give tokens if there are any: the published text encoder was trained on lemmas with parts of
        speech.
        """
        encoded = [self.vocabulary.encode(caption) for caption in captions]

        def embed(indices: list[int]) -> Tensor:
            words, parts, lengths = pad_captions([encoded[i] for i in indices])
            return self.network.text(words.to(self.device), parts.to(self.device), lengths)

        return self._in_batches([len(words) for words, _ in encoded], batch_size, embed)

    def _in_batches(self, sizes: list[int], batch_size: int, embed: Callable[[list[int]], Tensor]) -> Tensor:
        """Call `embed` on batches of similar size, in eval mode; the rows come back in order."""
        out = torch.zeros(len(sizes), self.config.embedding_dim)
        # validation comes in the middle of training, which must go on in its own mode
        training = self.network.training
        self.network.eval()
        for batch in by_length(sizes, batch_size):
            indices = batch.tolist()
            out[indices] = embed(indices).float().cpu()
        self.network.train(training)
        return out


def _fill(config: EvaluatorConfig, tensors: dict[str, Tensor], path: Path) -> MatchingNetwork:
    """The networks with these weights, in eval mode;
    ValueError naming the file and the tensor that does not fit."""
    if getattr(tensors.get("words.weight"), "ndim", 0) != 2:
        raise ValueError(f"{path}: words.weight is missing or no matrix")
    width = tensors["words.weight"].shape[1]
    if width != config.word_dim:
        raise ValueError(f"{path} takes word vectors of width {config.word_dim}, these have {width}")
    with Unfilled():
        network = MatchingNetwork(config, len(tensors["words.weight"]))
    network.load_state_dict(check_tensors(network, tensors, path), assign=True)
    return network.eval()


def find_evaluator(
    folder: Path | None,
    published: Path,
    glove: Path | None,
    published_glove: Path,
    packing: str | None,
    stats: Path | None,
    device: str | torch.device,
) -> Evaluator | None:
    """The evaluator of `folder`; None means the published one in `published`, and gives None if there is none.

    `published_glove` is where the word vectors of a published one are unless `glove` says otherwise.
    The other arguments and errors are those of `Evaluator.load`.
    """
    chosen = published if folder is None else folder
    is_published = (chosen / PUBLISHED_FILE).is_file()
    if folder is None and not is_published:
        return None
    return Evaluator.load(chosen, (glove or published_glove) if is_published else glove, packing, stats, device)
