"""`--prompt` as people type it, where the motion of each sentence goes, and `--trace` as people read it.

A shell splits what is not quoted, so `--prompt a person walks` arrives as three words: read as one sentence. Quoted
sentences and files of sentences stay apart. A line of a file may be `sentence#frames`, as in MoMask's prompt files.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from motiongpt.cli.environment import outputs_folder
from motiongpt.data.spelling import visible_text

NO_LENGTH = ("", "na", "nan")  # after the # of a line, in any case


class Request(NamedTuple):
    """A sentence, and the length that its line of a file asks for."""

    text: str
    frames: int | None = None

    def seconds(self, fps: float, default: float | None) -> float | None:
        """The wanted length in seconds at a run's frame rate; `default`, of --seconds, if the line names none."""
        return default if self.frames is None else self.frames / fps


def read_prompts(words: Sequence[str]) -> list[Request]:
    """The sentences of `--prompt`: bare words make one sentence; quoted ones stay apart; files give one per line.

    Raises FileNotFoundError for a word that looks like a file (.txt, or a / and no space) and is none, ValueError
    naming a file that is no UTF-8 text or holds no sentence, or a line whose length is no number of frames.
    """
    prompts = []
    # a quoted sentence or a file among the words: then each word stands for itself
    apart = any(os.path.isfile(word) or " " in word.strip() for word in words) or all(map(_has_slash, words))
    for word in words if apart else [" ".join(words)]:
        if os.path.isfile(word):
            prompts += _lines(word)
        elif word.lower().endswith(".txt") or _has_slash(word):
            raise FileNotFoundError(f"--prompt {word}: no such file of sentences")
        else:
            prompts.append(Request(word))
    return prompts


def _has_slash(word: str) -> bool:
    """Whether a single word has a slash, as the path of a file does."""
    return len(word.split()) == 1 and any(mark in word for mark in {"/", os.sep})


def _lines(path: str) -> list[Request]:
    """The lines of a file that are not blank."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--prompt {path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    filled = [(number, line.strip()) for number, line in enumerate(lines, 1) if visible_text(line).strip()]
    if not filled:
        raise ValueError(f"--prompt {path} holds no sentence")
    return [_request(line, f"--prompt {path}, line {number}") for number, line in filled]


def _request(line: str, where: str) -> Request:
    """The sentence of a line, and its length: `sentence`, `sentence#frames`, or a line of HumanML3D's texts/ID.txt.

    A # that no length follows is a part of the sentence, and so is a number's # after a blank: "exercise #3".
    """
    caption = line.rsplit("#", 3)
    if len(caption) == 4 and _is_number(caption[2]) and _is_number(caption[3]):
        return Request(caption[0].strip())  # its numbers are times in a clip of the data set, no length to write
    text, mark, length = (part.strip() for part in line.rpartition("#"))
    names_frames = _is_number(length) and not line.rpartition("#")[0][-1:].isspace()
    if not mark or not (length.lower() in NO_LENGTH or names_frames):
        return Request(line)
    if not text:
        raise ValueError(f"{where}: no sentence before {line!r}; expected sentence#frames")
    if length.lower() in NO_LENGTH:
        return Request(text)
    if not length.isdecimal() or int(length) < 1:
        raise ValueError(f"{where}: expected sentence#frames with a whole number of frames or NA, got {line[-40:]!r}")
    return Request(text, int(length))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def folder_name(prompt: str) -> str:
    """A plain folder name from a sentence: its first eight words, letters and digits only."""
    plain = "".join(letter if letter.isalnum() else " " for letter in prompt.lower())
    return "-".join(plain.split()[:8])[:60] or "motion"


def output_places(given: Sequence[Path] | None, prompts: Sequence[str], samples: int = 1) -> list[list[Path]]:
    """Where each motion goes: into the `given` files and folders, else a folder of its own in outputs/.

    The samples of a prompt follow each other. Several prompts, several samples, and folders of one name are numbered:

        --output        2nd of several prompts          1st of several samples
        walk.npy        walk-001.npy                    walk_0.npy
        folder          folder/001-a-person-walks/      folder/a-person-walks_0/
        nothing         outputs/a-person-walks/         outputs/a-person-walks_0/

    Both at once give walk-001_0.npy and folder/001-a-person-walks_0/.
    """
    names = [folder_name(prompt) for prompt in prompts]
    digits = max(3, len(str(len(prompts) - 1)))  # equally many, so that files sort like their prompts
    numbers = [f"{i:0{digits}}" for i in range(len(prompts))]
    numbered = [f"{name}-{number}" for name, number in zip(names, numbers, strict=True)]
    ends = [f"_{k:0{len(str(samples - 1))}}" for k in range(samples)] if samples > 1 else [""]
    often, taken = Counter(names), set(numbered)
    places = []
    for i, name in enumerate(names):
        if given is None:
            # a sentence may also end like another one's number
            alone = numbered[i] if often[name] > 1 or name in taken else name
            places += [[outputs_folder() / f"{alone}{end}"] for end in ends]
        else:
            number = numbers[i] if len(prompts) > 1 else ""
            places += [[_place(path, number, name, end) for path in given] for end in ends]
    return places


def _place(path: Path, number: str, name: str, end: str) -> Path:
    """One motion's place at a given file or folder; without a number and an end it is that itself."""
    if path.suffix and not path.is_dir():
        return path.with_stem(f"{path.stem}-{number}{end}" if number else f"{path.stem}{end}")
    if not number and not end:
        return path
    return path / (f"{number}-{name}{end}" if number else f"{name}{end}")


def save_or_say(path: Path, save: Callable[[Path], Iterable[Path] | None], dry_run: bool, piece: str = "") -> None:
    """Save to `path` and say which files were written; with --dry-run only say what would be.

    `piece` is how much --dry-run made at most, such as "4 codes"; without it the whole.
    """
    if dry_run:
        short = f"this was a piece of at most {piece}, and " if piece else ""
        print(f"--dry-run: would write {path}; {short}nothing was written")
        return
    for written in save(path) or [path]:
        print(f"wrote {written}")


def format_trace(step: int, record: dict) -> str:
    """What `generate` passes to its `trace`, as one line per row that is still being written."""
    lines = []
    for row in (i for i, active in enumerate(record["active"]) if active):
        code = record["code"][row]
        drawn = "end" if code < 0 else f"code {code}"
        lines.append(
            f"step {step:3} row {row}: {record['allowed'][row]:4} ids allowed, "
            f"end logit {record['end_logit'][row]:8.3f}, "
            f"with slope {record['end_logit_sloped'][row]:8.3f}, drew {drawn}"
        )
    return "\n".join(lines)
