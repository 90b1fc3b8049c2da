"""A local folder, or a repo id of the Hugging Face Hub, to a folder on this machine.

Only a name of the form USER/NAME can reach the network, and only if no local path fits. A bare NAME is a folder of the
checkout's checkpoints/. Nothing here knows which repositories exist, or what is in them.
"""

from collections.abc import Sequence
from pathlib import Path

BACKBONE_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json", "meta.json"),
    *("tokenizer*", "*.model", "vocab.json", "merges.txt", "special_tokens_map.json", "chat_template.jinja"),
    "generation_config.json",
)
"""The files fetched for a backbone. Many repositories also hold the same weights in other formats."""

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"
"""Of the checkout: where `scripts/assets.py --fetch NAME` puts a backbone."""


def resolve_folder(
    name_or_path: str | Path, kind: str, advice: str, allow: Sequence[str] = ("*",), ignore: Sequence[str] = ()
) -> Path:
    """A local folder as it is; USER/NAME from the Hub or its cache, with the files that match `allow` and not `ignore`.

    If there is a local folder USER, a missing USER/NAME counts as a misspelt path, and the Hub is not asked.

    Raises FileNotFoundError, which names `kind` and `advice`, for a path that is no folder, and ValueError if the Hub
    has no such repository or cannot be reached.
    """
    path = Path(name_or_path).expanduser()
    name = str(name_or_path)
    if path.is_dir():
        return path
    # not USER/NAME, or a path that was meant to be local
    if name.count("/") != 1 or path.is_absolute() or name.startswith((".", "~")) or path.parent.is_dir():
        raise FileNotFoundError(f"no {kind} folder at {name}; {advice}")
    from huggingface_hub import snapshot_download  # here, as importing it takes long and few runs need it
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(allow), ignore_patterns=list(ignore)))
    except (HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} is neither a local folder nor a {kind} that could be fetched from the Hub ({reason}); "
            "check the name and the network, or give a folder"
        ) from error


def is_bare(name: str) -> bool:
    """Whether a name is one word, such as `smollm2`: no path and no repo id."""
    return bool(name) and Path(name).name == name and "\\" not in name and not name.startswith((".", "~"))


def named_backbone(name: str) -> str:
    """A bare name as the path of CHECKOUT/checkpoints/NAME, if a model lies there and no local folder has that name.

    Any other name is returned as it is.
    """
    folder = CHECKPOINTS / name
    known = is_bare(name) and not Path(name).is_dir() and (folder / "config.json").is_file()
    return str(folder) if known else name


def resolve_backbone(name_or_path: str | Path) -> Path:
    """The folder of a backbone, by path, repo id, or bare name. Raises what `resolve_folder` raises."""
    name = str(name_or_path)
    advice = "expected one with config.json and model.safetensors, or a Hub repo id"
    if is_bare(name):
        advice += f", or a name known to: python scripts/assets.py --fetch {name}"
    return resolve_folder(named_backbone(name), "backbone", advice, allow=BACKBONE_FILES)
