"""What `scripts/demo_report.py` measures, row by row: a sentence and a seed go in, a motion comes out and is judged.

A model gets a sentence and a seed, as `scripts/sample.py` would give them, nothing else. A condition gets the joints
that come out.

    truth        fresh motions of the `NAMED` actions of the embedded dataset: what the conditions recognise
    roundtrip    the same motions through the run's motion tokenizer: what codes can carry
    model        the plain caption of every named action, several seeds
    ...-more     the same three for all other actions, finer gestures among them
    ...-manners  fresh motions, and their round trips, of every count, tempo, size, mood, turn and gesture on top
    spellings    the captions of `model` as people type them: a capital and a full stop, quotes, ...
    sentences    frozen sentences of words the model knows, in phrasings it never read
    free         frozen sentences by somebody who never saw the grammar, by category; a refusal may be right
    counts       plain captions with a count, "a person jumps twice"
    manners      plain captions with a tempo, a size, a mood, degrees, or a gesture on top of a walk
    sequences    plain captions of two actions: both have to come, in that order
    lengths      seconds asked for, kept within one code, or exactly with `exact_length`
    quality      motions of `model` end at rest and do not stop and start again; jerk, slide, bones, rests as numbers
    described... the other way round, from test clips to plain captions, embedded and real: `described.py`

The motions of `truth` come from a seed of their own, which training never uses.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from typing import NamedTuple

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.described import Described
from motiongpt.faithfulness.fresh import FRESH_SEED, fresh_clips
from motiongpt.faithfulness.judge import failings, performs
from motiongpt.faithfulness.plain_requests import (
    Part,
    caption_of,
    count_parts,
    fresh_parts,
    manner_parts,
    plain_caption,
    want_of,
)
from motiongpt.faithfulness.quality import ends_at_rest, ground_speed, qualities, restarts
from motiongpt.faithfulness.report import MeasureRow
from motiongpt.faithfulness.wants import FreeSentence, Want, plain_want
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.lengths import codes_for_seconds

BATCH = 32  # sentences sampled at once
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


class Asked(NamedTuple):
    """One try: a sentence with a seed, what it wants, and the group it counts for."""

    sentence: str
    seed: int
    want: Want
    group: str


def never(sentence: str) -> str | None:
    """Refuses nothing."""
    return None


def refusals(generator) -> Callable[[str], str | None]:
    """Sentence -> why a `MotionGenerator` refuses it, None if it does not."""

    @cache
    def refused(sentence: str) -> str | None:
        if not generator.listener.reads:
            return None
        try:
            generator.understand(sentence)
        except ValueError as error:
            return str(error)
        return None

    return refused


def round_trip(motion_tokenizer, clips: dict[str, Sequence[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Clips of every action through a `MotionTokenizer`: joints -> features -> codes -> joints."""
    back = {}
    for name, several in clips.items():
        features = [joints_to_features(joints, motion_tokenizer.skeleton) for joints in several]
        back[name] = motion_tokenizer.decode(motion_tokenizer.encode(features))
    return back


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


def ask(
    row: MeasureRow,
    asked: Iterable[Asked],
    generate: Callable,
    refused: Callable[[str], str | None] = never,
    seen: Callable[[Asked, object, list[str]], None] | None = None,
) -> MeasureRow:
    """Generate a motion for every try, judge it, and count it in `row`, which is returned.

    `generate(sentences, seed=seeds)` returns motions with joints, as `MotionGenerator.generate` does; `refused` says
    why it would refuse a sentence, which is then not generated. `seen` gets each try, its motion (None for a refusal)
    and its failings.
    """
    asked = sorted(asked, key=lambda one: one.sentence)  # equal sentences share a batch
    # a batch at a time: all motions at once might not fit on the device
    for start in range(0, len(asked), BATCH):
        some = asked[start : start + BATCH]
        reasons = [refused(one.sentence) for one in some]
        wanted = [one for one, reason in zip(some, reasons, strict=True) if reason is None]
        motions = generate([one.sentence for one in wanted], seed=[one.seed for one in wanted]) if wanted else []
        written = iter(motions)
        for one, reason in zip(some, reasons, strict=True):
            motion = next(written) if reason is None else None
            lacks = failings(one.want, None if motion is None else motion.joints)
            what = _failure(one, motion, reason, lacks) if lacks else {}
            row.add(one.group, not lacks, sentence=one.sentence, seed=one.seed, **what)
            if seen is not None:
                seen(one, motion, lacks)
    return row


