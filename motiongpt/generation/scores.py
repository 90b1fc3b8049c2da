"""What makes one motion better than another of the same sentence: scores for `MotionGenerator.generate(score=)`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch

from motiongpt.motion import Motion
from motiongpt.stages.model import LoadedRun
from motiongpt.tasks.collate import collate, lm_loss
from motiongpt.tasks.prompts import Request


@dataclass(frozen=True)
class Draft:
    """A motion that has no joints yet, as scores know it: its sentence and its codes."""

    text: str
    tokens: Sequence[int]
    notes: tuple[str, ...] = ()


def by_description(
    run: LoadedRun, device: torch.device | str = "cpu", heard: Mapping[str, str | None] = MappingProxyType({})
) -> Callable[[Motion | Draft], float]:
    """A score: how likely the model, asked to describe the motion, is to write the sentence that asked for it.

    It is the mean log-probability of a token, so it is at most 0. `run` must have learnt m2t. `heard` says what a
    sentence was read as; the others count as they are. A motion without a sentence or without codes has minus infinity.
    """

    @torch.inference_mode()
    def score(motion: Motion | Draft) -> float:
        sentence = heard.get(motion.text) or motion.text
        text = run.vocab.text_tokenizer.encode(run.prompts.spelling(sentence)) if sentence else []
        if not text or not motion.tokens:
            return -float("inf")
        read = run.renderer.request(Request("m2t", motion=motion.tokens))
        ids = [*read, *text, run.renderer.frame.stop_id]
        batch = collate([(ids, [i >= len(read) for i in range(len(ids))])], run.renderer.encoder)
        batch = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        return -float(lm_loss(run.llm, batch)) / batch["count"]

    return score
