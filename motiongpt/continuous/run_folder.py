"""A trained continuous model in a folder: weights, normalisation, skeleton, and how to read text.

config.json            ContinuousConfig, skeleton, representation, fps, the frozen text encoder, hashes
model.safetensors      Mean.npy  Std.npy
words.json             of a trainable text encoder
skeleton.json          if the skeleton is not a built-in one
text_states.safetensors   of a frozen one: what it made of the captions seen so far
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from motiongpt.body.skeletons import SKELETON_FILE, Skeleton, load_skeleton, save_skeleton
from motiongpt.config import ContinuousConfig
from motiongpt.continuous.model import ContinuousModel
from motiongpt.continuous.text import STATES_FILE, Reader, WordReader, state_reader
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation, get_representation
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, check_hashes, check_values, file_hashes, known_hash, values_hash
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
from motiongpt.stages.run_folder import find_base, path_from_here, relative_backbone
from motiongpt.weights.checks import Unfilled, check_total

KEY = "ContinuousConfig"
WORDS_FILE = "words.json"
HASHED = ("model.safetensors", "Mean.npy", "Std.npy", WORDS_FILE, SKELETON_FILE)


@dataclass
class ContinuousRun:
    """A continuous model with all that its numbers mean."""

    model: ContinuousModel
    reader: Reader
    normalizer: Normalizer
    skeleton: Skeleton
    representation: Representation
    fps: float
    text_folder: str = ""
    """Of a frozen text encoder: its path or repo id."""
    folder: Path | None = None
    hash: str = ""
    facts: dict = field(default_factory=dict)
    """What it was trained on; written into config.json."""

    @property
    def config(self) -> ContinuousConfig:
        return self.model.config

    def save(self, folder: Path) -> None:
        """Write the folder. The states of a frozen encoder are there already."""
        content = {
            KEY: self.config.to_dict(),
            "skeleton": self.skeleton.name,
            "representation": self.representation.name,
            "fps": self.fps,
            "trained_on": self.facts,
        }
        if isinstance(self.reader, WordReader):
            write_json(folder / WORDS_FILE, self.reader.words)
        else:
            named = relative_backbone(self.text_folder, folder)
            content["text_model"] = {"name": named, "weights": self.reader.identity}
        # without hashes first: a kill before the last line leaves a folder that can be read
        write_json(folder / "config.json", content)
        write_tensors(folder / "model.safetensors", self.model.state_dict())
        self.normalizer.save(folder)
        save_skeleton(self.skeleton, folder)
        hashes = file_hashes(folder, HASHED) | {KEY: values_hash(content[KEY])}
        write_json(folder / "config.json", content | {HASHES: hashes})

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> "ContinuousRun":
        """Inverse of `save`, in eval mode. Raises FileNotFoundError or ValueError, naming the file."""
        folder = Path(folder)
        source = folder / "config.json"
        if not (folder / "model.safetensors").is_file():
            raise FileNotFoundError(f"{folder} holds no continuous model yet; scripts/train_continuous.py makes one")
        content = read_json(source)
        values = get_field(content, KEY, dict, source)
        check_values(values, content, KEY, source)
        config = ContinuousConfig.from_dict(values, source)
        for name in ("Mean.npy", "Std.npy", *([WORDS_FILE] if config.text_encoder == "trainable" else [])):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing: copy the whole run folder again")
        check_hashes(folder, content, HASHED, source)
        skeleton = load_skeleton(folder, get_field(content, "skeleton", str, source))
        representation = get_representation(get_field(content, "representation", str, source), skeleton)
        normalizer = Normalizer.load(folder)
        normalizer.check_pair(representation, config.feature_bias, folder / "Std.npy")
        if representation.dim != config.feature_dim:
            raise ValueError(
                f"{source}: the model writes {config.feature_dim} numbers a frame, {representation.name} has "
                f"{representation.dim}"
            )

        text_folder = ""
        if config.text_encoder == "trainable":
            reader = WordReader(read_json(folder / WORDS_FILE, list))
        else:
            where = f"{source}: text_model"
            told = get_field(content, "text_model", dict, source)
            text_folder = path_from_here(get_field(told, "name", str, where), folder)
            identity = get_field(told, "weights", str, where)
            find = partial(find_base, get_field(told, "name", str, where), folder)
            reader = state_reader(config.text_encoder, find, folder / STATES_FILE, device, identity)

        with Unfilled():
            model = ContinuousModel(config)
        tensors = read_tensors(folder / "model.safetensors")
        check_total(
            {name: tensor.shape for name, tensor in model.state_dict().items()},
            {name: tensor.shape for name, tensor in tensors.items()},
            folder / "model.safetensors",
        )
        model.load_state_dict(tensors, assign=True)
        fps = get_field(content, "fps", float, source, least=1e-3)
        facts = get_field(content, "trained_on", dict, source, {})
        model = model.to(device).eval()
        known = known_hash(folder / "model.safetensors")
        return cls(model, reader, normalizer, skeleton, representation, fps, text_folder, folder, known, facts)
