"""The stage that another run starts from, by `--from`: whose words it learnt, on which backbone, with which adapter.

A new run takes all of these over, for the rows of its new words and its adapter come from there: codes of another
tokenizer would be other words. What cannot be known (a stage folder that was moved without its run) is left open.
An adapter that PEFT made elsewhere has no words of motion: only its base and its settings are taken over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motiongpt.config import LLM_PRESETS, LoRAConfig
from motiongpt.files.fields import get_field
from motiongpt.files.store import read_json
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
from motiongpt.weights.adapters import read_adapter
from motiongpt.weights.shards import is_adapter


@dataclass(frozen=True)
class Origin:
    """What a stage folder, or a plain backbone, says about itself."""

    folder: Path
    backbone: str | None  # as --backbone takes it; None: the adapter of another project names none
    config: RunConfig | None  # of its run; None: it has no motion words, or its run is not there
    vqvae: Path | None  # the motion tokenizer of its run


def named_stage(folder: Path, say: Callable[[str], None]) -> Path:
    """The folder with weights that `--from` names: `folder` itself, or the highest finished stage of the run in it.

    `say` gets a line about the choice. A stage of --debug is taken only if there is no other. Raises FileNotFoundError
    if there are no weights.
    """
    if has_weights(folder):
        return folder
    run = is_run(folder)
    stages = finished_stages(folder) if run else {}
    if not stages:
        hint = "; it is a run without a finished stage" if run else ""
        raise FileNotFoundError(f"--from {folder} holds no weights (adapter_model or model.safetensors){hint}")
    number = max([n for n, meta in stages.items() if not meta.get("debug")] or stages)
    stage = stage_folder(folder, number)
    say(f"--from {folder} is a run: starting from its highest finished stage, {stage} ({stages[number]['name']})")
    return stage


def read_origin(folder: Path) -> Origin:
    """The stage of `--from`, as `named_stage` finds it. Raises FileNotFoundError if it holds no weights."""
    if not has_weights(folder):
        raise FileNotFoundError(f"--from {folder} holds no weights (adapter_model or model.safetensors)")
    meta = read_meta(folder)
    # a link or "." has its run beside the folder that it stands for
    run = next((place for place in (folder.parent, folder.resolve().parent) if is_run(place)), None)
    if run is not None and "stage" in meta:
        config = RunConfig.read(run)
        if config.backbone not in LLM_PRESETS:
            vqvae = run / "vqvae"
            own = vqvae if (vqvae / "model.safetensors").is_file() else None
            return Origin(folder, run_backbone(run), config, own)
    if not meta and is_adapter(folder):  # made elsewhere, with PEFT
        return Origin(folder, named_base(folder), None, None)
    # without its run: an adapter and most full stages still name their base; all others are backbones themselves
    base = meta.get("base")
    return Origin(folder, path_from_here(base, folder) if base else str(folder), None, None)


def named_base(folder: Path) -> str | None:
    """The base that an adapter of PEFT names, a repo id or a path as it stands there; None if it names none."""
    path = folder / "adapter_config.json"
    return get_field(read_json(path), "base_model_name_or_path", str, path, None) or None


def adapter_values(folder: Path | None) -> dict:
    """The fields of LoRAConfig that the adapter in `folder` fixes for whoever goes on from it; empty if it has none."""
    if folder is None or not (folder / "adapter_config.json").is_file():
        return {}
    config: LoRAConfig = read_adapter(folder).config
    return {name: value for name, value in config.to_dict().items() if name != "lora_dropout"}
