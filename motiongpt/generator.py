"""MotionGenerator: load a run once, then sentences to motions and motions to sentences.

    generator = MotionGenerator.load("checkpoints/demo")
    motion = generator.generate("a person walks forward", seed=0)
    motion.save("walk.gif")
    print(motion.tokens, generator.describe(motion))

It joins the pieces and decides little itself: prompts come from `tasks/prompts.py`, limits and draws from
`sampling.py`, joints from `motion_tokenizer.py`. A motion depends only on its own seed, not on who shares its batch
(exactly so in fp32 on a CPU). It prints nothing; text for people is in `cli/run_info.py`.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import torch

from motiongpt.config import SampleConfig
from motiongpt.data.spelling import says_something, visible_text
from motiongpt.data.tokens import load_tokens
from motiongpt.data.training_captions import Prompts, prompt_table
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
from motiongpt.stages.run_folder import finished_stages, split_seed
from motiongpt.tasks.conditions import FixedCodes, place_given
from motiongpt.tasks.table import TEXT_OPTIONAL
from motiongpt.vocab import parse_motion

MAX_PROMPT = 10_000  # characters
REMEDY = "write what the person does, such as 'a person walks forward'"
DESCRIBE = SampleConfig(temperature=0.0, max_new_tokens=64)
"""The default of `describe`: always the most likely token."""


class MotionGenerator:
    """A loaded run. If it has no motion tokenizer, `motion_tokenizer` is None and motions carry tokens only."""

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
            dataset_path: token dataset that says which lengths and codes each caption had; default the run's own
                prompts.json.
            stage: stage number; default the highest finished stage trained on `task`, or else the highest finished.
            task: what the generator is for, t2m (`generate`) or m2t (`describe`). With t2m, `describe` loads the stage
                it needs when it is first called.
            vqvae: motion tokenizer folder, or a loaded tokenizer (for example from another project's file); default
                the run's own.
            dtype: dtype of the language model's base weights. bfloat16 halves their memory but rounds every product,
                so a seed gives another motion than in float32. The motion tokenizer stays float32.

        Raises FileNotFoundError or ValueError, in one line, if something is missing or does not fit.
        """
        run = resolve_folder(model_path, "run", "scripts/finetune.py --out makes one", ignore=["*/state/*"])
        self.run: LoadedRun = load_run(run, stage, device, dtype, task)
        self._task, self._dtype = task, dtype
        if dataset_path is not None:
            entries = load_tokens(dataset_path, split_seed(self.run.folder))  # the same split as in training
            self.run.prompts = Prompts(prompt_table(entries, self.run.config.fold_captions))
        # Prompts restrict sampling to codes they name: a code the run cannot write belongs to another tokenizer.
        largest = max((max(known["codes"]) for known in self.run.prompts.captions.values()), default=0)
        if largest >= self.run.config.codes:
            raise ValueError(
                f"{dataset_path or 'prompts.json'} has the code {largest}, the run writes {self.run.config.codes}: "
                "they come from different tokenizers"
            )
        self.device = torch.device(device)
        self.motion_tokenizer = self._open_tokenizer(vqvae)

    def _open_tokenizer(self, given: Path | str | MotionTokenizer | None) -> MotionTokenizer | None:
        """The given tokenizer, else the run's own. ValueError if it would decode the run's codes to other motions."""
        folder = self.run.folder / "vqvae"
        if given is None:
            return MotionTokenizer.load(folder, self.device) if folder.is_dir() else None
        motion_tokenizer = given if isinstance(given, MotionTokenizer) else MotionTokenizer.load(given, self.device)
        name = motion_tokenizer.source or "the tokenizer"
        has, writes = motion_tokenizer.config.codes, self.run.config.codes
        if has < writes:  # more codes than the run writes are fine: it never writes the others
            raise ValueError(f"{name} has {has} codes, the run writes {writes}: it is another tokenizer")
        # the same number of codes does not make them the same latents
        if folder.is_dir() and not motion_tokenizer.has_codes_of(MotionTokenizer.load(folder)):
            raise ValueError(
                f"{name} is another tokenizer than the one whose codes this run writes, {folder}: they would decode to "
                "other motions"
            )
        return motion_tokenizer

    @classmethod
    def load(cls, path: Path | str, **kwargs) -> "MotionGenerator":
        """The same as `MotionGenerator(path, ...)`."""
        return cls(path, **kwargs)

    def generate(
        self,
        prompt: str | None | Sequence[str | None],
        participant_id: str | None | Sequence[str | None] = None,
        *,
        seed: int | Sequence[int] = 0,
        seconds: float | None | Sequence[float | None] = None,
        exact_length: bool = False,
        per_prompt_vocab: bool = True,
        task: str = "t2m",
        given: Mapping[int, int] | None | Sequence[Mapping[int, int]] = None,
        config: SampleConfig | None = None,
        trace: Callable[[int, dict], None] | None = None,
        first: int | None = None,
        **sampling: float,
    ) -> Motion | list[Motion]:
        """Write a motion for each sentence; one sentence gives one Motion, a list gives a list.

        Case, spaces, quotes and punctuation at the end do not matter to a run whose training folded its captions, or
        had only such captions (`Prompts.spelling`). A caption of training in another spelling is read as that caption.

        Args:
            participant_id: whose style to take, for runs that know participants; one for all, or one per prompt.
            seed: of one motion. For several prompts, row i gets seed + i unless a list is given.
            seconds: wanted length, met to within one code; default the length the caption had in training.
            exact_length: with `seconds`, write exactly that many codes.
            per_prompt_vocab: allow only the codes that training showed with a caption (all codes for a new one).
            task: t2m, or what the given codes are: predict, inbetween, init, last, keys (`tasks/table.py`). A stage
                that never learnt it is asked as for t2m. One that did needs no sentence, None, for predict,
                inbetween and random.
            given: position -> code, kept exactly; -1 is the last position, and fixes the length. One for all prompts,
                or one per prompt.
            config, **sampling: a SampleConfig, or its fields by name (temperature, top_p, max_new_tokens, ...).
            trace: see `sampling.generate`.
            first: check everything for whole motions, but write at most so many codes of each.

        Raises ValueError for a prompt that says nothing or is no text, or too long for the model, an unknown
        participant, given codes that do not fit, or a value out of range.
        """
        # 1) One value per prompt for everything.
        prompts = self._checked_prompts(prompt, task)
        read = [self.run.prompts.spelling(text) if text else "" for text in prompts]
        B = len(prompts)
        config = replace(config or SampleConfig(), **sampling)
        people = _per_row(participant_id, B, "participant_id")
        seconds_of = _per_row(seconds, B, "seconds")
        seeds = [seed + i for i in range(B)] if isinstance(seed, Integral) else _per_row(seed, B, "seed")
        limits = self._limits_of_rows(read, seconds_of, exact_length, config.max_new_tokens)
        given = [given or {}] * B if given is None or isinstance(given, Mapping) else _per_row(given, B, "given")
        timed = [length is not None for length in seconds_of]
        most = {"codes": self.run.config.codes, "max_new_tokens": config.max_new_tokens}
        placed = [place_given(task, *row, **most) for row in zip(given, limits, timed, strict=True)]
        limits = [row for _, row in placed]

        # 2) Sentences to ids, ids to codes, codes to motions.
        ids = [self._request(task, text, *row, who) for text, row, who in zip(read, placed, people, strict=True)]
        self._check_room(self.run, ids, max(row.capped(config.max_new_tokens).hard_max for row in limits))
        rows = generate(
            self.run.llm,
            ids,
            begin_id=self.run.vocab.begin_id,
            codes=self.run.config.codes,
            limits=limits,
            seeds=[operator.index(value) for value in seeds],
            config=_shortened(config, first),
            allowed=self._allowed_codes(read) if per_prompt_vocab else None,
            constrain=FixedCodes([codes for codes, _ in placed], self.device) if any(given) else None,
            trace=trace,
            device=self.device,
        )
        motions = self.decode(rows, [text or "" for text in prompts])
        return motions[0] if prompt is None or isinstance(prompt, str) else motions

    def continue_(self, motion: Motion | Sequence[int] | str, prompt: str | None = None, **options) -> Motion:
        """Write a motion that starts with the given one: a motion, its codes, or its codes as text.

        `seconds` is the length of both together. Other options and errors are those of `generate`.
        """
        given = dict(enumerate(self._codes_of(motion, "continue")))
        return self.generate(prompt, task="predict", given=given, **options)

    def learnt(self, task: str) -> bool:
        """Whether the loaded stage was trained on this task."""
        return task in self.run.meta["tasks"]

    def _request(
        self, task: str, text: str, given: Mapping[int, int], limits: Limits, participant: str | None
    ) -> list[int]:
        """The request of a task, or that of t2m if the stage never learnt it: then only sampling knows the codes."""
        renderer = self.run.renderer
        if task == "t2m" or not self.learnt(task):
            return renderer.text_prompt(text, participant)
        caption = self.run.vocab.text_tokenizer.encode(renderer.read(text)) if text else []
        return renderer.given_prompt(task, caption, given, limits.target, participant)

    def limits(self, text: str, seconds: float | None = None, exact: bool = False) -> Limits:
        """How many codes a prompt may get.

        Without `seconds` they come from the lengths this caption had in training. A new sentence gets looser limits,
        from the captions most like it. Raises ValueError for `seconds` that are not positive.
        """
        if seconds is not None:
            if not 0 < seconds < math.inf:
                raise ValueError(f"--seconds must be positive, got {seconds:g}")
            codes = codes_for_seconds(seconds, self.run.config.fps, self.run.config.frames_per_code)
            return limits_from_length(codes, exact)
        expected = self.run.prompts.expected_length(text)
        return limits_from_median(expected) if self.knows(text) else limits_from_guess(expected)

    def _limits_of_rows(
        self, prompts: Sequence[str], seconds: Sequence[float | None], exact: bool, max_new_tokens: int
    ) -> list[Limits]:
        """`limits` of every prompt. A wanted length that cannot be kept is an error, not a shorter motion."""
        if exact and any(length is None for length in seconds):
            raise ValueError("exact_length (--exact-length) needs seconds (--seconds)")
        limits = [self.limits(text, length, exact) for text, length in zip(prompts, seconds, strict=True)]
        for row, length in zip(limits, seconds, strict=True):
            if length is not None and row.target > max_new_tokens:
                raise ValueError(
                    f"--seconds {length:g} is {row.target} codes, --max-new-tokens allows {max_new_tokens}"
                )
        return limits

    def decode(self, codes: Sequence[Sequence[int]], texts: Sequence[str]) -> list[Motion]:
        """Codes -> motions, with joints or SMPL-X parameters if the run has a motion tokenizer."""
        if self.motion_tokenizer is None:
            return [Motion(None, self.run.config.fps, row, text) for row, text in zip(codes, texts, strict=True)]
        return decode_motions(self.motion_tokenizer, codes, texts)

    def check_output(self, path: Path) -> None:
        """Raise ValueError if a motion of this run could not be saved as this file; see `motion.check_suffix`."""
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
        first: int | None = None,
        **sampling: float,
    ) -> str:
        """Write a sentence for a motion, for its codes, or for codes as text ("42 18").

        A motion with joints but no tokens is encoded first. `config` defaults to `DESCRIBE`: greedy, at most 64 tokens.
        With `first` it writes at most so many tokens, but checks that there is room for all.
        If the loaded stage never learnt m2t, the highest stage that did is loaded beside it, once.

        Raises ValueError for an empty motion, for text that is not tokens, for a code outside the codebook, and if no
        stage of the run was trained on m2t.
        """
        codes = self._codes_of(motion, "describe")
        config = replace(config or DESCRIBE, **sampling)
        return self.describe_all([codes], [participant_id], seeds=[operator.index(seed)], config=config, first=first)[0]

    def _codes_of(self, motion: Motion | Sequence[int] | str, what: str) -> list[int]:
        """The codes of a motion, which may be codes already. ValueError if there are none."""
        motion = parse_motion(motion) if isinstance(motion, str) else motion
        codes = motion_codes(motion, self.motion_tokenizer) if isinstance(motion, Motion) else list(motion)
        if not codes:
            raise ValueError(f"nothing to {what}: the motion has no tokens, or is shorter than one")
        return codes

    def describe_all(
        self,
        rows: Sequence[Sequence[int]],
        participant_id: str | None | Sequence[str | None] = None,
        *,
        seeds: Sequence[int],
        config: SampleConfig = DESCRIBE,
        first: int | None = None,
    ) -> list[str]:
        """Write a sentence for each row of codes, all in one batch; row i draws from seeds[i]."""
        run = self.describing_run
        people = _per_row(participant_id, len(rows), "participant_id")
        ids = [run.renderer.motion_prompt(row, who) for row, who in zip(rows, people, strict=True)]
        self._check_room(run, ids, config.max_new_tokens)
        text_tokenizer = run.vocab.text_tokenizer
        stop = run.renderer.frame.stop_id
        # the sentence is plain text: of the added tokens, only the one that ends it may be written
        written = generate_text(
            run.llm,
            ids,
            first_id=run.vocab.first_id,
            stop_ids=[stop],
            seeds=seeds,
            config=_shortened(config, first),
            banned=[i for i in text_tokenizer.added_ids if i != stop],
            device=self.device,
        )
        return [text_tokenizer.decode(row).strip() for row in written]

    @cached_property
    def describing_run(self) -> LoadedRun:
        """The run at a stage that learnt m2t: as it was loaded if it did, or was loaded for m2t, else loaded now."""
        own = self.run
        if self._task == "m2t" or "m2t" in own.meta["tasks"]:
            return own
        able = [number for number, meta in finished_stages(own.folder).items() if "m2t" in meta["tasks"]]
        if not able:
            raise ValueError(
                f"no stage of {own.folder} was trained on m2t, motion to text: train one with scripts/finetune.py "
                "--tasks t2m m2t, or describe with this one all the same: MotionGenerator.load(..., task='m2t')"
            )
        return load_run(own.folder, max(able), self.device, self._dtype)

    def knows(self, text: str) -> bool:
        """Whether training showed this caption, in any spelling that `data.spelling.fold` makes equal."""
        return self.run.prompts.find(text) is not None

    def _allowed_codes(self, prompts: Sequence[str]) -> torch.Tensor:
        """(B, N) bool: the codes that training showed with each caption, all codes for a new sentence."""
        allowed = torch.ones(len(prompts), self.run.config.codes, dtype=torch.bool)
        for row, text in zip(allowed, prompts, strict=True):
            known = self.run.prompts.find(text)
            if known:
                row[:] = False
                row[known["codes"]] = True
        return allowed

    @staticmethod
    def _check_room(run: LoadedRun, ids: Sequence[Sequence[int]], new: int) -> None:
        """ValueError if the longest prompt, <MOT_BEGIN> and `new` tokens exceed the model's positions."""
        room = run.llm.config.max_positions
        longest = max(map(len, ids))
        most = room - 1 - new  # 1 for <MOT_BEGIN>
        if longest > most:
            raise ValueError(
                f"prompt and motion need {longest + 1 + new} tokens, the model has {room} positions: shorten the "
                f"prompt of {longest} tokens to at most {max(0, most)}, or lower --seconds or --max-new-tokens"
            )

    def _checked_prompts(self, prompt: str | None | Sequence[str | None], task: str) -> list[str | None]:
        """One sentence or several as a list. ValueError if one says nothing, is too long or no text.

        None is for tasks without a sentence, if the stage learnt them.
        """
        prompts = [prompt] if isinstance(prompt, str) or not isinstance(prompt, Iterable) else list(prompt)
        if not prompts:
            raise ValueError("there is no prompt: give one sentence or a list of them")
        for text in prompts:
            if text is None and task in TEXT_OPTIONAL:
                if not self.learnt(task):
                    raise ValueError(
                        f"this stage never learnt {task}, so it needs a sentence, --prompt; the given codes are kept. "
                        f"To train it: finetune.py --tasks t2m {task}"
                    )
                continue
            if not isinstance(text, str):
                raise ValueError(f"a prompt is a sentence, a str, got {type(text).__name__}: {text!r:.60}")
            if len(text) > MAX_PROMPT:
                raise ValueError(f"the prompt has {len(text)} characters, at most {MAX_PROMPT} are read")
            if not visible_text(text).strip():
                raise ValueError(f"the prompt is empty{_shown(text)}: {REMEDY}")
            # a caption of training is a prompt whatever it consists of
            if not says_something(text) and not self.knows(text):
                raise ValueError(f"the prompt has no letter, digit or emoji{_shown(text)}: {REMEDY}")
        return prompts


def _shown(text: str) -> str:
    """What was given, in ASCII, since it may be invisible; nothing for a text of plain spaces."""
    return f", {text[:20]!a}" if text.strip() else ""


def _shortened(config: SampleConfig, first: int | None) -> SampleConfig:
    """`config` for the first so many tokens only; None for all of them."""
    return config if first is None else replace(config, max_new_tokens=min(first, config.max_new_tokens))


def _per_row(value, B: int, name: str) -> list:
    """A list with one value per row, from one value for all of them or from such a list."""
    if value is None or isinstance(value, str | Real):
        return [value] * B
    if len(value) != B:
        raise ValueError(f"{name}: {len(value)} values for {B} prompts")
    return list(value)
