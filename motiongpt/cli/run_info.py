"""What a loaded run knows, and what it makes of a new sentence, as text for people.

`sample.py --info` prints the first; the scripts print the second beside a motion. Nothing here changes what is
sampled.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from motiongpt.data.plain_captions import WHILE, ReadingTable, action_of
from motiongpt.data.words import actions, content_words, stem, stems
from motiongpt.generation.requests import MAX_PROMPT
from motiongpt.generator import MotionGenerator
from motiongpt.motion import STAND_IN, STAND_IN_NOTE, needs_joints
from motiongpt.stages.run_folder import finished_stages, run_backbone

SHOWN_ACTIONS = 24
SHOWN_CAPTIONS = 10
SHOWN_PAIRS = 5


def run_info(generator: MotionGenerator) -> str:
    """Stages, data, actions, participants, codes, lengths, limits and some captions of a run, one per line."""
    run = generator.run
    config, captions = run.config, run.prompts.captions
    data = run.meta.get("data", {})
    stages = [
        f"{number} {meta['name']} ({', '.join(meta['tasks'])})"
        for number, meta in sorted(finished_stages(run.folder).items())
    ]
    reading = run.prompts.reading  # its clauses begin with their verb, a request begins with "can you"
    verbs = actions(reading["clauses"] + reading["wholes"] if reading else captions)
    more = ", ..." if len(verbs) > SHOWN_ACTIONS else ""
    code_seconds = config.seconds_per_code
    shortest = min((known["min"] for known in captions.values()), default=0)
    longest = max((known["max"] for known in captions.values()), default=0)
    in_seconds = f"{shortest * code_seconds:.1f} to {longest * code_seconds:.1f} s"
    lines = {
        "recipe": f"{config.recipe}, backbone {run_backbone(run.folder)}",
        "stages": f"{', '.join(stages)} finished; this is {run.stage}",
        "data": f"{data.get('file', 'unknown')}, {data.get('train', '?')} training entries",
        "actions": ", ".join(verbs[:SHOWN_ACTIONS]) + more,
        "participants": f"{', '.join(config.participants)} (--pid)" if config.participants else "none",
        "codes": f"{config.codes}, each {config.frames_per_code} frames at {config.fps:g} fps ({code_seconds:g} s)",
        "lengths": f"{shortest} to {longest} codes in training ({in_seconds}), "
        f"median {run.prompts.global_median} (--seconds)",
        "joints": _joints(generator),
        "limits": f"{run.llm.config.max_positions} tokens of prompt and motion together, "
        f"{MAX_PROMPT} characters of prompt",
        "captions": f"{len(captions)}, such as",
    }
    examples = sorted(captions)[:: max(1, len(captions) // SHOWN_CAPTIONS)][:SHOWN_CAPTIONS]
    shown = [f"{name:13}{text}" for name, text in lines.items()] + [f"  {text}" for text in examples]
    known = {who: words for who, words in run.prompts.styles.items() if who in config.participants}
    shown += ["styles", *(f"  {who:11}{words}" for who, words in known.items())] if known else []
    if reading and generator.listener.reads:
        shown += known_actions(reading)
        if config.best_of > 1:
            shown += [f"{'best of':13}{config.best_of} motions of a sentence, the one it describes best (--best-of)"]
    return "\n".join(shown)


def known_actions(table: ReadingTable) -> list[str]:
    """Every action that sentences are read as, with its most frequent plain caption; pairs done at once; moods."""
    first: dict[tuple[str, ...], str] = {}
    at_once = []
    for clause in table["clauses"]:  # the most frequent ones come first
        if WHILE in clause:
            at_once.append(clause)
        else:
            first.setdefault(action_of(clause), clause)
    subject = next(iter(table["subjects"]), "")
    examples = sorted([f"{subject} {clause}" for clause in first.values()] + table["wholes"])
    lines = [f"{'sentences':13}are read as one to three of {len(examples)} actions, whose plain captions are"]
    lines += [f"  {text}" for text in examples]
    if at_once:
        lines += [f"{'at once':13}{len(at_once)} pairs, such as"]
        lines += [f"  {subject} {clause}" for clause in at_once[:SHOWN_PAIRS]]
    if moods := sorted(" ".join(text.split()[1:-1]) for text in table["subjects"] if len(text.split()) > 2):
        lines += [f"{'moods':13}{', '.join(moods)}"]
    return lines


def _joints(generator: MotionGenerator) -> str:
    """Which joints the run's motions have."""
    motion_tokenizer = generator.motion_tokenizer
    if motion_tokenizer is None:
        return "none: this run has no motion tokenizer"
    if not motion_tokenizer.representation.has_joints:
        return f"none: {motion_tokenizer.representation.name} parameters, drawn on a {STAND_IN}"
    return motion_tokenizer.skeleton.name


def drawing_note(generator: MotionGenerator, places: Iterable[Path]) -> str:
    """What to know about the joints in files at these places; empty if there is nothing to say."""
    motion_tokenizer = generator.motion_tokenizer
    if motion_tokenizer is None:
        return "this run has no motion tokenizer, so there are tokens only; --vqvae FOLDER gives joints and pictures"
    if motion_tokenizer.representation.has_joints or not any(map(needs_joints, places)):
        return ""
    return STAND_IN_NOTE


def how_trained(meta: dict) -> str:
    """How far a stage was trained, for the line that names it: `, 100 steps on tokens.json, validation loss 0.70`."""
    data, losses = (meta.get(key) if isinstance(meta.get(key), dict) else {} for key in ("data", "losses"))
    steps = meta.get("steps")
    loss = losses.get("best_val_loss")
    place = f" on {data['file']}" if "file" in data else ""
    parts = [f"{steps} steps{place}"] if isinstance(steps, int) else []
    parts += [f"validation loss {loss:.2f}"] if isinstance(loss, float) else []
    parts += ["a --debug run: expect nothing"] if meta.get("debug") else []
    return "".join(f", {part}" for part in parts)


def prompt_notes(
    generator: MotionGenerator, prompts: Sequence[str], seconds: Sequence[float | None] | None = None
) -> list[str | None]:
    """For each sentence None if the run lists it as a caption, else one line that says what is guessed about it.

    `seconds` are the lengths that were asked for: such a length is no guess.
    """
    if all(map(generator.knows, prompts)):
        return [None] * len(prompts)
    captions = generator.run.prompts.captions
    known_stems = stems(captions)  # of all captions, so once for all prompts
    wanted = [length is not None for length in seconds or [None] * len(prompts)]
    pairs = zip(prompts, wanted, strict=True)
    return [None if generator.knows(text) else _note(text, timed, captions, known_stems) for text, timed in pairs]


def _note(text: str, timed: bool, captions: dict[str, dict], known_stems: frozenset[str]) -> str:
    """The note on a sentence that is not a caption: the run knows none of its words, or guesses its length."""
    words = content_words(text)
    new = [word for word in words if stem(word) not in known_stems]
    start = f"note: {text[:60]!r} is not among the captions this run lists"
    if len(new) == len(words):
        some = ", ".join(actions(captions)[:8])
        return f"{start} and has no word that this run knows; it knows words such as {some} (more: --info)"
    unknown = f" ({', '.join(new[:5])}: in none of them)" if new else ""
    return start + unknown + ("" if timed else ", so its length is that of captions like it; see --seconds")
