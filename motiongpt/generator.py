"""MotionGenerator: load a run once, then sentences to motions and motions to sentences.

    generator = MotionGenerator.load("checkpoints/demo")
    motion = generator.generate("a person walks forward", seed=0)
    print(motion.tokens); motion.save("walk.gif"); print(generator.describe(motion))

It joins the pieces and decides nothing else: prompts come from `tasks.py`, limits and draws from `sampling.py`,
joints from `tokenizer.py`. A motion depends on its own seed only, not on who shared the batch (exactly so in fp32
on a CPU).
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import torch

from motiongpt.config import SampleConfig
from motiongpt.data.prompts import Prompts, prompt_table
from motiongpt.data.tokens import load_tokens
from motiongpt.data.words import actions, content_words, stem, stems
from motiongpt.hub import resolve_folder
from motiongpt.motion import Motion, check_suffix
from motiongpt.motion_files import decode_motions, motion_codes
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.sampling import (
    Limits,
    codes_for_seconds,
    generate,
    generate_text,
    limits_from_guess,
    limits_from_length,
    limits_from_median,
)
from motiongpt.stages.model import LoadedRun, load_run
from motiongpt.stages.run import finished_stages, split_seed
from motiongpt.vocab import parse_motion

MAX_PROMPT = 10_000  # characters
DESCRIBE = SampleConfig(temperature=0.0, max_new_tokens=64)
"""How `describe` writes unless told otherwise: always the likeliest word."""


class MotionGenerator:
    """A loaded run. `tokenizer` is None where the run has none: motions then carry tokens only."""

    def __init__(
        self,
        model_path: Path | str,
        dataset_path: Path | str | None = None,
        *,
        stage: int | None = None,
        task: str = "t2m",
        vqvae: Path | str | MotionTokenizer | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Load a run folder, one of its stage folders, or a Hub repo id (`model_path`).

        Args:
            dataset_path: a token dataset to take lengths and codes per caption from; the run's own prompts.json
                serves where this is None.
            stage: stage number; default the highest finished one, of those trained on `task` where there are any.
            task: what the generator is for, t2m (`generate`) or m2t (`describe`).
            vqvae: tokenizer folder, or a loaded tokenizer, such as that of another project's file; default the run's
                own.
            dtype: of the language model's base weights. bfloat16 halves them and rounds every product: other
                motions than in float32 for the same seed, as likely ones. The motion tokenizer stays float32.

        Raises FileNotFoundError or ValueError in one line where something is missing or does not fit.
        """
        run = resolve_folder(model_path, "run", "scripts/finetune.py --out makes one", ignore=["*/state/*"])
        self.run: LoadedRun = load_run(run, stage, device, dtype, task)
        if dataset_path is not None:
            entries = load_tokens(dataset_path, split_seed(self.run.folder))  # held out here as it was in training
            self.run.prompts = Prompts(prompt_table(entries))
        largest = max((max(known["codes"]) for known in self.run.prompts.captions.values()), default=0)
        if largest >= self.run.config.codes:
            raise ValueError(
                f"{dataset_path or 'prompts.json'} has the code {largest}, the run writes {self.run.config.codes}: "
                "they come from different tokenizers"
            )
        self.device = torch.device(device)
        self.motion_tokenizer = self._tokenizer(vqvae)

    def _tokenizer(self, given: Path | str | MotionTokenizer | None) -> MotionTokenizer | None:
        """The tokenizer given, else the run's own; ValueError where it is not that of the run's codes."""
        folder = self.run.folder / "vqvae"
        if given is None:
            return MotionTokenizer.load(folder, self.device) if folder.is_dir() else None
        motion_tokenizer = given if isinstance(given, MotionTokenizer) else MotionTokenizer.load(given, self.device)
        name = motion_tokenizer.source or "the tokenizer"
        has, writes = motion_tokenizer.config.codes, self.run.config.codes
        if has < writes:
            raise ValueError(f"{name} has {has} codes, the run writes {writes}: it is another one")
        if folder.is_dir() and not motion_tokenizer.has_codes_of(MotionTokenizer.load(folder)):
            raise ValueError(
                f"{name} is another tokenizer than the one whose codes this run writes, {folder}: they would decode to "
                "other motions"
            )
        return motion_tokenizer

    @classmethod
    def load(cls, path: Path | str, **kwargs) -> "MotionGenerator":
        """`MotionGenerator(path, ...)`, as the README says it."""
        return cls(path, **kwargs)

    def generate(
        self,
        prompt: str | Sequence[str],
        participant_id: str | None | Sequence[str | None] = None,
        *,
        seed: int | Sequence[int] = 0,
        seconds: float | None | Sequence[float | None] = None,
        exact_length: bool = False,
        per_prompt_vocab: bool = True,
        config: SampleConfig | None = None,
        trace: Callable[[int, dict], None] | None = None,
        **sampling: float,
    ) -> Motion | list[Motion]:
        """Write a motion for each sentence; one sentence gives one Motion, a list gives a list.

        Args:
            participant_id: whose style, for runs that know participants; one, or one per prompt.
            seed: of one motion; of several, row i gets seed + i unless a list is given.
            seconds: wanted length, to within one code; default what the caption had in training.
            exact_length: with `seconds`, exactly so many codes.
            per_prompt_vocab: only codes that training showed with this caption (captions it never saw: all).
            config, **sampling: SampleConfig, or its fields by name (temperature, top_p, max_new_tokens, ...).

        Raises ValueError for an empty prompt or one that is no text, an unknown participant, or values out of range.
        """
        prompts = [prompt] if isinstance(prompt, str) or not isinstance(prompt, Iterable) else list(prompt)
        if not prompts:
            raise ValueError("there is no prompt: give one sentence or a list of them")
        B = len(prompts)
        people = _per_row(participant_id, B, "participant_id")
        lengths = _per_row(seconds, B, "seconds")
        seeds = [seed + i for i in range(B)] if isinstance(seed, Integral) else _per_row(seed, B, "seed")
        if exact_length and any(length is None for length in lengths):
            raise ValueError("exact_length (--exact-length) needs seconds (--seconds)")
        for text in prompts:
            if not isinstance(text, str):
                raise ValueError(f"a prompt is a sentence, a str, got {type(text).__name__}: {text!r:.60}")
            if not text.strip():
                raise ValueError("the prompt is empty: write what the person does, such as 'a person walks forward'")
            if len(text) > MAX_PROMPT:
                raise ValueError(f"the prompt has {len(text)} characters, at most {MAX_PROMPT} are read")
        config = replace(config or SampleConfig(), **sampling)
        limits = [self.limits(text, length, exact_length) for text, length in zip(prompts, lengths, strict=True)]
        for row, length in zip(limits, lengths, strict=True):
            if length is not None and row.target > config.max_new_tokens:
                raise ValueError(
                    f"--seconds {length:g} is {row.target} codes, --max-new-tokens allows {config.max_new_tokens}"
                )
        ids = [self.run.renderer.text_prompt(text.strip(), who) for text, who in zip(prompts, people, strict=True)]
        self._check_room(ids, max(row.capped(config.max_new_tokens).hard_max for row in limits))
        rows = generate(
            self.run.llm,
            ids,
            begin_id=self.run.vocab.begin_id,
            codes=self.run.config.codes,
            limits=limits,
            seeds=[operator.index(value) for value in seeds],
            config=config,
            allowed=self._allowed(prompts) if per_prompt_vocab else None,
            trace=trace,
            device=self.device,
        )
        motions = self.decode(rows, prompts)
        return motions[0] if isinstance(prompt, str) else motions

    def limits(self, text: str, seconds: float | None = None, exact: bool = False) -> Limits:
        """How many codes a prompt may get: from `seconds`, else from the lengths in training of this caption or, where
        it is new, loosely from those of the captions most like it."""
        if seconds is not None:
            if not 0 < seconds < math.inf:
                raise ValueError(f"--seconds must be positive, got {seconds:g}")
            codes = codes_for_seconds(seconds, self.run.config.fps, self.run.config.frames_per_code)
            return limits_from_length(codes, exact)
        expected = self.run.prompts.expected_length(text)
        return limits_from_median(expected) if self.knows(text) else limits_from_guess(expected)

    def decode(self, codes: Sequence[Sequence[int]], texts: Sequence[str]) -> list[Motion]:
        """Codes -> motions; with joints, or SMPL-X parameters, where the run has a tokenizer."""
        if self.motion_tokenizer is None:
            return [Motion(None, self.run.config.fps, row, text) for row, text in zip(codes, texts, strict=True)]
        return decode_motions(self.motion_tokenizer, codes, texts)

    def check_output(self, path: Path) -> None:
        """ValueError where a motion of this run could not be saved as this file; see `motion.check_suffix`."""
        motion_tokenizer = self.motion_tokenizer
        has_joints = motion_tokenizer is not None and motion_tokenizer.representation.has_joints
        check_suffix(path, has_joints, motion_tokenizer is not None and not has_joints)

    def describe(
        self,
        motion: Motion | Sequence[int] | str,
        participant_id: str | None = None,
        *,
        seed: int = 0,
        config: SampleConfig | None = None,
        **sampling: float,
    ) -> str:
        """A sentence for a motion, its codes, or these as text ("42 18"). A motion of joints and no tokens is encoded.

        `config` is `DESCRIBE` unless given: greedy, at most 64 tokens.

        Raises ValueError for an empty motion, text that is no tokens, or a code outside the codebook.
        """
        motion = parse_motion(motion) if isinstance(motion, str) else motion
        codes = motion_codes(motion, self.motion_tokenizer) if isinstance(motion, Motion) else list(motion)
        if not codes:
            raise ValueError("nothing to describe: the motion has no tokens, or is shorter than one")
        return self.describe_all(
            [codes], [participant_id], seeds=[operator.index(seed)], config=replace(config or DESCRIBE, **sampling)
        )[0]

    def describe_all(
        self,
        rows: Sequence[Sequence[int]],
        participant_id: str | None | Sequence[str | None] = None,
        *,
        seeds: Sequence[int],
        config: SampleConfig = DESCRIBE,
    ) -> list[str]:
        """A sentence for each row of codes, all in one batch; row i with seeds[i]."""
        people = _per_row(participant_id, len(rows), "participant_id")
        ids = [self.run.renderer.motion_prompt(row, who) for row, who in zip(rows, people, strict=True)]
        self._check_room(ids, config.max_new_tokens)
        text_tokenizer, stop = self.run.vocab.text_tokenizer, self.run.renderer.frame.stop_id
        written = generate_text(
            self.run.llm, ids, first_id=self.run.vocab.first_id, stop_ids=[stop], seeds=seeds,
            config=config, banned=[i for i in text_tokenizer.added_ids if i != stop], device=self.device,
        )  # fmt: skip
        return [text_tokenizer.decode(row).strip() for row in written]

    def knows(self, text: str) -> bool:
        """Whether training showed this caption, case and spaces aside."""
        return self.run.prompts.find(text) is not None

    def advice(self, text: str) -> str | None:
        """One line on a sentence that is no caption of prompts.json: that it has no known word, or that its length is
        a guess. None for one of its captions."""
        if self.knows(text):
            return None
        words = content_words(text)
        new = [word for word in words if stem(word) not in self._known_stems]
        start = f"note: {text[:60]!r} is not among the captions this run lists"
        if len(new) == len(words):
            some = ", ".join(actions(self.run.prompts.captions)[:8])
            return f"{start} and has no word that this run knows; it knows words such as {some} (more: --info)"
        start += f" ({', '.join(new[:5])}: in none of them)" if new else ""
        return f"{start}, so its length is that of captions like it; see --seconds"

    @cached_property
    def _known_stems(self) -> frozenset[str]:
        return stems(self.run.prompts.captions)

    def info(self) -> str:
        """What this run knows, for people: stages, data, actions, participants, codes, lengths, captions, limits."""
        run, captions = self.run, self.run.prompts.captions
        config = run.config
        code = config.frames_per_code / config.fps  # seconds
        shortest = min((known["min"] for known in captions.values()), default=0)
        longest = max((known["max"] for known in captions.values()), default=0)
        data = run.meta.get("data", {})
        stages = [
            f"{number} {meta['name']} ({', '.join(meta['tasks'])})"
            for number, meta in sorted(finished_stages(run.folder).items())
        ]
        verbs = actions(captions)
        examples = sorted(captions)[:: max(1, len(captions) // 10)][:10]
        lines = {
            "recipe": f"{config.recipe}, backbone {config.backbone}",
            "stages": f"{', '.join(stages)} finished; this is {run.stage}",
            "data": f"{data.get('file', 'unknown')}, {data.get('train', '?')} training entries",
            "actions": f"{', '.join(verbs[:24])}{', ...' if len(verbs) > 24 else ''}",
            "participants": f"{', '.join(config.participants)} (--pid)" if config.participants else "none",
            "codes": f"{config.codes}, each {config.frames_per_code} frames at {config.fps:g} fps ({code:g} s)",
            "lengths": f"{shortest} to {longest} codes in training ({shortest * code:.1f} to {longest * code:.1f} s), "
            f"median {run.prompts.global_median} (--seconds)",
            "joints": "none: this run has no motion tokenizer" if self.motion_tokenizer is None
            else self.motion_tokenizer.skeleton.name,
            "limits": f"{run.llm.config.max_positions} tokens of prompt and motion together, "
            f"{MAX_PROMPT} characters of prompt",
            "captions": f"{len(captions)}, such as",
        }  # fmt: skip
        return "\n".join([f"{name:13}{text}" for name, text in lines.items()] + [f"  {text}" for text in examples])

    def _allowed(self, prompts: Sequence[str]) -> torch.Tensor:
        """(B, N) bool: the codes seen with each caption, everything for captions never seen."""
        allowed = torch.ones(len(prompts), self.run.config.codes, dtype=torch.bool)
        for row, text in zip(allowed, prompts, strict=True):
            if known := self.run.prompts.find(text):
                row[:] = False
                row[known["codes"]] = True
        return allowed

    def _check_room(self, ids: Sequence[Sequence[int]], new: int) -> None:
        room = self.run.llm.config.max_positions
        longest = max(map(len, ids))
        most = room - 1 - new
        if longest > most:
            raise ValueError(
                f"prompt and motion need {longest + 1 + new} tokens, the model has {room} positions: shorten the "
                f"prompt of {longest} tokens to at most {max(0, most)}, or lower --seconds or --max-new-tokens"
            )


def _per_row(value, B: int, name: str) -> list:
    """One value for all rows, or a list with one each."""
    if value is None or isinstance(value, str | Real):
        return [value] * B
    if len(value) != B:
        raise ValueError(f"{name}: {len(value)} values for {B} prompts")
    return list(value)
