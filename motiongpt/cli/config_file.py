"""`--config FILE.json`: settings and flags from one file, in our names or in those of the projects before this one.

The file is a flat object such as {"data": "tokens.json", "lr": 1e-4, "stage1": {"epochs": 3}}, or the config.json of a
run. A name is a flag's, with or without dashes, or one of `ANCESTOR_NAMES`. One file may serve several scripts: a
script leaves the names of other scripts alone. Fields of the configs become layers of `parser.resolve_config`; the
other flags become defaults of the parser, see `parser.parse_with_config`.

Like parser.py, this file imports no torch and no NumPy.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motiongpt.config import (
    ContinuousConfig,
    EvaluatorConfig,
    FlowConfig,
    LoRAConfig,
    RewardConfig,
    SampleConfig,
    TrainConfig,
    VQVAEConfig,
)
from motiongpt.files.store import read_json

CONFIGS = (
    *(TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig, EvaluatorConfig, RewardConfig),
    *(ContinuousConfig, FlowConfig),
)
"""The configs whose fields a `--config` file may hold."""

BESIDE_CONFIGS = ("RunConfig", "LLMConfig", "skeleton", "fps", "representation", "hashes", "text_model", "trained_on")
"""Other entries of a run's or tokenizer's config.json; `--config` accepts such a file."""

FLAGS = frozenset(
    "as_written at backbone best_of chat codes constraints data debug dedup device dry_run evaluator exact_length fps "
    "frame fresh from glove gpu_steps held_out hub_every hub_keep hub_public hub_repo in_place index info input "
    "joint_map judge list log_dir look_ahead loop model motion_as movement no_per_prompt_vocab num_samples out output "
    "path patience pid precision profile prompt raw reach reader recipe requests resume run seconds seed shard "
    "smplx_layout stage stats stream task tasks templates text_model then think threads trace train unit up vqvae "
    "vqvae_fps".split()
)
"""Flags that are not fields of a config, of all scripts that have `--config`; `codes` of sample.py, else a field."""

STAGE_NAMES = ("motion_lm", "multitask", "sft", "text_to_motion", "words_only", "captions", "finetune", "tokenizer",
               "pretrain", "instruct", "reward")  # fmt: skip
"""Stages of all recipes, in the spelling of a field; an object with the settings of one stage is named so."""

ANCESTOR_NAMES = {
    # config.py of SignMotionGPT and Motion LLM
    "MODEL_NAME": "backbone", "DATA_JSON_PATH": "data", "PIPELINE_OUTPUT_DIR": "out", "SEED": "seed",
    "MAX_SEQ_LEN": "max_seq_len", "BATCH_TRAIN": "batch_size", "GRAD_ACCUM": "grad_accum", "LR": "lr",
    "WARMUP": "warmup", "WEIGHT_DECAY": "weight_decay", "LOG_STEPS": "log_every", "EVAL_STEPS": "eval_every",
    "SAVE_STEPS": "save_every", "LORA_R": "lora_r", "LORA_ALPHA": "lora_alpha", "LORA_DROPOUT": "lora_dropout",
    "LORA_TARGET_MODULES": "lora_targets", "VQVAE_CHECKPOINT": "vqvae", "VQVAE_STATS_PATH": "stats",
    **{f"EPOCHS_S{n}": f"stage{n}.epochs" for n in (1, 2, 3)},
    **{f"S{n}_EPOCHS": f"stage{n}.epochs" for n in (1, 2, 3)},
    **{f"S{n}_LR": f"stage{n}.lr" for n in (1, 2, 3)},
    **{f"S{n}_BATCH_SIZE": f"stage{n}.batch_size" for n in (1, 2, 3)},
    "GEN_MAX_NEW_TOKENS": "max_new_tokens", "GEN_TEMPERATURE": "temperature", "GEN_TOP_P": "top_p",
    "GEN_TOP_K": "top_k", "GEN_NO_REPEAT_NGRAM_SIZE": "no_repeat_ngram",
    "GEN_REPETITION_PENALTY": "repetition_penalty", "GEN_END_LOGIT_SLOPE": "end_logit_slope",
    "INFERENCE_TEMPERATURE": "temperature", "INFERENCE_TOP_K": "top_k",
    "INFERENCE_REPETITION_PENALTY": "repetition_penalty",
    # train.py and generate_v2.py of the KIT learner
    "NUM_EPOCHS": "epochs", "LEARNING_RATE": "lr", "BATCH_SIZE": "batch_size", "PROMPT": "prompt",
    # flags of Zhang et al.'s MotionGPT
    "out_dir": "out", "vqvae_pth": "vqvae", "lora_path": "run",
}  # fmt: skip
"""Names of the ancestors' own settings and the flag that each becomes, for one stage where the ancestor meant one."""

ANCESTOR_FOLDERS = {"DATA_DIR": ("data", "motion_llm_dataset.json"), "WORK_DIR": ("out", "outputs/run")}
"""Their folders: the flag each fills unless the file names it, and the place inside the folder."""

