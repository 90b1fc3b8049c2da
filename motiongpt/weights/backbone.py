"""A language model of any family, from a Hugging Face folder and back into one: config.json says which it is."""

from pathlib import Path

import torch

from motiongpt.backbones.t5 import T5
from motiongpt.files.store import read_json
from motiongpt.llm import LLM
from motiongpt.weights.llm import load_llm, save_llm
from motiongpt.weights.t5 import load_t5, save_t5
from motiongpt.weights.wrong_folders import check_backbone

Backbone = LLM | T5


def load_backbone(
    folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Backbone:
    """The language model of a Hugging Face folder, in `dtype` on `device` and in eval mode.

    Raises FileNotFoundError or ValueError as `load_llm` does.
    """
    check_backbone(Path(folder))
    path = Path(folder) / "config.json"
    is_t5 = path.is_file() and read_json(path).get("model_type") == "t5"  # a folder of Lit-LLaMA has none
    return (load_t5 if is_t5 else load_llm)(folder, dtype, device)


def save_backbone(
    model: Backbone,
    folder: Path | str,
    dtype: torch.dtype = torch.float32,
    merge_rows: bool = True,
    max_shard_bytes: int | None = None,
) -> None:
    """The inverse of `load_backbone`; see `save_llm`."""
    save = save_t5 if isinstance(model, T5) else save_llm
    save(model, folder, dtype, merge_rows, max_shard_bytes)
