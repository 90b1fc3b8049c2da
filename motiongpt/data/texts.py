"""The captions of a clip: the text file texts/ID.txt, the piece of the clip a caption is about, its mirror image.

A line of the file is `caption#token/POS token/POS#start#end`, as in HumanML3D, with times in seconds. Which captions a
model was trained on, and how a new sentence compares with them, is `training_captions.py`.
"""

import ast
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_LIST = 100_000  # characters of a list of captions


@dataclass(frozen=True)
class Caption:
    """One line of texts/ID.txt. `start` and `end` are in seconds; 0 and 0 mean the whole clip."""

    text: str
    start: float = 0.0
    end: float = 0.0
    tokens: str = ""  # "a/DET person/NOUN walk/VERB": words and part-of-speech tags, for the evaluators

    def cut(self, features: np.ndarray, fps: float) -> np.ndarray:
        """The frames of a clip (F, D) that this caption is about: all of them, or [start, end) seconds."""
        if self.start == 0 and self.end == 0:
            return features
        return features[int(self.start * fps) : int(self.end * fps)]

    def line(self) -> str:
        return f"{self.text}#{self.tokens}#{self.start}#{self.end}"


def parse_captions(path: Path) -> list[Caption]:
    """The captions of one text file. A line without any `#` is a caption of the whole clip.

    NaN times count as 0, as in the field's loaders. Raises ValueError naming file and line for a line with one or two
    `#`, and for times that are no numbers.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it again as UTF-8") from error
    return _captions(lines, path)


def parse_caption_lines(text: str, place: str) -> list[Caption]:
    """`parse_captions` of a text in memory; errors name `place` instead of a file."""
    return _captions(text.splitlines(), place)


def _captions(lines: Iterable[str], place: str | Path) -> list[Caption]:
    captions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        # a caption may hold '#' itself: the last three fields are ours
        parts = line.rsplit("#", 3)
        if len(parts) == 1:
            captions.append(Caption(line.strip()))
            continue
        try:
            text, tokens, start, end = parts
            times = [0.0 if np.isnan(float(t)) else float(t) for t in (start, end)]
            if not np.isfinite(times).all():
                raise ValueError("infinite")
        except ValueError:
            raise ValueError(
                f"{place}, line {number}: expected caption#token/POS ...#start#end, got {line[:80]!r}"
            ) from None
        captions.append(Caption(text.strip(), times[0], times[1], tokens))
    return captions


def captions_in(text: str) -> list[str]:
    """The captions that one text holds: itself, unless it is a list of texts as JSON or Python write it."""
    start = text.strip()
    if start[:1] != "[" or start[-1:] != "]" or len(start) > MAX_LIST:
        return [text]
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(start)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and found and all(isinstance(caption, str) for caption in found):
            return found
    return [text]


def is_text(text: str) -> bool:
    """Whether a text can be written as UTF-8. Halves of characters cannot, which JSON and names of files may hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def by_time(captions: Iterable[Caption]) -> dict[tuple[float, float], list[Caption]]:
    """Captions of a clip by the piece they are about, (start, end) in seconds, in order of first use.

    A caption without a letter or a digit says nothing and is left out.
    """
    pieces: dict[tuple[float, float], list[Caption]] = defaultdict(list)
    for caption in captions:
        if any(map(str.isalnum, caption.text)):
            pieces[caption.start, caption.end].append(caption)
    return pieces
