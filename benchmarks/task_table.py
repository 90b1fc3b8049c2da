"""Every task of a run, one number or two for each, on clips of the embedded data.

    python scripts/prepare.py --from procedural --count 1000 --edits 400 --seed 7 --out data/held_back
    python benchmarks/task_table.py --run outputs/run --data data/held_back --split test --out outputs/tasks.md

The clips must be held back: of a split, or of a seed, that the run was not trained on. What a clip shows is known from
its id, so other data has only the rows of predict and inbetween. A task that the stage has not learnt, or whose data is
missing, has a row that says so; tasks with given codes are asked for all the same, as text to motion whose given codes
the sampler keeps.

    does it        share of motions that satisfy the conditions of the clip's actions (`faithfulness/`)
    without        the same number without a model: the last pose held, poses interpolated, the unchanged source
    tokenizer      the same number of the real motion through the motion tokenizer: about the best that can be reached

All motions but those of `edit` have the length of the real one.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from motiongpt.config import SampleConfig
from motiongpt.data.edits import EDITS, read_edits
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.action_naming import action_names, as_action, naming_scores
from motiongpt.evaluation.clips import read_items, shortest_clip
from motiongpt.evaluation.completion import fit_ground, given_frames
from motiongpt.evaluation.given_codes import BASELINES, MOST_FRAMES, GivenOptions, evaluate_given
from motiongpt.evaluation.labels import COMPLETION, NAMING
from motiongpt.evaluation.markdown import number, table
from motiongpt.evaluation.model_answers import M2TOptions, describe_motions, run_facts, write_motions
from motiongpt.evaluation.protocol import ProtocolConfig
from motiongpt.faithfulness.judge import does
from motiongpt.generator import MotionGenerator
from motiongpt.metrics.joints import mpjpe
from motiongpt.tasks.table import first_code, key_codes, last_code

HEAD = ["task", "measured", "model", "without", "tokenizer", "N"]
GIVEN = {"init": first_code, "last": last_code, "keys": key_codes}
SHOWN = ("ade", "fde", "mpjpe_mm", "given_kept")  # of predict and inbetween
ALL_ROWS = ("ade", "mpjpe_mm")  # of these also best of k, and greedy
NOT_EMBEDDED = "no clip is one of the embedded data, so nobody knows what it shows"


@dataclass(frozen=True)
class Known:
    """Clips of which the actions are known: captions, codes, joints (F, J, 3), names of the actions."""

    captions: list[str]
    codes: list[list[int]]
    joints: list[torch.Tensor]
    actions: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.codes)


def known_clips(data: MotionDataset, generator: MotionGenerator, split: str, clips: int | None) -> Known:
    """The first `clips` usable clips of a split whose actions are known from their ids."""
    items, _ = read_items(data, split, shortest_clip(data), MOST_FRAMES)
    pairs = [(item, names) for item in items[:clips] if (names := action_names(item.name))]
    features = [item.features for item, _ in pairs]
    return Known(
        [item.captions[0].text.strip() for item, _ in pairs],
        generator.motion_tokenizer.encode(features),
        [generator.motion_tokenizer.joints(torch.as_tensor(x)) for x in features],
        [names for _, names in pairs],
    )


def share(tries: Sequence[bool]) -> str:
    return f"{100 * float(np.mean(tries)):.0f} %"


def passed(actions: Sequence[Sequence[str]], motions: Sequence) -> str:
    """Share of joints (F, J, 3) that satisfy the conditions of their actions."""
    return share([does(names, np.asarray(joints)) for names, joints in zip(actions, motions, strict=True)])


def text_row(generator: MotionGenerator, known: Known, seed: int, batch: int) -> Iterator[list[str]]:
    """t2m: the caption alone, with the length of the clip."""
    lengths = [len(row) for row in known.codes]
    codes = write_motions(generator, known.captions, seed, lengths, SampleConfig(), batch)
    back = generator.motion_tokenizer.decode(known.codes)
    motions = generator.motion_tokenizer.decode(codes)
    yield ["t2m", "does it", passed(known.actions, motions), "-", passed(known.actions, back), str(len(known))]


def part_rows(
    task: str, generator: MotionGenerator, data: MotionDataset, protocol: ProtocolConfig, batch: int
) -> Iterator[list[str]]:
    """predict and inbetween: errors of the frames that were not given."""
    report = evaluate_given(data, generator, GivenOptions(task, batch_size=batch), protocol).report
    rows = report["rows"]
    for name in SHOWN:
        for row in (row for row in rows if row.startswith("model")):
            if name not in ALL_ROWS and row not in ("model", "model, no caption"):
                continue
            cells = [rows[which].get(name) for which in (row, BASELINES[task][0], "reconstruction")]
            values = [number(cell and cell["mean"]) for cell in cells]
            yield [task, COMPLETION[name] + row.removeprefix("model"), *values, str(report["protocol"]["N"])]


def given_rows(task: str, generator: MotionGenerator, known: Known, seed: int, batch: int) -> Iterator[list[str]]:
    """init, last, keys: whether codes are kept, how far off their frames are, and the caption's conditions."""
    rng = np.random.default_rng([seed, 5])
    places = [GIVEN[task](len(row), rng) for row in known.codes]
    kept = [{p: row[p] for p in some} for row, some in zip(known.codes, places, strict=True)]
    asked = [{-1: row[-1]} for row in known.codes] if task == "last" else kept
    lengths = [len(row) for row in known.codes]
    codes = write_motions(generator, known.captions, seed, lengths, SampleConfig(), batch, task=task, given=asked)
    there = [all(row[p] == code for p, code in some.items()) for row, some in zip(codes, kept, strict=True)]
    motions = generator.motion_tokenizer.decode(codes)
    back = generator.motion_tokenizer.decode(known.codes)
    yield [task, COMPLETION["given_kept"], share(there), "-", "-", str(len(known))]
    unit = generator.motion_tokenizer.config.frames_per_code
    masks = [given_frames(some, len(row), unit) for row, some in zip(known.codes, places, strict=True)]
    cells = [number(float(np.mean(list(map(pose_error, some, known.joints, masks))))) for some in (motions, back)]
    yield [task, "MPJPE of the given poses (mm)", cells[0], "-", cells[1], str(len(known))]
    yield [task, "does it", passed(known.actions, motions), "-", passed(known.actions, back), str(len(known))]


