"""`lit-llama.pth` of Lit-LLaMA, and the LoRA weights that MotionGPT of qiqiApink trains on top of it, to our `LLM`.

    theirs                               ours
    transformer.h.N.attn.c_attn (3C, C)  q_proj, k_proj, v_proj (C, C) each, one below the other
    c_attn.lora_A (2r, C)                lora_A of q_proj, then of v_proj, (r, C) each
    c_attn.lora_B (2C, r)                lora_B of q_proj, then of v_proj, (C, r) each

There is no config.json: sizes follow from the shapes, and all models of this kind have heads of 128. Their rotary
embedding turns neighbouring rows of a head, so rows of q and k change places, and those of q's lora_B with them.

Base and LoRA weights together become a backbone in Hugging Face's layout with:

    llm = load_llm("checkpoints/lit-llama/13B")
    load_lit_lora(llm, "checkpoints/pretrained_lora/pretrained.pth")
    lora.merge(llm)
    save_llm(llm, "checkpoints/zhang-13b")  # and tokenizer.model beside it

Files are pickles, read without running them. A tensor of the file is dropped as soon as it is converted.
"""

from pathlib import Path

import torch
from torch import Tensor

from motiongpt import lora
from motiongpt.config import LLMConfig, LoRAConfig
from motiongpt.files.unpickle import load_pickle
from motiongpt.llm import LLM
from motiongpt.weights.checks import Unfilled, check_total, half_split
from motiongpt.weights.memory import SHORT_NAMES, check_fits
from motiongpt.weights.shards import LIT_FILE

HEAD_DIM = 128  # of LLaMA 7B (32 heads x 128), 13B (40), 30B (52) and 65B (64)
MAX_POSITIONS = 2048  # LLaMA was trained on so many
NORM_EPS = 1e-5
ROPE_THETA = 10_000.0

TABLE_KEYS = {
    "transformer.wte.weight": "embed_tokens.weight",
    "transformer.ln_f.scale": "norm.weight",
    "lm_head.weight": "lm_head.weight",
}
LAYER_KEYS = {
    "rms_1.scale": "input_layernorm.weight",
    "attn.c_proj.weight": "self_attn.o_proj.weight",
    "rms_2.scale": "post_attention_layernorm.weight",
    "mlp.c_fc1.weight": "mlp.gate_proj.weight",
    "mlp.c_fc2.weight": "mlp.up_proj.weight",
    "mlp.c_proj.weight": "mlp.down_proj.weight",
}
"""Their key, inside a layer -> ours. The fused projection is split instead."""
FUSED = "attn.c_attn.weight"

LORA_TARGETS = ("q_proj", "v_proj")
LORA_ALPHA = 16.0  # their files do not say it; this is what their training uses
LORA_UNUSED = ("llama_proj.", "motion_proj.")
"""Starts of keys that their training saves beside the adapters, though no forward pass uses them."""


