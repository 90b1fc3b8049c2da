"""A motion as people handle it: joints, frame rate, tokens and text together, saved by file suffix.

`Motion.save` picks the writer: `.npy` `.npz` `.json` `.txt` here, pictures and pages in `render/`, files for other
programs in `rigs/`. A motion may have tokens and no joints (a language model without a motion tokenizer), or SMPL-X
parameters instead of joints. It saves what it has. Only SMPL-X parameters get joints to be drawn: those of a stand-in
skeleton, and every picture says so; `features/body_meshes.py` has the person's own body.

This module does not know how tokens become joints (`motion_tokenizer.py`), nor which model made them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, MYOSKELETON, Skeleton, guess_skeleton
from motiongpt.features.body_meshes import BodyMeshes
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_WIDTH, stand_in_joints
from motiongpt.files.arrays import array_fault, copy_array, read_npz
from motiongpt.files.store import naming, write_atomic
from motiongpt.render.html import write_html
from motiongpt.render.mp4 import check_mp4
from motiongpt.render.pictures import SUFFIXES as DRAWN
from motiongpt.render.pictures import check_view, draw
from motiongpt.render.view import Shown, View
from motiongpt.rigs.files import RIGGED, write_rigged
from motiongpt.vocab import format_motion

PICTURES = (*DRAWN, ".html")
FARTHEST = 1000.0  # metres from the origin; nobody walks that far in a clip, and a flipped bit makes 1e38
AS_USUAL = View()
OF_JOINTS = (*PICTURES, *RIGGED, ".npy")
STAND_IN = "stand-in skeleton"
STAND_IN_NOTE = (
    f"drawn on a {STAND_IN}, not on the person's own body; .npz has the SMPL-X parameters, and a data set that "
    "prepare.py makes with --smplx-dir has the body's own joints"
)


class Codes(tuple):
    """Motion codes: a tuple of ints that prints the way the field writes them, 42 18 91."""

    __slots__ = ()

    def __new__(cls, codes=()):
        return super().__new__(cls, (int(code) for code in codes))

    def __str__(self) -> str:
        return " ".join(map(str, self))


@dataclass
class Motion:
    """One motion. Raises ValueError if joints, skeleton and fps contradict each other.

    Joints are kept as float32 and tokens as `Codes`; any array and any sequence of ints may be given.
    """

    joints: np.ndarray | None  # (F, J, 3) metres, y up; None if there are only tokens
    fps: float  # frames, not tokens, per second
    tokens: Codes = Codes()  # S = F / 4 codes
    text: str = ""
    skeleton: Skeleton | None = None  # required with joints
    parameters: np.ndarray | None = None  # (F, 182) of SMPL-X in the order of SMPLX_COLUMNS, instead of joints
    notes: tuple[str, ...] = ()  # what to know of how it was made, a line each; saved in .json alone

    def __repr__(self) -> str:
        """A line for the Python prompt, without the array."""
        frames = self.parameters if self.joints is None else self.joints
        size = f"{len(self.tokens)} codes" if frames is None else f"{len(frames)} frames"
        return f"Motion({size}, {self.fps:g} fps, {self.text!r})"

    def __post_init__(self):
        self.tokens, self.fps = Codes(self.tokens), float(self.fps)
        if not 0 < self.fps < np.inf:
            raise ValueError(f"fps must be a positive number, got {self.fps}")
        if self.parameters is not None:
            self.parameters = np.asarray(self.parameters, dtype=np.float32)
            if self.joints is not None or self.parameters.ndim != 2 or self.parameters.shape[1] != SMPLX_WIDTH:
                got = f"{self.parameters.shape}" + ("" if self.joints is None else " and joints")
                raise ValueError(f"SMPL-X parameters must be (F, {SMPLX_WIDTH}), without joints, got {got}")
        if self.joints is None:  # nothing below applies
            return
        self.joints = np.asarray(self.joints, dtype=np.float32)
        if self.joints.ndim != 3 or self.joints.shape[2] != 3 or len(self.joints) == 0:
            raise ValueError(f"joints must have shape (F, J, 3) with F > 0, got {self.joints.shape}")
        if self.skeleton is None:
            raise ValueError(f"a motion of {self.joints.shape[1]} joints needs its skeleton")
        if self.joints.shape[1] != self.skeleton.num_joints:
            name, J = self.skeleton.name, self.skeleton.num_joints
            raise ValueError(f"got {self.joints.shape[1]} joints, but skeleton {name} has {J}")

    @property
    def tokens_text(self) -> str:
        """The codes as text, "42 18 91"."""
        return str(self.tokens)

    @property
    def seconds(self) -> float:
        """Duration; 0 if there are only tokens, since only a motion tokenizer knows how long a token lasts."""
        frames = self.parameters if self.joints is None else self.joints
        return 0.0 if frames is None else len(frames) / self.fps

    def save(self, path: str | Path, *, view: View = AS_USUAL, rig: str = "own") -> list[Path]:
        """Write the format of the suffix and return the paths written. Parent folders are made.

        A path without a suffix, or an existing folder, becomes a folder with motion.npy, motion.gif and motion.txt
        (SMPL-X: motion.npz, motion.gif and motion.txt; tokens only: motion.txt; no tokens: no motion.txt). Those of an
        earlier motion are removed first. `view` is how pictures and pages show it, `rig` is whose bones a .bvh, .glb,
        .vrma or .csv has: a name or a character's file, see `rigs.files.write_rigged`. SMPL-X parameters are drawn, and
        become the joints of a `.npy` or a rig, on a stand-in skeleton (see `on_stand_in`), which the title of a picture
        names. Each file appears whole or not at all.

        Raises ValueError for an unknown suffix, for a `view` or a `rig` that cannot be had, for a format that needs
        joints if there are none, for a `.mp4` without PyAV, and for a motion that `check_plausible` refuses.
        """
        path = Path(path)
        self.check_plausible(path)
        if path.is_dir() or not path.suffix:  # a folder: one file per format the motion can have
            suffixes = (".txt",) if self.joints is None else (".npy", ".gif", ".txt")
            if self.parameters is not None:
                suffixes = (".npz", ".gif", ".txt")
            check_view(view)
            for end in suffixes:  # no file of an earlier motion may stay beside the first ones of this motion
                with naming(path):
                    (path / f"motion{end}").unlink(missing_ok=True)
            written = suffixes[:-1] if len(suffixes) > 1 and not self.tokens else suffixes
            return [out for end in written for out in self.save(path / f"motion{end}", view=view, rig=rig)]
        check_suffix(path, self.joints is not None, self.parameters is not None)
        suffix = path.suffix.lower()
        if suffix in PICTURES:
            return [show(path, [self.shown()], replace(view, title=self.title(view.title)))]
        if self.parameters is not None and suffix in OF_JOINTS:
            return self.on_stand_in().save(path, rig=rig)
        if suffix in RIGGED:
            return [write_rigged(path, self.joints, self.skeleton, self.fps, rig=rig, text=self.text)]
        write_atomic(path, lambda temporary: _WRITERS[suffix](self, temporary))
        return [path]

    def shown(self, meshes: BodyMeshes | None = None) -> Shown:
        """The motion as pictures take it, on a body model if there is one; else SMPL-X parameters on a stand-in.

        It must have joints or parameters. Raises what `BodyMeshes` raises.
        """
        if meshes is None:
            motion = self if self.parameters is None else self.on_stand_in()
            return Shown(motion.joints, motion.skeleton, motion.fps, motion.text)
        if self.parameters is not None:
            vertices, joints = meshes.of_parameters(self.parameters)
        else:
            vertices, joints = meshes.of_joints(self.joints, self.skeleton, self.fps)
        return Shown(joints, HUMANML3D, self.fps, self.text, vertices, meshes.model.faces)

    def title(self, given: str = "") -> str:
        """The title of a picture, which says that a skeleton is a stand-in: first, as long ones are cut at the end."""
        return given if self.parameters is None else f"{STAND_IN}: {given}" if given else STAND_IN

    def on_stand_in(self) -> "Motion":
        """SMPL-X parameters as joints of a skeleton that stands in for the person's body; see `stand_in_joints`."""
        joints = stand_in_joints(self.parameters)
        return Motion(joints, self.fps, self.tokens, self.text, HUMANML3D)

    def check_plausible(self, path: str | Path) -> None:
        """ValueError, naming `path`, for a joint or an SMPL-X parameter that is not finite or is beyond a kilometre."""
        for name, frames in (("joint", self.joints), ("parameter", self.parameters)):
            if frames is None:
                continue
            wrong = ~(np.abs(frames) <= FARTHEST)  # true of NaN
            if wrong.any():
                frame = int(np.argwhere(wrong)[0, 0])
                raise ValueError(
                    f"{path} is not written: frame {frame} has a {name} at {frames[wrong][0]:g}, where nobody is; "
                    "the input is not in metres, or the weights or statistics it was made with are damaged"
                )

    @classmethod
    def load(cls, path: str | Path, *, skeleton: Skeleton | None = None, fps: float | None = None) -> "Motion":
        """Read a `.npz` written by `save`, or a `.npy` of joints (F, J, 3) in metres.

        A `.npy` holds neither skeleton nor fps. Without `skeleton`, 22 joints are HumanML3D's, 21 are KIT-ML's and 28
        are MyoSkeleton's; without `fps` it is the skeleton's. Both arguments override what a `.npz` holds.

        Raises FileNotFoundError, or ValueError naming a file that is damaged or does not fit.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no motion file {path}")
        if path.suffix.lower() not in (".npy", ".npz"):
            raise ValueError(f"{path}: a motion is read from .npy or .npz")
        try:
            is_array = path.suffix.lower() == ".npy"
            record = {"joints": copy_array(path)} if is_array else read_npz(path)[1]
            if "betas" in record and "trans" in record:
                raise ValueError("a body in motion as AMASS has it; prepare.py --from amass makes joints of such files")
            if "betas" in record:  # SMPL-X parameters, by name
                record["parameters"] = np.concatenate([record[name] for name in SMPLX_COLUMNS], axis=1)
            if skeleton is None and "skeleton" in record:
                skeleton = Skeleton.from_json(str(record["skeleton"]))
            if skeleton is None and record.get("joints") is not None:
                skeleton = _skeleton_of(record["joints"].shape)
            if fps is None:
                fps = float(record["fps"]) if "fps" in record or skeleton is None else skeleton.fps
            tokens = record.get("tokens", ())
            text = str(record.get("text", ""))
            return cls(record.get("joints"), fps, tokens, text, skeleton, record.get("parameters"))
        except KeyError as error:
            raise ValueError(f"{path}: a motion .npz must have {error}") from error
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}: not a motion ({array_fault(error)})") from error


def _skeleton_of(shape: tuple[int, ...]) -> Skeleton:
    """The built-in skeleton of joints (F, J, 3), by their number."""
    joints = shape[1] if len(shape) == 3 else 0
    skeleton = MYOSKELETON if joints == MYOSKELETON.num_joints else guess_skeleton(joints)
    if skeleton is None:
        raise ValueError(f"shape {shape} fits (F, J, 3) of no built-in skeleton; say which skeleton it is")
    return skeleton


def show(path: str | Path, shown: Sequence[Shown], view: View = AS_USUAL) -> Path:
    """Draw one motion or several beside each other: a picture, a film or a page, by the suffix. Returns the path.

    Raises ValueError for a `view` out of range, and what `draw` and `write_html` raise.
    """
    check_view(view)
    return (write_html if Path(path).suffix.lower() == ".html" else draw)(path, shown, view)


def check_suffix(path: Path, joints: bool, parameters: bool = False) -> None:
    """ValueError if `Motion.save` could not write this file: an unknown suffix, or a format that needs joints or PyAV.

    `joints` and `parameters` say whether the motion has joints, or SMPL-X parameters instead, which can be drawn too.
    """
    suffix = path.suffix.lower()
    if not suffix or path.is_dir():
        return
    known = (*_WRITERS, *PICTURES, *RIGGED)
    if suffix not in known:
        raise ValueError(f"cannot save {path.name}: supported are {' '.join(known)}, or no suffix for a folder")
    if not joints and not parameters and suffix in OF_JOINTS:
        raise ValueError(f"cannot save {path.name}: there are tokens only; joints need a VQ-VAE (flag --vqvae)")
    if suffix == ".mp4":
        check_mp4()


def needs_joints(path: Path) -> bool:
    """Whether joints go into this file or folder; those of SMPL-X parameters are the stand-in skeleton's."""
    return path.is_dir() or path.suffix.lower() in ("", *OF_JOINTS)


