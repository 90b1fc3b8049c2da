"""What a language-model stage is asked to do, and everything on disk that it depends on, read once.

`scripts/finetune.py` fills a `Job`. `read_plan` reads the run folder, the backbone and the data, refuses what does not
fit together, and returns a frozen `Plan`. Nothing in it is read a second time: `language.py` makes the model, the
batches and the fingerprint from the plan.

It opens no weights of a language model and writes nothing.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig
from motiongpt.data.motions import SPLITS
from motiongpt.data.selection import of_split, participants_of
from motiongpt.data.token_formats import is_token_folder
from motiongpt.data.tokens import (
    Entry,
    codebook_size,
    dedup,
    load_tokens,
    meta_path,
    rank,
    read_tokens_meta,
    tokens_hash,
)
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json
from motiongpt.motion_tokenizer import MotionTokenizer, own_folder
from motiongpt.stages.origin import Origin, read_origin
from motiongpt.stages.recipes import RECIPES, first_language_stage
from motiongpt.stages.run_folder import (
    RunConfig,
    backbone_tokenizer,
    check_place,
    check_recipe,
    check_tokenizer_saved,
    finished_stages,
    has_weights,
    path_from_here,
    relative_backbone,
    stage_folder,
)
from motiongpt.tasks.templates import Templates
from motiongpt.text_tokenizer import TextTokenizer
from motiongpt.weights.shards import weights_hash
from motiongpt.weights.wrong_folders import find_backbone

MAX_VALIDATION_ENTRIES = 512  # drawn by a hash with the run's seed


@dataclass(frozen=True)
class Job:
    """Everything a user can say about one stage."""

    number: int
    name: str
    tasks: dict[str, float]
    recipe: str
    out: Path  # the run folder
    train_mode: str
    data: Path
    backbone: str  # folder, repo id or preset
    vqvae: Path | None
    foreign: dict  # keywords of `MotionTokenizer.load`, for a `vqvae` that is the file of another project
    source: Path | None  # the stage folder of --from
    codes: int | None
    dedup: bool
    think: str
    fresh: bool
    resume: bool
    config: TrainConfig
    lora: LoRAConfig
    templates: Templates = Templates()
    clears: tuple[Path, ...] = ()  # folders of later stages that `fresh` empties too
    validation: int | None = None  # how many entries validation looks at; None: MAX_VALIDATION_ENTRIES
    debug: bool = False  # a few steps to see that it runs; meta.json says so
    dry_run: bool = False  # everything is read and checked, nothing written or removed


@dataclass(frozen=True)
class Plan:
    """A job and what was found on disk for it."""

    job: Job
    folder: Path  # of the stage
    finished: dict[int, dict]  # number -> meta.json of the run's finished stages
    backbone: Path | None  # None: a preset, its weights are drawn at random
    source: Path | None  # folder of the weights to start from: the backbone, the stage before, or --from
    warning: str | None  # the stage before is missing
    entries: Sequence[Entry]
    training: Sequence[Entry]
    held_out: list[Entry]  # those that validation looks at
    codes: int
    data_hash: str
    run_config: RunConfig
    vqvae_hash: str | None  # of the tokenizer that wrote the codes, if the data says so
    licence: str  # of the data, if it says so
    styles: dict[str, str]  # participant -> how they move, in words, if the data says so
    motion_tokenizer: Path | MotionTokenizer | None  # for the run to keep; None: it keeps the one it has
    text_tokenizer: TextTokenizer | None  # the backbone's; None: it is still to be learnt

    @property
    def data_identity(self) -> dict:
        """What meta.json says about the data that the stage was trained on."""
        sizes = {split: len(of_split(self.entries, split)) for split in SPLITS}
        licence = {"licence": self.licence} if self.licence else {}
        return {"file": self.job.data.name, "hash": self.data_hash, **sizes, **licence}


def read_plan(job: Job, say: Callable[[str], None]) -> Plan:
    """Read and check everything but weights; `say` gets lines for people, first what is trained and from where.

    Raises:
        FileNotFoundError, ValueError: the data, backbone, codes, tokenizer or run folder do not fit; one line.
        FileExistsError: the stage is already finished and --fresh was not given.
    """
    # the run folder, and the weights to start from
    folder = stage_folder(job.out, job.number)
    finished = _finished_stages(job, folder)
    backbone = None if job.backbone in LLM_PRESETS else find_backbone(job.backbone)
    origin = None if job.source is None else read_origin(job.source)
    source, start, warning = _source(job, backbone, finished)
    shares = ", ".join(f"{task} {100 * share / sum(job.tasks.values()):.0f}" for task, share in job.tasks.items())
    stages = max(job.number, len(RECIPES[job.recipe]))  # a stage of rewards comes after the last
    say(f"recipe {job.recipe}, stage {job.number} of {stages}: {job.name} ({shares} %), from {start}")

    # the data, and whether its codes mean what the run's codes mean
    entries = _entries(job, say)
    meta = read_tokens_meta(job.data)
    first, owner = _first_config(job, origin)
    motion_tokenizer = _motion_tokenizer(job, meta, origin)
    given, giver = job.codes, "--codes"
    if given is None and "codes" not in meta:  # data that does not say it has the codes of the run, or of its tokenizer
        given, giver = (first.codes, owner) if first is not None else _tokenizer_codes(job, motion_tokenizer)
    codes, teller = codebook_size(entries, job.data, given, giver, meta)
    say(f"{job.data}: {len(entries)} entries, codebook of {codes} ({teller})")
    if origin is not None:
        _check_codes(job, origin, codes, meta)
    run_config = _run_config(job, backbone, entries, codes, meta, first, owner)
    training, held_out = _split(job, entries)

    return Plan(
        job=job,
        folder=folder,
        finished=finished,
        backbone=backbone,
        source=source,
        warning=warning,
        entries=entries,
        training=training,
        held_out=held_out,
        codes=codes,
        data_hash=tokens_hash(job.data, entries),
        run_config=run_config,
        vqvae_hash=meta.get("vqvae"),
        licence=get_field(meta, "licence", str, meta_path(job.data), ""),
        styles=get_field(meta, "styles", dict, meta_path(job.data), {}),
        motion_tokenizer=motion_tokenizer,
        text_tokenizer=None if backbone is None else backbone_tokenizer(backbone),
    )


def _finished_stages(job: Job, folder: Path) -> dict[int, dict]:
    """The run's finished stages; refuses to overwrite one silently and to mix in anything of another recipe."""
    check_recipe(job.out, job.recipe)
    check_place(job.out)
    finished = finished_stages(job.out)
    if job.number in finished and not job.fresh:
        raise FileExistsError(f"{folder} is finished; --fresh trains it again, --out starts another run")
    if job.resume and not (folder / "state").is_dir():
        raise FileNotFoundError(f"--resume: {folder} has nothing unfinished; drop the flag to start")
    return finished


