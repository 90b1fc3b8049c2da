"""`sample.py --chat`: a conversation about motions, line by line, in a terminal or through a pipe.

    > a person walks forward
    new: a person walks forward
    12 codes, 2.4 s
    wrote outputs/chat/turn_1/motion.gif
    > then sit down

Beside the sentences of `generation/conversation.py` it reads two commands: `save PATH` and `quit`.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.run_info import prompt_notes
from motiongpt.files.folders import output_path
from motiongpt.generation.conversation import HELP_TEXT, Conversation
from motiongpt.generation.turns import HELP, NEW
from motiongpt.motion import Motion

if TYPE_CHECKING:
    from motiongpt.generator import MotionGenerator

QUIT = ("quit", "exit")
SAVE = re.compile(r"save(?:\s+(?P<path>\S+|\S.*\.\w+|([\"']).+\2))?", re.IGNORECASE)  # no sentence, "save the ball"
COMMANDS = """\
save PATH                  writes the last motion to a file (.npy .npz .gif .png .txt .json) or a folder
quit                       or the end of input"""


def chat(
    generator: "MotionGenerator",
    outputs: Sequence[Path] | None = None,
    lines: Iterable[str] | None = None,
    say: Callable[[str], None] = print,
    *,
    seed: int = 0,
    **options,
) -> None:
    """Read sentences until the end of input or "quit", and answer each; motion number k goes to `turn_places(.., k)`.

    `lines` are those of standard input unless given; a terminal is shown "> ". `seed` and `options` are those of
    `Conversation`. A file that cannot be written is said, and the conversation goes on.
    """
    conversation = Conversation(generator, seed, **options)
    written = 0
    for line in map(str.strip, _read(sys.stdin if lines is None else lines)):
        if line.lower() in QUIT:
            return
        if not line:
            continue
        if command := SAVE.fullmatch(line):
            _save(generator, conversation.motion, command["path"], say)
            continue
        reply = conversation.say(line)
        say(f"{HELP_TEXT}\n{COMMANDS}" if reply.kind == HELP else reply.text)
        if reply.motion is None:
            continue
        for note in reply.motion.notes:
            say(note)
        guessed = reply.kind == NEW and not reply.motion.notes  # what was read has said so
        if guessed and (note := prompt_notes(generator, [reply.motion.text], [options.get("seconds")])[0]):
            say(note)
        written += 1
        say(f"{len(reply.motion.tokens)} codes, {conversation.seconds(reply.motion):.1f} s")
        for path in turn_places(outputs, written):
            _write(reply.motion, path, say)


def turn_places(outputs: Sequence[Path] | None, turn: int) -> list[Path]:
    """Where a motion goes: walk.npy -> walk_turn_1.npy, a folder -> folder/turn_1, nothing -> outputs/chat/turn_1."""
    places = [outputs_folder() / "chat"] if outputs is None else outputs
    return [
        path.with_stem(f"{path.stem}_turn_{turn}") if path.suffix and not path.is_dir() else path / f"turn_{turn}"
        for path in places
    ]


def _save(generator: "MotionGenerator", motion: Motion | None, path: str | None, say: Callable[[str], None]) -> None:
    """The command `save PATH`."""
    if path is None or motion is None:
        say("save PATH writes the last motion" + ("; there is none yet" if motion is None else ": name a file"))
        return
    place = Path(path.strip("\"'"))
    try:
        place = place.expanduser()
        generator.check_output(output_path(place, "save"))
    except (ValueError, OSError, RuntimeError) as error:  # the last one is for the home of nobody
        say(str(error))
        return
    _write(motion, place, say)


def _write(motion: Motion, path: Path, say: Callable[[str], None]) -> None:
    """Write a motion and say where, or why not."""
    try:
        for written in motion.save(path):
            say(f"wrote {written}")
    except (ValueError, OSError) as error:
        say(f"not written: {error}")


def _read(lines: Iterable[str]) -> Iterator[str]:
    """The lines; a terminal is prompted for each, and bytes that are no text become question marks."""
    terminal = hasattr(lines, "isatty") and lines.isatty()
    if hasattr(lines, "reconfigure"):
        lines.reconfigure(errors="replace")
    source = iter(lines)
    while True:
        if terminal:
            print("> ", end="", flush=True)
        line = next(source, None)
        if line is None:
            if terminal:
                print()  # the shell's own prompt starts on a line of its own
            return
        yield line