def _write_npy(motion: Motion, path: Path) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would append .npy to a temporary name
        np.save(file, motion.joints)


def _write_npz(motion: Motion, path: Path) -> None:
    record = {"fps": motion.fps, "tokens": np.array(motion.tokens, dtype=np.int64), "text": motion.text}
    if motion.skeleton is not None:
        record["skeleton"] = motion.skeleton.to_json()
    if motion.joints is not None:
        record["joints"] = motion.joints
    if motion.parameters is not None:
        record |= {name: motion.parameters[:, columns] for name, columns in SMPLX_COLUMNS.items()}
    with open(path, "wb") as file:
        np.savez_compressed(file, **record)


def _write_json(motion: Motion, path: Path) -> None:
    """All fields, the skeleton by its name, joints rounded to a micrometre."""

    def numbers(array: np.ndarray | None) -> list | None:
        return None if array is None else array.astype(np.float64).round(6).tolist()

    skeleton = motion.skeleton.name if motion.skeleton else None
    record = {"text": motion.text, "fps": motion.fps, "tokens": list(motion.tokens), "skeleton": skeleton}
    record["joints"] = numbers(motion.joints)
    if motion.parameters is not None:
        record["parameters"] = numbers(motion.parameters)
    record |= {"notes": list(motion.notes)} if motion.notes else {}
    path.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_txt(motion: Motion, path: Path) -> None:
    path.write_text(format_motion(motion.tokens) + "\n", encoding="utf-8")


_WRITERS = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".txt": _write_txt,
    ".json": _write_json,
}
