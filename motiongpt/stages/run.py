"""A run folder: where a stage starts from, what it saves, and how sampling finds it again.

    RUN/config.json      RunConfig (backbone, codes, participants, ...) and the last stage's other configs
        prompts.json     per caption its lengths and codes, from the training split
        tokenizer.json   the backbone's tokenizer, so that a run trained in full needs no backbone to sample
        vqvae/           the motion tokenizer, if there is one
        stage1/ ...      adapter_model.safetensors + adapter_config.json (PEFT's layout), or, trained in full,
                         model.safetensors + config.json (Hugging Face's); tokenizer files with the new words; meta.json

Stage N goes on from stage N - 1: from its adapter on the same base, or from its full weights. An adapter remembers a
hash of the weights it was trained on and is not put on others. Fields that older runs lack are optional.
It builds and saves models; it neither trains (`loops.py`) nor samples (`sampling.py`).
"""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from motiongpt.config import LLM_PRESETS, JSONConfig, LoRAConfig, TrainConfig
from motiongpt.data.tokens import Entry, Prompts, tokens_hash
from motiongpt.files.store import hold, read_json, write_json
from motiongpt.llm import LLM
from motiongpt.lora import inject, lora_layers, merge
from motiongpt.tasks.render import Renderer
from motiongpt.vocab import MotionVocab, TextTokenizer, load_tokenizer, train_tokenizer
from motiongpt.weights.llm import (
    load_adapter,
    load_llm,
    resolve_backbone,
    save_adapter,
    save_llm,
    weights_hash,
)

TRAIN_MODES = ("lora", "full")
WEIGHTS = {"lora": ("adapter_model.safetensors", "adapter_config.json"), "full": ("model.safetensors", "config.json")}
"""What each mode writes; a stage folder with files of both would be read as the wrong one."""


@dataclass(frozen=True)
class RunConfig(JSONConfig):
    """What all stages of one run share. `backbone` is a repo id, or a path relative to the run folder; `base_hash`
    is `weights_hash` of it, empty in older runs and where a preset's weights were drawn at random."""

    recipe: str
    backbone: str
    codes: int
    participants: tuple[str, ...] = ()
    think: str = "auto"
    fps: float = 20.0
    frames_per_code: int = 4
    base_hash: str = ""

    @classmethod
    def read(cls, run: Path) -> "RunConfig":
        path = run / "config.json"
        if not path.is_file():
            here = ", ".join(sorted(p.name for p in run.iterdir())[:8]) if run.is_dir() else "no such folder"
            raise FileNotFoundError(
                f"{run} is not a run folder: no config.json ({here}); scripts/finetune.py makes one"
            )
        content = read_json(path)
        if "RunConfig" not in content:
            raise ValueError(f"{run} is not a run folder: its config.json is of another kind (no RunConfig)")
        try:
            return cls.from_dict(content["RunConfig"])
        except TypeError as error:
            raise ValueError(f"{path}: RunConfig is incomplete ({error})") from error

    def write(self, run: Path, *others: JSONConfig) -> None:
        values = {type(config).__name__: config.to_dict() for config in (self, *others)}
        write_json(run / "config.json", values)

    def backbone_path(self, run: Path) -> Path:
        """The backbone's folder; a repo id is fetched. FileNotFoundError or ValueError where there is none."""
        return find_base(self.backbone, run)


def relative_path(path: Path, start: Path) -> str:
    """`path` as seen from `start`, with forward slashes; absolute where there is no way (two drives of Windows)."""
    path = path.resolve()
    try:
        return Path(os.path.relpath(path, start.resolve())).as_posix()
    except ValueError:
        return path.as_posix()


def relative_backbone(backbone: Path | str, folder: Path) -> str:
    """How a JSON file in `folder` names a backbone: relative to `folder` where it is one, as it is for a repo id."""
    path = Path(backbone).expanduser()
    return relative_path(path, folder) if path.is_dir() else str(backbone)


def find_base(name: str, folder: Path) -> Path:
    """Inverse of `relative_backbone`; a repo id is fetched."""
    if (folder / name).is_dir():
        return folder / name
    try:
        return resolve_backbone(name)
    except (FileNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"{folder} was trained on {name}, which is not there: {error}; a run moves together with its backbone"
        ) from error


def stage_folder(run: Path, number: int) -> Path:
    return run / f"stage{number}"


def has_weights(folder: Path) -> bool:
    return any((folder / names[0]).is_file() for names in WEIGHTS.values())


def finished_stages(run: Path) -> dict[int, dict]:
    """Number -> meta.json of every stage of a run that reached its end."""
    found = {}
    for path in sorted(run.glob("stage*/meta.json")):
        number = path.parent.name.removeprefix("stage")
        if number.isdigit() and has_weights(path.parent) and (meta := read_json(path)).get("finished"):
            found[int(number)] = meta
    return found


