"""The environment variables that the scripts read, and what is said about them."""

import argparse
import os
from pathlib import Path

from motiongpt.config import flag_name

NOT_READ_YET = ("HF_USER", "HUB_REPO_S1", "HUB_REPO_S2", "HUB_REPO_S3", "SMPLX_MODEL_DIR")
"""Variables of the ancestors whose feature is not there yet."""


def fill_from_environment(args: argparse.Namespace, **variables: str) -> None:
    """Fill path flags that were not given from environment variables, and say so: data="DATA_JSON_PATH"."""
    for name, variable in variables.items():
        if getattr(args, name) is None and (value := os.environ.get(variable)):
            setattr(args, name, Path(value).expanduser())
            print(f"{flag_name(name)} {getattr(args, name)} (environment: {variable})")


def fill_tokenizer_from_environment(args: argparse.Namespace) -> None:
    """VQVAE_CHECKPOINT for --vqvae and, where that is the file of another project, VQVAE_STATS_PATH for --stats."""
    fill_from_environment(args, vqvae="VQVAE_CHECKPOINT")
    if args.vqvae is not None and args.vqvae.is_file():
        fill_from_environment(args, stats="VQVAE_STATS_PATH")


def outputs_folder() -> Path:
    """outputs/, in the folder that WORK_DIR names where it is set."""
    return Path(os.environ.get("WORK_DIR", "")).expanduser() / "outputs"


def default_run() -> Path:
    """The run folder without --run and --out, and a line where WORK_DIR says where it is."""
    if work := os.environ.get("WORK_DIR"):
        print(f"outputs are in {work} (environment: WORK_DIR)")
    return outputs_folder() / "run"


def say_unread_environment() -> None:
    """A line about the ancestors' variables that are set and change nothing, so that nobody believes they did."""
    if names := [name for name in NOT_READ_YET if os.environ.get(name)]:
        print(f"note: {', '.join(names)} set in the environment, but nothing here reads it yet")


def say_unused_environment(*variables: str) -> None:
    """A line about variables that are set and that other stages or scripts would read."""
    if names := [name for name in variables if os.environ.get(name)]:
        print(f"note: {', '.join(names)} set in the environment, not used here")


def use_hub_token(name: object) -> None:
    """Say which token fetches `name` from the Hub, where it is no folder; the library reads HF_TOKEN by itself.

    HUGGINGFACE_HUB_TOKEN, an ancestor's name for it, is handed on as HF_TOKEN. The value is never printed.
    """
    if name is None or Path(str(name)).expanduser().exists():
        return
    if os.environ.get("HF_TOKEN"):
        print("Hub token (environment: HF_TOKEN)")
    elif token := os.environ.get("HUGGINGFACE_HUB_TOKEN"):
        os.environ["HF_TOKEN"] = token
        print("Hub token (environment: HUGGINGFACE_HUB_TOKEN)")
