"""How a training is watched beside its log: TensorBoard, and motions that the model writes on the way.

metrics.jsonl and loss.png are always written. --log-dir adds TensorBoard's files, --sample-every samples.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motiongpt.cli.parser import Parser
    from motiongpt.training.watch import Watcher

LOG_DIR = Path("logs")
"""Where TensorBoard's files go if --log-dir names no folder; MyoSkeleton's guide has the same."""


def add_watch_flags(parser: "Parser") -> None:
    """--log-dir."""
    text = (
        f"also write what TensorBoard shows below this folder (without DIR: {LOG_DIR}; default: not at all); there it "
        "has the path of --out from here, or its whole path if --out lies elsewhere"
    )
    parser.add_argument("--log-dir", type=Path, nargs="?", const=LOG_DIR, metavar="DIR", help=text)


def log_watchers(args: argparse.Namespace, folder: Path, tags: Mapping[str, str] | None = None) -> "list[Watcher]":
    """TensorBoard for the training in `folder`, if --log-dir was given; `tags` renames numbers.

    To be called before anything is trained or removed: raises ValueError if tensorboard is not installed, OSError if
    nothing can be written there. --dry-run only checks that.
    """
    if args.log_dir is None:
        return []
    from motiongpt.files.folders import output_path
    from motiongpt.training.tensorboard import TensorBoard

    output_path(args.log_dir, "--log-dir", folder=True)  # first, as an error names what it is given
    board = TensorBoard(output_path(args.log_dir / log_name(folder), "--log-dir", folder=True), tags)
    return [] if getattr(args, "dry_run", False) else [board]


def log_name(folder: Path) -> Path:
    """The folder's place below --log-dir, which TensorBoard shows as the name of the run: its path from here."""
    path = Path(os.path.abspath(folder))
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path.relative_to(path.anchor)