def check_recipe(out: Path, recipe: str) -> None:
    """ValueError where a run folder was begun with another recipe, by a language-model or a tokenizer stage."""
    known = recipe
    if (out / "config.json").is_file():
        known = RunConfig.read(out).recipe
    elif meta := tokenizer_meta(out):
        known = meta["recipe"]
    if known != recipe:
        raise ValueError(f"{out} is a run of recipe {known}; give --recipe {recipe} another --out")


def tokenizer_meta(out: Path) -> dict:
    """What a finished tokenizer stage wrote about itself into the run; empty where none did."""
    path = out / "vqvae" / "meta.json"
    return read_json(path) if path.is_file() else {}


def clear_stage(folder: Path) -> None:
    """Remove what a stage wrote, so that it counts as never trained; pictures stay until they are drawn anew.

    BlockingIOError while another process trains in it.
    """
    if not folder.is_dir():
        return
    with hold(folder, "trained"):
        for name in ("state", "metrics.jsonl", "meta.json", *WEIGHTS["lora"], *WEIGHTS["full"]):
            target = folder / name
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)


def new_backbone(preset: str, captions: list[str], seed: int) -> tuple[LLM, TextTokenizer]:
    """A preset's model with random weights, and a tokenizer of its size learnt from the captions."""
    config = LLM_PRESETS[preset]
    tokenizer = train_tokenizer(captions, config.vocab_size)
    llm = LLM(replace(config, vocab_size=tokenizer.size), torch.Generator().manual_seed(seed))
    return llm, tokenizer


