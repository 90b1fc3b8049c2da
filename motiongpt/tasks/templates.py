"""Templates: how requests and answers are worded, read from a JSON file.

    {"settings": {"quote_share": 0.5},
     "Motion Prediction": {
        "with a caption": {"class": "predict",
                           "input": ["Continue: <Caption_Placeholder> <Motion_Placeholder_s1>", ...],
                           "output": ["<Motion_Placeholder_s2>"]}}}

This is the layout of OpenMotionLab's MotionGPT, whose files are read as they are; "settings" is ours. A section
has groups, a group has the wordings of one request. Training draws a group of the task, then an input and an output.
Sampling takes the first input of the first group that fits what it has.

    <Caption_Placeholder>            the sentence
    <Motion_Placeholder>             the whole motion; in a request of edit, the motion that is to change
    <Motion_Placeholder_s1>, _s2     the given codes at the start, and those after them
    <Motion_Placeholder_Masked>      the given codes, <MOTION_MASK> for each of the others
    <Motion_Placeholder_Keys>        the given codes alone, in order
    <Motion_Placeholder_KeysAt>      the given codes, each after its position: " 12:"
    <Frame_Placeholder>, <Second_Placeholder>    the length of the motion

A template is cut at its placeholders before anything is put in, so a placeholder inside somebody's caption stays text.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from motiongpt.files.store import read_json

CAPTION, FRAMES, SECONDS = "<Caption_Placeholder>", "<Frame_Placeholder>", "<Second_Placeholder>"
WHOLE, START, REST = "<Motion_Placeholder>", "<Motion_Placeholder_s1>", "<Motion_Placeholder_s2>"
MASKED, KEYS = "<Motion_Placeholder_Masked>", "<Motion_Placeholder_Keys>"
KEYS_AT = "<Motion_Placeholder_KeysAt>"
LENGTHS = (FRAMES, SECONDS)
MOTIONS = (WHOLE, START, REST, MASKED, KEYS, KEYS_AT)
PLACEHOLDERS = (CAPTION, *LENGTHS, *MOTIONS)
PIECES = re.compile(r"(<\w*_Placeholder\w*>)")

FOLDER = Path(__file__).resolve().parents[1] / "templates"
BUILT_IN = ("plain", "zhang", "myoskeleton-pretrain", "myoskeleton-instruct")

CLASSES = {"n2m": "random", "l2m": "random", "m2l": "m2d", "n2t": "caption"}
"""OpenMotionLab's classes that have another name here. t2t is t2d, or caption if a caption is its answer."""
MUST_SHOW = {
    ("t2m", "input"): (CAPTION,),
    ("m2t", "input"): (WHOLE,),
    ("m2t", "output"): (CAPTION,),
    ("t2d", "output"): LENGTHS,
    ("m2d", "input"): (WHOLE,),
    ("m2d", "output"): LENGTHS,
    ("read", "input"): (CAPTION,),
    ("read", "output"): (CAPTION,),
    ("edit", "input"): (WHOLE,),
    ("predict", "input"): (START,),
    ("inbetween", "input"): (MASKED,),
    ("init", "input"): (KEYS, KEYS_AT),
    ("last", "input"): (KEYS, KEYS_AT),
    ("keys", "input"): (KEYS, KEYS_AT),
}
"""(task, input or output) -> placeholders of which every text has one; without it nothing could be learnt."""
ANSWERS = dict.fromkeys(("t2m", "predict", "inbetween", "init", "last", "keys", "random"), (WHOLE, REST))
MOTION_ANSWERS = ("t2m", "predict", "inbetween", "init", "last", "keys", "random", "edit")
TEXT_ANSWERS = ("m2t", "t2d", "m2d", "caption", "read")


@dataclass(frozen=True)
class Group:
    """The wordings of one request, and of its answer."""

    task: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def answers_rest(self) -> bool:
        """Whether the answer leaves out the codes that are given."""
        return self.outputs[0] == REST


@dataclass(frozen=True)
class Templates:
    """A file of templates. The settings are what else decides how examples look."""

    groups: Mapping[str, tuple[Group, ...]] = field(default_factory=dict)  # by task
    frame: str = "chat"  # the turn of a chat around a request, or "none"
    motion_as: str = "words"  # new words of the vocabulary, or "digits": 42,18,91 in the words it has
    quote_share: float = 0.0  # of the captions are in quotes, in training
    tell_length: float = 0.0  # share of the requests of t2m without groups that tell the length
    loss_on_prompt: bool = False  # the request is learnt too

    def over(self, other: "Templates") -> "Templates":
        """These templates, and those of `other` for tasks that these have none for."""
        return replace(self, groups={**other.groups, **self.groups})

    def for_sampling(self, task: str, caption: bool, length: bool) -> tuple[str, Group] | None:
        """The first request of a task, and its group, that speaks of what is there: a sentence, the length.

        One that tells the length comes first if it is known. None if the task has no request that fits.
        """
        fitting = [
            (text, group)
            for group in self.groups.get(task, ())
            for text in group.inputs
            if (CAPTION in text) == caption and (length or not tells_length(text))
        ]
        telling = [pair for pair in fitting if tells_length(pair[0])]
        return next(iter([*telling, *fitting]), None)

    def tells_length(self, task: str) -> bool:
        """Whether a request of the task can tell the length."""
        own = task == "t2m" and task not in self.groups and self.tell_length > 0
        return own or any(tells_length(text) for group in self.groups.get(task, ()) for text in group.inputs)

    def to_json(self) -> dict:
        """The content of a file that `read_templates` reads back."""
        sections = {
            task: {
                str(number): {"class": task, "input": group.inputs, "output": group.outputs}
                for number, group in enumerate(groups, 1)
            }
            for task, groups in self.groups.items()
        }
        return {"settings": self.settings, **sections}

    @property
    def settings(self) -> dict:
        """Everything but the groups."""
        return {name: getattr(self, name) for name in SETTINGS}


