"""Motion tokenizers of other projects: their checkpoint files as our tensors, and T2M-GPT's layout written back.

    T2M-GPT, and MotionGPT of qiqiApink    {"net": "vqvae." + key}
    MotionGPT of OpenMotionLab             {"state_dict": "vae." + key, or "motion_vae." + key, beside other modules}
    SignMotionGPT                          {"model_state_dict": "vqvae." + key, and a buffer loss_weights}
    MoMask                                 {"vq_model": key}

The networks are one network (`encdec.py` and `resnet.py` of T2M-GPT, and copies of them): with the same numbers
`vqvae.py` computes the same function. Sizes are read off keys and shapes. What leaves no trace in a file is taken to
be what all of the above were published with, unless `load_vqvae` is told otherwise: `dilation_growth` 3, `activation`
relu, and what only training looks at. Normalisation inside the residual blocks is refused, as is T2M-GPT's quantiser
"orig". No file carries a mean and a deviation; which pair belongs to it is the caller's to know.

These projects do not save the state of the moving averages and draw a new codebook when training goes on. Here
every row gets COUNT latents' worth of itself, so the codebook goes on from what it is.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motiongpt.config import VQVAEConfig
from motiongpt.files.store import read_json, read_tensors, write_atomic, write_tensors
from motiongpt.files.unpickle import load_pickle
from motiongpt.vqvae import VQVAE
from motiongpt.weights.checks import Unfilled, check_total, rename

CONTAINERS = ("net", "state_dict", "model_state_dict", "vq_model")
PREFIXES = ("motion_vae.", "vae.", "vqvae.", "")
FIRST = "encoder.model.0.weight"
JOINT_DIMS = {263: 63, 251: 60}  # HumanML3D and KIT-ML have joint positions at index 4; of others none is known
COUNT = 4.0
"""Moving count of a row whose own is unknown: T2M-GPT's batch has 4 latents per row (128 windows of 16 codes, 512
rows). With 1, dead_below 1 would replace every row that the first batch happens not to use."""


def key_table(config: VQVAEConfig) -> dict[str, str]:
    """Start of our names -> start of theirs. Their encoder and decoder are one nn.Sequential each: conv, relu, `down`
    stages, and what follows; the relus take up an index."""
    down, stages = config.down, range(config.down)
    table = {"encoder.conv_in.": "encoder.model.0.", "encoder.conv_out.": f"encoder.model.{2 + down}."}
    table |= {"decoder.conv_in.": "decoder.model.0.", "decoder.conv_mid.": f"decoder.model.{2 + down}."}
    table |= {"decoder.conv_out.": f"decoder.model.{4 + down}.", "quantizer.": "quantizer."}
    table |= {f"encoder.downs.{i}.": f"encoder.model.{2 + i}.0." for i in stages}
    table |= {f"encoder.stacks.{i}.blocks.": f"encoder.model.{2 + i}.1.model." for i in stages}
    table |= {f"decoder.stacks.{i}.blocks.": f"decoder.model.{2 + i}.0.model." for i in stages}
    return table | {f"decoder.ups.{i}.": f"decoder.model.{2 + i}.2." for i in stages}


def rename_known(key: str, table: dict[str, str]) -> str:
    """Replace the start of a key; one that no entry fits stays as it is, for the caller to refuse."""
    return rename(key, table) if key.startswith(tuple(table)) else key


def find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The tokenizer's tensors in what a file holds, without container and prefix. ValueError where there is none."""
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    state = next((content[name] for name in CONTAINERS if isinstance(content.get(name), dict)), content)
    found = [prefix for prefix in PREFIXES if prefix + FIRST in state]
    if len(found) != 1:
        what = "more than one motion tokenizer" if found else "no motion tokenizer"
        here = ", ".join(map(str, list(state)[:3]))
        raise ValueError(f"{path} holds {what}: expected one of {', '.join(p + FIRST for p in PREFIXES)}; keys: {here}")
    prefix = found[0]
    tensors = {key[len(prefix) :]: value for key, value in state.items() if str(key).startswith(prefix)}
    for key, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{path}: {prefix}{key} is not a tensor of floating-point numbers")
    others = {key: value for key, value in state.items() if not str(key).startswith(prefix)}
    if prefix == "vqvae." and getattr(others.get("loss_weights"), "shape", None) == tensors[FIRST].shape[1:2]:
        del others["loss_weights"]  # SignMotionGPT's weight of each feature in the loss; nothing else looks at it
    if others and prefix in ("vqvae.", ""):  # OpenMotionLab's files hold the language model and metrics as well
        raise ValueError(f"{path}: {next(iter(others))} is no part of a motion tokenizer")
    return tensors


