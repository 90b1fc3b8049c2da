"""Motion tokenizers on disk: our own folder, and checkpoint files of other projects.

    T2M-GPT, and MotionGPT of qiqiApink    {"net": "vqvae." + key}
    MotionGPT of OpenMotionLab             {"state_dict": "vae." + key, or "motion_vae." + key, beside other modules}
    SignMotionGPT                          {"model_state_dict": "vqvae." + key, and a buffer loss_weights}
    MoMask                                 {"vq_model": key}

These networks are one network (`encdec.py` and `resnet.py` of T2M-GPT, and copies of them): with
the same numbers, our `VQVAE` computes the same function. Sizes are read off keys and shapes. Some
settings leave no trace in a file: `dilation_growth`, `activation`, and what only training uses.
`load_vqvae` takes the published values (3 and relu) unless it is given others. Normalisation inside
the residual blocks is refused, and so is T2M-GPT's quantiser "orig". No file carries a mean and a
deviation; the caller must know which pair belongs to it.

These projects do not save the state of the moving averages, and draw a new codebook when training
continues. Here every row is credited with COUNT latents equal to itself, so that training continues
from the loaded codebook.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motiongpt.config import VQVAEConfig
from motiongpt.files.hashes import check_hashes, check_values
from motiongpt.files.store import read_json, read_tensors, write_atomic, write_tensors
from motiongpt.files.unpickle import load_pickle
from motiongpt.vqvae import VQVAE
from motiongpt.weights.checks import Unfilled, check_total, rename

ABOUT = "motiongpt"  # key of what the tensors do not tell, beside "net" in a file that we exported
CONTAINERS = ("net", "state_dict", "model_state_dict", "vq_model")
PREFIXES = ("motion_vae.", "vae.", "vqvae.", "")
FIRST_KEY = "encoder.model.0.weight"
JOINT_DIMS = {263: 63, 251: 60}  # HumanML3D and KIT-ML have joint positions from index 4 on; other widths are unknown
COUNT = 4.0
"""Moving count given to a row whose own is unknown. T2M-GPT's batch has 4 latents per row (128
windows of 16 codes, 512 rows). With a count of 1, `dead_below` 1 would replace every row that the
first batch happens not to use."""


def key_table(config: VQVAEConfig) -> dict[str, str]:
    """Start of our names -> start of theirs.

    Their encoder and decoder are one nn.Sequential each: a convolution, a relu, `down` stages, and
    the rest. A relu has no weights but takes up an index.
    """
    down = config.down
    table = {
        "encoder.conv_in.": "encoder.model.0.",
        "encoder.conv_out.": f"encoder.model.{2 + down}.",
        "decoder.conv_in.": "decoder.model.0.",
        "decoder.conv_mid.": f"decoder.model.{2 + down}.",
        "decoder.conv_out.": f"decoder.model.{4 + down}.",
        "quantizer.": "quantizer.",
    }
    for i in range(down):
        table[f"encoder.downs.{i}."] = f"encoder.model.{2 + i}.0."
        table[f"encoder.stacks.{i}.blocks."] = f"encoder.model.{2 + i}.1.model."
        table[f"decoder.stacks.{i}.blocks."] = f"decoder.model.{2 + i}.0.model."
        table[f"decoder.ups.{i}."] = f"decoder.model.{2 + i}.2."
    return table


def rename_known(key: str, table: dict[str, str]) -> str:
    """Replace the start of a key. A key that no entry fits stays as it is,
    for the caller to refuse."""
    return rename(key, table) if key.startswith(tuple(table)) else key


def find_state(content: Any, path: Path) -> dict[str, Tensor]:
    """The motion tokenizer's tensors of a file's content, without container and prefix.

    Raises ValueError if there is none or more than one,
    and for tensors that belong to something else.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    # 1) the container that training code put around the tensors
    state = next((content[name] for name in CONTAINERS if isinstance(content.get(name), dict)), content)
    # 2) the prefix, told by the first convolution
    found = [prefix for prefix in PREFIXES if prefix + FIRST_KEY in state]
    if len(found) != 1:
        what = "more than one motion tokenizer" if found else "no motion tokenizer"
        here = ", ".join(map(str, list(state)[:3]))
        wanted = ", ".join(prefix + FIRST_KEY for prefix in PREFIXES)
        raise ValueError(f"{path} holds {what}: expected one of {wanted}; keys: {here}")
    # 3) what belongs to the tokenizer, and what else is in the file
    prefix = found[0]
    tensors = {key[len(prefix) :]: value for key, value in state.items() if str(key).startswith(prefix)}
    for key, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{path}: {prefix}{key} is not a tensor of floating-point numbers")
    others = {key: value for key, value in state.items() if not str(key).startswith(prefix)}
    if prefix == "vqvae." and getattr(others.get("loss_weights"), "shape", None) == tensors[FIRST_KEY].shape[1:2]:
        del others["loss_weights"]  # SignMotionGPT's weight of each feature in the loss; nothing else reads it
    if others and prefix in ("vqvae.", ""):  # with the other prefixes, a language model and metrics are in the file
        raise ValueError(f"{path}: {next(iter(others))} is no part of a motion tokenizer")
    return tensors