SETTINGS = {f.name: f.default for f in fields(Templates) if f.name != "groups"}
CHOICES = {"frame": ("chat", "none"), "motion_as": ("words", "digits")}


def read_templates(path: Path, say: Callable[[str], None] = lambda line: None) -> Templates:
    """A file of templates; `say` gets a line for a text that is left out, since nobody knows one of its placeholders.

    Raises FileNotFoundError, or ValueError naming file, group, what was found and expected."""
    content = dict(read_json(path))
    settings = _settings(content.pop("settings", {}), path)
    groups: dict[str, list[Group]] = {}
    for section, entries in content.items():
        if not isinstance(entries, dict):
            raise ValueError(f"{path}: {section!r} must be an object of groups, got {str(entries)[:60]}")
        for name, entry in entries.items():
            group = _group(entry, f"{path}: {section!r}, {name!r}", say)
            groups.setdefault(group.task, []).append(group)
    if not groups:
        raise ValueError(f"{path} has no templates: expected SECTION: {{NAME: {{class, input, output}}}}")
    return Templates({task: tuple(found) for task, found in groups.items()}, **settings)


def built_in(name: str) -> Templates:
    """The templates of `motiongpt/templates/NAME.json`. ValueError for any other name."""
    if name not in BUILT_IN:
        raise ValueError(f"there are no templates {name!r}; there are: {', '.join(BUILT_IN)}, or a file")
    return read_templates(FOLDER / f"{name}.json")


def _settings(given: object, path: Path) -> dict:
    """The settings of a file, checked."""
    if not isinstance(given, dict):
        raise ValueError(f"{path}: settings must be an object, got {str(given)[:60]}")
    for name, value in given.items():
        if name not in SETTINGS:
            raise ValueError(f"{path}: there is no setting {name!r}; there are: {', '.join(SETTINGS)}")
        expected = type(SETTINGS[name])
        if expected is float and type(value) is int:
            value = float(value)
        in_range = not isinstance(value, float) or 0 <= value <= 1
        if type(value) is not expected or not in_range or value not in CHOICES.get(name, (value,)):
            kinds = {float: "a share in [0, 1]", bool: "true or false"}
            what = " or ".join(CHOICES[name]) if name in CHOICES else kinds[expected]
            raise ValueError(f"{path}: settings: {name} must be {what}, got {str(value)[:60]}")
    return given


def _group(entry: object, where: str, say: Callable[[str], None]) -> Group:
    """One group, checked. Raises ValueError that begins with `where`."""
    if not isinstance(entry, dict) or not isinstance(entry.get("class"), str):
        raise ValueError(f"{where} must have class, input and output, got {str(entry)[:80]}")
    for key in ("input", "output"):
        texts = entry.get(key)
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{where}: {key} must be a list of at least one text, got {str(texts)[:60]}")
    outputs = tuple(entry["output"])
    task = CLASSES.get(entry["class"], entry["class"])
    if task == "t2t":
        task = "caption" if CAPTION in outputs[0] else "t2d"
    if task not in (*MOTION_ANSWERS, *TEXT_ANSWERS):
        known = ", ".join((*MOTION_ANSWERS, *TEXT_ANSWERS, *CLASSES, "t2t"))
        raise ValueError(f"{where}: unknown class {entry['class']!r}; there are: {known}")
    # sampling has to know what it may write, and what of it is the motion
    if task in MOTION_ANSWERS and outputs not in ((WHOLE,), (REST,)):
        raise ValueError(f"{where}: output of {task} must be {WHOLE} or {REST} alone, got {outputs[0][:60]!r}")
    if REST in outputs and task != "predict":
        raise ValueError(f"{where}: the output {REST} is for predict; {task} writes the whole motion")
    inputs = tuple(text for text in entry["input"] if not _unknown(text))
    if not inputs or any(map(_unknown, outputs)):
        raise ValueError(f"{where} has no text whose placeholders are known; there are: {' '.join(PLACEHOLDERS)}")
    if left_out := len(entry["input"]) - len(inputs):
        first = next(filter(None, map(_unknown, entry["input"])))
        say(f"{where}: {left_out} of {len(entry['input'])} texts are left out: {first} is no placeholder")
    for name, texts in (("input", inputs), ("output", outputs)):
        needed = MUST_SHOW.get((task, name), ())
        if lacking := [text for text in texts if needed and not any(word in text for word in needed)]:
            raise ValueError(
                f"{where}: every {name} of {task} must have {' or '.join(needed)}, got {lacking[0][:60]!r}"
            )
    if leak := [word for word in ANSWERS.get(task, ()) if any(word in text for text in inputs)]:
        raise ValueError(f"{where}: no input of {task} may show {leak[0]}, which is the answer")
    return Group(task, inputs, outputs)


def _unknown(text: str) -> str:
    """The first piece of a template that looks like a placeholder and is none; empty if there is none."""
    return next((piece for piece in PIECES.findall(text) if piece not in PLACEHOLDERS), "")


def tells_length(text: str) -> bool:
    """Whether a template has a placeholder of the length."""
    return any(word in text for word in LENGTHS)


def pieces(text: str) -> Sequence[str]:
    """A template cut at its placeholders: "do <Caption_Placeholder>" -> ["do ", "<Caption_Placeholder>"]."""
    return [piece for piece in PIECES.split(text) if piece]