def _source(job: Job, backbone: Path | None, finished: dict[int, dict]) -> tuple[Path | None, str, str | None]:
    """Folder of the weights to start from (None: drawn at random), the same in words, and a warning or None.

    ValueError if the stage before was stopped: its time was up, say, and the next command was written beside it.
    """
    if backbone is None:
        return None, f"random weights (preset {job.backbone})", None
    if job.source is not None:
        return job.source, str(job.source), None
    start = f"backbone {job.backbone}"
    if job.number == first_language_stage(job.recipe):
        return backbone, start, None
    before = stage_folder(job.out, job.number - 1)
    if job.number - 1 in finished:
        unlearnt = finished[job.number - 1].get("debug") and not job.debug
        advice = f"--stage {job.number - 1} --fresh trains it in full"
        return before, str(before), f"warning: {before} is of a --debug run; {advice}" if unlearnt else None
    if (before / "state").is_dir():
        raise ValueError(
            f"{before} is not finished, and this stage would start without it: repeat the command of stage "
            f"{job.number - 1}, or name where to start with --from"
        )
    fault = f"{before} is not finished" if before.is_dir() else f"there is no {before}"
    return backbone, start, f"warning: {fault}; this stage starts from the backbone without it"


def _entries(job: Job, say: Callable[[str], None]) -> Sequence[Entry]:
    """The token dataset of --data, without repeated captions if --dedup asks for that."""
    if job.data.is_dir() and not is_token_folder(job.data):
        raise ValueError(
            f"--data {job.data} is a folder: this stage reads a JSON file of tokens, or a folder of codes or shards, "
            "such as scripts/tokenize_motions.py writes; to train a tokenizer and all stages on a dataset folder: "
            f"scripts/finetune.py --recipe {job.recipe} --stage all --data {job.data}"
        )
    entries = load_tokens(job.data, job.config.seed, say)
    if not job.dedup:
        return entries
    kept = dedup(entries)
    say(f"--dedup keeps {len(kept)} of {len(entries)} entries")
    return kept


