"""Clips that are pieces of longer recordings, as records: the rows of HumanML3D's index.csv, and captioned trials.

Either says which frames of which file are a clip; the readers' index modules find the file and cut it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.data.prepare.array_folders import captioned, read_splits, refuse, text_path
from motiongpt.data.prepare.caption_table import find_row
from motiongpt.data.prepare.names import guess_caption
from motiongpt.data.prepare.options import Options
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.units import metres

if TYPE_CHECKING:
    from motiongpt.data.readers.amass_index import IndexRow
    from motiongpt.data.readers.asfamc_index import TrialRow

    Piece = tuple[IndexRow, Callable[[], RawClip], list[Path]]  # a row, its clip's load, the clip's files


def check_models(options: Options) -> None:
    """ValueError if the body models of AMASS are not given."""
    if options.smplx_dir is None:
        raise ValueError(
            "--from amass needs --smplx-dir DIR, the body models that its poses are of; --explain FILE "
            "says which, and where they come from"
        )


def index_records(source: str, folder: Path, options: Options) -> Iterator[Record]:
    """A record for each row of HumanML3D's index.csv over a folder of AMASS or of CMU's ASF/AMC, at HumanML3D's rate.

    Captions come from the captions file, else from --texts, else from texts/ID.txt. That folder and the splits are
    looked for beside the index, and in a folder HumanML3D beside it.
    """
    places = (options.index.parent, options.index.parent / "HumanML3D")
    place = next((p for p in places if (p / "texts").is_dir()), places[0])
    split_of = read_splits(place) if (place / "train.txt").is_file() else {}
    pieces = list((_asfamc_pieces if source == "asfamc" else _amass_pieces)(folder, options))
    if options.texts and pieces and not any(row.id in options.texts.texts for row, _, _ in pieces):
        raise ValueError(f"--texts {options.texts.path}: no text of the clips of the index, such as {pieces[0][0].id}")
    for row, load, files in pieces:
        key, known = find_row(options.captions, row.id)
        captions = known.captions
        if not captions and options.texts:
            try:
                captions = options.texts.captions(row.id)
            except ValueError as error:
                load = partial(refuse, str(error))
        elif not captions:
            load, captions = captioned(place, row.id, load)
        yield Record(
            row.id,
            known.split or split_of.get(row.id),
            captions,
            load,
            known.participant,
            guess=guess_caption(row.source.stem.removesuffix("_poses")),
            row=key,
            files=(options.index, text_path(place, row.id), *files),
            plain=known.plain or "",
        )


def trial_records(folder: Path, options: Options) -> Iterator[Record]:
    """A record for each row of the captions file that names a trial among CMU's ASF/AMC files in `folder`.

    The row says the seconds, the captions and the split. Rows without a trial, and those of trials that are not
    there, are passed over. Raises ValueError if none is left.
    """
    from motiongpt.data.readers.asfamc import find
    from motiongpt.data.readers.asfamc_index import captioned_trials

    known = options.captions or {}
    rows = [(name, row.trial, row.start, row.end) for name, row in known.items() if row.trial]
    for piece, load, files in _trial_pieces(*captioned_trials(rows, find(folder)), options):
        row = known[piece.id]
        yield Record(
            piece.id,
            row.split,
            row.captions,
            load,
            row.participant,
            row=piece.id,
            # with other seconds in it, the clips of an unfinished build are made again
            files=(*([options.captions_file] if options.captions_file else []), *files),
            plain=row.plain or "",
        )


def _amass_pieces(folder: Path, options: Options) -> "Iterator[Piece]":
    from motiongpt.data.readers.amass_index import index_rows, is_humanact12, read_row, source_file

    rows = index_rows(options.index)
    if not all(map(is_humanact12, rows)):  # HumanAct12 comes as joints, which need no body model
        check_models(options)
    for row in rows:
        files = []
        with suppress(FileNotFoundError):  # loading says so
            files.append(source_file(row, folder))
        yield row, partial(read_row, row, folder, options.smplx_dir, None, options.exact_fps), files


def _asfamc_pieces(folder: Path, options: Options) -> "Iterator[Piece]":
    from motiongpt.data.readers.asfamc import find
    from motiongpt.data.readers.asfamc_index import trial_rows

    return _trial_pieces(*trial_rows(options.index, find(folder)), options)


def _trial_pieces(trials: "Iterable[TrialRow]", note: str, options: Options) -> "Iterator[Piece]":
    from motiongpt.data.readers.asfamc import find_skeleton
    from motiongpt.data.readers.asfamc_index import read_row

    for trial in trials:
        load = partial(read_row, trial, options.fps, metres(options.unit), options.up, note)
        files = [trial.file]
        with suppress(FileNotFoundError):  # loading says so
            files.append(find_skeleton(trial.file))
        yield trial.row, load, files
