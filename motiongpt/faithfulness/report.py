"""The faithfulness of a run, row by row: how many of its motions do what was asked for.

The model never sees a condition: it gets the sentence and the seed, the condition gets the joints that come out.

    truth        fresh motions of the embedded dataset, the `NAMED` actions: what the conditions recognise
    roundtrip    the same motions through the run's motion tokenizer: what codes can carry
    model        the plain caption of every named action, several seeds
    ...-more     the same three of all other actions, finer gestures among them
    sentences    frozen sentences in words the model knows, put in ways it never read
    sequences    plain captions of two actions: both, in the order asked for
    lengths      seconds asked for, within one code; with exact length to the code

A `Row` counts and lists its failures; `markdown` and `Row.record` are what the report files hold. Truth comes from a
seed of its own, never one that training used.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from motiongpt.faithfulness.conditions import CHECKS, INCLUDED
from motiongpt.faithfulness.judge import does, performs
from motiongpt.procedural.clips import make_clip
from motiongpt.procedural.performer import SIDES, SIZES, STYLES, TEMPOS
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family, write_captions
from motiongpt.sampling import codes_for_seconds

FRESH_SEED = 20261121
BATCH = 32  # sentences sampled at once
TARGETS = {"truth": 0.99, "roundtrip": 0.97, "model": 0.9, "sentences": 0.7, "sequences": 0.7, "lengths": 1.0}
TARGETS |= {f"{name}-more": TARGETS[name] for name in ("truth", "roundtrip", "model")}
_SIDED = ("walk_circle", "walk_sideways", "turn", "hop", "kneel", "kick", "punch", "wave", "throw")
NAMED = (
    *("walk_forward", "walk_backward", "run", "jog_in_place", "turn_around", "jump", "squat", "sit_down", "stand_up"),
    *("bow", "raise_both_arms", "clap", "stretch", "pick_up"),
    *(f"{name}_{side}" for name in _SIDED for side in SIDES),
)
"""The actions that everybody expects of a demo; the embedded dataset has more."""
PAIRS = (
    *(("walk_forward", "wave_right"), ("turn_left", "walk_forward"), ("jump", "clap"), ("squat", "punch_left")),
    *(("walk_backward", "sit_down"), ("stand_up", "walk_forward"), ("bow", "turn_right"), ("run", "jump")),
    *(("kick_right", "raise_both_arms"), ("pick_up_left", "throw_right"), ("wave_left", "kneel_right")),
    ("walk_sideways_left", "bow"),
)
"""Clearly distinct actions, in an order the dataset has: neither satisfies the other's condition."""
LENGTH_PROMPTS = ("a person walks forward", "a person waves the right hand", "a person runs forward", "a person claps")
SECONDS = (2.0, 4.0, 6.0, 8.0)


@dataclass
class MeasureRow:
    """One measure: tries per group (an action, a pair, a length), and what failed."""

    name: str
    tries: dict[str, list[bool]] = field(default_factory=dict)
    failures: list[dict] = field(default_factory=list)

    def add(self, group: str, passed: bool, **what) -> None:
        """Count one try; `what` (sentence, seed, ...) is kept where it failed."""
        self.tries.setdefault(group, []).append(bool(passed))
        if not passed:
            self.failures.append({"wanted": group, **what})

    @property
    def passed(self) -> int:
        return sum(map(sum, self.tries.values()))

    @property
    def total(self) -> int:
        return sum(map(len, self.tries.values()))

    def record(self) -> dict:
        groups = {group: [sum(tries), len(tries)] for group, tries in self.tries.items()}
        share = self.passed / max(1, self.total)
        return {"passed": self.passed, "total": self.total, "share": round(share, 4), "target": TARGETS[self.name],
                "met": share >= TARGETS[self.name], "groups": groups, "failures": self.failures}  # fmt: skip


