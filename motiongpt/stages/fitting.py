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


def fit_step(plan: Plan, batches: BucketedBatches, say: Callable[[str], None]) -> Plan:
    """The plan with the --grad-accum that --tokens-per-step means, if that was given."""
    config = plan.job.config
    if not config.tokens_per_step:
        return plan
    chosen, mean = accumulation(batches, config.tokens_per_step)
    say(
        f"--tokens-per-step {config.tokens_per_step}: --grad-accum {chosen}, as a batch of {config.batch_size} has "
        f"{mean:,.0f} tokens; a step has {chosen * mean:,.0f}"
    )
    return replace(plan, job=replace(plan.job, config=replace(config, grad_accum=chosen, tokens_per_step=0)))