def _split(job: Job, entries: Sequence[Entry]) -> tuple[Sequence[Entry], list[Entry]]:
    """Training entries, and a fair sample of the validation entries."""
    training = of_split(entries, "train")
    most = job.validation or MAX_VALIDATION_ENTRIES
    held_out = heapq.nsmallest(most, of_split(entries, "val"), key=lambda entry: rank(entry, job.config.seed))
    if not training or not held_out:
        raise ValueError(f"{job.data} needs train and val entries, has {len(training)} and {len(held_out)}")
    return training, held_out


def _first_config(job: Job, origin: Origin | None) -> tuple[RunConfig | None, str]:
    """The config whose words this stage must keep, and whose: the run's own if it has other stages, else --from's."""
    others = [folder for folder in job.out.glob("stage*") if folder != stage_folder(job.out, job.number)]
    if any(has_weights(folder) for folder in others):
        return RunConfig.read(job.out), str(job.out)
    return (None, "") if origin is None else (origin.config, str(job.source))


def _check_codes(job: Job, origin: Origin, codes: int, meta: dict) -> None:
    """ValueError, saying what to do, if the stage of --from learnt the codes of another tokenizer than the data's."""
    if origin.config is None:
        return
    why = f"a codebook of {codes}, and --from {job.source} learnt one of {origin.config.codes}"
    if codes == origin.config.codes:
        if origin.vqvae is None or "vqvae" not in meta:
            return
        learnt = file_hash(origin.vqvae / "model.safetensors")
        why = f"the codes of tokenizer {meta['vqvae']}, and --from {job.source} learnt those of {learnt}"
        if meta["vqvae"] == learnt:
            return
        if job.vqvae is not None:  # the same tokenizer in another precision, or with a decoder trained further
            given = MotionTokenizer.load(job.vqvae, **job.foreign)
            if given.hash == meta["vqvae"] and given.has_codes_of(MotionTokenizer.load(origin.vqvae)):
                return
    place = f" --vqvae {origin.vqvae}" if origin.vqvae else ""
    raise ValueError(
        f"{job.data} has {why}: write it in those (scripts/tokenize_motions.py --data DATASET{place}), "
        f"or start from the backbone instead (--backbone {origin.backbone}, no --from)"
    )


