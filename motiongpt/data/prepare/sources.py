"""The sources of motion: a row of one table for every value of `--from`, with the flags that it takes.

A source is a folder of a known layout (`joints`, `humanml3d`, `kit-ml`), a module of `data/readers/`, or the embedded
data (`procedural`). The clips of a source are `records.py`. `prepare.py --help` reads this table, so nothing here
imports NumPy or PyTorch; a reader is imported when it is asked for.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Source:
    """One value of --from: its reader, its defaults, and the flags that mean something for it."""

    flags: frozenset[str]
    reader: str = ""  # module in data/readers/; empty: no reader, `records.py` knows the source
    skeleton: str = "humanml3d"
    representation: str = "humanml3d"


def _flags(text: str) -> frozenset[str]:
    return frozenset(text.split())


_JOINTS = "mirror skeleton representation add repeat"  # flags of every source that has joints

SOURCES = {
    "joints": Source(_flags(f"input fps captions unit up {_JOINTS}")),
    "humanml3d": Source(_flags("input skeleton add repeat")),
    "kit-ml": Source(_flags("input"), skeleton="kit"),
    "kit-xml": Source(_flags(f"input captions joint_map plain {_JOINTS}"), "kit_xml"),
    "bvh": Source(_flags(f"input captions joint_map unit up {_JOINTS}"), "bvh"),
    "asfamc": Source(_flags(f"input fps captions joint_map unit up index texts {_JOINTS}"), "asfamc"),
    "amass": Source(_flags(f"input captions smplx_dir exact_fps index texts {_JOINTS}"), "amass"),
    "myoskeleton": Source(
        _flags(f"input fps unit up joint_map allow_no_text {_JOINTS}"), "myoskeleton", "myoskeleton", "positions"
    ),
    "smplx": Source(
        _flags("input fps captions smplx_layout smplx_dir representation"), "smplx", representation="smplx"
    ),
    "procedural": Source(_flags(f"count edits seed {_JOINTS}")),
}


def check_flags(source: str, given: dict[str, Any]) -> None:
    """ValueError in one line for a flag that has no meaning for a source. `given` is name -> value, unset ones None."""
    for name, value in given.items():
        is_set = value is not None and value is not False
        owners = [other for other, row in SOURCES.items() if name in row.flags]
        # a flag in no row, like --out, is for all sources
        if is_set and owners and source not in owners:
            what = "needs joints: it is for" if name == "mirror" else "is for"
            raise ValueError(f"--{name.replace('_', '-')} {what} --from {', '.join(owners)}; not for {source}")


def reader(source: str) -> ModuleType:
    """The module that reads a source. ValueError if this version has none."""
    name = f"motiongpt.data.readers.{SOURCES[source].reader}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # the reader is there, a library that it imports is not
            raise
        raise ValueError(f"--from {source} has no reader in this version") from error
