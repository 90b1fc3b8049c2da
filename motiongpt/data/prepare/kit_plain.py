"""KIT-ML clips as plain arrays and JSON, for people who want to look at them."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from motiongpt.data.prepare.report import check_skipped
from motiongpt.data.raw import RawClip, Record
from motiongpt.files.store import write_atomic, write_json


def write_plain(records: Iterable[Record], folder: str | Path, say: Callable[[str], None] = print) -> None:
    """Write kit_motion_data.npy and kit_text_data.json into a folder.

    The first holds all frames of all clips (N, J, 3) as float32, in metres, y up. The second is a list of {id, start,
    length, captions}: a clip is the rows from start to start + length. `say` gets a line for each record that cannot be
    read.

    Raises TooManySkipped above 5 % of these, ValueError if there is no clip or if two differ in joints or fps.
    """
    folder = Path(folder)
    texts: list[dict] = []
    parts: list[np.ndarray] = []
    skipped: dict[str, str] = {}
    first: RawClip | None = None
    start = 0
    for record in records:
        try:
            clip = record.load()
        except (ValueError, OSError) as error:
            skipped[record.id] = " ".join(str(error).split())
            say(f"skipped {record.id}: {skipped[record.id]}")
            continue
        first = first or clip
        if clip.joints is None or (clip.names, clip.fps) != (first.names, first.fps):
            raise ValueError(f"{record.id}: its joints or its {clip.fps:g} fps are not those of the clips before it")
        length = len(clip.joints)
        texts.append({"id": record.id, "start": start, "length": length, "captions": list(clip.captions)})
        parts.append(np.asarray(clip.joints, np.float32))
        start += length
    check_skipped(skipped, len(skipped), len(texts) + len(skipped))
    if not parts:
        raise ValueError(f"no clips to write into {folder}")

    def save(temporary: Path) -> None:  # part by part: joined they would need their memory twice
        with open(temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": (start, *parts[0].shape[1:])}
            )
            for part in parts:
                file.write(part.astype("<f4").tobytes())

    write_atomic(folder / "kit_motion_data.npy", save)
    write_json(folder / "kit_text_data.json", texts)
