"""MotionGenerator: load a run once, then sentences to motions and motions to sentences.

    generator = MotionGenerator.load("checkpoints/demo")
    motion = generator.generate("a person walks forward", seed=0)
    motion.save("walk.gif")
    print(motion.tokens, generator.describe(motion))

It joins the pieces and decides little itself: prompts come from `tasks/prompts.py`, limits and draws from
`sampling.py`, joints from `motion_tokenizer.py`. A motion depends only on its own seed, not on who shares its batch
(exactly so in fp32 on a CPU). It prints nothing; text for people is in `cli/run_info.py`.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from numbers import Integral
from pathlib import Path

import torch

from motiongpt.config import SampleConfig
from motiongpt.data.tokens import load_tokens
from motiongpt.data.training_captions import Prompts, prompt_table
from motiongpt.generation.answers import ask_seconds, describing_run, write_text
from motiongpt.generation.best_of import ROWS, write_best, write_samples
from motiongpt.generation.requests import (
    Wanted,
    check_prompts,
    check_room,
    learnt,
    limits_of,
    per_row,
    shortened,
)
from motiongpt.generation.scores import Draft, by_description
from motiongpt.generation.seams import keep_given
from motiongpt.generation.streaming import StreamTiming, stream
from motiongpt.generation.understanding import Listener, Understood
from motiongpt.generation.writer import Writer
from motiongpt.hub import PUSHED, resolve_folder
from motiongpt.lengths import Limits
from motiongpt.motion import Motion, check_suffix
from motiongpt.motion_files import decode_motions, motion_codes, own_features
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.model import LoadedRun, load_run, open_motion_tokenizer
from motiongpt.stages.run_folder import split_seed
from motiongpt.tasks.prompts import Request
from motiongpt.vocab import parse_motion

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
        raw: bool = False,
        reader: Path | str | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Load a run folder, one of its stage folders, or a Hub repo id (`model_path`).

        Args:
            dataset_path: token dataset that says lengths and codes of captions; default the run's own prompts.json.
            stage: stage number; default the highest finished stage trained on `task`, or else the highest finished.
            task: what the generator is for, t2m (`generate`) or m2t (`describe`). With t2m, `describe` loads the stage
                it needs when it is first called.
            vqvae: motion tokenizer folder, or a loaded tokenizer (for example from another project's file); default
                the run's own.
            dtype: dtype of the language model's base weights. bfloat16 halves their memory but rounds every product,
                so a seed gives another motion than in float32. The motion tokenizer stays float32.
            raw: leave joints as they are decoded; else they are cleaned, see `motion_files.decode_motions`.
            reader, say: another stage folder that reads sentences for this run, and what a line on which reader it is
                is given to, see `generation.understanding.Listener`.

        Raises FileNotFoundError or ValueError, in one line, if something is missing or does not fit.
        """
        states = ["*/state/*", f"{PUSHED}/*"]  # for those who train on
        run = resolve_folder(model_path, "run", "scripts/finetune.py --out makes one", ignore=states)
        self.run: LoadedRun = load_run(run, stage, device, dtype, task)
        self._task, self._dtype, self.raw = task, dtype, raw
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
        self.motion_tokenizer = open_motion_tokenizer(self.run, vqvae, self.device)
        self.listener = Listener(self.run, reader, self.device, dtype, say)

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
        source: Sequence[int] = (),
        read: bool | None = None,
        config: SampleConfig | None = None,
        samples: int = 1,
        score: Callable[[Motion], float] | None = None,
        best_of: int | None = None,
        trace: Callable[[int, dict], None] | None = None,
        first: int | None = None,
        **sampling: float,
    ) -> Motion | list[Motion] | list[list[Motion]]:
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
                without it is asked as for t2m; one that learnt it needs no sentence for predict, inbetween and random.
            given: position -> code, kept exactly; -1 is the last position, and fixes the length. One for all prompts,
                or one per prompt.
            source: with the task edit, the codes of the motion that is to change.
            read: write what `understand` makes of a sentence; default where the run has learnt to read. `notes` say it.
            config, **sampling: a SampleConfig, or its fields by name (temperature, top_p, max_new_tokens, ...).
            samples: motions of each sentence, a list of them in place of each motion (`generation/best_of.py`).
            score: keep the one of them with the largest score, in place of the list.
            best_of: write so many and keep the one that the model describes best, `scores.by_description`; default the
                run's own number for sentences that it reads, else 1. Not with `samples` or `score`.
            trace: see `sampling.generate`; all motions are then one batch.
            first: check everything for whole motions, but write at most so many codes of each.

        Raises ValueError for a prompt that says nothing or is no text, or too long for the model, an unknown
        participant, given codes that do not fit, or a value out of range.
        """
        prompts = check_prompts(self.run, prompt, task)
        B = len(prompts)
        config = replace(config or SampleConfig(), **sampling)
        seconds_of = per_row(seconds, B, "seconds")
        if exact_length and None in seconds_of:
            raise ValueError("exact_length (--exact-length) needs seconds (--seconds)")
        if (samples > 1 or score is not None) and best_of is not None:
            raise ValueError("samples and score say themselves how many motions are written; leave out best_of")
        seeds = [seed + i for i in range(B)] if isinstance(seed, Integral) else per_row(seed, B, "seed")
        given = [given or {}] * B if given is None or isinstance(given, Mapping) else per_row(given, B, "given")
        people = per_row(participant_id, B, "participant_id")
        heard = self.listener.heard(prompts, task, read)
        if best_of is None and samples == 1 and score is None and task == "t2m" and any(notes for _, notes in heard):
            best_of = self.run.config.best_of
        columns = zip([text for text, _ in heard], people, seconds_of, given, map(operator.index, seeds), strict=True)
        wanted = [Wanted(*values) for values in columns]
        writer = Writer(self.run, self.device, config, per_prompt_vocab, exact_length, trace)
        rows = [writer.plan(task, row, source) for row in wanted]  # every fault shows before the work

        # sentences to ids, ids to codes, codes to motions
        def write(numbers: list[int], seeds: list[int]) -> list[Draft]:
            batch = [replace(wanted[i], seed=own) for i, own in zip(numbers, seeds, strict=True)]
            planned = writer.rows(batch, task, source, whole=first is None)
            written = zip(numbers, replace(writer, config=shortened(config, first)).write(planned), strict=True)
            return [Draft(prompts[i] or "", row.codes, heard[i][1] + row.notes) for i, row in written]

        def draw(drafts: Sequence[Draft]) -> list[Motion]:
            motions = self.decode([draft.tokens for draft in drafts], [draft.text for draft in drafts])
            return [replace(motion, notes=draft.notes) for motion, draft in zip(motions, drafts, strict=True)]

        lengths, seeds = [row.limits.target for row in rows], [row.seed for row in rows]
        batches = {"samples": best_of or samples, "rows": ROWS if trace is None else B * (best_of or samples)}
        if best_of is not None and best_of > 1:  # only the best need joints
            plain = {prompt: text for prompt, (text, _) in zip(prompts, heard, strict=True) if prompt is not None}
            best = write_best(write, seeds, lengths, by_description(self.describing_run, self.device, plain), **batches)
            written = [motion for i in range(0, B, ROWS) for motion in draw(best[i : i + ROWS])]
        elif score is not None:
            written = write_best(lambda *asked: draw(write(*asked)), seeds, lengths, score, **batches)
        else:
            written = write_samples(lambda *asked: draw(write(*asked)), seeds, lengths, **batches)
            written = written if samples > 1 else [motions[0] for motions in written]
        return written[0] if prompt is None or isinstance(prompt, str) else written

    def understand(self, sentence: str) -> Understood:
        """What the run makes of a sentence, see `generation/understanding.py`. ValueError if it must not be guessed."""
        return self.listener.understand_all(check_prompts(self.run, sentence, "t2m"))[0]

    def sequence(
        self,
        prompts: Sequence[str],
        participant_id: str | None = None,
        *,
        seed: int = 0,
        seconds: float | None | Sequence[float | None] = None,
        per_prompt_vocab: bool = True,
        read: bool | None = None,
        config: SampleConfig | None = None,
        trace: Callable[[int, dict], None] | None = None,
        **sampling: float,
    ) -> Motion:
        """Write one motion of several sentences, each from where the one before ends; also a long motion of one.

        See `generation/sequence.py`. `seconds` is the length of each part, met to within one code; a part that is
        longer than usual takes several requests. Request k has the seed `seed + k`. A line of `notes` says when each
        part begins. Other options and errors are those of `generate`.
        """
        config = replace(config or SampleConfig(), **sampling)
        texts = check_prompts(self.run, prompts, "t2m")
        lengths = per_row(seconds, len(texts), "seconds")
        heard = self.listener.heard(texts, "t2m", read)
        writer = Writer(self.run, self.device, config, per_prompt_vocab, trace=trace)
        codes, starts = writer.sequence([text for text, _ in heard], lengths, participant_id, operator.index(seed))
        (motion,) = self.decode([codes], [", then ".join(texts)])
        each = self.run.config.seconds_per_code
        rows = zip(starts, texts, heard, strict=True)
        return replace(
            motion, notes=tuple(f"{at * each:.1f} s: {', '.join((text, *said))}" for at, text, (_, said) in rows)
        )

    def stream(
        self,
        prompt: str,
        participant_id: str | None = None,
        *,
        seed: int = 0,
        seconds: float | None = None,
        exact_length: bool = False,
        look_ahead: int | None = None,
        timing: StreamTiming | None = None,
        codes: list[int] | None = None,
        per_prompt_vocab: bool = True,
        read: bool | None = None,
        config: SampleConfig | None = None,
        trace: Callable[[int, dict], None] | None = None,
        **sampling: float,
    ) -> Iterator[torch.Tensor]:
        """The frames of a motion while its codes are written: joints (f, J, 3) metres, a few frames at a time.

        Args:
            look_ahead, timing: see `generation.streaming.stream`.
            codes: a list that gets the codes as they are written.

        Other options and errors are those of `generate`; most errors come with the first frame.
        """
        config = replace(config or SampleConfig(), **sampling)
        if exact_length and seconds is None:
            raise ValueError("exact_length (--exact-length) needs seconds (--seconds)")
        if self.motion_tokenizer is None:
            folder = self.run.folder
            raise ValueError(
                f"{folder} has no motion tokenizer, which makes frames of codes; name its folder (--vqvae)"
            )
        (text,) = check_prompts(self.run, prompt, "t2m")
        ((text, _),) = self.listener.heard([text], "t2m", read)
        writer = Writer(self.run, self.device, config, per_prompt_vocab, exact_length, trace)
        wanted = Wanted(text, participant_id, seconds, {}, operator.index(seed))
        codes = [] if codes is None else codes

        def kept() -> Iterator[int]:
            (row,) = writer.rows([wanted], "t2m")  # here, as planning takes time that counts
            for code in writer.steps(row):
                codes.append(code)
                yield code

        return stream(kept(), self.motion_tokenizer, look_ahead, timing)

    def continue_(self, motion: Motion | Sequence[int] | str, prompt: str | None = None, **options) -> Motion:
        """Write a motion that starts with the given one: a motion, whose frames are kept, its codes, or those as text.

        `seconds` is the length of both together. Other options and errors are those of `generate`.
        """
        codes = self._codes_of(motion, "continue")
        longer = self.generate(prompt, task="predict", given=dict(enumerate(codes)), **options)
        shortened = options.get("first") is not None or not isinstance(longer, Motion)
        if not isinstance(motion, Motion) or self.motion_tokenizer is None or shortened:
            return longer
        own = own_features(motion, self.motion_tokenizer)
        if own is None:
            return longer
        return keep_given(longer, own, codes, range(len(codes)), self.motion_tokenizer, raw=self.raw)

    def learnt(self, task: str) -> bool:
        """Whether the loaded stage was trained on this task."""
        return learnt(self.run, task)

    def limits(self, text: str, seconds: float | None = None, exact: bool = False) -> Limits:
        """How many codes a prompt may get; see `generation.requests.limits_of`."""
        return limits_of(self.run, text, seconds, exact)

    def expected_seconds(self, text: str, participant_id: str | None = None) -> float | None:
        """How long the model says a sentence takes, None if it names no length. ValueError if it never learnt t2d."""
        (text,) = check_prompts(self.run, text, "t2m")
        read = self.run.renderer.read(self.run.prompts.spelling(text))
        return ask_seconds(self.run, Request("t2d", read, participant=participant_id), self.device)

    def seconds_of(self, motion: Motion | Sequence[int] | str) -> float | None:
        """How long the model says that a motion is, None if it names no length. ValueError if it never learnt m2d."""
        codes = self._codes_of(motion, "measure")
        return ask_seconds(self.run, Request("m2d", motion=codes), self.device)

    def edit(self, motion: Motion | Sequence[int] | str, prompt: str, **options) -> Motion:
        """Write the motion that a sentence makes of the given one: "but faster". Options are those of `generate`.

        Raises ValueError if the stage never learnt edit, and like `generate`.
        """
        return self.generate(prompt, task="edit", source=self._codes_of(motion, "change"), **options)

    def decode(self, codes: Sequence[Sequence[int]], texts: Sequence[str]) -> list[Motion]:
        """Codes -> motions, with clean joints (or raw ones) or SMPL-X parameters if the run has a motion tokenizer."""
        motions = [Motion(None, self.run.config.fps, row, text) for row, text in zip(codes, texts, strict=True)]
        filled = [i for i, row in enumerate(codes) if len(row)]  # a motion that was written as digits may have no code
        if self.motion_tokenizer is not None and filled:
            rows, said = [codes[i] for i in filled], [texts[i] for i in filled]
            decoded = decode_motions(self.motion_tokenizer, rows, said, self.raw)
            for i, motion in zip(filled, decoded, strict=True):
                motions[i] = motion
        return motions

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
        With `first` it writes at most so many tokens, but checks that there is room for all. If the loaded stage never
        learnt m2t, the highest stage that did is loaded beside it, once.

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
        people = per_row(participant_id, len(rows), "participant_id")
        requests = [Request("m2t", motion=row, participant=who) for row, who in zip(rows, people, strict=True)]
        ids = list(map(run.renderer.request, requests))
        check_room(run, ids, config.max_new_tokens)
        return write_text(run, ids, seeds, shortened(config, first), self.device)

    @cached_property
    def describing_run(self) -> LoadedRun:
        """The run at a stage that learnt m2t: as it was loaded if it did, or was loaded for m2t, else loaded now."""
        return self.run if self._task == "m2t" else describing_run(self.run, self.device, self._dtype)

    def knows(self, text: str) -> bool:
        """Whether training showed this caption, in any spelling that `data.spelling.fold` makes equal."""
        return self.run.prompts.find(text) is not None
