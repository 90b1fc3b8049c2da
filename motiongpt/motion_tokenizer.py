"""A motion tokenizer as people use it: VQ-VAE, normalisation and skeleton in one folder.

    vqvae/   config.json   VQVAEConfig, skeleton, representation (absent: humanml3d), fps, hashes of the other files
             model.safetensors      Mean.npy  Std.npy
             skeleton.json          if the skeleton is not a built-in one

If the weights came from another project, config.json also has `smplx_layout`, the order of its 182 columns.

Motions go in as features in their own units and come out as features or as joints in metres. Nobody outside sees
normalised numbers. Clips of any lengths share a batch (see `vqvae.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from motiongpt.body.skeletons import HUMANML3D, SKELETON_FILE, Skeleton, load_skeleton, save_skeleton
from motiongpt.checkpoint import differences
from motiongpt.config import VQVAEConfig
from motiongpt.data.batches import by_length, pad_motions
from motiongpt.data.motions import MotionDataset
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation, get_representation
from motiongpt.features.smplx import SMPLX_WIDTH, from_layout
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, check_hashes, file_hashes, known_hash, values_hash
from motiongpt.files.store import read_json, tensors_hash, write_json
from motiongpt.vqvae import VQVAE
from motiongpt.weights.vqvae import exported_facts, load_vqvae, save_vqvae

TOKENIZER_FILES = ("config.json", "model.safetensors", "Mean.npy", "Std.npy")
HASHED_FILES = ("model.safetensors", "Mean.npy", "Std.npy", SKELETON_FILE)
"""What config.json remembers by a hash: one wrong number in any of them would give other motions, unnoticed."""
ENCODE_BATCH = 32  # clips of similar length that share a batch
FOREIGN_BIAS = {"ema_reset": 25.0, "residual": 5.0}
"""Quantiser -> feature bias of the published tokenizers: of T2M-GPT and its relatives, and of MoMask."""


def own_folder(folder: Path) -> Path:
    """The tokenizer folder of a path: a run's vqvae/, or the folder itself. FileNotFoundError if it is no folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; expected a tokenizer folder, or the file of another project")
    inside = folder / "vqvae"  # a run has a config.json of its own
    return inside if inside.is_dir() and not (folder / "model.safetensors").is_file() else folder


def tokenizer_files(folder: Path | str) -> list[Path]:
    """The files of a tokenizer folder, for copying it. FileNotFoundError names one that is missing."""
    paths = [Path(folder) / name for name in TOKENIZER_FILES]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {path.name}; scripts/train_vqvae.py writes one")
    optional = Path(folder) / SKELETON_FILE
    return [*paths, optional] if optional.is_file() else paths


