"""HumanML3D's index.csv over a folder of AMASS: every row is a piece of a clip, so the data set can be rebuilt.

A row says which file, which frames at 20 fps (counted after trimming) and what the piece is called. `amass.py` reads
the clips; texts and splits of the new names come with HumanML3D. 1,191 of the 14,616 rows are HumanAct12's. Their
joints come with HumanML3D and are taken as they are: neither flipped, trimmed nor cut.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import amass
from motiongpt.files.arrays import array_fault


@dataclass(frozen=True)
class IndexRow:
    """One row of index.csv."""

    line: int
    source: PurePosixPath  # below ./pose_data/: KIT/3/kick_high_left02_poses.npy
    start: int  # frames at 20 fps, after trimming
    end: int
    id: str  # 000000


def index_rows(path: Path | str) -> list[IndexRow]:
    """The rows of a HumanML3D index.csv: source_path, start_frame, end_frame, new_name.

    Raises FileNotFoundError, or ValueError naming the line.
    """
    path = Path(path)
    rows: list[IndexRow] = []
    ids: set[str] = set()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    columns = ["source_path", "start_frame", "end_frame", "new_name"]
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise ValueError(f"the first line must name {', '.join(columns)}, got {str(reader.fieldnames)[:100]}")
            for row in reader:
                line = f"line {reader.line_num}"
                values = [row[column] or "" for column in columns]
                source, name = PurePosixPath(values[0]), PurePosixPath(values[3])
                # the first folder is only ever pose_data; a path that leaves AMASS would read any file of the machine
                parts = source.parts[1:] if source.parts[:1] == ("pose_data",) else source.parts
                if source.is_absolute() or ".." in parts or len(parts) < 2:
                    raise ValueError(f"{line}: source_path must be ./pose_data/DATASET/.../CLIP.npy, got {values[0]!r}")
                if len(name.parts) != 1 or name.stem in ids or name.stem == "..":
                    raise ValueError(f"{line}: new_name must be a file name that no row before has, got {values[3]!r}")
                try:
                    start, end = int(values[1]), int(values[2])
                except ValueError as error:
                    raise ValueError(f"{line}: start_frame and end_frame must be whole numbers: {error}") from error
                ids.add(name.stem)
                rows.append(IndexRow(reader.line_num, PurePosixPath(*parts), start, end, name.stem))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    return rows


def source_file(row: IndexRow, amass_root: Path | str, humanact12: Path | str | None = None) -> Path:
    """The file of a row: AMASS_ROOT/KIT/3/kick_high_left02_poses.npz, or HumanAct12's .npy.

    Names of later AMASS releases are tried, too: PosePrior for MPI_Limits, _stageii for _poses, _ for spaces.
    `humanact12` is the folder of its joints (default AMASS_ROOT/humanact12). Raises FileNotFoundError naming the row
    and the first file that was tried.
    """
    root, source = Path(amass_root), row.source
    if is_humanact12(row):
        folder = root / "humanact12" if humanact12 is None else Path(humanact12)
        tried = [folder / Path(*source.parts[1:]), folder / source.name]
    else:
        stem = source.stem.removesuffix("_poses")
        stems = [f"{name}{end}" for name in (stem, stem.replace(" ", "_")) for end in ("_poses", "_stageii")]
        datasets = (source.parts[0], amass.RENAMED.get(source.parts[0], source.parts[0]))
        places = [root.joinpath(name, *source.parts[1:-1]) for name in dict.fromkeys(datasets)]
        tried = [place / f"{name}.npz" for name in dict.fromkeys(stems) for place in places]
    for path in tried:
        if path.is_file():
            return path
    raise FileNotFoundError(f"{row.id}, line {row.line} of the index: {tried[0]} does not exist")


def is_humanact12(row: IndexRow) -> bool:
    """Whether a row's clip is HumanAct12's, which is neither flipped, trimmed nor cut."""
    return "humanact12" in str(row.source)


def read_row(
    row: IndexRow,
    amass_root: Path | str,
    body_models: Path | str | None = None,
    humanact12: Path | str | None = None,
    exact_fps: bool = False,
) -> RawClip:
    """The clip of one row: 22 joints at 20 fps, trimmed, then frames start to end as Python slices them.

    `body_models` and `exact_fps` are those of `amass.read`, whose errors it raises; FileNotFoundError or ValueError
    name the row.
    """
    path = source_file(row, amass_root, humanact12)
    if is_humanact12(row):
        return _humanact12(path)
    clip = amass.read(path, body_models, exact_fps=exact_fps, whole=True)
    joints = clip.joints[row.start : row.end]
    if not len(joints):
        raise ValueError(
            f"{row.id}, line {row.line} of the index: frames {row.start} to {row.end} of {path}, "
            f"which has {len(clip.joints)}"
        )
    notes = clip.notes
    if path.stem.endswith("_stageii"):
        notes += ("of AMASS's SMPL-X release; HumanML3D's own joints are of SMPL-H",)
    return replace(clip, joints=joints, notes=notes)


def _humanact12(path: Path) -> RawClip:
    try:
        joints = np.load(path, mmap_mode="r", allow_pickle=False)
        if joints.ndim != 3 or joints.shape[1] < 22 or joints.shape[2] != 3 or joints.dtype.kind != "f":
            raise ValueError(f"expected joints (F, 22 or more, 3), got {joints.shape} {joints.dtype}")
        if not 0 < len(joints) <= amass.MAX_FRAMES:
            raise ValueError(f"{len(joints)} frames, expected 1 to {amass.MAX_FRAMES}")
        joints = np.array(joints[:, :22], np.float32)
        if not np.isfinite(joints).all():
            raise ValueError("NaN or infinite joints")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: {array_fault(error)[:200]}") from error
    note = "HumanAct12: as it is, neither flipped nor trimmed nor cut"
    return RawClip(joints, HUMANML3D.joints, HUMANML3D.fps, participant=f"humanact12-{path.stem[:3]}", notes=(note,))
