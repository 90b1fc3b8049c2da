"""CLIP's text tower on disk to our `ClipTextEncoder`, in the layout of Hugging Face, and `ClipText`, which reads texts.

Three kinds of folder have a text tower: CLIPModel (text and images), CLIPTextModelWithProjection, and CLIPTextModel,
whose keys lack `text_model.` in transformers 5. The load is total as everywhere: each key is used, or is one of the
keys listed here that belong to the image tower, or it is an error. The image tower is not loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from motiongpt.backbones.clip import LEGACY_EOS, ClipConfig, ClipTextEncoder
from motiongpt.backbones.clip_tokenizer import ClipTokenizer, load_clip_tokenizer
from motiongpt.files.fields import get_field
from motiongpt.files.store import read_json
from motiongpt.weights.checks import Unfilled, rename
from motiongpt.weights.hf_config import MAX_LAYERS
from motiongpt.weights.shards import Stored, check_stored, read_state, stored_tensors, weight_files

CLIP_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "max_positions": "max_position_embeddings",
    "norm_eps": "layer_norm_eps",
    "projection_dim": "projection_dim",
    "eos_id": "eos_token_id",
}
"""Our config field -> theirs."""

CLIP_KEYS = {
    "token_embedding.": "text_model.embeddings.token_embedding.",
    "position_embedding.": "text_model.embeddings.position_embedding.",
    "layers.": "text_model.encoder.layers.",
    "final_layer_norm.": "text_model.final_layer_norm.",
    "text_projection.": "text_projection.",
}
"""Start of our parameter names -> start of theirs. Inside a layer the names are the same."""

MAX_WIDTH = 1_000_000  # more is damage too, and overflows the size of a matrix

IMAGE_KEYS = ("vision_model.", "visual_projection.", "logit_scale")
"""Start of the keys of a CLIPModel that the text tower does not need."""

POSITION_IDS = "text_model.embeddings.position_ids"  # 0 to 76: older files store these numbers, which are counted here


def clip_config_from_hf(values: dict) -> ClipConfig:
    """The config.json of a CLIP model or of its text tower as ours.

    Raises ValueError that names a field which this encoder cannot compute.
    """
    kind = values.get("model_type")
    if kind not in ("clip", "clip_text_model"):
        raise ValueError(f"model_type {kind!r} has no CLIP text tower; supported: clip, clip_text_model")
    text = values
    if kind == "clip":
        # the oldest files repeat what differs from the defaults in text_config_dict, and that copy counts
        text = dict(get_field(values, "text_config", dict, "", None) or {})
        repeated = get_field(values, "text_config_dict", dict, "", None)
        defaults = ClipConfig()
        if repeated is not None:
            text |= {theirs: getattr(defaults, ours) for ours, theirs in CLIP_FIELDS.items()}
            text |= {"hidden_act": "quick_gelu"} | repeated
        # the projection is as wide as the outer config says
        text["projection_dim"] = values.get("projection_dim", defaults.projection_dim)
    activation = text.get("hidden_act", "quick_gelu")
    if activation not in ("quick_gelu", "gelu"):
        raise ValueError(f"hidden_act {activation!r} is not supported; supported: quick_gelu, gelu")
    fields = {}
    for ours, theirs in CLIP_FIELDS.items():
        default = getattr(ClipConfig, ours)
        fields[ours] = get_field(text, theirs, type(default), "", default, least=0)
    for ours, most in {"num_layers": MAX_LAYERS, "hidden_size": MAX_WIDTH, "intermediate_size": MAX_WIDTH}.items():
        if fields[ours] > most:
            raise ValueError(f"{CLIP_FIELDS[ours]} is {fields[ours]}, which is not plausible")
    return ClipConfig.from_dict(fields | {"quick_gelu": activation == "quick_gelu"})


def load_clip(
    folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> ClipTextEncoder:
    """The text tower of a CLIP folder, in `dtype` on `device` and in eval mode, without gradients.

    Raises FileNotFoundError or ValueError, in one line, for files that are missing, truncated or contradict each
    other, and for unsupported configs.
    """
    folder = Path(folder)
    values = read_json(folder / "config.json")
    try:
        config = clip_config_from_hf(values)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error

    # the text tower's tensors under one spelling of the keys
    stored: dict[str, Stored] = {}
    for key, tensor in stored_tensors(weight_files(folder)).items():
        if values["model_type"] == "clip" and key.startswith(IMAGE_KEYS):
            continue
        stored[key if key.startswith(("text_model.", "text_projection.")) else f"text_model.{key}"] = tensor
    positions = stored.pop(POSITION_IDS, None)
    if positions is not None and positions.shape != (1, config.max_positions):
        wanted = (1, config.max_positions)
        raise ValueError(f"{positions.path}: {positions.key} is {positions.shape}, expected {wanted}")
    if values["model_type"] != "clip" and "text_projection.weight" not in stored:
        config = replace(config, projection_dim=0)

    # nothing missing, nothing left over, every shape as expected; only then read
    with Unfilled():
        model = ClipTextEncoder(config)
    own = model.state_dict()
    names = {rename(name, CLIP_KEYS): name for name in own}  # their key -> ours
    check_stored({key: own[name].shape for key, name in names.items()}, stored, folder)
    model.load_state_dict(read_state(stored, names, dtype, device, folder), assign=True)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class ClipText:
    """Texts to CLIP's features: the frozen text tower and its tokenizer.

    clip = ClipText.load("checkpoints/clip-vit-base-patch32")
    hidden, pooled, mask = clip.encode(["a person walks", "a person waves"])     # (2, 77, 512), (2, 512), (2, 77)
    """

    model: ClipTextEncoder
    tokenizer: ClipTokenizer

    @classmethod
    def load(
        cls, folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> "ClipText":
        """Tower and tokenizer of a Hugging Face folder. Raises what `load_clip` and `load_clip_tokenizer` raise."""
        model = load_clip(folder, dtype, device)
        tokenizer = load_clip_tokenizer(folder, model.config.max_positions)
        rows, eos = model.config.vocab_size, model.config.eos_id
        if tokenizer.size > rows or eos not in (LEGACY_EOS, tokenizer.end):
            raise ValueError(
                f"{folder}: the tokenizer has {tokenizer.size} tokens and ends texts with {tokenizer.end}, "
                f"the model has {rows} rows and expects {eos}; they do not belong together"
            )
        return cls(model, tokenizer)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], truncate: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """hidden (B, 77, C) after the final norm, pooled (B, P), and mask (B, 77): True on start, text and end.

        Pooled is the projected state at the end of the text, not normalised; P is C for a tower without projection.
        A text of more than 75 tokens is cut after them; with `truncate` False it is a ValueError that names it.
        """
        ids, mask = self.tokenizer.batch(texts, truncate)
        device = self.model.token_embedding.weight.device
        hidden, pooled = self.model(ids.to(device))
        return hidden, pooled, mask.to(device)