def pose_error(joints: np.ndarray, target: torch.Tensor, mask: torch.Tensor) -> float:
    """MPJPE (mm) of the frames in `mask`, after the written motion was turned onto them."""
    target = target[: len(mask)]
    fitted = fit_ground(torch.as_tensor(joints), target, mask)
    return 1000 * float(mpjpe(fitted[mask], target[mask]).mean())


def sentence_rows(generator: MotionGenerator, known: Known, seed: int, batch: int) -> Iterator[list[str]]:
    """m2t: whether greedy sentences name what the clip shows."""
    sentences = describe_motions(generator, known.codes, seed, M2TOptions(batch_size=batch))
    shown = [list(map(as_action, names)) for names in known.actions]
    scores = naming_scores(sentences, shown)
    single = np.array([len(names) == 1 for names in known.actions])
    rows = {NAMING[name]: values[np.isfinite(values)] for name, values in scores.items()}
    rows[f"{NAMING['action_named']}, clips of one action"] = scores["action_named"][single]
    for label, counted in rows.items():
        if len(counted):
            yield ["m2t", label, share(counted), "-", "-", str(len(counted))]


def length_rows(generator: MotionGenerator, known: Known) -> Iterator[list[str]]:
    """t2d, m2d: the length that the model says, against that of the clip, in codes."""
    per_code = generator.run.config.seconds_per_code
    real = np.array([len(row) for row in known.codes], dtype=float)
    constant = number(float(np.abs(real - np.median(real)).mean()))
    for task, ask, questions in (
        ("t2d", generator.expected_seconds, known.captions),
        ("m2d", generator.seconds_of, known.codes),
    ):
        if not generator.learnt(task):
            yield skipped(task, "this stage never learnt it")
            continue
        said = [ask(question) for question in questions]
        answered = np.array([value is not None for value in said])
        errors = [abs(value / per_code - length) for value, length in zip(said, real, strict=True) if value is not None]
        yield [task, "names a length", share(answered), "-", "-", str(len(said))]
        if errors:
            yield [task, "error (codes); without: always the median", number(float(np.mean(errors))), constant, "-",
                   str(len(errors))]  # fmt: skip


