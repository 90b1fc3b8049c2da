"""What a run makes of a sentence, and how it says so.

    "a soldier wlaks ahead slowly, then waves"
    understood: walk forward slowly, then wave the right hand (ignored: 'soldier'; 'wlaks' read as 'walks')

A caption of training is taken as it is. Any other sentence is freed of close typing errors (`typos.py`) and of denials
that training never saw ("without waving"), and read as a plain caption (`reading.py`); what of it was not understood is
said. A sentence in which nothing names a known action is refused, with the nearest ones as advice, unless the reader is
sure of one. So is one that only denies ("he does not kick"). Nothing here is done for a run that never learnt `read`.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from motiongpt.data.plain_captions import THEN, WHILE, ReadingTable, split_plain, verbs_of
from motiongpt.data.spelling import fold
from motiongpt.data.words import SIDES, content_words, denials, stem
from motiongpt.generation.reading import MOST_CLAUSES, Reader, Reading
from motiongpt.generation.requests import learnt
from motiongpt.generation.turns import POLITE, POLITE_END
from motiongpt.generation.typos import correct
from motiongpt.procedural.word_forms import inflect
from motiongpt.stages.model import LoadedRun, load_run
from motiongpt.stages.run_folder import finished_stages
from motiongpt.tasks.table import TABLE

# Certainty from which an action is believed though no word of the sentence names it. Measured: of sentences in other
# people's words 95 of 100 read rightly are above it, of sentences about unknown actions 15 of 100.
SURE = 0.65
FAIRLY_SURE = 0.6  # is enough if training knows every word and none names an action ("goes on"), or another model reads
ADVICE = 3  # captions that a refusal names
SAYS_NOTHING = SIDES | {"please"}  # words that are no request by themselves
SHOWN, LONGEST = 8, 24  # words that a line says were ignored, and letters of a word
# Between two parts of a sentence that follow each other, and what says that they do not.
PARTS = re.compile(r"\s*(?:[,;.!?&]+|\b(?:and|then|next(?! to\b)|finally|followed by|after that|afterwards)\b)\s*")
REORDERED = re.compile(
    r"\b(?:before|after(?! that)|while|as|until|when|once|instead|without|not|no"
    r"|at the same time|at once|simultaneously|meanwhile|during|together|but first|having)\b"
)
Heard = tuple[str | None, tuple[str, ...]]  # what is asked for, and the notes that say so
AS_WRITTEN = "read=False (--as-written) takes it as it is"


@dataclass(frozen=True)
class Understood:
    """What a sentence was understood as."""

    text: str  # what the motion model is asked for
    ignored: tuple[str, ...] = ()  # words that say something, and that no caption of training has
    certainty: float = 1.0  # in [0, 1], of its action
    alternatives: tuple[str, ...] = ()  # plain captions of other actions, the likeliest first
    corrected: tuple[tuple[str, str], ...] = ()  # typing errors: (typed, read as)
    notes: tuple[str, ...] = ()  # what else to know of it
    known: bool = False  # it is a caption of training

    @property
    def line(self) -> str:
        """One line for people."""
        some = [repr(word if len(word) <= LONGEST else f"{word[: LONGEST - 3]}...") for word in self.ignored[:SHOWN]]
        some += [f"{len(self.ignored) - SHOWN} more"] if len(self.ignored) > SHOWN else []
        said = [f"ignored: {', '.join(some)}"] if some else []
        said += [f"{typed!r} read as {meant!r}" for typed, meant in self.corrected]
        said += self.notes
        return f"understood: {in_short(self.text)}" + (f" ({'; '.join(said)})" if said else "")


def in_short(text: str) -> str:
    """A plain caption without its person: "a happy person walks then sits down" -> "walk, then sit down (happy)".

    Any other text stays.
    """
    subject, clauses = split_plain(text)
    if not subject:
        return text
    mood = " ".join(subject.split()[1:-1])
    return ", then ".join(inflect(clause, "base") for clause in clauses) + (f", {mood}" if mood else "")


def without_politeness(text: str) -> str:
    """ "could you please walk, please" -> "walk": a folded sentence without what says nothing about the motion."""
    before = None
    while text != before:
        before = text
        text = POLITE_END.sub("", POLITE.sub("", text, count=1) if POLITE.match(text) else text)
    return text or before


class Listener:
    """A run, and the model that reads sentences for it."""

    def __init__(
        self,
        run: LoadedRun,
        reader: Path | str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`reader` is a finished stage folder, or a run, that learnt `read`; default the one that the run's config.json
        names, if all of it is there, else a stage of the run itself. `say` is called with a line on which it is, when
        the first sentence has to be read: that of the config may be large, so it is opened only then.

        Raises FileNotFoundError or ValueError for a given reader that cannot be used.
        """
        self.run, self.device, self.dtype, self._say = run, device, dtype, say
        self._heard: dict[str, Understood] = {}
        self._given = self._open(Path(reader)) if reader is not None else None

    @cached_property
    def _other(self) -> LoadedRun | None:
        """Another run that reads; None if this one does, or nothing."""
        if self._given is not None or not self.run.config.reader:
            return self._given
        place = self.run.folder / self.run.config.reader
        try:
            return self._open(place)
        except (OSError, ValueError) as error:
            able = self._own_stage is not None
            own = "this run reads sentences itself" if able else "sentences are taken as they are written"
            why = f"{str(error).splitlines()[0]}; docs/TASKS.md: Sentences as people type them"
            self._say(f"reader {place} is not usable, so {own} ({why})")
            return None

    def _open(self, place: Path) -> LoadedRun:
        run = load_run(place, None, self.device, self.dtype, "read")
        if not learnt(run, "read"):
            raise ValueError(f"{place} never learnt to read sentences; train it: finetune.py --tasks read")
        return run

    @property
    def reads(self) -> bool:
        """Whether sentences are read as plain captions."""
        return self._table is not None and (self._own_stage is not None or self._other is not None)

    @cached_property
    def _table(self) -> ReadingTable | None:
        """The captions that the motion model knows; those of the reader for a run that was trained without any."""
        return self.run.prompts.reading or (self._other and self._other.prompts.reading)

    @cached_property
    def _own_stage(self) -> int | None:
        """The stage of the run that reads: the loaded one, else the highest that learnt it."""
        if learnt(self.run, "read"):
            return self.run.stage
        able = [number for number, meta in finished_stages(self.run.folder).items() if "read" in meta["tasks"]]
        return max(able, default=None)

    def _check_reads(self) -> None:
        if not self.reads:
            raise ValueError(
                f"no stage of {self.run.folder} was trained on read, sentences to plain captions: train one with "
                "scripts/finetune.py --tasks t2m read, on data with plain captions"
            )

    @cached_property
    def reader(self) -> Reader:
        """The reader, opened when it is first asked for. ValueError if nothing of the run learnt `read`."""
        self._check_reads()
        run = self._other or self.run
        if self._other is not None:
            self._say(f"sentences are read by {run.folder}, stage {run.stage}")
        if self._other is None and self._own_stage != self.run.stage:
            run = load_run(self.run.folder, self._own_stage, self.device, self.dtype)
        return Reader(run, self._table, self.device)

    @cached_property
    def _stems(self) -> frozenset[str]:
        """Of all words of training."""
        return frozenset(map(stem, self._table["words"]))

    def _told(self, text: str) -> list[str]:
        """The verbs of plain captions that some word of a sentence names."""
        stems = map(stem, content_words(text))
        return list(dict.fromkeys(verb for found in stems for verb in self._table["telling"].get(found, ())))

    def heard(self, prompts: Sequence[str | None], task: str, read: bool | None) -> list[Heard]:
        """What the motion model is asked for each prompt of a task, and the note that says so.

        A prompt stays, without a note, if it is no sentence of its own (edit), or nothing is to read it. `read`
        None: where something can. Raises what `understand_all` raises.
        """
        texts = [text for text in prompts if text is not None]
        if not (self.reads if read is None else read) or TABLE[task].of_pairs or not texts:
            return [(text, ()) for text in prompts]
        found = iter(self.understand_all(texts))
        heard = (None if text is None else next(found) for text in prompts)
        return [(None, ()) if row is None else (row.text, (row.line,)) for row in heard]

    def understand_all(self, sentences: Sequence[str]) -> list[Understood]:
        """What each sentence means, those that are new in one batch.

        Raises ValueError, in one line with advice, for a sentence that names no known action, and for one that denies
        an action that training never saw denied.
        """
        self._check_reads()  # its error comes first
        new = [text for text in dict.fromkeys(sentences) if text not in self._heard]
        typed = []
        for text in new:
            if (known := self.run.prompts.caption(text)) is not None:
                self._heard[text] = Understood(known, known=True)
            else:
                typed.append(text)
        rows = []
        for text in typed:
            meant, corrected = correct(without_politeness(fold(text)), self._table["words"])
            if corrected and (known := self.run.prompts.caption(meant)) is not None:
                self._heard[text] = Understood(known, corrected=corrected, known=True)
            else:
                rows.append((text, *self._affirmed(text, meant), corrected))
        freed = [meant for _, meant, _, _ in rows]
        readings = self._in_parts(freed, self.reader.read(freed)) if rows else []
        for (text, meant, denied, corrected), reading in zip(rows, readings, strict=True):
            self._heard[text] = self._judged(text, meant, denied, corrected, reading)
        return [self._heard[text] for text in sentences]

    def _affirmed(self, text: str, meant: str) -> tuple[str, tuple[str, ...]]:
        """A sentence without what it denies and training never denied, and these parts. ValueError if it denies all."""
        cut = [(start, end) for start, end, what in denials(meant) if what not in self._table["negated"]]
        left, last = [], 0
        for start, end in cut:
            left.append(meant[last:start])
            last = max(last, end)
        rest = "".join([*left, meant[last:]])
        if cut and not self._told(rest):
            raise ValueError(
                f"{_shown(text)} says what is not done, which this run never learnt; say what the person does instead "
                f"({AS_WRITTEN})"
            )
        return " ".join(rest.split()).strip(",;: ") or meant, tuple(meant[start:end] for start, end in cut)

    def _in_parts(self, sentences: Sequence[str], readings: Sequence[Reading]) -> list[Reading]:
        """Readings, those that pass over a part of their sentence made anew, part by part, where there is doubt.

        "jump, turn around, run" is three sentences in a row, and each of them is easier than all. There is doubt if the
        reading is unsure, or follows not every verb. The parts count if each is read with some certainty, and with
        more where no word of it names the action.
        """
        pieces = {}
        for i, (text, reading) in enumerate(zip(sentences, readings, strict=True)):
            parts = [part for part in PARTS.split(text) if content_words(part)]
            verbs = verbs_of(reading.text)
            several = len(verbs) < len(parts) <= MOST_CLAUSES and (len(parts) > 2 or WHILE not in reading.text)
            doubt = reading.certainty < SURE or self._unfollowed(text, verbs)
            if several and doubt and not REORDERED.search(text):
                pieces[i] = parts
        found = iter(self.reader.read([part for parts in pieces.values() for part in parts]) if pieces else [])
        done = list(readings)
        for i, parts in pieces.items():
            read = [next(found) for _ in parts]
            subjects, clauses = zip(*(split_plain(one.text) for one in read), strict=True)
            single = all(subjects) and all(len(several) == 1 for several in clauses)
            sure = all(self._believes(part, one) for part, one in zip(parts, read, strict=True))
            if single and sure:
                text = f"{subjects[0]} {THEN.join(several[0] for several in clauses)}"
                others = ((readings[i].text, readings[i].certainty), *readings[i].others)
                done[i] = Reading(text, min(one.score for one in read), min(one.certainty for one in read), others)
        return done

    def _believes(self, part: str, read: Reading) -> bool:
        """Whether a part of a sentence surely means what it is read as."""
        told = set(self._told(part))
        return read.certainty >= (FAIRLY_SURE if told else SURE) and not (told and told.isdisjoint(verbs_of(read.text)))

    def describe(self, run: LoadedRun, rows: Sequence[Sequence[int]]) -> list[str]:
        """The plain caption of each motion (codes), by a run that learnt m2t."""
        if self._table is None:
            raise ValueError(f"{self.run.folder} knows no plain captions; data with plain captions teaches them")
        return [found.text for found in Reader(run, self._table, self.device).describe(rows)]

    def _judged(
        self, text: str, meant: str, denied: tuple[str, ...], corrected: tuple[tuple[str, str], ...], reading: Reading
    ) -> Understood:
        """A reading with what is to be said of it. ValueError if it must not be used."""
        told = self._told(meant)
        ignored = tuple(word for word in dict.fromkeys(content_words(meant)) if stem(word) not in self._stems)
        enough = FAIRLY_SURE if self._other is not None or not (ignored or told) else SURE
        if self._other is None and SAYS_NOTHING.issuperset(content_words(meant)):
            enough = math.inf  # "he", "123", "left, please": however sure the model is of its guess
        notes = [f"left out: {part!r}" for part in denied]

        # 1) The likeliest caption that follows every verb of the sentence; if none does, simply the likeliest.
        found = [(reading.text, reading.certainty), *reading.others]
        lacking = [self._unfollowed(meant, verbs_of(caption)) for caption, _ in found]
        best = min(range(len(found)), key=lambda i: (len(lacking[i]), i)) if reading.certainty < SURE else 0
        chosen, certainty = found[best]
        others = tuple(caption for caption, _ in found if caption != chosen)
        notes += [f"not followed: {', '.join(map(repr, lacking[best]))}"] if lacking[best] else []

        # 2) Clauses that no word of it names are believed of a sure reader only.
        if certainty < enough and not set(told) & set(verbs_of(chosen)):
            advice = ", ".join(map(repr, self._nearest(told, chosen, *others)))
            raise ValueError(
                f"nothing in {_shown(text)} names an action that this run knows; the nearest are: {advice} (--info "
                f"lists all, {AS_WRITTEN})"
            )
        if not set(told) & set(verbs_of(chosen)):
            notes += ["the nearest action it knows"] if ignored or not told else []
        elif certainty < FAIRLY_SURE and ignored:
            subject, clauses = split_plain(chosen)
            kept = [clause for clause, verb in zip(clauses, verbs_of(chosen), strict=True) if verb in told]
            chosen = f"{subject} {THEN.join(kept)}" if subject else chosen
        return Understood(chosen, ignored, certainty, others, corrected, tuple(notes))

    def _unfollowed(self, text: str, verbs: Sequence[str]) -> list[str]:
        """The words of a sentence that are themselves verbs of plain captions, and tell none of these verbs."""
        telling = self._table["telling"]
        found = {word: telling.get(stem(word), ()) for word in content_words(text)}
        return [word for word, told in found.items() if stem(word) in map(stem, told) and not set(told) & set(verbs)]

    def _nearest(self, told: Sequence[str], *read: str) -> list[str]:
        """Plain captions to advise: one of each verb that a word names, then what was read, then what is usual."""
        subject = next(iter(self._table["subjects"]), "")
        usual = [f"{subject} {clause}" for clause in self._table["clauses"]]
        named = [found for verb in told if (found := next((t for t in usual if verbs_of(t) == (verb,)), ""))]
        return list(dict.fromkeys([*named, *read, *usual, *self._table["wholes"]]))[:ADVICE]


def _shown(text: str) -> str:
    """A sentence on one line, cut if it is long."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
