"""How a stage fits the machine it is trained on: its number format, its memory, and the size of its steps."""

from collections.abc import Callable
from dataclasses import replace

import torch

from motiongpt.backbones.t5 import T5
from motiongpt.config import TrainConfig
from motiongpt.data.batches import BucketedBatches
from motiongpt.stages.model import StageModel
from motiongpt.stages.plan import Plan
from motiongpt.training.devices import resolve_precision
from motiongpt.training.memory import accumulation, base_dtype, cast_frozen
from motiongpt.training.resume import known_micro_batches
from motiongpt.training.schedule import count_micro_batches
from motiongpt.weights.backbone import Backbone


def fitting_precision(llm: Backbone, wanted: str, device: torch.device) -> str:
    """`wanted`; for auto, what suits device and model.

    bf16 pays on a CPU from width 256 on: there a step of batch 32 is 1.45x faster (AVX512-bf16), below it is not.
    T5 v1.1, Flan-T5 and Gemma 3 are known for states beyond the 65,504 that fp16 holds: fp32 there.
    """
    found = resolve_precision(wanted, device, bf16_pays=llm.config.hidden_size >= 256)
    overflows = isinstance(llm, T5) or llm.config.scale_embeddings
    return "fp32" if wanted == "auto" and found == "fp16" and overflows else found


def fit_model(stage_model: StageModel, config: TrainConfig, device: torch.device) -> None:
    """Move the model to `device`, with frozen weights as --base-dtype has them, and activations kept or not.

    Raises ValueError for a format that the precision cannot multiply.
    """
    llm = stage_model.llm
    llm.checkpoint_activations = config.checkpoint_activations
    if stage_model.mode == "lora":
        precision = fitting_precision(llm, config.precision, device)
        cast_frozen(llm, base_dtype(config.base_dtype, precision, device))
    llm.to(device)


def fit_step(plan: Plan, batches: BucketedBatches, processes: int, say: Callable[[str], None]) -> Plan:
    """The plan with the --grad-accum that --tokens-per-step means, if that was given; `say` gets the size of a step.

    Raises ValueError if so many processes cannot share the steps of the training that would be resumed.
    """
    config = plan.job.config
    if not config.tokens_per_step:
        return plan
    chosen, mean = accumulation(batches, config.tokens_per_step)
    known = None if plan.job.fresh else known_micro_batches(plan.folder)
    count = count_micro_batches(chosen, processes, known)  # as the loop will find it
    size = f"a batch of {config.batch_size} has {mean:,.0f} tokens"
    if known is None and config.tokens_per_step < mean * processes:
        share = "" if processes == 1 else f" for each of {processes} processes"
        line = f"the smallest step is one batch{share}, {count * mean:,.0f} tokens; a smaller --batch-size lowers it"
    elif count == chosen:
        line = f"--grad-accum {chosen}, as {size}; a step has {chosen * mean:,.0f}"
    else:
        why = f"{processes} processes make that" if known is None else "it began with"
        line = f"--grad-accum {chosen}, as {size}; {why} {count}, so a step has {count * mean:,.0f}"
    say(f"--tokens-per-step {config.tokens_per_step}: {line}")
    return replace(plan, job=replace(plan.job, config=replace(config, grad_accum=chosen, tokens_per_step=0)))
