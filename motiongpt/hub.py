"""A local folder or a repo id of the Hugging Face Hub -> a folder on this machine."""

from collections.abc import Sequence
from pathlib import Path

BACKBONE_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "*.model", "vocab.json", "merges.txt", "special_tokens_map.json"),
)
"""What is fetched of a backbone on the Hub; many repositories hold the same weights in other formats too."""


def resolve_folder(
    name_or_path: str | Path, kind: str, advice: str, allow: Sequence[str] = ("*",), ignore: Sequence[str] = ()
) -> Path:
    """A local folder as it is; USER/NAME is fetched from the Hub or its cache: files matching `allow`, not `ignore`.

    Where there is a folder USER here, a missing USER/NAME is a path misspelt and the Hub is not asked.
    FileNotFoundError (saying `kind` and `advice`) for a path that is no folder, ValueError where the Hub gives none.
    """
    path, name = Path(name_or_path).expanduser(), str(name_or_path)
    if path.is_dir():
        return path
    if name.count("/") != 1 or path.is_absolute() or name.startswith((".", "~")) or path.parent.is_dir():
        raise FileNotFoundError(f"no {kind} folder at {name}; {advice}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(allow), ignore_patterns=list(ignore)))
    except (HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} is neither a local folder nor a {kind} that could be fetched from the Hub ({reason}); "
            "check the name and the network, or give a folder"
        ) from error


def resolve_backbone(name_or_path: str | Path) -> Path:
    """The folder of a backbone, by path or repo id; raises as `resolve_folder`."""
    advice = "expected one with config.json and model.safetensors, or a Hub repo id"
    return resolve_folder(name_or_path, "backbone", advice, allow=BACKBONE_FILES)
