"""What a page asks for, checked: plain JSON values become a `Wish`, or a message for the field that is wrong.

This module knows no model. What only a model can refuse (an unknown word, too long a motion) is found when the wish is
carried out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

from motiongpt.generation.requests import MAX_PROMPT

TASKS = ("t2m", "edit", "predict", "m2t")  # names as in `tasks/table.py`
OF_A_MOTION = ("edit", "predict", "m2t")  # tasks that start from a motion
SECONDS = (1.0, 15.0)  # of a sentence
MOST_SENTENCES = 8  # that follow each other in one motion
MOST_SAMPLES = 4  # motions of one wish
LARGEST_SEED = 2**31 - 1
FIELDS = ("task", "text", "seconds", "seed", "participant", "samples", "motion", "as_written")


class Refused(ValueError):
    """A value that cannot be used. `field` is where on the page the message belongs, "" for no single place."""

    def __init__(self, message: str, field: str = ""):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Wish:
    """One thing to be made."""

    task: str
    sentences: tuple[str, ...] = ()  # several follow each other; none for m2t, and perhaps for predict
    seconds: float | None = None  # of each sentence, for predict of what is added; None: as the run has it
    seed: int = 0
    participant: str | None = None
    samples: int = 1  # motions, with consecutive seeds
    motion: str | None = None  # id of the motion that is changed, continued or described
    as_written: bool = False  # sentences are not read as plain captions


def read_wish(record: object, tasks: Sequence[str], participants: Sequence[str], wordless: bool) -> Wish:
    """A Wish from the JSON value of a request; what is left out has the default of `Wish`.

    Args:
        tasks, participants: those of the run.
        wordless: whether the run can continue a motion without a sentence.

    Raises Refused.
    """
    if not isinstance(record, Mapping):
        raise Refused(f"the request must be an object with {', '.join(FIELDS)}, got {_kind(record)}")
    if unknown := [name for name in record if name not in FIELDS]:
        raise Refused(f"there is no field {unknown[0]!r:.60}; there are {', '.join(FIELDS)}")
    task = record.get("task", "t2m")
    if task not in TASKS:
        raise Refused(f"task must be one of {', '.join(TASKS)}, got {task!r:.60}", "task")
    if task not in tasks:
        raise Refused(f"this run never learnt {task}; it can do {', '.join(tasks)}", "task")
    samples = _whole(record.get("samples", 1), "samples", 1, MOST_SAMPLES)
    motion = record.get("motion")
    if task in OF_A_MOTION and not isinstance(motion, str):
        raise Refused(f"{task} needs a motion: make one first", "task")
    if task not in OF_A_MOTION and motion is not None:
        raise Refused(f"{task} makes a new motion and takes none", "task")
    if task == "m2t" and samples > 1:
        raise Refused("a motion is described once", "samples")
    as_written = record.get("as_written", False)
    if not isinstance(as_written, bool):
        raise Refused(f"as_written must be true or false, got {_kind(as_written)}", "as_written")
    return Wish(
        task,
        _sentences(record.get("text", ""), task, wordless),
        _seconds(record.get("seconds")),
        _whole(record.get("seed", 0), "seed", 0, LARGEST_SEED),
        _participant(record.get("participant"), participants),
        samples,
        motion,
        as_written,
    )


def _sentences(text: object, task: str, wordless: bool) -> tuple[str, ...]:
    """The lines of the text that are not empty, as many as the task takes."""
    if not isinstance(text, str):
        raise Refused(f"text must be text, got {_kind(text)}", "text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"character {error.start + 1} of the text is one half of a surrogate pair", "text") from error
    sentences = tuple(line.strip() for line in text.splitlines() if line.strip())
    if task == "m2t":
        if sentences:
            raise Refused("describing a motion takes no sentence", "text")
        return ()
    if longest := max((len(line) for line in sentences if len(line) > MAX_PROMPT), default=0):
        raise Refused(f"the sentence has {longest} characters, at most {MAX_PROMPT} are read", "text")
    if not sentences and not (task == "predict" and wordless):
        what = "how it changes, such as 'do it faster'" if task == "edit" else "what the person does"
        raise Refused(f"there is no sentence: write {what}", "text")
    most = MOST_SENTENCES if task == "t2m" else 1
    if len(sentences) > most:
        raise Refused(f"at most {most} sentence{'s' * (most > 1)}, one per line, got {len(sentences)}", "text")
    return sentences


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    least, most = SECONDS
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value <= most:
        raise Refused(f"seconds must be {least:g} to {most:g}, or empty, got {_shown(value)}", "seconds")
    return float(value)


def _whole(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refused(f"{name} must be a whole number from {least} to {most}, got {_shown(value)}", name)
    return value


def _participant(value: object, participants: Sequence[str]) -> str | None:
    if value is None or (isinstance(value, str) and value in participants):
        return value
    known = f"it knows {', '.join(participants)}" if participants else "it knows none"
    raise Refused(f"this run has no participant {_shown(value)}; {known}", "participant")


def _shown(value: object) -> str:
    """A value for a message, in few characters."""
    return f"{value!r:.40}" if isinstance(value, str | int | float) else _kind(value)


def _kind(value: object) -> str:
    """What a JSON value is called."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
