"""The stage that another run starts from, by `--from`: whose words it learnt, on which backbone, with which adapter.

A new run takes all of these over, for the rows of its new words and its adapter come from there: codes of another
tokenizer would be other words. What cannot be known (a stage folder that was moved without its run) is left open.
"""

from dataclasses import dataclass
from pathlib import Path

from motiongpt.config import LLM_PRESETS, LoRAConfig
from motiongpt.stages.run_folder import (
    RunConfig,
    finished_stages,
    has_weights,
    is_run,
    path_from_here,
    read_meta,
    run_backbone,
    stage_folder,
)
from motiongpt.weights.adapters import adapter_config


@dataclass(frozen=True)
class Origin:
    """What a stage folder, or a plain backbone, says about itself."""

    folder: Path
    backbone: str  # as --backbone takes it
    config: RunConfig | None  # of its run; None: it has no motion words, or its run is not there
    vqvae: Path | None  # the motion tokenizer of its run


def read_origin(folder: Path) -> Origin:
    """The stage of `--from`. Raises FileNotFoundError if it holds no weights, and names the stages of a run."""
    if not has_weights(folder):
        stages = finished_stages(folder) if is_run(folder) else {}
        hint = f"; it is a run: name a stage of it, {stage_folder(folder, max(stages))}" if stages else ""
        raise FileNotFoundError(f"--from {folder} holds no weights (adapter_model or model.safetensors){hint}")
    meta = read_meta(folder)
    # a link or "." has its run beside the folder that it stands for
    run = next((place for place in (folder.parent, folder.resolve().parent) if is_run(place)), None)
    if run is not None and "stage" in meta:
        config = RunConfig.read(run)
        if config.backbone not in LLM_PRESETS:
            vqvae = run / "vqvae"
            own = vqvae if (vqvae / "model.safetensors").is_file() else None
            return Origin(folder, run_backbone(run), config, own)
    # without its run: an adapter and most full stages still name their base; all others are backbones themselves
    base = meta.get("base")
    return Origin(folder, path_from_here(base, folder) if base else str(folder), None, None)


def adapter_values(folder: Path | None) -> dict:
    """The fields of LoRAConfig that the adapter in `folder` fixes for whoever goes on from it; empty if it has none."""
    if folder is None or not (folder / "adapter_config.json").is_file():
        return {}
    config: LoRAConfig = adapter_config(folder / "adapter_config.json")[0]
    return {name: value for name, value in config.to_dict().items() if name != "lora_dropout"}