def _failure(one: Asked, motion, reason: str | None, lacks: list[str]) -> dict:
    """What helps to find out why a try failed: what the motion lacks, and what it shows instead."""
    if motion is None:
        return {"lacks": lacks, "refused": reason}
    said = {"understood": motion.notes[0]} if getattr(motion, "notes", ()) else {}
    manner = said if lacks[0] not in ("actions", "body", "refusal") else said | {"shows": shown(motion.joints)}
    return {"lacks": lacks, **manner, "frames": len(motion.joints)}


def plain_row(name: str, groups: Sequence[Sequence[str]], seeds: Sequence[int], generate: Callable) -> MeasureRow:
    """The plain caption of every group of actions at every seed, counted by "walk_forward then wave_right"."""
    tries = (Asked(plain_caption(g), seed, plain_want(g), " then ".join(g)) for g in groups for seed in seeds)
    return ask(MeasureRow(name), tries, generate)


def spellings_row(actions: Sequence[str], seeds: Sequence[int], generate: Callable) -> MeasureRow:
    """The plain caption of every action in every one of `SPELLINGS`, counted by spelling."""
    row = MeasureRow("spellings")
    for spelling, spell in SPELLINGS.items():
        tries = (Asked(spell(plain_caption((a,))), seed, plain_want((a,)), spelling) for a in actions for seed in seeds)
        ask(row, tries, generate)
    return row


def sentences_row(
    name: str, sentences: Sequence[FreeSentence], seeds: Sequence[int], generate: Callable, **options
) -> MeasureRow:
    """Frozen sentences, counted by category; options are those of `ask`."""
    tries = (Asked(one.sentence, seed, one.want, one.category) for one in sentences for seed in seeds)
    return ask(MeasureRow(name), tries, generate, **options)


def parts_row(
    name: str, parts: Iterable[tuple[str, Part]], seeds: Sequence[int], generate: Callable, **options
) -> MeasureRow:
    """The plain caption of every (group, part), such as "a person jumps twice"; options are those of `ask`."""
    tries = (Asked(caption_of([part]), seed, want_of([part]), group) for group, part in parts for seed in seeds)
    return ask(MeasureRow(name), tries, generate, **options)


def fresh_manners_row(name: str, count: int, seed: int, motion_tokenizer=None) -> MeasureRow:
    """Fresh motions of every count and manner, or their round trips: does each satisfy its own facts?"""
    row = MeasureRow(name)
    for group, part in (*count_parts(), *manner_parts()):
        made = list(islice(fresh_parts(part, seed), count))
        clips = [joints for _, joints in made]
        clips = clips if motion_tokenizer is None else round_trip(motion_tokenizer, {group: clips})[group]
        for index, ((performed, _), joints) in enumerate(zip(made, clips, strict=True)):
            lacks = failings(want_of(performed), joints)
            row.add(group, not lacks, action=part[0], clip=index, lacks=lacks)
    return row


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