def edit_rows(generator: MotionGenerator, data: MotionDataset, split: str, most: int | None, seed: int) -> Iterator:
    """edit: whether the written motion does what the target does, and for a change of tempo its length."""
    listed = set(data.ids(split))
    edits = [edit for edit in read_edits(data.folder) if edit.target in listed and action_names(edit.target)][:most]
    if not edits:
        yield skipped("edit", f"{data.folder.name}/{EDITS} has no pair of the embedded data in the split {split}")
        return
    tokenizer = generator.motion_tokenizer
    sources, targets = ([data.features(getattr(edit, end)) for edit in edits] for end in ("source", "target"))
    codes, wanted = tokenizer.encode(sources), tokenizer.encode(targets)
    actions = [action_names(edit.target) for edit in edits]
    motions = [
        generator.edit(row, edit.texts[0], seed=seed + i)
        for i, (row, edit) in enumerate(zip(codes, edits, strict=True))
    ]
    old, new = (tokenizer.decode(rows) for rows in (codes, wanted))
    joints = [motion.joints for motion in motions]
    groups = {"all": range(len(edits))}
    groups |= {
        kind: [i for i, edit in enumerate(edits) if edit.kind == kind] for kind in sorted({e.kind for e in edits})
    }
    for kind, indices in groups.items():
        cells = [passed([actions[i] for i in indices], [some[i] for i in indices]) for some in (joints, old, new)]
        yield ["edit", f"does it, {kind or 'of no kind'}", *cells, str(len(indices))]
    for kind in ("faster", "slower"):
        if indices := groups.get(kind):
            of_model = [len(motions[i].tokens) / len(codes[i]) for i in indices]
            of_target = [len(wanted[i]) / len(codes[i]) for i in indices]
            cells = [f"{np.median(of_model):.2f}", "1.00", f"{np.median(of_target):.2f}"]
            yield ["edit", f"length over that of the source, {kind} (median)", *cells, str(len(indices))]


def skipped(task: str, reason: str) -> list[str]:
    return [task, f"skipped: {reason}", "-", "-", "-", "-"]


def task_rows(
    generator: MotionGenerator, data: MotionDataset, protocol: ProtocolConfig, batch: int
) -> Iterator[list[str]]:
    """The cells of the table, task by task."""
    seed = protocol.seed
    known = known_clips(data, generator, protocol.split, protocol.clips)
    of_known: dict[str, Callable[[], Iterator[list[str]]]] = {
        "t2m": partial(text_row, generator, known, seed, batch),
        **{task: partial(given_rows, task, generator, known, seed, batch) for task in GIVEN},
        "m2t": partial(sentence_rows, generator, known, seed, batch),
        "t2d, m2d": partial(length_rows, generator, known),
    }
    for task in BASELINES:
        yield from part_rows(task, generator, data, protocol, batch)
    for task, rows in of_known.items():
        if not len(known):
            yield skipped(task, NOT_EMBEDDED)
            continue
        try:
            yield from rows()
        except ValueError as error:  # for example m2t, which no stage has learnt
            yield skipped(task, str(error))
    if generator.learnt("edit"):
        yield from edit_rows(generator, data, protocol.split, protocol.clips, seed)
    else:
        yield skipped("edit", "this stage never learnt it")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "checkpoints" / "demo", help="run folder (default the demo)")
    parser.add_argument("--stage", type=int, help="its stage (default the last finished one)")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--split", default="test", help="split (default test)")
    parser.add_argument("--clips", type=int, help="only the first N usable clips, and N pairs of edit (default all)")
    parser.add_argument("--repeats", type=int, default=1, help="repeats of predict and inbetween (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws (default 0)")
    parser.add_argument("--batch-size", type=int, default=32, help="motions at a time (default 32)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--out", type=Path, help="Markdown file (default: print only)")
    args = parser.parse_args(argv)
    try:
        generator = MotionGenerator(args.run, stage=args.stage, device=args.device)
        protocol = ProtocolConfig(args.split, args.clips, repeats=args.repeats, seed=args.seed)
        rows = list(task_rows(generator, MotionDataset(args.data), protocol, args.batch_size))
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    facts = run_facts(generator.run, SampleConfig())
    line = f"stage {facts['stage']} of a run of recipe {facts['run']} ({facts['run_hash']}), data {args.data.name}, "
    line += f"split {args.split}, seed {args.seed}, temperature {facts['sampling']['temperature']}"
    text = "\n".join([*table(HEAD, rows), "", line, ""])
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
