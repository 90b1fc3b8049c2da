"""What a language model writes for the captions of a token data set,
against the codes that the set has for them.

It needs neither motions nor an evaluator: motions are compared as sequences of codes. The table has
the row model, the row chance (motions of other captions) and, if captions have several motions, the
row real: the first motion of such a caption against its others. A caption is asked once per
participant and repeat, in the spelling of its first entry.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from motiongpt import __version__
from motiongpt.data.motions import SPLITS
from motiongpt.data.selection import of_split
from motiongpt.data.spelling import fold, says_something
from motiongpt.data.tokens import Entry, load_tokens, read_tokens_meta, tokens_hash
from motiongpt.data.training_captions import median_length
from motiongpt.evaluation.model_answers import T2MOptions, run_facts, write_motions
from motiongpt.evaluation.perplexity import stage_perplexities
from motiongpt.evaluation.protocol import DIGITS, ProtocolConfig, TableRow, rounded
from motiongpt.evaluation.qualities import code_usage
from motiongpt.files.hashes import file_hash
from motiongpt.generator import MotionGenerator
from motiongpt.metrics.tokens import code_counts, length_accuracy, token_distances
from motiongpt.stages.run_folder import split_seed

AT_ONCE = 512  # captions whose distances are computed together: bounds the memory


@dataclass(frozen=True)
class Asked:
    """A caption as it is asked, whose it is (None: nobody's), and its entries in the data set."""

    text: str
    participant: str | None
    entries: tuple[Entry, ...]

    @property
    def motions(self) -> list[tuple[int, ...]]:
        return [entry.codes for entry in self.entries]


def chosen_entries(entries: Sequence[Entry], split: str, path: Path) -> list[Entry]:
    """The entries of a split, or of several joined by `+`.
    ValueError names the splits that have any."""
    names = split.split("+")
    chosen = [entry for entry in entries if entry.split in names]
    if not chosen:
        have = {name: sum(entry.split == name for entry in entries) for name in reversed(SPLITS)}
        others = " or ".join(f"{name} ({count})" for name, count in have.items() if count)
        raise ValueError(f"{path} has no entry of the split {split}; --split {others} has entries")
    return chosen


def asked_captions(entries: Sequence[Entry], participants: Sequence[str]) -> list[Asked]:
    """One request per caption and participant, in the order of the data;
    who the run does not know is nobody."""
    groups: dict[tuple[str, str | None], list[Entry]] = defaultdict(list)
    for entry in entries:
        who = entry.participant if entry.participant in participants else None
        groups[fold(entry.text), who].append(replace(entry, participant=who))
    return [Asked(group[0].text, who, tuple(group)) for (_, who), group in groups.items()]


def check_same_codes(generator: MotionGenerator, entries: Sequence[Entry], path: Path) -> None:
    """ValueError if the data has codes that the run cannot write,
    or was written by another tokenizer."""
    run = generator.run
    largest = max(max(entry.codes) for entry in entries)
    if largest >= run.config.codes:
        raise ValueError(f"{path} has the code {largest}, {run.folder} writes {run.config.codes}: another tokenizer's")
    # codes in range may still be those of another codebook: compare the hash, if both are known
    wrote = read_tokens_meta(path).get("vqvae")
    weights = run.folder / "vqvae" / "model.safetensors"
    if wrote and weights.is_file() and wrote != file_hash(weights):
        raise ValueError(f"{path} has codes of another tokenizer than {weights.parent}; tokenise it with that one")


class Scores:
    """The numbers of written motions, each with a value per caption (N,)."""

    def __init__(self, generator: MotionGenerator, asked: Sequence[Asked], most: int) -> None:
        """`most` codes are allowed in any motion (--max-new-tokens)."""
        self.asked = asked
        prompts = generator.run.prompts
        self.known = [prompts.find(one.text) for one in asked]  # records of captions that training had
        self.medians = [median_length([len(row) for row in one.motions]) for one in asked]
        self.limits = [generator.limits(one.text).capped(most) for one in asked]
        self.codes = generator.run.config.codes
        every = frozenset(range(self.codes))
        self.allowed = [frozenset(record["codes"]) if record else every for record in self.known]

    def distances(self, rows: Sequence[Sequence[int]], references: Sequence | None = None) -> dict[str, np.ndarray]:
        """`token_distances` of a motion for each caption,
        by default to all of the caption's own."""
        references = [one.motions for one in self.asked] if references is None else references
        parts = []
        for first in range(0, len(rows), AT_ONCE):
            parts.append(token_distances(rows[first : first + AT_ONCE], references[first : first + AT_ONCE]))
        return {f"edit_{name}": np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def lengths(self, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Lengths against the caption's median in this split, and in training;
        NaN if training lacks the caption."""
        found = defaultdict(list)
        for row, median, record in zip(rows, self.medians, self.known, strict=True):
            here = length_accuracy([len(row)], [median])
            found["split_length_within"].append(here["within_10_percent"])
            found["split_length_error"].append(here["error"])
            # a caption that training lacks has no length to compare with
            there = length_accuracy([len(row)], [record["median"]]) if record else {}
            found["length_within"].append(there.get("within_10_percent", np.nan))
            found["length_error"].append(there.get("error", np.nan))
        return {name: np.array(values) for name, values in found.items()}

    def violations(self, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Shares of motions outside the caption's limits of length, with a code it may not have,
        cut off at the limit.

        Counted on what was written. The first two are promises of the sampler,
        so they are 0 unless it is broken.
        """
        found = defaultdict(list)
        for row, limits, allowed in zip(rows, self.limits, self.allowed, strict=True):
            found["length_violations"].append(not limits.hard_min <= len(row) <= limits.hard_max)
            found["code_violations"].append(not allowed.issuperset(row))
            found["cut_off"].append(len(row) >= limits.hard_max)
        return {name: np.array(values, dtype=float) for name, values in found.items()}

    def real(self) -> dict[str, np.ndarray]:
        """Distances of the first motion of each caption to its other ones;
        NaN for a caption with a single one."""
        several = [i for i, one in enumerate(self.asked) if len(one.motions) > 1]
        if not several:
            return {}
        rows = [self.asked[i].motions[0] for i in several]
        found = self.distances(rows, [self.asked[i].motions[1:] for i in several])
        # NaN holds the place of captions with a single motion
        out = {name: np.full(len(self.asked), np.nan) for name in found}
        for name, values in found.items():
            out[name][several] = values
        return out


def evaluate_tokens(
    path: Path,
    generator: MotionGenerator,
    protocol: ProtocolConfig | None = None,
    options: T2MOptions | None = None,
) -> dict:
    """The content of report.json: edit distances, lengths, violations of limits, codes in use,
    perplexity.

    `path` is a token data set; without splits it is split as the run was. `protocol.clips` counts
    captions, and motions have no least length.

    Raises ValueError for a split without entries and for codes of another tokenizer,
    and as `load_tokens`.
    """
    # what is asked: every caption of the split once per participant
    entries = load_tokens(path, split_seed(generator.run.folder))
    protocol = protocol or ProtocolConfig(repeats=1)
    options = options or T2MOptions()
    chosen = chosen_entries(entries, protocol.split, path)
    check_same_codes(generator, chosen, path)
    people = generator.run.config.participants
    every = asked_captions(chosen, people)
    # punctuation alone asks for nothing, unless training had it
    mute = [one for one in every if not says_something(one.text) and not generator.knows(one.text)]
    every = [one for one in every if one not in mute]
    if not every:
        raise ValueError(f"{path}: no caption of the split {protocol.split} has a letter, a digit or an emoji")
    asked = every[: protocol.clips]
    N = len(asked)
    known = [entry for one in asked for entry in one.entries]
    in_train = of_split(entries, "train")
    training = {(fold(entry.text), entry.codes) for entry in known}.intersection(
        (fold(entry.text), entry.codes) for entry in in_train
    )
    scores = Scores(generator, asked, options.sampling.max_new_tokens)

    # 1) The rows. Chance gets the first motion of another caption.
    rows = {"model": TableRow(), "chance": TableRow()}
    if real := scores.real():
        rows = {"real": TableRow()} | rows
    first: list[list[int]] = []
    for repeat in tqdm(range(protocol.repeats), unit="repeat", disable=None):
        texts = [one.text for one in asked]
        seed = protocol.seed + repeat * N
        whose = [one.participant for one in asked]
        written = write_motions(generator, texts, seed, None, options.sampling, options.batch_size, whose)
        # the report shows the first repeat
        first = first or written
        rows["model"].add(scores.distances(written) | scores.lengths(written) | scores.violations(written))
        # the draw of `RepeatDraws.chance`: real motions shuffled among the captions
        order = np.random.default_rng([protocol.seed, repeat, 2]).permutation(N)
        others = [asked[i].motions[0] for i in order]
        rows["chance"].add(scores.distances(others) | scores.lengths(others))
        if real:
            rows["real"].add(real)

    # 2) The report.
    clips = {}
    for i, one in enumerate(asked):
        name = one.text if one.participant is None else f"{one.text} ({one.participant})"
        clips[name] = {"motions": len(one.motions), "written": " ".join(map(str, first[i])), **rows["model"].of_clip(i)}
    unknown = {entry.participant for entry in chosen if entry.participant is not None} - set(people)
    return rounded(
        {
            "what": "tokens",
            "protocol": {
                "what": "tokens",
                "data": path.resolve().name,
                "data_hash": tokens_hash(path, entries),
                "split": protocol.split,
                "N": N,
                "usable": len(every),
                "motions": len(known),
                "in_train": sum((fold(entry.text), entry.codes) in training for entry in known),
                "known_captions": sum(record is not None for record in scores.known),
                "unknown_participants": len(unknown),
                "repeats": protocol.repeats,
                "seed": protocol.seed,
                "digits": DIGITS,
                **run_facts(generator.run, options.sampling),
                "motiongpt": __version__,
                "torch": torch.__version__,
            },
            "rows": {name: row.summary() for name, row in rows.items()},
            "codebook": {
                "real": code_usage(code_counts([c for entry in known for c in entry.codes], scores.codes)),
                "model": code_usage(code_counts([c for row in first for c in row], scores.codes)),
            },
            "lengths": {"real": [len(entry.codes) for entry in known], "model": [len(row) for row in first]},
            "perplexity": stage_perplexities(generator, known, options.batch_size, options.perplexity),
            "dropped": {one.text: "no letter, digit or emoji" for one in mute},
            "clips": clips,
        }
    )