class MotionTokenizer:
    """`encode` turns clips into codes; `decode_features` and `decode` turn codes into features and joints.

    Raises ValueError if network, normalisation and representation have different widths.
    """

    def __init__(
        self,
        vqvae: VQVAE,
        normalizer: Normalizer,
        skeleton: Skeleton,
        fps: float,
        representation: Representation | None = None,
    ) -> None:
        if len(normalizer.mean) != vqvae.config.feature_dim:
            raise ValueError(
                f"Mean.npy has width {len(normalizer.mean)}, the tokenizer {vqvae.config.feature_dim}: they belong to "
                "different representations"
            )
        self.vqvae, self.normalizer = vqvae.eval(), normalizer
        self.skeleton, self.fps = skeleton, fps
        self.representation = representation or get_representation("humanml3d", skeleton)
        if self.representation.dim != vqvae.config.feature_dim:
            raise ValueError(
                f"the tokenizer has width {vqvae.config.feature_dim}, its representation {self.representation.name} of "
                f"skeleton {skeleton.name} has {self.representation.dim}"
            )
        self.hash = ""
        self.smplx_layout: str | None = None
        self.source: Path | None = None  # the file or folder it was loaded from

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str | torch.device = "cpu",
        stats: Path | str | None = None,
        smplx_layout: str | None = None,
        fps: float | None = None,
    ) -> "MotionTokenizer":
        """Read a folder that `train_vqvae.py` wrote, a run folder with its `vqvae/`, or the file of another project.

        Args:
            stats: for another project's file, the mean and deviation of its training; see `Normalizer.load`.
            smplx_layout: for such a file with 182 columns, their order, train or visualize (`features/smplx.py`). They
                and the columns of `stats` are brought into our order. A column the file lacks stays zero; a column
                that only the file has (the eyes) is assumed to be at its mean.
            fps: for such a file, the frame rate it was trained at; default the skeleton's, required for SMPL-X.

        Raises FileNotFoundError or ValueError, naming the file. It is a ValueError, too, if mean and deviation are not
        those the network was trained with.
        """
        folder = Path(folder)
        if folder.is_file():
            return cls._load_foreign(folder, device, stats, smplx_layout, fps)
        folder = own_folder(folder)
        for flag, value in (("--stats", stats), ("--smplx-layout", smplx_layout), ("--vqvae-fps", fps)):
            if value is not None:
                raise ValueError(f"{flag} is for the file of another project, {folder} is a folder, which has its own")
        return cls._load_own(folder, device)

    @classmethod
    def _load_own(cls, folder: Path, device: str | torch.device) -> "MotionTokenizer":
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no tokenizer (no {name}); scripts/train_vqvae.py makes one")
        source = folder / "config.json"
        content = read_json(source)
        missing = [key for key in ("VQVAEConfig", "skeleton", "fps") if key not in content]
        if missing:
            raise ValueError(f"{source} is not a tokenizer's: it has no {', '.join(missing)}")
        name = get_field(content, "representation", str, source, "humanml3d")
        fps = get_field(content, "fps", float, source, least=1e-3)
        layout = get_field(content, "smplx_layout", str, source, None)
        skeleton = load_skeleton(folder, get_field(content, "skeleton", str, source))
        try:
            representation = get_representation(name, skeleton)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        vqvae = load_vqvae(folder).to(device)
        normalizer = Normalizer.load(folder)
        normalizer.check_pair(representation, vqvae.config.feature_bias, folder / "Std.npy")
        check_hashes(folder, content, HASHED_FILES, source)

        motion_tokenizer = cls(vqvae, normalizer, skeleton, fps, representation)
        motion_tokenizer.hash = known_hash(folder / "model.safetensors")
        motion_tokenizer.smplx_layout = layout
        motion_tokenizer.source = folder
        return motion_tokenizer

    @classmethod
    def _load_foreign(
        cls,
        path: Path,
        device: str | torch.device,
        stats: Path | str | None,
        layout: str | None,
        fps: float | None,
    ) -> "MotionTokenizer":
        if stats is None:
            if (path.parent / "Mean.npy").is_file() and path.name == "model.safetensors":
                raise ValueError(f"{path} is part of a tokenizer folder; give the folder, {path.parent}")
            raise ValueError(f"{path} has no mean and deviation: give the folder of its Mean.npy and Std.npy (--stats)")
        normalizer = Normalizer.load(stats)
        vqvae = load_vqvae(path).to(device)
        facts = exported_facts(path)
        if facts:
            return cls._load_exported(path, vqvae, normalizer, stats, facts, layout, fps)

        # 1) The width tells the skeleton; SMPL-X has none of its own, and a choice of column orders.
        width = vqvae.config.feature_dim
        skeleton = skeleton_of_width(width)
        if skeleton is None and width != SMPLX_WIDTH:
            raise ValueError(f"{path} has width {width}: none of HumanML3D (263), KIT-ML (251) and SMPL-X (182)")
        representation = get_representation("humanml3d" if skeleton else "smplx", skeleton or HUMANML3D)
        if width == SMPLX_WIDTH:
            if fps is None:
                raise ValueError(f"{path} does not tell the frame rate it was trained at: give it (--vqvae-fps)")
            normalizer = _reorder(vqvae, normalizer, layout, path)
        elif layout is not None:
            raise ValueError(f"--smplx-layout is for 182 SMPL-X numbers a frame; {path} has {width}")

        # 2) Mean and deviation must be the pair the network was trained with.
        bias = _feature_bias(Path(stats), vqvae)
        normalizer.check_pair(representation, bias, stats if Path(stats).is_file() else Path(stats) / "Std.npy")
        vqvae.config = replace(vqvae.config, feature_bias=bias)  # so that `save` writes the true value

        skeleton = skeleton or HUMANML3D
        motion_tokenizer = cls(vqvae, normalizer, skeleton, fps or skeleton.fps, representation)
        motion_tokenizer.hash = tensors_hash(vqvae.state_dict())  # equal to the hash of a folder that `save` writes
        motion_tokenizer.smplx_layout = layout
        motion_tokenizer.source = path
        return motion_tokenizer

    @classmethod
    def _load_exported(
        cls,
        path: Path,
        vqvae: VQVAE,
        normalizer: Normalizer,
        stats: Path | str,
        facts: dict,
        layout: str | None,
        fps: float | None,
    ) -> "MotionTokenizer":
        """A file that `scripts/export.py` wrote: it says what the files of other projects do not."""
        if layout not in (None, "train"):  # train is our own order
            raise ValueError(f"{path} was exported from a folder, and its columns are in our order: no --smplx-layout")
        skeleton = Skeleton.from_json(get_field(facts, "skeleton", str, path))
        representation = get_representation(get_field(facts, "representation", str, path), skeleton)
        place = Path(stats) if Path(stats).is_file() else Path(stats) / "Std.npy"
        normalizer.check_pair(representation, vqvae.config.feature_bias, place)
        fps = fps or get_field(facts, "fps", float, path, least=1e-3)
        motion_tokenizer = cls(vqvae, normalizer, skeleton, fps, representation)
        motion_tokenizer.hash = tensors_hash(vqvae.state_dict())
        motion_tokenizer.smplx_layout = get_field(facts, "smplx_layout", str, path, None)
        motion_tokenizer.source = path
        return motion_tokenizer

    def facts(self) -> dict:
        """What an exported file says about itself beside its tensors, for `_load_exported`."""
        layout = {"smplx_layout": self.smplx_layout} if self.smplx_layout else {}
        kind = {"skeleton": self.skeleton.to_json(), "representation": self.representation.name, "fps": self.fps}
        return kind | layout

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write the folder. With `dtype` float16 a shipped file has half the size; a load makes it float32 again."""
        content = {
            "VQVAEConfig": self.vqvae.config.to_dict(),
            "skeleton": self.skeleton.name,
            "representation": self.representation.name,
            "fps": self.fps,
        }
        if self.smplx_layout:
            content["smplx_layout"] = self.smplx_layout
        # without hashes first: a kill before the last line leaves a folder that can be read
        write_json(folder / "config.json", content)
        save_vqvae(self.vqvae, folder, dtype)
        self.normalizer.save(folder)
        save_skeleton(self.skeleton, folder)
        hashes = file_hashes(folder, HASHED_FILES) | {"VQVAEConfig": values_hash(content["VQVAEConfig"])}
        write_json(folder / "config.json", content | {HASHES: hashes})

    def has_codes_of(self, other: "MotionTokenizer") -> bool:
        """Whether a code means the same in both: motions of one kind, and equal latents for every code.

        Latents are compared to float16 precision, which shipped weights have. The decoders may differ: one may have
        been trained further.
        """
        kinds = [(x.skeleton, x.representation.name, x.fps, x.config.codes) for x in (self, other)]
        if kinds[0] != kinds[1]:
            return False
        codes = torch.arange(self.config.codes)[:, None]
        rows, wanted = (x.vqvae.quantizer.lookup(codes.to(x.device)).cpu() for x in (self, other))
        near = 1e-3 * float(wanted.abs().max())  # float16 rounds to about 5e-4 of a number
        return rows.shape == wanted.shape and torch.allclose(rows, wanted, rtol=0, atol=near)

    def copy_weights(self, vqvae: VQVAE) -> None:
        """Copy the network's weights into another one, as a start. ValueError if it has another shape."""
        try:
            vqvae.load_state_dict(self.vqvae.state_dict())
        except RuntimeError as error:
            changes = ", ".join(differences(self.config.to_dict(), vqvae.config.to_dict()))
            raise ValueError(f"{self.source} has another shape ({changes}); leave these flags out") from error

    @property
    def device(self) -> torch.device:
        return next(self.vqvae.parameters()).device

    @property
    def config(self) -> VQVAEConfig:
        return self.vqvae.config

    def encode_all(self, clips: Sequence[np.ndarray]) -> list[Tensor]:
        """Features (F_i, D) in their own units -> codes (S_i, Q) of all layers; S_i = F_i // 4 may be 0."""
        sizes = [len(clip) // self.config.frames_per_code for clip in clips]
        codes = [torch.zeros(0, self.vqvae.quantizer.num_layers, dtype=torch.int64) for _ in clips]
        for indices in _batches(sizes):
            motion, lengths = pad_motions([self.normalizer.normalise(clips[i]) for i in indices])
            out = self.vqvae.encode_all(motion.to(self.device), lengths.to(self.device)).cpu()
            for i, row in zip(indices, out, strict=True):
                codes[i] = row[: sizes[i]]
        return codes

    def encode(self, clips: Sequence[np.ndarray]) -> list[list[int]]:
        """The first layer of `encode_all`, as lists. This is what a language model learns."""
        return [codes[:, 0].tolist() for codes in self.encode_all(clips)]

    def decode_features(self, codes: Sequence[Sequence[int] | Tensor]) -> list[Tensor]:
        """Codes (S_i,), or (S_i, q) of the first q layers -> features (4 S_i, D) in their own units."""
        rows = [torch.as_tensor(row, dtype=torch.int64) for row in codes]
        motions = [torch.zeros(0, self.config.feature_dim) for _ in rows]
        for indices in _batches([len(row) for row in rows]):
            lengths = torch.tensor([len(rows[i]) for i in indices])
            padded = pad_sequence([rows[i] for i in indices], batch_first=True)
            motion = self.vqvae.decode(padded.to(self.device), lengths.to(self.device))
            motion = self.normalizer.denormalise(motion.float()).cpu()
            frames = lengths * self.config.frames_per_code
            for i, row, length in zip(indices, motion, frames, strict=True):
                motions[i] = row[:length]
        return motions

    def decode(self, codes: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Codes -> joints (4 S_i, J, 3), metres, float32. ValueError if features hold no joints (SMPL-X)."""
        return [self.joints(features).numpy() for features in self.decode_features(codes)]

    def joints(self, features: Tensor) -> Tensor:
        """Features (F, D) in their own units -> joints (F, J, 3) in metres. KIT-ML's features are in other units."""
        return self.representation.decode(features) * self.representation.metres_per_unit


def _batches(sizes: Sequence[int]) -> list[list[int]]:
    """Indices of the rows that are not empty, in batches of similar size."""
    rows = np.flatnonzero(sizes)
    return [rows[batch].tolist() for batch in by_length(np.asarray(sizes)[rows], ENCODE_BATCH)]


def _feature_bias(stats: Path, vqvae: VQVAE) -> float:
    """The feature bias behind the mean and deviation of another project's file.

    It is the published one, unless `stats` is the tokenizer folder of ours from which the file was exported.
    """
    kind = vqvae.config.quantizer
    if (stats / "config.json").is_file() and (stats / "model.safetensors").is_file():
        own = load_vqvae(stats)
        if own.config.quantizer == kind and torch.equal(own.quantizer.codebook, vqvae.quantizer.codebook.cpu()):
            return own.config.feature_bias
    return FOREIGN_BIAS[kind]


def _reorder(vqvae: VQVAE, normalizer: Normalizer, layout: str | None, path: Path) -> Normalizer:
    """Bring the SMPL-X columns a foreign network reads and writes into our order, in place; return its normaliser, too.

    A column it lacks is read with weight 0 and written as 0.
    """

    def ours(columns: np.ndarray) -> np.ndarray:
        """(182, ...) -> the same in our order."""
        rows = columns.reshape(SMPLX_WIDTH, -1).T
        return from_layout(rows, layout).T.reshape(columns.shape)

    try:
        first, last = vqvae.encoder.conv_in, vqvae.decoder.conv_out
        with torch.no_grad():
            weight = first.weight.transpose(0, 1)  # (182, W, k)
            weight.copy_(torch.from_numpy(ours(weight.cpu().numpy())))
            for tensor in (last.weight, last.bias):  # (182, W, k), (182,)
                tensor.copy_(torch.from_numpy(ours(tensor.cpu().numpy())))
        return Normalizer(ours(normalizer.mean), ours(normalizer.std))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_same_motion(motion_tokenizer: MotionTokenizer, data: MotionDataset, name: str = "tokenizer") -> None:
    """Raise ValueError if a tokenizer, or an evaluator (`name`), would misread the features of a data set."""
    pairs = {
        "skeleton": (motion_tokenizer.skeleton, data.skeleton),
        "representation": (motion_tokenizer.representation.name, data.representation.name),
        "frame rate": (motion_tokenizer.fps, data.fps),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            names = [getattr(x, "name", x) for x in (ours, theirs)]
            raise ValueError(f"the {name} has {what} {names[0]}, {data.folder} has {names[1]}")