def load_lit_llama(path: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LLM:
    """The model of a folder with lit-llama.pth, or of such a file, in `dtype` on `device` and in eval mode.

    Raises FileNotFoundError, or ValueError in one line, for a file that is missing, damaged, or of another layout.
    """
    path = Path(path)
    path = path / LIT_FILE if path.is_dir() else path
    if path.is_file():  # a pickle is read whole, in the dtype that it has
        check_fits(path.stat().st_size, "cpu", f"{path} takes {path.stat().st_size / 1e9:.1f} GB")
    tensors = _tensors(path)
    config = _config(tensors, path)
    with Unfilled():
        llm = LLM(config)
    check_total(_shapes(config), {key: tensor.shape for key, tensor in tensors.items()}, path)
    final = sum(tensor.numel() for tensor in tensors.values()) * dtype.itemsize
    held = sum(tensor.nbytes for tensor in tensors.values()) if torch.device(device).type == "cpu" else 0
    check_fits(final - held, device, f"{path} needs {final / 1e9:.1f} GB in {SHORT_NAMES.get(dtype, dtype)}")
    state = {}
    for key in list(tensors):
        tensor = tensors.pop(key)  # converted one by one, so that each can go
        if key in TABLE_KEYS:
            parts = {TABLE_KEYS[key]: tensor}
        else:
            layer, name = key.removeprefix("transformer.h.").split(".", 1)
            start = f"layers.{layer}."
            parts = _split(tensor, start, config.num_heads) if name == FUSED else {start + LAYER_KEYS[name]: tensor}
        # a copy of each part: otherwise one of them would keep the whole of what it was split from
        state |= {name: part.to(device, dtype, copy=len(parts) > 1) for name, part in parts.items()}
    llm.load_state_dict(state, assign=True)
    return llm.eval()


def load_lit_lora(llm: LLM, path: Path | str, alpha: float = LORA_ALPHA) -> LoRAConfig:
    """Put their LoRA weights on a model that has no adapters yet, and return the settings.

    Raises FileNotFoundError, or ValueError in one line, for a file that does not fit the model.
    """
    path = Path(path)
    tensors = {key: tensor for key, tensor in _tensors(path).items() if not key.startswith(LORA_UNUSED)}
    C, H, layers = llm.config.hidden_size, llm.config.num_heads, range(llm.config.num_layers)
    start = "transformer.h.{}.attn.c_attn."
    first = tensors.get(start.format(0) + "lora_A")
    r = 0 if first is None else first.shape[0] // 2
    shapes = {start.format(i) + "lora_A": (2 * r, C) for i in layers}
    shapes |= {start.format(i) + "lora_B": (2 * C, r) for i in layers}
    check_total(shapes, {key: tensor.shape for key, tensor in tensors.items()}, path)

    state = {}
    for i in layers:
        A, B = tensors[start.format(i) + "lora_A"], tensors[start.format(i) + "lora_B"]
        ours = f"layers.{i}.self_attn."
        state |= {f"{ours}q_proj.lora_A": A[:r], f"{ours}q_proj.lora_B": half_split(B[:C], H)}
        state |= {f"{ours}v_proj.lora_A": A[r:], f"{ours}v_proj.lora_B": B[C:]}
    config = LoRAConfig(lora_r=r, lora_alpha=alpha, lora_targets=LORA_TARGETS)
    lora.inject(llm, config, torch.Generator())
    lora.load_adapter_state(llm, state)
    return config


def _tensors(path: Path) -> dict[str, Tensor]:
    """The content of a file: matrices by name, and nothing else."""
    content = load_pickle(path)
    bad = (
        [key for key, value in content.items() if not isinstance(value, Tensor)] if isinstance(content, dict) else [""]
    )
    if bad or not content:
        raise ValueError(f"{path} is not a dict of tensors as Lit-LLaMA writes it ({str(bad[:1])[:60]})")
    return content


def _config(tensors: dict[str, Tensor], path: Path) -> LLMConfig:
    """The shape of the model, from the shapes of its tensors."""
    names = ("transformer.wte.weight", "transformer.h.0.mlp.c_fc1.weight")
    missing = [name for name in names if name not in tensors or tensors[name].dim() != 2]
    if missing:
        found = ", ".join(list(tensors)[:3])
        raise ValueError(f"{path} is not in the layout of Lit-LLaMA: no matrix {missing[0]}; it has {found[:200]}")
    rows, C = tensors[names[0]].shape
    if C % HEAD_DIM:
        raise ValueError(f"{path}: transformer.wte.weight is {C} wide, which is no multiple of {HEAD_DIM}, a head")
    layers = {key.split(".")[2] for key in tensors if key.startswith("transformer.h.")}
    return LLMConfig(
        vocab_size=rows,
        hidden_size=C,
        intermediate_size=tensors[names[1]].shape[0],
        num_layers=len(layers),
        num_heads=C // HEAD_DIM,
        num_kv_heads=C // HEAD_DIM,
        head_dim=HEAD_DIM,
        max_positions=MAX_POSITIONS,
        rope_theta=ROPE_THETA,
        norm_eps=NORM_EPS,
        tie_embeddings=False,
        qk_norm=False,
    )


def _shapes(config: LLMConfig) -> dict[str, tuple[int, ...]]:
    """Their keys -> the shapes of such a model."""
    C, inner = config.hidden_size, config.intermediate_size
    layer = {"rms_1.scale": (C,), FUSED: (3 * C, C), "attn.c_proj.weight": (C, C), "rms_2.scale": (C,)}
    layer |= {"mlp.c_fc1.weight": (inner, C), "mlp.c_fc2.weight": (inner, C), "mlp.c_proj.weight": (C, inner)}
    shapes = {"transformer.wte.weight": (config.vocab_size, C), "transformer.ln_f.scale": (C,)}
    shapes["lm_head.weight"] = (config.vocab_size, C)
    for i in range(config.num_layers):
        shapes |= {f"transformer.h.{i}.{name}": shape for name, shape in layer.items()}
    return shapes


def _split(fused: Tensor, start: str, heads: int) -> dict[str, Tensor]:
    """q, k and v out of the fused projection (3C, C), in our order of rows."""
    q, k, v = fused.chunk(3)
    return {
        f"{start}self_attn.q_proj.weight": half_split(q, heads),
        f"{start}self_attn.k_proj.weight": half_split(k, heads),
        f"{start}self_attn.v_proj.weight": v,
    }