def _run_config(
    job: Job,
    backbone: Path | None,
    entries: Sequence[Entry],
    codes: int,
    meta: dict,
    first: RunConfig | None,
    owner: str,
) -> RunConfig:
    """The run's config.json: this stage's, but with the words of `first` if there is one.

    Raises ValueError if the two disagree: rows of new words would be read under other names.
    """
    kinds = {"fps": float, "frames_per_code": int}
    timing = {} if first is None else {"fps": first.fps, "frames_per_code": first.frames_per_code}
    timing |= {key: get_field(meta, key, kind, meta_path(job.data)) for key, kind in kinds.items() if key in meta}
    participants = tuple(sorted(participants_of(entries)))
    own = RunConfig(
        job.recipe,
        relative_backbone(job.backbone, job.out),
        codes,
        participants,
        job.think,
        fold_captions=_folds_captions(job),
        **timing,
    )
    if first is None:
        return own
    # a stage of another run names the same backbone by another path; its hash is compared when it is loaded
    for name in ("backbone", "codes", "think") if owner == str(job.out) else ("codes", "think"):
        given, known = getattr(own, name), getattr(first, name)
        if given != known:
            if name == "backbone" and backbone is not None and weights_hash(backbone) == first.base_hash:
                continue  # the same weights in another place: they or the run have moved
            if name == "backbone":
                given, known = (path_from_here(place, job.out) for place in (given, known))
            raise ValueError(f"{owner} was begun with --{name} {known}, got {given}; another one needs another --out")
    strangers = sorted(set(own.participants) - set(first.participants))
    if strangers:
        known = ", ".join(first.participants) or "none"
        raise ValueError(
            f"{owner} knows participants {known}; {job.data} has {', '.join(strangers[:8])} too: take participant_id "
            "out of those entries, or start from a backbone in another --out"
        )
    return replace(own, participants=first.participants, base_hash=first.base_hash)


def _folds_captions(job: Job) -> bool:
    """As the run in --out was begun: older ones read captions as they are written. A new run folds them."""
    cleared = stage_folder(job.out, job.number) if job.fresh else None
    folders = [folder for folder in job.out.glob("stage*") if folder != cleared]
    begun = any(has_weights(folder) or (folder / "state").is_dir() for folder in folders)
    if not begun:
        return True
    if (job.out / "config.json").is_file():
        return RunConfig.read(job.out).fold_captions
    # stopped before its first export: only the state tells how captions were read so far
    state = stage_folder(job.out, job.number) / "state" / "last" / "state.json"
    known = get_field(read_json(state), "fingerprint", dict, state) if state.is_file() else {"fold_captions": True}
    return known.get("fold_captions", False)


def _tokenizer_codes(job: Job, motion_tokenizer: Path | MotionTokenizer | None) -> tuple[int | None, str]:
    """How many codes the run's tokenizer has, of which the data may use fewer, and who says so; None without one."""
    own = job.out / "vqvae"
    if motion_tokenizer is None and (own / "model.safetensors").is_file():
        motion_tokenizer = own
    if motion_tokenizer is None:
        return None, ""
    if isinstance(motion_tokenizer, Path):
        motion_tokenizer = MotionTokenizer.load(motion_tokenizer)
    return motion_tokenizer.config.codes, str(motion_tokenizer.source or "--vqvae")


def _motion_tokenizer(job: Job, meta: dict, origin: Origin | None) -> Path | MotionTokenizer | None:
    """The tokenizer for the run: a folder to copy, or the loaded file of another project; None: it keeps its own.

    A run that has none gets that of --from.

    Raises ValueError if it is not the one that wrote the codes, whose hash `meta` may hold, or FileNotFoundError.
    """
    own = job.out / "vqvae"
    trained_here = (own / "metrics.jsonl").is_file()  # by a tokenizer stage
    check_tokenizer_saved(job.out)
    if job.vqvae is None:
        file = own / "model.safetensors"
        if "vqvae" in meta and file.is_file() and file_hash(file) != meta["vqvae"]:
            raise ValueError(
                f"{job.out} was made with another tokenizer than {job.data}; give --vqvae or another --out"
            )
        return origin.vqvae if origin is not None and not file.is_file() else None
    try:
        given = MotionTokenizer.load(job.vqvae, **job.foreign)
        kept = given if job.vqvae.is_file() else own_folder(job.vqvae)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--vqvae {error}") from error
    if "vqvae" in meta and given.hash != meta["vqvae"]:
        raise ValueError(f"--vqvae {job.vqvae} is not the tokenizer that wrote {job.data} ({meta_path(job.data).name})")
    if trained_here and file_hash(own / "model.safetensors") != given.hash:
        raise ValueError(f"{own} was trained in this run and {job.data} is in other tokens; give --data of its tokens")
    return kept
