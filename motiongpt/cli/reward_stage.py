"""From flags to the reward stage: which sentences are written for, what is rewarded, and who looks on.

    rewarded      sentences of the training split whose wants are known, of the families that earn something
    looked at     held-out sentences that no training caption equals: of those families, and of the others

The reward is a judge that the model can learn to fool. So what the loop validates is more than the reward: conditions
of actions that earn nothing, an evaluator that gives no reward, FID, diversity and length. The motions looked at are
drawn and cleaned as `scripts/sample.py` does it.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from motiongpt.cli.stage_samples import run_in_training
from motiongpt.config import RewardConfig, SampleConfig
from motiongpt.data.spelling import fold
from motiongpt.data.tokens import plain_entries, rank
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.plain_requests import plain_caption
from motiongpt.faithfulness.rewards import is_left_out, joint_scores, known_wants, left_out, match_shares, names_in
from motiongpt.faithfulness.wants import Want, read_sentences
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json
from motiongpt.generation.best_of import ROWS
from motiongpt.generation.requests import Wanted, allowed_codes
from motiongpt.generation.writer import Writer
from motiongpt.metrics.embeddings import diversity, fid
from motiongpt.motion_files import decode_motions
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.language import Prepared
from motiongpt.stages.model import LoadedRun
from motiongpt.stages.plan import Plan
from motiongpt.stages.reward import Ask, RewardLoop

Request = tuple[str, Want]  # a sentence and what it wants


class Evaluator(Protocol):
    """What is needed of `evaluation.evaluators.Evaluator`, which `scripts/finetune.py` hands in."""

    hash: str

    def embed_motion(self, clips: Sequence[Tensor]) -> Tensor: ...

    def embed_text(self, captions: Sequence[str]) -> Tensor: ...


OpenEvaluator = Callable[..., Evaluator]
"""`Evaluator.load`; the evaluation is not below this package, so a script hands it in."""


def reward_loop(
    args: argparse.Namespace, prepared: Prepared, config: RewardConfig, open_evaluator: OpenEvaluator
) -> RewardLoop:
    """The reward stage that the flags describe, and its numbers before the first step printed.

    Raises ValueError for a run without joints of humanml3d-22, for sentences that are too few, and what
    `evaluation.evaluators.Evaluator.load` raises.
    """
    # what is rewarded, and what is looked at
    plan = prepared.plan
    unrewarded = left_out(config.unrewarded)
    known, held_out = known_requests(plan)
    if args.requests is not None:
        known = _read_requests(args.requests)
    if args.held_out is not None:
        held_out = _read_requests(args.held_out)
    rewarded = [request for request in known if not is_left_out(request[1], unrewarded)]
    looked_at = {
        "": [request for request in held_out if not is_left_out(request[1], unrewarded)][: config.judged],
        "unrewarded_": [request for request in held_out if is_left_out(request[1], unrewarded)][: config.judged],
    }
    if not rewarded or not looked_at[""]:
        raise ValueError(
            f"{plan.job.data} has {len(rewarded)} training and {len(looked_at[''])} held-out sentences with known "
            "actions that are rewarded: name others with --requests and --held-out"
        )
    print(f"{len(rewarded)} sentences are rewarded; no reward for {', '.join(sorted(unrewarded)) or 'none'}")
    print(f"looked at: {len(looked_at[''])} held-out sentences, {len(looked_at['unrewarded_'])} of unrewarded actions")
    # what rewards it, and who looks on
    motion_tokenizer = _motion_tokenizer(plan, prepared.device)
    evaluators = {}
    for name in ("evaluator", "judge"):
        folder = getattr(args, name)
        if folder is not None:
            evaluators[name] = open_evaluator(folder, device=prepared.device)
            _check_evaluator(evaluators[name], motion_tokenizer, f"--{name} {folder}")
    run = run_in_training(prepared)
    scorer = Scorer(config, motion_tokenizer, evaluators.get("evaluator"))
    true = {entry.text: entry.codes for entry in plain_entries(plan.entries) if entry.split == "val"}
    real = [true[text] for several in looked_at.values() for text, _ in several if text in true]
    jury = Jury(run, prepared.device, scorer, looked_at, evaluators.get("judge"), real)
    facts = {name: found.hash for name, found in evaluators.items()}
    facts |= {name: file_hash(getattr(args, name)) for name in ("requests", "held_out") if getattr(args, name)}
    loop = RewardLoop(prepared, _asks(run, prepared.device, rewarded), scorer, jury, config, facts)
    if not args.dry_run:
        loop.model.eval()
        print("before   " + "  ".join(f"{name} {value:.4g}" for name, value in jury().items()))
    return loop


def known_requests(plan: Plan) -> tuple[list[Request], list[Request]]:
    """The sentences of the run's data whose want is known: of training, and held out and none of training."""
    entries = plain_entries(plan.entries)
    captions = [(entry.id, entry.text) for entry in entries] + [(entry.id, entry.plain) for entry in entries]
    wants = dict(zip(captions, known_wants(captions), strict=True))
    known = [(entry, want) for entry in entries if (want := wants[entry.id, entry.text]) is not None]
    training = {entry.text: want for entry, want in known if entry.split == "train"}
    read = {fold(entry.text) for entry in entries if entry.split == "train"}
    held_out = sorted((pair for pair in known if pair[0].split == "val"), key=lambda pair: rank(pair[0], 0))
    new = {entry.text: want for entry, want in held_out if fold(entry.text) not in read}
    return list(training.items()), list(new.items())


