"""The flags of `scripts/prepare.py` as the sources take them: checked, and with the files that they name read."""

from dataclasses import dataclass
from pathlib import Path

from motiongpt.body.skeletons import Skeleton
from motiongpt.data.joint_maps import JointMap
from motiongpt.data.prepare.caption_table import CaptionRow
from motiongpt.data.prepare.caption_texts import CaptionTexts


@dataclass(frozen=True)
class Options:
    """The flags, checked; None if the source decides."""

    skeleton: Skeleton
    skeleton_file: Path | None = None
    fps: float | None = None  # of files that do not say
    unit: str | None = None
    up: str | None = None
    captions: dict[str, CaptionRow] | None = None
    captions_file: Path | None = None  # that they were read from
    joint_map: JointMap | None = None
    allow_no_text: bool = False
    smplx_layout: str | None = None
    smplx_dir: Path | None = None
    exact_fps: bool = False
    index: Path | None = None
    texts: CaptionTexts | None = None
    more_input: tuple[Path, ...] = ()  # further files or folders that join the first
    count: int = 4000
    seed: int = 0
    edits: int = 0  # pairs of motions
    add: Path | None = None  # a finished dataset folder whose clips join
    repeat: int = 1  # how often its training clips are listed
    licence: str = ""  # of the data, for dataset.json

    @property
    def cuts_trials(self) -> bool:
        """Whether the captions file says which seconds of which trial are a clip: then it lists all clips."""
        return any(row.trial for row in (self.captions or {}).values())

    def name(self, folder: Path | None) -> str:
        """The source in words: its folders, or what is generated, and what is added."""
        places = (folder, *self.more_input) if folder else ()
        edits = f", {self.edits} edits" if self.edits else ""
        own = " + ".join(place.name for place in places) or f"{self.count} clips{edits}, seed {self.seed}"
        return own + (f" + {self.repeat} x {self.add.name}" if self.add else "")