@dataclass
class StageModel:
    """A language model ready for a stage: the weights, their vocabulary, and where they came from."""

    llm: LLM
    tokenizer: TextTokenizer
    vocab: MotionVocab
    base: Path | None  # folder of the weights an adapter sits on; None where they were drawn at random
    mode: str
    lora: LoRAConfig | None
    repo_id: str | None = None  # of the base, where it came from the Hub: its folder is this machine's cache
    base_hash: str | None = None  # of the weights an adapter sits on

    def save(self, folder: Path, meta: dict, dtype: torch.dtype = torch.float32) -> None:
        """Write the stage: weights, tokenizer with the new words, meta.json.

        meta.json names a local base relative to `folder`, adapter_config.json relative to the working directory:
        that is how PEFT reads it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        words = self.vocab.words if self.llm.new_in is not None else ()
        if self.mode == "lora":
            save_adapter(self.llm, folder, self.lora, self.repo_id or relative_path(self.base, Path()))
        else:
            save_llm(self.llm, folder, dtype)
        self.tokenizer.save(folder, words)
        base = None if self.base is None else self.repo_id or relative_backbone(self.base, folder)
        known = {"base_hash": self.base_hash} if self.base_hash else {}
        values = {"train": self.mode, "base": base, **known, "vocab_size": self.llm.vocab_size}
        write_json(folder / "meta.json", meta | values)


def motion_words(vocab: MotionVocab, vqvae: str | None) -> dict:
    """What rows of motion words mean: as many codes, of the tokenizer with this hash, and these participants."""
    return {"vqvae": vqvae, "codes": vocab.codes, "participants": list(vocab.participants)}


def load_weights(
    folder: Path, vocab: MotionVocab, seed: int = 0, dtype: torch.dtype = torch.float32, vqvae: str | None = None
) -> tuple[LLM, LoRAConfig | None, Path]:
    """(model with its new rows, adapter settings or None, folder of the base) of a backbone or stage folder.

    The rows of a backbone are drawn by the seed, unless it has learnt these `motion_words` (its meta.json says so,
    `vqvae` is the hash of this run's tokenizer).

    ValueError where an adapter was trained on other weights than its base holds now, or the words differ.
    """
    if (folder / "adapter_config.json").is_file():
        meta = read_json(folder / "meta.json")
        base = find_base(meta["base"], folder)
        llm, _, _ = load_weights(base, vocab, seed, dtype)  # first: a damaged file is to be called damaged
        if "base_hash" in meta and meta["base_hash"] != weights_hash(base):  # older stages have none
            raise ValueError(
                f"{folder} was trained on other weights than {base} holds now; bring those back, or train it again"
            )
        config = load_adapter(llm, folder)
        return llm, config, base
    llm = load_llm(folder, dtype)
    rows, count = llm.config.vocab_size, len(vocab)
    meta = read_json(folder / "meta.json") if (folder / "meta.json").is_file() else {}
    if "motion_words" in meta:  # a backbone that has learnt motion: in the codes of one tokenizer, noise in all others
        known = meta["motion_words"] == motion_words(vocab, vqvae)
    else:  # a full stage wrote base and new rows as one table
        known = bool(meta) and rows > vocab.first_id
        if known and rows != vocab.first_id + count:
            raise ValueError(
                f"{folder} has {rows - vocab.first_id} motion words, this run {count}: other codes or participants"
            )
    llm.extend(vocab.first_id, count, None if known else torch.Generator().manual_seed(seed), from_base=known)
    return llm, None, folder


def open_stage(
    source: Path, tokenizer: TextTokenizer, run: RunConfig, mode: str, lora: LoRAConfig, seed: int,
    vqvae: str | None = None,
) -> StageModel:  # fmt: skip
    """The model a stage trains, from `source` (a backbone or the folder of the stage before); see `load_weights`.

    Raises ValueError where the adapter in `source` has other settings, or a full stage would start from one.
    """
    if mode not in TRAIN_MODES:
        raise ValueError(f"--train must be one of {', '.join(TRAIN_MODES)}, got {mode!r}")
    vocab = MotionVocab(tokenizer, run.codes, run.participants)
    llm, adapter, base = load_weights(source, vocab, seed, vqvae=vqvae)
    if mode == "full":
        if adapter is not None:
            raise ValueError(
                f"--train full cannot start from the adapter in {source}; use --train lora, or --from a backbone"
            )
        llm.requires_grad_(True)
        return StageModel(llm, tokenizer, vocab, base, mode, None)
    if adapter is None:
        inject(llm, lora, torch.Generator().manual_seed(seed))
    elif (adapter.lora_r, adapter.lora_alpha, set(adapter.lora_targets)) != (
        lora.lora_r,
        lora.lora_alpha,
        set(lora.lora_targets),
    ):
        raise ValueError(
            f"{source} has an adapter of r {adapter.lora_r}, alpha {adapter.lora_alpha}; --lora-r {lora.lora_r} "
            f"--lora-alpha {lora.lora_alpha} would be another one"
        )
    for layer in lora_layers(llm).values():  # dropout is the stage's own choice
        layer.dropout = torch.nn.Dropout(lora.lora_dropout) if lora.lora_dropout else torch.nn.Identity()
    return StageModel(llm, tokenizer, vocab, base, mode, lora, base_hash=weights_hash(base))


@dataclass
class LoadedRun:
    """A finished run, ready to sample from."""

    folder: Path
    stage: int
    meta: dict
    config: RunConfig
    llm: LLM
    vocab: MotionVocab
    renderer: Renderer
    prompts: Prompts


def run_tokenizer(run: Path, config: RunConfig) -> TextTokenizer:
    """The text tokenizer of a run: its own copy, else (older runs) the backbone's."""
    return load_tokenizer(run if (run / "tokenizer.json").is_file() else config.backbone_path(run))


def load_run(
    run: Path,
    stage: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    task: str = "t2m",
) -> LoadedRun:
    """Load a run's stage (default: the highest finished one, of those trained on `task` if any), adapters merged.

    `run` may be a stage folder itself; `dtype` is that of the base weights, new rows stay fp32. Raises
    FileNotFoundError or ValueError saying what was found.
    """
    run = Path(run)
    if run.name.startswith("stage") and (run.parent / "config.json").is_file() and has_weights(run):
        if stage is None and run.name.removeprefix("stage").isdigit():
            stage = int(run.name.removeprefix("stage"))
        run = run.parent
    config = RunConfig.read(run)
    if config.backbone in LLM_PRESETS:
        raise ValueError(f"{run} was trained on captions only and writes no motion; it is a --backbone: {run}/stage1")
    stages = finished_stages(run)
    if not stages:
        raise FileNotFoundError(f"{run} has no finished stage; scripts/finetune.py --out {run} goes on training it")
    able = [number for number, meta in stages.items() if task in meta["tasks"]]
    stage = max(able or stages) if stage is None else stage
    if stage not in stages:
        raise ValueError(f"{run} has no finished stage {stage}; finished: {', '.join(map(str, sorted(stages)))}")
    folder = stage_folder(run, stage)
    vocab = MotionVocab(run_tokenizer(run, config), config.codes, config.participants)
    llm, _, _ = load_weights(folder, vocab, dtype=dtype)
    if lora_layers(llm):
        merge(llm, keep=False)
    prompts = Prompts(read_json(run / "prompts.json"))
    return LoadedRun(
        run, stage, stages[stage], config, llm.to(device).eval(), vocab, Renderer(vocab, config.think), prompts
    )


def split_seed(run: Path) -> int:
    """The seed that split the run's data, where the data set had no splits of its own."""
    values = read_json(run / "config.json").get("TrainConfig") or {}
    return values.get("seed", TrainConfig.seed)


def participants_of(entries: list[Entry]) -> tuple[str, ...]:
    return tuple(sorted({entry.participant for entry in entries if entry.participant}))


def data_identity(path: Path, entries: list[Entry]) -> dict:
    """What meta.json says about the data a stage was trained on."""
    splits = {split: sum(entry.split == split for entry in entries) for split in ("train", "val", "test")}
    return {"file": path.name, "hash": tokens_hash(path, entries), **splits}


def versions() -> dict[str, str]:
    import numpy
    import safetensors

    from motiongpt import __version__

    return {"motiongpt": __version__, "torch": torch.__version__, "numpy": numpy.__version__,
            "safetensors": safetensors.__version__}  # fmt: skip