def quality_row(
    actions: Sequence[str], seeds: Sequence[int], generate: Callable, fresh: Mapping[str, Sequence[np.ndarray]]
) -> MeasureRow:
    """The plain caption of every action at every seed: each motion ends at rest, and none restarts.

    Its numbers are the mean `qualities` of these motions, and of `fresh` ones of the same actions.
    """
    row = MeasureRow("quality")
    motions = list(_written(actions, seeds, generate))
    for sentence, seed, joints in motions:
        again = restarts(ground_speed(joints[:, 0]))
        row.add("ends at rest", ends_at_rest(joints), sentence=sentence, seed=seed)
        row.add("does not stop and start again", not again, sentence=sentence, seed=seed)
    sets = {"model": [joints for *_, joints in motions], "fresh motions": [x for a in actions for x in fresh[a]]}
    for name, several in sets.items():
        found = [qualities(np.asarray(joints)) for joints in several if len(joints) > 3]  # four frames have a jerk
        row.numbers[name] = {key: float(np.mean([one[key] for one in found])) for key in found[0]} if found else {}
    return row


def _written(actions: Sequence[str], seeds: Sequence[int], generate: Callable) -> Iterator[tuple[str, int, np.ndarray]]:
    """Sentence, seed and joints of every action's plain caption at every seed."""
    tries = [(plain_caption((action,)), seed) for action in actions for seed in seeds]
    for start in range(0, len(tries), BATCH):
        some = tries[start : start + BATCH]
        motions = generate([sentence for sentence, _ in some], seed=[seed for _, seed in some])
        for (sentence, seed), motion in zip(some, motions, strict=True):
            yield sentence, seed, np.asarray(motion.joints)


@dataclass
class Study:
    """Everything that rows are measured with."""

    generator: object = None  # a `MotionGenerator`; rows of fresh motions need none
    seeds: int = 5  # motions per plain caption
    sentence_seeds: int = 1  # motions per frozen sentence
    first_seed: int = 0
    clips_each: int = 20  # fresh motions per action
    data_seed: int = FRESH_SEED
    sentences: Mapping[str, Sequence[FreeSentence]] = field(default_factory=dict)  # row -> its frozen sentences
    seen: Callable[[Asked, object, list[str]], None] | None = None  # gets the motions of frozen sentences
    described: Described | None = None  # measures the rows of that name

    @cached_property
    def clips(self) -> dict[str, list[np.ndarray]]:
        """Fresh motions of every action, the named ones first."""
        names = (*NAMED, *(name for name in CHECKS if name not in NAMED))
        return {name: fresh_clips((name,), self.clips_each, self.data_seed) for name in names}

    def measure(self, name: str) -> MeasureRow:
        """One row of the report, by a name of the list at the top of this file."""
        if name.startswith("described"):
            return self.described.measure(name)
        kind = name.removesuffix("-more")
        actions = [action for action in CHECKS if action not in NAMED] if name != kind else NAMED
        tokenizer = self.generator and self.generator.motion_tokenizer
        generate = self.generator and self.generator.generate
        seeds = range(
            self.first_seed, self.first_seed + (self.sentence_seeds if name in self.sentences else self.seeds)
        )
        if kind in ("truth", "roundtrip"):
            clips = {action: self.clips[action] for action in actions}
            return clips_row(name, round_trip(tokenizer, clips) if kind == "roundtrip" else clips)
        if kind.endswith("-manners"):
            through = tokenizer if kind.startswith("roundtrip") else None
            return fresh_manners_row(name, -(-self.clips_each // 4), self.data_seed, through)
        if kind == "lengths":
            config = self.generator.run.config
            return lengths_row(generate, config.fps, config.frames_per_code, self.first_seed)
        if name in self.sentences:
            heard = {"refused": refusals(self.generator), "seen": self.seen}
            return sentences_row(name, self.sentences[name], seeds, generate, **heard)
        if kind in ("counts", "manners"):
            parts = count_parts() if kind == "counts" else manner_parts()
            return parts_row(name, parts, seeds, generate, refused=refusals(self.generator))
        if kind == "spellings":
            return spellings_row(actions, seeds, generate)
        if kind == "quality":
            return quality_row(actions, seeds, generate, self.clips)
        return plain_row(name, PAIRS if kind == "sequences" else [(action,) for action in actions], seeds, generate)
