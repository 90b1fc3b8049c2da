"""The faithfulness of a run, row by row: how many of its motions do what was asked for.

The model never sees a condition: it gets the sentence and the seed,
and the condition gets the joints that come out.

    truth        fresh motions of the `NAMED` actions of the embedded dataset: what the conditions recognise
    roundtrip    the same motions through the run's motion tokenizer: what codes can carry
    model        the plain caption of every named action, several seeds
    ...-more     the same three for all other actions, finer gestures among them
    spellings    the captions of `model` as people type them: a capital and a full stop, quotes, ...
    sentences    frozen sentences of words the model knows, in phrasings it never read
    sequences    plain captions of two actions: both have to come, in that order
    lengths      seconds asked for, kept within one code, or exactly with `exact_length`

A `MeasureRow` counts, and lists its failures. The report files are `markdown` and
`MeasureRow.record`. The motions of `truth` come from a seed of their own, which training never
uses.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness.conditions import CHECKS, INCLUDED
from motiongpt.faithfulness.judge import does, performs
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.lengths import codes_for_seconds
from motiongpt.procedural.clips import make_clip
from motiongpt.procedural.performer import SIZES, STYLES, TEMPOS
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family, write_captions

FRESH_SEED = 20261121  # of motions that no training uses
BATCH = 32  # sentences sampled at once
TARGETS = {"truth": 0.99, "roundtrip": 0.97, "model": 0.9, "sentences": 0.7, "sequences": 0.7, "lengths": 1.0}
TARGETS |= {"spellings": 0.95}
TARGETS |= {f"{name}-more": TARGETS[name] for name in ("truth", "roundtrip", "model")}
_NAMED_SIDED = ("walk_circle", "walk_sideways", "turn", "hop", "kneel", "kick", "punch", "wave", "throw")
_NAMED_PLAIN = (
    "walk_forward", "walk_backward", "run", "jog_in_place", "turn_around", "jump", "squat", "sit_down", "stand_up",
    "bow", "raise_both_arms", "clap", "stretch", "pick_up",
)  # fmt: skip
NAMED = (*_NAMED_PLAIN, *(f"{name}_{side}" for name in _NAMED_SIDED for side in SIDES))
"""The actions that everybody expects from a demo; the embedded dataset has more."""
PAIRS = (
    ("walk_forward", "wave_right"),
    ("turn_left", "walk_forward"),
    ("jump", "clap"),
    ("squat", "punch_left"),
    ("walk_backward", "sit_down"),
    ("stand_up", "walk_forward"),
    ("bow", "turn_right"),
    ("run", "jump"),
    ("kick_right", "raise_both_arms"),
    ("pick_up_left", "throw_right"),
    ("wave_left", "kneel_right"),
    ("walk_sideways_left", "bow"),
)
"""Pairs of clearly distinct actions, in an order the dataset has.
Neither satisfies the other's condition."""
LENGTH_PROMPTS = ("a person walks forward", "a person waves the right hand", "a person runs forward", "a person claps")
SECONDS = (2.0, 4.0, 6.0, 8.0)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "capital and full stop": lambda caption: f"{caption.capitalize()}.",
    "capitals": str.upper,
    "double spaces": lambda caption: caption.replace(" ", "  "),
    "quoted": lambda caption: f"“{caption.capitalize()}.”",
}
"""Ways to type a plain caption; they mean the same."""


OTHER_GROUPS = ("sequences", "lengths", "spellings")  # rows that do not count by single actions


@dataclass
class MeasureRow:
    """One row of the report: tries per group (an action, a pair, a length), and what failed."""

    name: str
    tries: dict[str, list[bool]] = field(default_factory=dict)
    failures: list[dict] = field(default_factory=list)

    def add(self, group: str, passed: bool, **what) -> None:
        """Count one try. If it failed, keep `what` (sentence, seed, ...)."""
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
        """The row as JSON: counts, share, target, and [passed, total] per group."""
        groups = {group: [sum(tries), len(tries)] for group, tries in self.tries.items()}
        share = self.passed / max(1, self.total)
        return {
            "passed": self.passed,
            "total": self.total,
            "share": round(share, 4),
            "target": TARGETS[self.name],
            "met": share >= TARGETS[self.name],
            "groups": groups,
            "failures": self.failures,
        }


