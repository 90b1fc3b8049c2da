"""A local folder, or a repo id of the Hugging Face Hub, to a folder on this machine.

Only a name of the form USER/NAME can reach the network, and only if no local path fits. Nothing here knows which
repositories exist, or what is in them.
"""

from collections.abc import Sequence
from pathlib import Path

BACKBONE_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "*.model", "vocab.json", "merges.txt", "special_tokens_map.json"),
)
"""The files fetched for a backbone. Many repositories also hold the same weights in other formats."""


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


def resolve_backbone(name_or_path: str | Path) -> Path:
    """The folder of a backbone, by path or repo id. Raises what `resolve_folder` raises."""
    advice = "expected one with config.json and model.safetensors, or a Hub repo id"
    return resolve_folder(name_or_path, "backbone", advice, allow=BACKBONE_FILES)
