"""edits.json of a dataset folder: which clip becomes which by a sentence, for the task `edit`.

    [{"source": "e00_000000_source", "target": "e00_000000_target", "text": ["but faster", "speed it up"],
      "kind": "faster"}, ...]

Source and target are ids of clips of the folder, both of one split, or a model would be measured on
motions that it was trained on. `text` is a sentence or a list of them; each makes an entry of the
token data set. `kind` is optional and for people. The file may be written by hand.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from motiongpt.data.mirror import mirror_caption
from motiongpt.data.motions import SPLITS, MotionDataset, check_id
from motiongpt.data.texts import is_text
from motiongpt.files.fields import get_field
from motiongpt.files.store import read_json, write_json

EDITS = "edits.json"


@dataclass(frozen=True)
class Edit:
    """A pair of clips and the sentences that turn the first into the second."""

    source: str
    target: str
    texts: tuple[str, ...]
    kind: str = ""


def read_edits(folder: Path) -> list[Edit]:
    """The edits of a dataset folder in the file's order; none if it has no edits.json.

    Raises ValueError naming the file, the entry, and what is wrong with it.
    """
    path = folder / EDITS
    if not path.is_file():
        return []
    return [_to_edit(item, f"{path}, entry {i}") for i, item in enumerate(read_json(path, list))]


def _to_edit(item: object, where: str) -> Edit:
    if not isinstance(item, dict):
        raise ValueError(f"{where}: expected an object with source, target and text, got {type(item).__name__}")
    if unknown := item.keys() - {"source", "target", "text", "kind"}:
        raise ValueError(f"{where}: unknown key {min(unknown)!r}; the keys are source, target, text and kind")
    source, target = (get_field(item, key, str, where) for key in ("source", "target"))
    for clip in (source, target):
        try:
            check_id(clip)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if source == target:
        raise ValueError(f"{where}: source and target are both {source!r}; an edit needs two clips")
    texts = item.get("text")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{where}: text must be a sentence or a list of sentences, got {str(item.get('text'))[:60]!r}")
    if broken := next((text for text in texts if not is_text(text)), None):
        raise ValueError(f"{where}: half a character (a lone surrogate) in the text {ascii(broken)[:60]}")
    return Edit(
        source, target, tuple(" ".join(text.split()) for text in texts), get_field(item, "kind", str, where, "")
    )


def split_of_edits(data: MotionDataset, edits: Iterable[Edit]) -> dict[str, str]:
    """Clip id -> split for all clips of edits.

    Raises ValueError naming the edit if the folder lists one of its clips in no split, or the two in
    different ones.
    """
    listed = {split: data.ids(split) for split in SPLITS if (data.folder / f"{split}.txt").is_file()}
    split_of = {clip: split for split, clips in listed.items() for clip in clips}
    found = {}
    for i, edit in enumerate(edits):
        where = f"{data.folder / EDITS}, entry {i}"
        for clip in (edit.source, edit.target):
            if clip not in split_of:
                raise ValueError(f"{where}: no split of {data.folder} lists the clip {clip!r}; correct its id")
            found[clip] = split_of[clip]
        if split_of[edit.source] != split_of[edit.target]:
            raise ValueError(
                f"{where}: {edit.source} is in {split_of[edit.source]}.txt and {edit.target} in "
                f"{split_of[edit.target]}.txt; both clips of an edit belong to one split"
            )
    return found


def write_edits(folder: Path, edits: Iterable[Edit], clips: Collection[str]) -> int:
    """Write the edits whose two clips are among `clips`, and return how many.

    Clips that are there with left and right exchanged too (`M` + id) get their edit mirrored.
    Without any edit no file is written, and one of an earlier build is removed.
    """
    found = []
    for edit in edits:
        mirrored = Edit(
            f"M{edit.source}", f"M{edit.target}", tuple(mirror_caption(text) for text in edit.texts), edit.kind
        )
        found += [one for one in (edit, mirrored) if one.source in clips and one.target in clips]
    if found:
        write_json(folder / EDITS, [_to_json(edit) for edit in found], indent=1)
    else:
        (folder / EDITS).unlink(missing_ok=True)
    return len(found)


def _to_json(edit: Edit) -> Mapping[str, object]:
    return {"source": edit.source, "target": edit.target, "text": list(edit.texts), "kind": edit.kind}