def _read_requests(path: Path) -> list[Request]:
    """The sentences of a file, see `faithfulness/wants.py`, but those that nobody can do."""
    return [(one.sentence, one.want) for one in read_sentences(read_json(path, object), path) if one.want.steps]


def _motion_tokenizer(plan: Plan, device: torch.device) -> MotionTokenizer:
    """The run's own. ValueError if it draws no joints of humanml3d-22, which the conditions are about."""
    given = plan.motion_tokenizer or plan.job.out / "vqvae"
    if isinstance(given, Path) and not given.is_dir():
        raise ValueError(f"{plan.job.out} has no motion tokenizer, and only joints can be rewarded: give --vqvae")
    found = given if isinstance(given, MotionTokenizer) else MotionTokenizer.load(given, device)
    if not found.representation.has_joints or found.skeleton.name != "humanml3d-22":
        has = f"{found.representation.name} of the skeleton {found.skeleton.name}"
        raise ValueError(f"{given} has {has}; the conditions are about joints of humanml3d-22")
    return found


def _check_evaluator(evaluator: Any, motion_tokenizer: MotionTokenizer, name: str) -> None:
    known, written = (f"{one.representation.name} at {one.fps:g} fps" for one in (evaluator, motion_tokenizer))
    if known != written:
        raise ValueError(f"{name} knows {known}, the run writes {written}; train one on its data")


def _asks(run: LoadedRun, device: torch.device, requests: Sequence[Request]) -> list[Ask]:
    """Sentences with the limits and the codes that sampling would give them. ValueError for one that has no room."""
    writer = Writer(run, device, SampleConfig())
    rows = [writer.plan("t2m", Wanted(text, None, None, {}, 0)) for text, _ in requests]
    allowed = allowed_codes(run, rows)
    return [
        Ask(text, want, tuple(row.ids), row.limits.capped(writer.config.max_new_tokens), own)
        for (text, want), row, own in zip(requests, rows, allowed, strict=True)
    ]


# What is measured.