def fresh_clips(names: Sequence[str], count: int, seed: int = FRESH_SEED) -> list[np.ndarray]:
    """`count` motions of these actions in a row: joints (F, 22, 3); styles, tempos and sizes take turns."""
    clips, index = [], 0
    key = zlib.crc32(" ".join(names).encode())
    while len(clips) < count:
        rng = np.random.default_rng([seed, key, index])
        tempos = tuple(list(TEMPOS)[(index + k) % 3] for k in range(len(names)))
        sizes = tuple(list(SIZES)[(index // 3 + k) % 3] for k in range(len(names)))
        sizes = tuple(size if family(name) in SIZED else "normal" for name, size in zip(names, sizes, strict=True))
        try:
            clips.append(make_clip(tuple(names), rng, STYLES[index % len(STYLES)], tempos, sizes=sizes).joints)
        except ValueError as error:  # a slow one may be too long for a clip: the next one
            if index > 50 * count:
                raise ValueError(f"no clips of {' + '.join(names)} fit: {error}") from error
        index += 1
    return clips


def plain_caption(names: Sequence[str]) -> str:
    """The plainest caption of these actions, "a person waves the left hand then sits down"."""
    parts = []
    for name in names:
        side = name.rsplit("_", 1)[-1]
        parts.append((name, {"tempo": "normal"} | ({"side": side} if side in SIDES else {})))
    return write_captions(parts, np.random.default_rng(0), 1)[0]


def shown(joints: np.ndarray) -> list[str]:
    """The actions whose conditions a motion satisfies."""
    return [name for name in CHECKS if performs(name, joints)]


def clips_row(name: str, clips: dict[str, Sequence[np.ndarray]]) -> MeasureRow:
    """Motions of known actions: does each show its own?"""
    row = MeasureRow(name)
    for action, several in clips.items():
        for index, joints in enumerate(several):
            passed = performs(action, joints)
            row.add(action, passed, **({} if passed else {"clip": index, "shows": shown(joints)}))
    return row


def model_row(name: str, tasks: Iterable[tuple[str, Sequence[str], int]], generate: Callable) -> MeasureRow:
    """Tasks (sentence, actions, seed) through `generate(sentences, seed=seeds)`, which returns motions with joints."""
    row, tasks = MeasureRow(name), sorted(tasks, key=lambda task: task[0])
    for start in range(0, len(tasks), BATCH):
        some = tasks[start : start + BATCH]
        motions = generate([sentence for sentence, _, _ in some], seed=[seed for _, _, seed in some])
        for (sentence, actions, seed), motion in zip(some, motions, strict=True):
            passed = does(actions, motion.joints)
            what = {} if passed else {"shows": shown(motion.joints), "frames": len(motion.joints)}
            row.add(" then ".join(actions), passed, sentence=sentence, seed=seed, **what)
    return row


def lengths_row(generate: Callable, fps: float, frames_per_code: int, seed: int = 0) -> MeasureRow:
    """Every prompt at every length: as many codes as asked for within one; with `exact_length` exactly as many."""
    row = MeasureRow("lengths")
    for exact in (False, True):
        for seconds in SECONDS:
            wanted = codes_for_seconds(seconds, fps, frames_per_code)
            motions = generate(list(LENGTH_PROMPTS), seed=seed, seconds=seconds, exact_length=exact)
            for index, (sentence, motion) in enumerate(zip(LENGTH_PROMPTS, motions, strict=True)):
                got = len(motion.tokens)
                row.add(f"{seconds:g} s{', exact' if exact else ''}", abs(got - wanted) <= (0 if exact else 1),
                        sentence=sentence, seed=seed + index, codes=got, wanted_codes=wanted)  # fmt: skip
    return row


def markdown(title: str, rows: Sequence[MeasureRow], matrix: dict[str, dict[str, float]] | None = None) -> str:
    """The report as text: a summary, a table per action or pair, the failures, and the matrix where there is one."""
    text = [f"# {title}", "", "The model never sees a condition: it gets the sentence and the seed, nothing else.", ""]
    text += summary(rows)
    columns: dict[str, dict[str, str]] = {}  # measure -> action -> count; "-more" goes on with the same column
    for row in rows:
        if row.name not in ("sequences", "lengths"):
            counts = {group: _count(row, group) for group in row.tries if " then " not in group}
            columns.setdefault(row.name.removesuffix("-more"), {}).update(counts)
    if names := list(dict.fromkeys(name for counts in columns.values() for name in counts)):
        text += ["", "## Per action", "", f"| action | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        text += [f"| {name} | {' | '.join(c.get(name, '') for c in columns.values())} |" for name in names]
    for row in rows:
        others = row.tries if row.name in ("sequences", "lengths") else [g for g in row.tries if " then " in g]
        if others:
            text += ["", f"## {row.name.capitalize()}", "", "| asked for | passed |", "|---|---|"]
            text += [f"| {name} | {_count(row, name)} |" for name in others]
    for row in rows:
        if row.failures:
            text += ["", f"## What failed: {row.name}", ""]
            text += ["- " + ", ".join(f"{key} {value}" for key, value in what.items()) for what in row.failures]
    return "\n".join(text + (["", *matrix_lines(matrix)] if matrix else [])) + "\n"


def summary(rows: Sequence[MeasureRow]) -> list[str]:
    """A Markdown table, one line per row of the report."""
    lines = ["| measure | passed | share | target | met |", "|---|---|---|---|---|"]
    for row in rows:
        r = row.record()
        lines.append(f"| {row.name} | {r['passed']} / {r['total']} | {100 * r['share']:.1f} % | "
                     f"{100 * r['target']:g} % | {'yes' if r['met'] else 'no'} |")  # fmt: skip
    return lines


def matrix_lines(matrix: dict[str, dict[str, float]]) -> list[str]:
    """Per condition: how many of its own action pass, and every other action that does, in per cent."""
    lines = ["## Which condition passes on motions of which action", "",
             "| condition | own action | other actions that pass |", "|---|---|---|"]  # fmt: skip
    for name, row in matrix.items():
        others = [
            f"{action} {100 * share:.0f} %" + (" (included)" if (name, action) in INCLUDED else "")
            for action, share in row.items()
            if action != name and share > 0
        ]
        lines.append(f"| {name} | {100 * row[name]:.0f} % | {', '.join(others) or 'none'} |")
    return lines


def _count(row: MeasureRow, group: str) -> str:
    tries = row.tries.get(group)
    return f"{sum(tries)}/{len(tries)}" if tries else ""
