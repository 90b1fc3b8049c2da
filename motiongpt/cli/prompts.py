"""`--prompt` as people type it, where the motion of each sentence goes, and `--trace` as people read it.

A shell splits what is not quoted, so `--prompt a person walks` arrives as three words: read as one sentence. Quoted
sentences and files of sentences stay apart.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from motiongpt.cli.environment import outputs_folder


def read_prompts(words: Sequence[str]) -> list[str]:
    """The sentences of `--prompt`: bare words make one sentence; quoted ones stay apart; files give one per line.

    Raises FileNotFoundError for a word that looks like a file (.txt, or a / and no space) and is none, ValueError
    naming a file that is no UTF-8 text or holds no sentence.
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
            prompts.append(word)
    return prompts


def _has_slash(word: str) -> bool:
    """Whether a single word has a slash, as the path of a file does."""
    return len(word.split()) == 1 and any(mark in word for mark in {"/", os.sep})


def _lines(path: str) -> list[str]:
    """The lines of a file that are not blank."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--prompt {path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"--prompt {path} holds no sentence")
    return lines


def folder_name(prompt: str) -> str:
    """A plain folder name from a sentence: its first eight words, letters and digits only."""
    plain = "".join(letter if letter.isalnum() else " " for letter in prompt.lower())
    return "-".join(plain.split()[:8])[:60] or "motion"


def output_places(given: Sequence[Path] | None, prompts: Sequence[str]) -> list[list[Path]]:
    """Where the motion of each prompt goes: into the `given` files and folders, else a folder of its own in outputs/.

    Several prompts, and folders of one name, are numbered.
    """
    names = [folder_name(prompt) for prompt in prompts]
    if given is None:
        ends = [f"-{i:03}" if names.count(name) > 1 else "" for i, name in enumerate(names)]
        return [[outputs_folder() / (name + end)] for name, end in zip(names, ends, strict=True)]
    if len(prompts) == 1:
        return [list(given)]
    return [[_numbered(path, i, name) for path in given] for i, name in enumerate(names)]


def _numbered(path: Path, number: int, name: str) -> Path:
    if path.suffix and not path.is_dir():
        return path.with_stem(f"{path.stem}-{number:03}")
    return path / f"{number:03}-{name}"


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
