"""The environment variables that scripts read; flags override them.

A script prints every variable it uses, and every one that is set but has no effect. The library
itself reads none of them. Values of tokens are never printed.
"""

import argparse
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from motiongpt.config import flag_name

HUB_VARIABLES = ("HF_USER", "HUB_REPO_S1", "HUB_REPO_S2", "HUB_REPO_S3")
"""Who pushes a training to the Hub, and to which repository each stage."""

INSTEAD_OF = {"DATA_JSON_PATH": "--data", "VQVAE_CHECKPOINT": "--vqvae", "VQVAE_STATS_PATH": "--stats",
              "WORK_DIR": "--out"}  # fmt: skip
"""Variable -> the flag that it stands for in a training."""


def environment_words(given: Iterable[str]) -> str:
    """The variables that a command with the words `given` depends on, to put before it: `DATA_JSON_PATH=a.json `.

    They may have been set for one command alone, so the next one names them too.
    """
    flags = {word.split("=")[0] for word in given}
    found = [(name, os.environ.get(name)) for name, flag in INSTEAD_OF.items() if flag not in flags]
    return "".join(f"{name}={shlex.quote(value)} " for name, value in found if value)


def fill_from_environment(args: argparse.Namespace, **variables: str) -> None:
    """Fill path flags that were not given from environment variables, and say so: data="DATA_JSON_PATH"."""
    for name, variable in variables.items():
        if getattr(args, name) is None and (value := os.environ.get(variable)):
            setattr(args, name, Path(value).expanduser())
            print(f"{flag_name(name)} {getattr(args, name)} (environment: {variable})")


def fill_tokenizer_from_environment(args: argparse.Namespace) -> None:
    """VQVAE_CHECKPOINT for --vqvae; if that is the file of another project, VQVAE_STATS_PATH for --stats."""
    fill_from_environment(args, vqvae="VQVAE_CHECKPOINT")
    if args.vqvae is not None and args.vqvae.is_file():
        fill_from_environment(args, stats="VQVAE_STATS_PATH")


def motion_llm_dataset() -> Path | None:
    """data/motion_llm_dataset.json, where SignMotionGPT's setup puts the data set; says so if it is there.

    WORK_DIR is looked in first, then the current folder.
    """
    for work in dict.fromkeys((os.environ.get("WORK_DIR", ""), "")):
        path = Path(work).expanduser() / "data" / "motion_llm_dataset.json"
        if path.is_file():
            print(f"--data {path} (found there; --data FILE names another)")
            return path
    return None


def outputs_folder() -> Path:
    """outputs/, inside the folder that WORK_DIR names if it is set."""
    return Path(os.environ.get("WORK_DIR", "")).expanduser() / "outputs"


def default_output(name: str) -> Path:
    """outputs/NAME, for a script whose output flag was not given; says so if WORK_DIR decides where that is."""
    if work := os.environ.get("WORK_DIR"):
        print(f"outputs/{name} is in {work} (environment: WORK_DIR)")
    return outputs_folder() / name


def default_run() -> Path:
    """The run folder of scripts that got neither --run nor --out."""
    return default_output("run")


def say_unread_environment() -> None:
    """Name the variables of a training's place on the Hub, for scripts that do not train."""
    say_unused_environment(*HUB_VARIABLES)


def say_unused_environment(*variables: str) -> None:
    """Name those `variables` that are set, though only other stages or scripts read them."""
    if names := [name for name in variables if os.environ.get(name)]:
        print(f"note: {', '.join(names)} set in the environment, not used here")


def use_hub_token(name: object) -> None:
    """Say which token fetches `name` from the Hub, unless it is a folder; the library reads HF_TOKEN by itself.

    HUGGINGFACE_HUB_TOKEN, an ancestor's name for the token, is handed on as HF_TOKEN.
    """
    if name is None or Path(str(name)).expanduser().exists():
        return
    if os.environ.get("HF_TOKEN"):
        print("Hub token (environment: HF_TOKEN)")
    elif token := os.environ.get("HUGGINGFACE_HUB_TOKEN"):
        os.environ["HF_TOKEN"] = token
        print("Hub token (environment: HUGGINGFACE_HUB_TOKEN)")


def hub_token() -> tuple[str | None, str]:
    """The token for the Hub, or None, and where it is from: HF_TOKEN, HUGGINGFACE_HUB_TOKEN, else the usual login."""
    for variable in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        if token := os.environ.get(variable, "").strip():
            return token, f"environment: {variable}"
    from huggingface_hub import get_token

    return get_token(), "the login on this machine"