def infer_config(tensors: dict[str, Tensor], path: Path, settings: dict[str, Any]) -> VQVAEConfig:
    """The config of foreign tensors: sizes from keys and shapes, the rest from `settings`.

    Raises ValueError if the two contradict each other.
    """

    def shape(key: str, dims: int) -> tuple[int, ...]:
        if key not in tensors or tensors[key].ndim != dims:
            has = f"of shape {tuple(tensors[key].shape)}" if key in tensors else "not there"
            raise ValueError(f"{path}: {key} is {has}, expected a tensor of {dims} dimensions")
        return tuple(tensors[key].shape)

    def count(pattern: str, first: int = 0) -> int:
        """How many keys of a numbered pattern there are, without a gap."""
        number = 0
        while pattern.format(first + number) in tensors:
            number += 1
        return number

    # 1) sizes from keys and shapes; a convolution's weight is (out, in, kernel)
    width, feature_dim, _ = shape(FIRST_KEY, 3)
    down = count("encoder.model.{}.0.weight", 2)
    layers = count("quantizer.layers.{}.codebook")
    codes, code_dim = shape("quantizer.layers.0.codebook" if layers else "quantizer.codebook", 2)
    known = {"feature_dim": feature_dim, "codes": codes, "code_dim": code_dim, "width": width, "down": down}
    known |= {"depth": count("encoder.model.2.1.model.{}.conv1.weight")}
    # 2) what the file cannot show: the published values, unless `settings` has others
    defaults = {"joint_dim": JOINT_DIMS.get(feature_dim, 0), "quantizer": "ema_reset"}
    if layers:  # MoMask's; its dropout in the residual blocks is a constant of its code
        books = [tensors[f"quantizer.layers.{k}.codebook"] for k in range(layers)]
        shared = layers > 1 and all(torch.equal(books[0], book) for book in books)
        known |= {"rvq_layers": layers, "rvq_codebooks": "shared" if shared else "separate"}
        defaults |= {"quantizer": "residual", "dropout": 0.2}
    fixed = known | {"quantizer": defaults["quantizer"]}  # what the file says: `settings` may only agree
    for name, value in settings.items():
        if name in fixed and value != fixed[name]:
            raise ValueError(f"{path}: {name} is {fixed[name]} in the file, {value} was asked for")
    try:
        # later ones win: the file over `settings`, `settings` over the published values
        return VQVAEConfig.from_dict(defaults | settings | known)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_vqvae(path: Path, settings: dict[str, Any]) -> tuple[VQVAEConfig, dict[str, Tensor], dict[str, str], Path]:
    """(config, tensors by our names, our names -> the file's, the file) of a foreign file or a
    tokenizer folder.

    A tensor without a name of ours keeps its own, for the caller to refuse. Raises
    FileNotFoundError, or ValueError for a file that is damaged, refused or no motion tokenizer.
    `settings` for a folder are a ValueError too, since its config.json has them.
    """
    # a folder of ours
    if not path.is_file():
        content = read_json(path / "config.json", object)
        if not isinstance(content, dict) or not isinstance(content.get("VQVAEConfig"), dict):
            raise ValueError(f"{path / 'config.json'} is not a tokenizer's: it has no VQVAEConfig")
        check_values(content["VQVAEConfig"], content, "VQVAEConfig", path / "config.json")
        if settings:
            raise ValueError(f"{path} has a config.json, {', '.join(settings)} cannot be given")
        config = VQVAEConfig.from_dict(content["VQVAEConfig"], path / "config.json")
        source = path / "model.safetensors"
        tensors = read_tensors(source)
        check_hashes(path, content, [source.name], path / "config.json")
        return config, tensors, {}, source
    # the file of another project
    content = read_tensors(path) if path.suffix == ".safetensors" else load_pickle(path)
    tensors = find_state(content, path)
    config = infer_config(tensors, path, _about(content).get("VQVAEConfig", {}) | settings)
    if config.rvq_codebooks == "shared":  # one codebook under several names
        for k in range(1, config.rvq_layers):
            del tensors[f"quantizer.layers.{k}.codebook"]
    table = {theirs: ours for ours, theirs in key_table(config).items()}
    ours = {rename_known(key, table): tensor for key, tensor in tensors.items()}
    names = dict(zip(ours, tensors, strict=True))
    expected = own_names(config)
    for name in expected:  # state of the moving averages for every codebook, which no foreign file has
        start, _, last = name.rpartition("codebook")
        if start and not last and name in ours:
            book = ours[name].float()
            ours |= {f"{start}code_sum": COUNT * book, f"{start}code_count": book.new_full(book.shape[:1], COUNT)}
            ours[f"{start}ready"] = torch.tensor(True)
    return config, ours, expected | names, path


