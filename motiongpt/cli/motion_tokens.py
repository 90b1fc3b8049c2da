"""`<Motion Token>315,91</Motion Token>` in a prompt: what other projects write there is --codes here.

Zhang et al. (MotionGPT, AAAI 2024) put codes into the text of their --input, and say in the instruction, their
--prompt, what the codes are: "given the initial token", "given the last token" or "given several key tokens". Here a
prompt is only what the person does. Whoever writes a tag is shown the command that means the same.
"""

import re
import shlex
from collections.abc import Sequence

TAG = re.compile(r"<\s{0,8}(/?)\s{0,8}motion[\s_-]{0,8}tokens?\s{0,8}>", re.IGNORECASE)
CODE = re.compile(r"\d{1,9}", re.ASCII)
UNCLOSED = re.compile(r"[\d,;\s]*", re.ASCII)  # what belongs to a tag that is never closed
LAST = re.compile(r"\b(?:last|final|end)\s+(?:motion\s+)?(?:token|pose|code)", re.IGNORECASE)
SPREAD = 24  # the position of the last of several codes, whose positions a tag does not say
SHOWN = 200  # characters of a prompt


def motion_token_command(texts: Sequence[str], task: str = "t2m") -> str | None:
    """One line that says what to type instead, if one of the texts has a motion token tag; None if none has.

    `texts` are the values of --prompt and --input, and `task` that of --task. Any case and spacing of the tag is read,
    also one that is never closed, and several tags are read as one.
    """
    tagged = next((text for text in texts if TAG.search(text)), None)
    if tagged is None:
        return None
    caption, pieces = _split(tagged)
    bad = next((piece for piece in pieces if not CODE.fullmatch(piece)), None)
    if bad is not None or not pieces:
        found = f"{_printable(bad)[:40]!r}, which is no code" if bad else "no code"
        return f"<Motion Token> holds {found}; codes are given with --codes, such as --task init --codes 315"
    task, codes, note = _flags(pieces, task, any(LAST.search(text) for text in texts))
    caption = caption if len(caption) <= SHOWN else f"{caption[:SHOWN]}..."
    words = ["--task", task, "--codes", codes, "--prompt", caption or "what the person does"]
    command = f"python scripts/sample.py {shlex.join(words)}{note}"
    return f"codes are no part of a sentence here; instead of <Motion Token>: {command}"


def _split(text: str) -> tuple[str, list[str]]:
    """The sentence without tags and their codes, and what stands between tags, by comma or space."""
    tags = list(TAG.finditer(text))
    sentence, pieces = [text[: tags[0].start()]], []
    for i, tag in enumerate(tags):
        end = tags[i + 1].start() if i + 1 < len(tags) else len(text)
        content = text[tag.end() : end]
        if not tag[1]:  # an opening tag
            is_closed = i + 1 < len(tags) and tags[i + 1][1]
            inside = content if is_closed else UNCLOSED.match(content)[0]
            pieces += re.findall(r"[^,;\s]+", inside)
            content = content[len(inside) :]
        sentence.append(content)
    return " ".join(_printable(" ".join(sentence)).split()), pieces


def _printable(text: str) -> str:
    """Control characters, which a terminal would obey, become spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _flags(codes: list[str], task: str, says_last: bool) -> tuple[str, str, str]:
    """The values of --task and --codes, and what a reader must know about them."""
    if task == "predict":
        return task, ",".join(codes), ""
    if len(codes) == 1 and task != "keys":
        if task in ("init", "last"):
            return task, codes[0], ""
        return ("last", codes[0], "") if says_last else ("init", codes[0], " (or --task last, if it is the last pose)")
    step = max(1, SPREAD // max(1, len(codes) - 1))
    placed = ",".join(f"{code}@{step * i}" for i, code in enumerate(codes))
    return "keys", placed, " (a tag has no positions, and these are evenly spread: put in your own, counted in codes)"