NO_EFFECT = frozenset(
    "DTYPE BATCH_EVAL SYSTEM_MSG HF_TOKEN HF_USER HF_USE_HUB HUB_REPO_S1 HUB_REPO_S2 HUB_REPO_S3 OUT_S1 OUT_S2 OUT_S3 "
    "LORA_MODULES_TO_SAVE MAX_EVAL_SAMPLES MAX_TRAIN_SAMPLES_S1 MAX_TRAIN_SAMPLES_S2 MAX_TRAIN_SAMPLES_S3 M_START "
    "M_END PAD_TOKEN SMPLX_MODEL_DIR KIT_DATA_PATH".split()
)
"""Names of the ancestors that are accepted, though no flag here stands for them; scripts say so."""

_FIELDS = {c.__name__: {f.name for f in dataclasses.fields(c)} for c in CONFIGS}
_SETTINGS = frozenset().union(*_FIELDS.values())


@dataclass
class ConfigFile:
    """What a `--config` file says."""

    path: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of configs, for every stage."""
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields of configs for one stage, by its number or name as the file writes it."""
    flags: dict[str, Any] = field(default_factory=dict)
    """Entries outside of a config's own object, by our name. A script takes those that it has as a plain flag."""
    written: dict[str, str] = field(default_factory=dict)
    """Our name -> the ancestor's name in the file, if it is one."""
    no_effect: tuple[str, ...] = ()

    def layers(self) -> list[tuple[str, dict[str, Any]]]:
        """(origin, settings) for `parser.resolve_config`, weakest first; without those of single stages."""
        return [(f"--config {self.path}", self.settings)]


def read_config_file(path: str | None) -> ConfigFile:
    """Read a `--config` file; an empty one for None. A flat value wins over one in an object before it.

    Raises ValueError for a name that neither a config nor a script has, with the closest known one: a typing error
    would silently have no effect.
    """
    if path is None:
        return ConfigFile()
    content = read_json(path)
    is_run = any(isinstance(content.get(name), dict) for name in _FIELDS)
    found = ConfigFile(str(path))
    unknown = set()
    for key, value in content.items():
        name = _our_name(key)
        stage = _stage_of(key)
        if name in _FIELDS and isinstance(value, dict):
            found.settings |= value
            unknown |= {f"{name}.{inner}" for inner in set(value) - _FIELDS[name]}
        elif (is_run and name in BESIDE_CONFIGS) or key in ANCESTOR_FOLDERS:
            continue
        elif stage is not None and isinstance(value, dict):
            inside = {_our_name(inner): inner for inner in value}
            found.stages.setdefault(stage, {}).update({ours: value[inner] for ours, inner in inside.items()})
            unknown |= {f"{key}.{inner}" for ours, inner in inside.items() if ours not in _SETTINGS}
        elif key in ANCESTOR_NAMES and "." in name:
            stage, _, setting = name.removeprefix("stage").partition(".")
            found.stages.setdefault(stage, {})[setting] = value
        elif name in _SETTINGS or name in FLAGS:
            found.flags[name] = value
            if name in _SETTINGS:
                found.settings[name] = value
            if key in ANCESTOR_NAMES:
                found.written[name] = key
        elif key in NO_EFFECT:
            found.no_effect += (key,)
        else:
            unknown.add(name)
    if unknown:
        named = ", ".join(name + _closest(name) for name in sorted(unknown))
        raise ValueError(f"--config {path}: no setting is called {named}; names are those of the flags")
    for key, (name, inside) in ANCESTOR_FOLDERS.items():
        if not isinstance(content.get(key, ""), str):
            raise ValueError(f"--config {path}: {key} must be a text, got {content[key]!r:.60}")
        if key in content and name not in found.flags:
            found.flags[name] = str(Path(content[key]) / inside)
            found.written[name] = key
    return found


def _our_name(key: str) -> str:
    """The name of a setting in our spelling; `stage1.epochs` for one stage."""
    return ANCESTOR_NAMES.get(key, key.removeprefix("--").replace("-", "_"))  # written as the flag is fine too


def _stage_of(key: str) -> str | None:
    """The stage that an object of settings is for: "1" of "stage1", "stage 1" or "1", else its name; or None."""
    if number := re.fullmatch(r"(?:stage[ _-]?)?(\d+)", key):
        return number[1]
    return key.replace("_", "-") if key.replace("-", "_") in STAGE_NAMES else None


def _closest(name: str) -> str:
    """A remark with the known name that is spelt most like `name`, or nothing if none is similar."""
    name = name.rpartition(".")[2]
    known = {known.lower(): known for known in (*ANCESTOR_NAMES, *sorted(_SETTINGS | FLAGS))}
    match = difflib.get_close_matches(name.lower(), known, 1, 0.7)
    if not match:
        return ""
    ours = ANCESTOR_NAMES.get(known[match[0]])
    return f" (closest: {known[match[0]]}{f', which is {ours}' if ours else ''})"
