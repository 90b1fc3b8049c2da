"""`--prompt` as people type it, and `--trace` as they read it."""

import os
from collections.abc import Sequence
from pathlib import Path


def read_prompts(words: Sequence[str]) -> list[str]:
    """The sentences of `--prompt`: one of bare words, several quoted ones, and the lines of each file that is named.

    FileNotFoundError for what looks like a file (.txt, or / and no space) and is none, ValueError naming a file that
    is no UTF-8 text or holds no sentence.
    """
    apart = any(os.path.isfile(word) or " " in word.strip() for word in words) or all(map(_has_slash, words))
    prompts = []
    for word in words if apart else [" ".join(words)]:
        if os.path.isfile(word):
            prompts += _lines(word)
        elif word.lower().endswith(".txt") or _has_slash(word):
            raise FileNotFoundError(f"--prompt {word}: no such file of sentences")
        else:
            prompts.append(word)
    return prompts


def _has_slash(word: str) -> bool:
    return len(word.split()) == 1 and any(mark in word for mark in {"/", os.sep})


def _lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--prompt {path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    if not (lines := [line.strip() for line in lines if line.strip()]):
        raise ValueError(f"--prompt {path} holds no sentence")
    return lines


def format_trace(step: int, record: dict) -> str:
    """One line per row still writing of what `generate` passes to its `trace`."""
    lines = []
    for row in (i for i, active in enumerate(record["active"]) if active):
        code, before, after = (record[name][row] for name in ("code", "end_logit", "end_logit_sloped"))
        drawn = "end" if code < 0 else f"code {code}"
        lines.append(
            f"step {step:3} row {row}: {record['allowed'][row]:4} ids allowed, "
            f"end logit {before:8.3f}, with slope {after:8.3f}, drew {drawn}"
        )
    return "\n".join(lines)
