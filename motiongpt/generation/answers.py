"""Answers in words: the text that a model writes after a request, and the length that it names.

"how long does it take?" -> "3.2" -> 16 codes
"""

import re
from collections.abc import Sequence

import torch

from motiongpt.config import SampleConfig
from motiongpt.generation.requests import check_room, learnt
from motiongpt.generation.text import generate_text
from motiongpt.lengths import codes_for_seconds
from motiongpt.stages.model import LoadedRun, load_run
from motiongpt.stages.run_folder import finished_stages
from motiongpt.tasks.digits import ids_made_of
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.templates import FRAMES, LENGTHS

NUMBER = re.compile(r"\d{1,6}(?:\.\d+)?", re.ASCII)
NUMBER_CHARACTERS = "0123456789."
SENTENCE_TOKENS = 64  # at most, of a length in a sentence
NUMBER_TOKENS = 8  # at most, of a length alone: "1234.5" in single digits


def describing_run(run: LoadedRun, device: torch.device | str, dtype: torch.dtype) -> LoadedRun:
    """The run at a stage that learnt m2t: as it is if that did, else its highest such stage; ValueError without one."""
    if "m2t" in run.meta["tasks"]:
        return run
    able = [number for number, meta in finished_stages(run.folder).items() if "m2t" in meta["tasks"]]
    if not able:
        raise ValueError(
            f"no stage of {run.folder} was trained on m2t, motion to text: train one with scripts/finetune.py "
            "--tasks t2m m2t, or describe with this one all the same: MotionGenerator.load(..., task='m2t')"
        )
    return load_run(run.folder, max(able), device, dtype)


def write_text(
    run: LoadedRun,
    ids: Sequence[Sequence[int]],
    seeds: Sequence[int],
    config: SampleConfig,
    device: torch.device | str,
    number: bool = False,
) -> list[str]:
    """The text that follows each request; `number` allows nothing but digits and points."""
    text_tokenizer = run.vocab.text_tokenizer
    stop = run.renderer.frame.stop_id
    # plain text: of the added tokens, only the one that ends it may be written
    written = generate_text(
        run.model,
        ids,
        first_id=run.vocab.first_id,
        stop_ids=[stop],
        seeds=seeds,
        config=config,
        allowed=ids_made_of(text_tokenizer, NUMBER_CHARACTERS) if number else None,
        banned=[i for i in text_tokenizer.added_ids if i != stop],
        min_new_tokens=1 if number else 0,
        device=device,
    )
    return [text_tokenizer.decode(row).strip() for row in written]


def ask_seconds(run: LoadedRun, request: Request, device: torch.device | str) -> float | None:
    """The length in seconds that the model most likely names for a request of t2d or m2d; None if it names none.

    ValueError if the stage never learnt the task, or the model has no room for the request.
    """
    if not learnt(run, request.task):
        raise ValueError(f"this stage never learnt {request.task}; to train it: finetune.py --tasks t2m {request.task}")
    codes = ask_length(run, request, device)
    return None if codes is None else codes * run.config.seconds_per_code


def ask_length(run: LoadedRun, request: Request, device: torch.device | str) -> int | None:
    """The length in codes that the model most likely names for a request of t2d or m2d; None if it names none.

    Raises ValueError if the model has no room for the request.
    """
    templates = run.renderer.templates
    _, group = templates.for_sampling(request.task, bool(request.caption), length=False)
    number = group.outputs[0] in LENGTHS
    config = SampleConfig(temperature=0.0, max_new_tokens=NUMBER_TOKENS if number else SENTENCE_TOKENS)
    ids = run.renderer.request(request)
    check_room(run, [ids], config.max_new_tokens)
    (text,) = write_text(run, [ids], [0], config, device, number)
    return _codes_of(text, FRAMES in group.outputs[0], run)


def _codes_of(text: str, frames: bool, run: LoadedRun) -> int | None:
    """The first number of an answer, in frames or seconds, as codes; None without a number above 0."""
    found = NUMBER.search(text)
    value = float(found[0]) if found else 0.0
    if value <= 0:
        return None
    return codes_for_seconds(value / run.config.fps if frames else value, run.config.fps, run.config.frames_per_code)
