"""Folders given as a backbone that are none: one line names the file and says what to do.

People give what they have: a diffusion model, an encoder, a pickle, a quantised copy, a GGUF file, a clone without its
large files. The loaders would refuse each of them too, but only by the keys that do not fit. This file looks at names,
config.json and the first bytes of a few files, so that a stage can say so before it reads its data. The loaders check
keys and shapes.
"""

from pathlib import Path

from motiongpt.files.store import read_json
from motiongpt.hub import resolve_backbone
from motiongpt.weights.hf_config import FAMILIES, TEXT_PART
from motiongpt.weights.shards import LIT_FILE, is_adapter

SUPPORTED = (*FAMILIES, *TEXT_PART, "t5")
"""Values of model_type in the config.json of a backbone."""

ENCODERS = (
    *("bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "xlm-roberta", "modernbert"),
    *("clip", "clip_text_model", "clip_vision_model", "siglip", "vit"),
)
"""Well-known values of model_type whose models read but cannot write."""

OWN_CONFIGS = {
    "RunConfig": "a run, not a backbone: name one of its stage folders, or start from it with --from",
    "VQVAEConfig": "a motion tokenizer, not a language model: it is for --vqvae",
    "EvaluatorConfig": "an evaluator, not a language model: it is for evaluate.py",
}
"""Keys of a config.json of ours -> what its folder is."""

QUANTISED = ("quantization_config", "quantization")
"""Keys of a config.json that describe quantised weights: those of transformers, and of MLX."""
QUANTISED_FILES = ("quantize_config.json", "quant_config.json")
"""Where the older tools for GPTQ and AWQ describe them."""

LARGE = ("*.safetensors", "tokenizer.json", "*.model")
"""The files of a backbone that a Git repository keeps in LFS."""
LFS_START = b"version https://git-lfs.github.com/spec/"


def find_backbone(name_or_path: str | Path) -> Path:
    """The folder of a backbone, by path, repo id or bare name, if it looks like one that can be loaded.

    Raises FileNotFoundError or ValueError in one line: there is no such folder, or it holds something else.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        what = f"; {_what_gguf(path)}" if path.suffix == ".gguf" else ""
        raise ValueError(f"{path} is a file; a backbone is a folder with config.json and its weights{what}")
    folder = resolve_backbone(name_or_path)
    check_backbone(folder)
    return folder


def check_backbone(folder: Path) -> None:
    """Raise FileNotFoundError or ValueError, in one line, for a folder that holds no language model we load."""
    if is_adapter(folder) and not (folder / "meta.json").is_file():  # no stage of ours
        raise ValueError(f"{folder} is an adapter: start from it with --from {folder}, and give its base as --backbone")
    if is_adapter(folder) or (folder / LIT_FILE).is_file():  # neither has a config.json that counts
        return
    # 1) a folder that has no config.json, or one of another program
    if (folder / "model_index.json").is_file():
        raise ValueError(f"{folder / 'model_index.json'} describes a diffusion pipeline, not a language model")
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {_instead(folder)}")
    _check_pointers(folder)
    values = read_json(path)
    for key, what in OWN_CONFIGS.items():
        if key in values:
            raise ValueError(f"{path} is that of {what}")
    if "_class_name" in values:
        raise ValueError(f"{path} describes {str(values['_class_name'])[:60]}, a part of a diffusion pipeline")

    # 2) a kind of model that is not loaded
    _check_unquantised(folder, values)
    kind = values.get("model_type")
    supported = f"supported: {', '.join(SUPPORTED)}"
    if kind is None:
        raise ValueError(f"{path} has no model_type, so it describes no model of Hugging Face; {supported}")
    if kind not in SUPPORTED:
        why = " (an encoder, which cannot write)" if kind in ENCODERS else ""
        raise ValueError(f"{path}: model_type {kind!r:.60} is not supported{why}; {supported}")

    # 3) weights in another format
    found = [name for name in ("model.safetensors", "model.safetensors.index.json") if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{folder} has no model.safetensors{_other_weights(folder, kind)}")


def _check_pointers(folder: Path) -> None:
    """ValueError for a file that is only a pointer of Git LFS, as a clone without `git lfs` leaves it."""
    for pattern in LARGE:
        for path in sorted(folder.glob(pattern)):
            with open(path, "rb") as file:
                if file.read(len(LFS_START)) == LFS_START:
                    raise ValueError(f"{path} is a pointer of Git LFS, not the file; run: git -C {folder} lfs pull")


def _check_unquantised(folder: Path, values: dict) -> None:
    advice = "which is not supported; use the model it was made from"
    for key in QUANTISED:
        about = values.get(key)
        if about:
            method = about.get("quant_method") if isinstance(about, dict) else None
            raise ValueError(f"{folder / 'config.json'}: the weights are quantised ({method or key}), {advice}")
    for name in QUANTISED_FILES:
        if (folder / name).is_file():
            raise ValueError(f"{folder / name}: the weights are quantised, {advice}")


def _instead(folder: Path) -> str:
    """What a folder without config.json holds, as far as that helps."""
    parts = sorted(path.parent for path in folder.glob("*/config.json"))
    parts += sorted(path.parent for path in folder.glob("snapshots/*/config.json"))  # the Hub's cache
    if parts:
        return f"did you mean {parts[-1]}?"
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        return _what_gguf(ggufs[0])
    if list(folder.glob("consolidated.*")):
        return "it is in the layout of Meta's own code; a backbone needs the same model in that of Hugging Face"
    here = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
    return f"a backbone needs config.json, model.safetensors and a tokenizer; the folder holds {here}"


def _what_gguf(path: Path) -> str:
    """What to do with a GGUF file."""
    made = path.with_suffix("")
    code = "from pathlib import Path; from motiongpt.weights.gguf import gguf_to_hf; "
    code += f"gguf_to_hf(Path({str(path)!r}), Path({str(made)!r}))"
    return f'{path.name} is a GGUF file; if it is a Llama, convert it: python -c "{code}"'


def _other_weights(folder: Path, kind: str) -> str:
    """What a folder has in place of model.safetensors, and how to convert it."""
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if shards:
        return f": it has {shards[0]}, and no model.safetensors.index.json that says what is in the shards"
    pickles = sorted(path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern))
    others = sorted(path.name for pattern in ("*.h5", "*.msgpack") for path in folder.glob(pattern))
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs and not pickles:
        return f": {_what_gguf(ggufs[0])}"
    if not pickles + others:
        found = sorted(path.name for path in folder.glob("*.safetensors"))
        return f": it has {', '.join(found[:3])}" if found else " and no other weights"
    model = "AutoModelForSeq2SeqLM" if kind == "t5" else "AutoModelForCausalLM"
    code = f"from transformers import {model} as M; M.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
    return f', only {(pickles + others)[0]}, which is not read; convert it where transformers is: python -c "{code}"'