class Scorer:
    """The reward of a motion: condition passed + matching score - skate - jerk, by the weights of the config."""

    def __init__(self, config: RewardConfig, motion_tokenizer: MotionTokenizer, evaluator: Evaluator | None) -> None:
        self.config, self.motion_tokenizer, self.evaluator = config, motion_tokenizer, evaluator
        self.texts: dict[Evaluator, Tensor] = {}

    def __call__(self, asks: Sequence[Ask], rows: Sequence[list[int]]) -> tuple[Tensor, dict[str, float]]:
        """Rewards (B,), and the mean of each part."""
        parts = self.parts([(ask.text, ask.want) for ask in asks], rows)
        return self.total(parts), {name: float(values.mean()) for name, values in parts.items()}

    def parts(self, requests: Sequence[Request], rows: Sequence[list[int]]) -> dict[str, Tensor]:
        """passed, skate, jerk and seconds of each motion, (B,), and match if there is an evaluator."""
        motions = decode_motions(self.motion_tokenizer, rows, [text for text, _ in requests])
        single = [joint_scores(want, m.joints) for (_, want), m in zip(requests, motions, strict=True)]
        parts = {name: torch.tensor([row[name] for row in single]) for name in ("passed", "skate", "jerk")}
        parts["seconds"] = torch.tensor([len(motion.joints) / motion.fps for motion in motions])
        if self.evaluator is not None:
            parts["match"] = self.match(self.evaluator, requests, self.embed(self.evaluator, rows))
        return parts

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """The reward (B,) of motions with these parts; a jerk counts per 100 m/s^3."""
        c = self.config
        earned = c.pass_weight * parts["passed"] + c.match_weight * parts.get("match", torch.zeros(()))
        return earned - c.skate_weight * parts["skate"] - c.jerk_weight * parts["jerk"] / 100

    def embed(self, evaluator: Evaluator, rows: Sequence[Sequence[int]]) -> Tensor:
        """Codes -> embedded motions (B, E)."""
        return evaluator.embed_motion(self.motion_tokenizer.decode_features(rows))

    def match(self, evaluator: Evaluator, requests: Sequence[Request], motions: Tensor) -> Tensor:
        """(B,) in [0, 1]: how well embedded motions match their sentences, against the plain captions of all others."""
        if evaluator not in self.texts:
            self.texts[evaluator] = evaluator.embed_text([plain_caption((name,)) for name in CHECKS])
        others = torch.tensor([[name not in names_in(want) for name in CHECKS] for _, want in requests])  # (B, M)
        return match_shares(
            motions, evaluator.embed_text([text for text, _ in requests]), self.texts[evaluator], others
        )


@dataclass
class Jury:
    """What validation measures, on held-out sentences: always the same ones, with the same seeds."""

    run: LoadedRun
    device: torch.device
    scorer: Scorer
    looked_at: dict[str, list[Request]]  # "" and "unrewarded_" -> sentences
    judge: Evaluator | None
    real: list[Sequence[int]]  # codes of held-out motions, for FID

    def __call__(self) -> dict[str, float]:
        """`loss`, what the rewarded sentences miss of the full reward, decides which model is kept; the rest looks on.

        FID and diversity are those of all motions looked at, and of the true ones of these sentences through the
        tokenizer.
        """
        numbers, everything = {}, []
        for name, requests in self.looked_at.items():
            if not requests:
                continue
            rows = self._write(requests)
            everything += rows
            parts = self.scorer.parts(requests, rows)
            numbers |= {f"{name}reward": float(self.scorer.total(parts).mean())}
            numbers |= {f"{name}{part}": float(values.mean()) for part, values in parts.items()}
            if self.judge is not None:
                match = self.scorer.match(self.judge, requests, self.scorer.embed(self.judge, rows))
                numbers[f"{name}judge_match"] = float(match.mean())
        if self.judge is not None and min(len(everything), len(self.real)) > 1:
            motions, real = (self.scorer.embed(self.judge, rows) for rows in (everything, self.real))
            numbers["judge_fid"] = fid(real, motions, allow_few=True)
            numbers["judge_diversity"] = diversity(motions, np.random.default_rng(0))
            numbers["real_diversity"] = diversity(real, np.random.default_rng(0))
        return {"loss": self.scorer.config.most - numbers["reward"]} | numbers

    def _write(self, requests: Sequence[Request]) -> list[list[int]]:
        """The codes of a motion for each sentence, as a user would get it."""
        writer = Writer(self.run, self.device, SampleConfig())
        rows = [writer.plan("t2m", Wanted(text, None, None, {}, seed)) for seed, (text, _) in enumerate(requests)]
        return [own.codes for first in range(0, len(rows), ROWS) for own in writer.write(rows[first : first + ROWS])]