def fresh_clips(names: Sequence[str], count: int, seed: int = FRESH_SEED) -> list[np.ndarray]:
    """`count` motions of these actions in a row, joints (F, 22, 3).
    Styles, tempos and sizes take turns."""
    clips = []
    index = 0
    # crc32 is the same everywhere; Python's own hash of a text differs from run to run
    key = zlib.crc32(" ".join(names).encode())
    while len(clips) < count:
        rng = np.random.default_rng([seed, key, index])  # a clip depends on these three alone
        # tempos change with every clip, sizes with every third
        tempos = tuple(list(TEMPOS)[(index + k) % 3] for k in range(len(names)))
        sizes = tuple(list(SIZES)[(index // 3 + k) % 3] for k in range(len(names)))
        # some actions have one size only
        sizes = tuple(size if family(name) in SIZED else "normal" for name, size in zip(names, sizes, strict=True))
        try:
            clips.append(make_clip(tuple(names), rng, STYLES[index % len(STYLES)], tempos, sizes=sizes).joints)
        except ValueError as error:  # a slow one may be too long for a clip: take the next
            if index > 50 * count:
                raise ValueError(f"no clips of {' + '.join(names)} fit: {error}") from error
        index += 1
    return clips


def round_trip(motion_tokenizer, clips: dict[str, Sequence[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Clips of every action through a `MotionTokenizer`: joints -> features -> codes -> joints."""
    back = {}
    for name, several in clips.items():
        features = [joints_to_features(joints, motion_tokenizer.skeleton) for joints in several]
        back[name] = motion_tokenizer.decode(motion_tokenizer.encode(features))
    return back


def plain_caption(names: Sequence[str]) -> str:
    """The plainest caption of these actions, "a person waves the left hand then sits down"."""
    parts = []
    for name in names:
        # the last word of walk_forward is no side
        side = name.rsplit("_", 1)[-1]
        parts.append((name, {"tempo": "normal"} | ({"side": side} if side in SIDES else {})))
    return write_captions(parts, np.random.default_rng(0), 1)[0]


def shown(joints: np.ndarray) -> list[str]:
    """The actions whose conditions a motion satisfies."""
    return [name for name in CHECKS if performs(name, joints)]


def clips_row(name: str, clips: dict[str, Sequence[np.ndarray]]) -> MeasureRow:
    """Motions by the action they show: does each satisfy the condition of its own action?"""
    row = MeasureRow(name)
    for action, several in clips.items():
        for index, joints in enumerate(several):
            passed = performs(action, joints)
            # a failure lists what it shows instead; that tries every condition, so not for the others
            row.add(action, passed, **({} if passed else {"clip": index, "shows": shown(joints)}))
    return row


def model_row(name: str, requests: Iterable[tuple[str, Sequence[str], int]], generate: Callable) -> MeasureRow:
    """Generate a motion for every request (sentence, actions, seed) and judge it.

    `generate(sentences, seed=seeds)` returns motions with joints,
    as `MotionGenerator.generate` does.
    """
    row = MeasureRow(name)
    _add_requests(row, requests, generate)
    return row


def spellings_row(
    captions: Sequence[tuple[str, Sequence[str]]], seeds: Sequence[int], generate: Callable
) -> MeasureRow:
    """Every caption (sentence, actions) in every one of `SPELLINGS`, counted by spelling;
    else as `model_row`."""
    row = MeasureRow("spellings")
    for spelling, spell in SPELLINGS.items():
        requests = [(spell(caption), actions, seed) for caption, actions in captions for seed in seeds]
        _add_requests(row, requests, generate, spelling)
    return row


def _add_requests(
    row: MeasureRow, requests: Iterable[tuple[str, Sequence[str], int]], generate: Callable, group: str | None = None
) -> None:
    """See `model_row`. Tries are counted by their actions unless `group` names one for all of
    them."""
    requests = sorted(requests, key=lambda request: request[0])  # equal sentences share a batch
    # a batch at a time: all motions at once might not fit on the device
    for start in range(0, len(requests), BATCH):
        some = requests[start : start + BATCH]
        motions = generate([sentence for sentence, _, _ in some], seed=[seed for _, _, seed in some])
        for (sentence, actions, seed), motion in zip(some, motions, strict=True):
            passed = does(actions, motion.joints)
            # what a failed motion shows instead helps to find out why
            what = {} if passed else {"shows": shown(motion.joints), "frames": len(motion.joints)}
            row.add(group or " then ".join(actions), passed, sentence=sentence, seed=seed, **what)


def lengths_row(generate: Callable, fps: float, frames_per_code: int, seed: int = 0) -> MeasureRow:
    """Every prompt at every length, in seconds: the codes may be one off,
    or none off with `exact_length`."""
    row = MeasureRow("lengths")
    # exact lengths are promised, the others only asked for
    for exact in (False, True):
        for seconds in SECONDS:
            wanted = codes_for_seconds(seconds, fps, frames_per_code)
            motions = generate(list(LENGTH_PROMPTS), seed=seed, seconds=seconds, exact_length=exact)
            for index, (sentence, motion) in enumerate(zip(LENGTH_PROMPTS, motions, strict=True)):
                got = len(motion.tokens)
                passed = abs(got - wanted) <= (0 if exact else 1)
                group = f"{seconds:g} s{', exact' if exact else ''}"
                row.add(group, passed, sentence=sentence, seed=seed + index, codes=got, wanted_codes=wanted)
    return row


def markdown(title: str, rows: Sequence[MeasureRow], matrix: dict[str, dict[str, float]] | None = None) -> str:
    """The report as Markdown: a summary, a table per action or pair, the failures,
    and the matrix if there is one."""
    text = [f"# {title}", "", "The model never sees a condition: it gets the sentence and the seed, nothing else.", ""]
    text += summary(rows)

    # a table with a line per action and a column per row of the report
    columns: dict[str, dict[str, str]] = {}  # row -> action -> count; a "-more" row continues its column
    for row in rows:
        if row.name not in OTHER_GROUPS:
            counts = {group: _count(row, group) for group in row.tries if " then " not in group}
            columns.setdefault(row.name.removesuffix("-more"), {}).update(counts)
    if names := list(dict.fromkeys(name for counts in columns.values() for name in counts)):
        text += ["", "## Per action", "", f"| action | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        text += [f"| {name} | {' | '.join(c.get(name, '') for c in columns.values())} |" for name in names]
    # pairs, lengths and spellings have a table of their own
    for row in rows:
        others = row.tries if row.name in OTHER_GROUPS else [g for g in row.tries if " then " in g]
        if others:
            text += ["", f"## {row.name.capitalize()}", "", "| asked for | passed |", "|---|---|"]
            text += [f"| {name} | {_count(row, name)} |" for name in others]
    for row in rows:
        if row.failures:
            text += ["", f"## What failed: {row.name}", ""]
            text += ["- " + ", ".join(f"{key} {value}" for key, value in what.items()) for what in row.failures]
    return "\n".join(text + (["", *matrix_lines(matrix)] if matrix else [])) + "\n"


def summary(rows: Sequence[MeasureRow]) -> list[str]:
    """The lines of a Markdown table, one for each row of the report."""
    lines = ["| measure | passed | share | target | met |", "|---|---|---|---|---|"]
    for row in rows:
        r = row.record()
        counts = f"{r['passed']} / {r['total']} | {100 * r['share']:.1f} %"
        lines.append(f"| {row.name} | {counts} | {100 * r['target']:g} % | {'yes' if r['met'] else 'no'} |")
    return lines


def matrix_lines(matrix: dict[str, dict[str, float]]) -> list[str]:
    """The lines of a Markdown table: per condition the share of its own action that passes,
    and of every other one."""
    lines = ["## Which condition passes on motions of which action", ""]
    lines += ["| condition | own action | other actions that pass |", "|---|---|---|"]
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