def infer_config(tensors: dict[str, Tensor], path: Path, settings: dict[str, Any]) -> VQVAEConfig:
    """Sizes from keys and shapes, the rest from `settings`; ValueError where the two disagree."""

    def shape(key: str, dims: int) -> tuple[int, ...]:
        if key not in tensors or tensors[key].ndim != dims:
            has = f"of shape {tuple(tensors[key].shape)}" if key in tensors else "not there"
            raise ValueError(f"{path}: {key} is {has}, expected a tensor of {dims} dimensions")
        return tuple(tensors[key].shape)

    def count(pattern: str, first: int = 0) -> int:
        number = 0
        while pattern.format(first + number) in tensors:
            number += 1
        return number

    width, feature_dim, _ = shape(FIRST, 3)
    down = count("encoder.model.{}.0.weight", 2)
    layers = count("quantizer.layers.{}.codebook")
    codes, code_dim = shape("quantizer.layers.0.codebook" if layers else "quantizer.codebook", 2)
    known = {"feature_dim": feature_dim, "codes": codes, "code_dim": code_dim, "width": width, "down": down}
    known |= {"depth": count("encoder.model.2.1.model.{}.conv1.weight")}
    defaults = {"joint_dim": JOINT_DIMS.get(feature_dim, 0), "quantizer": "ema_reset"}
    if layers:  # MoMask's; its dropout in the residual blocks is a constant of its code
        first = tensors["quantizer.layers.0.codebook"]
        shared = layers > 1 and all(
            torch.equal(first, tensors[f"quantizer.layers.{k}.codebook"]) for k in range(layers)
        )
        known |= {"rvq_layers": layers, "rvq_codebooks": "shared" if shared else "separate"}
        defaults |= {"quantizer": "residual", "dropout": 0.2}
    for name, value in settings.items():
        if name in known | {"quantizer": 0} and value != (known | defaults)[name]:
            raise ValueError(f"{path}: {name} is {(known | defaults)[name]} in the file, {value} was asked for")
    try:
        return VQVAEConfig.from_dict(defaults | settings | known)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_vqvae(path: Path, settings: dict[str, Any]) -> tuple[VQVAEConfig, dict[str, Tensor], dict[str, str], Path]:
    """(config, tensors by our names, our names -> the file's, the file) of a foreign file or a tokenizer folder.

    A tensor we have no name for keeps its own, for the caller to refuse. Raises FileNotFoundError, or ValueError
    for a file that is damaged, refused, or no motion tokenizer, and for settings of a folder: it has its config.json.
    """
    if not path.is_file():
        content = read_json(path / "config.json", object)
        if not isinstance(content, dict) or not isinstance(content.get("VQVAEConfig"), dict):
            raise ValueError(f"{path / 'config.json'} is not a tokenizer's: it has no VQVAEConfig")
        if settings:
            raise ValueError(f"{path} has a config.json, {', '.join(settings)} cannot be given")
        config, source = VQVAEConfig.from_dict(content["VQVAEConfig"]), path / "model.safetensors"
        return config, read_tensors(source), {}, source
    tensors = find_state(read_tensors(path) if path.suffix == ".safetensors" else load_pickle(path), path)
    config = infer_config(tensors, path, settings)
    if config.rvq_codebooks == "shared":  # one codebook under several names
        for k in range(1, config.rvq_layers):
            del tensors[f"quantizer.layers.{k}.codebook"]
    table = {theirs: ours for ours, theirs in key_table(config).items()}
    ours = {rename_known(key, table): tensor for key, tensor in tensors.items()}
    names = dict(zip(ours, tensors, strict=True))
    expected = own_names(config)
    for name in expected:
        start, _, last = name.rpartition("codebook")
        if start and not last and name in ours:
            book = ours[name].float()
            ours |= {f"{start}code_sum": COUNT * book, f"{start}code_count": book.new_full(book.shape[:1], COUNT)}
            ours[f"{start}ready"] = torch.tensor(True)
    return config, ours, expected | names, path


def own_names(config: VQVAEConfig) -> dict[str, str]:
    """Every tensor of our model -> its name in their layout, the state of the averages under our own."""
    with torch.device("meta"):
        names = list(VQVAE(config).state_dict())
    return {name: rename_known(name, key_table(config)) for name in names}


def save_t2m_gpt(vqvae: VQVAE, path: Path) -> None:
    """Write {"net": state dict} as T2M-GPT's HumanVQVAE loads it; the averages' state has no place there.

    Raises ValueError for another quantiser than ema_reset.
    """
    if vqvae.config.quantizer != "ema_reset":
        raise ValueError(f"T2M-GPT's layout has one codebook; this tokenizer's quantizer is {vqvae.config.quantizer}")
    names = own_names(vqvae.config)
    state = vqvae.state_dict()
    kept = [name for name in state if not name.startswith("quantizer.") or name == "quantizer.codebook"]
    net = {"vqvae." + names[name]: state[name].detach().cpu().clone() for name in kept}
    write_atomic(path, lambda temporary: torch.save({"net": net}, temporary))


def load_vqvae(path: Path | str, **settings: Any) -> VQVAE:
    """The VQ-VAE of a tokenizer folder (config.json + model.safetensors), or of the file of another project.

    fp32, in eval mode. `settings` are fields of VQVAEConfig that such a file does not tell. FileNotFoundError, or
    ValueError naming the file for damaged, missing, unexpected or misshapen tensors.
    """
    config, tensors, names, source = read_vqvae(Path(path), settings)
    with Unfilled():
        vqvae = VQVAE(config)
    own = vqvae.state_dict()
    expected, found = ({names.get(k, k): t.shape for k, t in state.items()} for state in (own, tensors))
    check_total(expected, found, source)
    vqvae.load_state_dict({k: t.to(own[k].dtype, copy=True) for k, t in tensors.items()}, assign=True)
    return vqvae.eval()


def save_vqvae(vqvae: VQVAE, folder: Path | str, dtype: torch.dtype = torch.float32) -> None:
    """Write model.safetensors, floating tensors as `dtype`."""
    tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in vqvae.state_dict().items()}
    write_tensors(Path(folder) / "model.safetensors", tensors)