def exported_facts(path: Path) -> dict[str, Any]:
    """What `save_t2m_gpt` wrote beside the tensors; empty for other people's files.
    Raises what `read_vqvae` raises."""
    return {} if path.suffix == ".safetensors" else _about(load_pickle(path))


def _about(content: Any) -> dict[str, Any]:
    about = content.get(ABOUT) if isinstance(content, dict) else None
    return about if isinstance(about, dict) and isinstance(about.get("VQVAEConfig"), dict) else {}


def own_names(config: VQVAEConfig) -> dict[str, str]:
    """Every tensor of our model -> its name in their layout;
    state of the moving averages keeps our name."""
    # only the names are wanted: no memory, no draws
    with torch.device("meta"):
        names = list(VQVAE(config).state_dict())
    return {name: rename_known(name, key_table(config)) for name in names}


def save_t2m_gpt(vqvae: VQVAE, path: Path, facts: dict[str, Any] | None = None) -> None:
    """Write {"net": state dict}, which T2M-GPT's HumanVQVAE loads.
    The layout has no place for moving averages.

    If there are `facts`, they and our config go under a key of their own, which T2M-GPT does not
    read. Without them our own reader would take the file for one of the published tokenizers.

    Raises ValueError for any quantiser but ema_reset, and for a causal tokenizer.
    """
    if vqvae.config.causal:
        raise ValueError(
            "T2M-GPT's layout cannot say that a tokenizer is causal, so it would decode to other motions there; train "
            "one without --causal to export it"
        )
    if vqvae.config.quantizer != "ema_reset":
        raise ValueError(f"T2M-GPT's layout has one codebook; this tokenizer's quantizer is {vqvae.config.quantizer}")
    names = own_names(vqvae.config)
    state = vqvae.state_dict()
    # of the quantiser only the codebook has a place in their layout
    kept = [name for name in state if not name.startswith("quantizer.") or name == "quantizer.codebook"]
    net = {"vqvae." + names[name]: state[name].detach().cpu().clone() for name in kept}
    about = {} if facts is None else {ABOUT: {"VQVAEConfig": vqvae.config.to_dict(), **facts}}

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # by a path, torch would write the temporary name into the file
            torch.save({"net": net} | about, file)

    write_atomic(path, write)


def load_vqvae(path: Path | str, **settings: Any) -> VQVAE:
    """The VQ-VAE of a tokenizer folder (config.json + model.safetensors) or of another project's
    file.

    It is fp32 and in eval mode. `settings` are fields of VQVAEConfig that another project's file
    does not tell. Raises FileNotFoundError, or ValueError naming the file, for damaged, missing,
    unexpected or misshapen tensors.
    """
    config, tensors, names, source = read_vqvae(Path(path), settings)
    with Unfilled():
        vqvae = VQVAE(config)
    own = vqvae.state_dict()
    expected = {names.get(key, key): tensor.shape for key, tensor in own.items()}
    found = {names.get(key, key): tensor.shape for key, tensor in tensors.items()}
    check_total(expected, found, source)  # in the words of the file
    vqvae.load_state_dict({key: t.to(own[key].dtype, copy=True) for key, t in tensors.items()}, assign=True)
    return vqvae.eval()


def save_vqvae(vqvae: VQVAE, folder: Path | str, dtype: torch.dtype = torch.float32) -> None:
    """Write model.safetensors, with floating-point tensors as `dtype`."""
    tensors = {key: t.to(dtype) if t.is_floating_point() else t for key, t in vqvae.state_dict().items()}
    write_tensors(Path(folder) / "model.safetensors", tensors)
