"""Training the motion tokenizer (a VQ-VAE) on a dataset folder, and writing the dataset in its codes.

`train_motion_tokenizer` serves `scripts/train_vqvae.py` and the tokenizer stage of a recipe. `tokenise_dataset` serves
`scripts/tokenize_motions.py` and `scripts/finetune.py --stage all`.

It reads no flag: configs come in ready. A full evaluation of a tokenizer is in `motiongpt/evaluation/`; here is only
what validation needs to choose the best one.
"""

import collections
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from motiongpt.config import TrainConfig, VQVAEConfig
from motiongpt.data.batches import WindowBatches, pad_motions
from motiongpt.data.edits import Edit, read_edits, split_of_edits
from motiongpt.data.motions import SPLITS, MotionDataset
from motiongpt.data.texts import Caption
from motiongpt.data.tokens import MAX_CAPTION, Entry, meta_path, read_tokens_meta, save_tokens
from motiongpt.files.fields import get_field
from motiongpt.files.folders import check_training_folder
from motiongpt.files.store import read_json
from motiongpt.loops import Result, train
from motiongpt.metrics.joints import mpjpe
from motiongpt.metrics.tokens import code_counts, perplexity
from motiongpt.motion_tokenizer import MotionTokenizer, check_same_motion
from motiongpt.stages.dry_run import try_one_batch
from motiongpt.stages.joint_loss import EXTRA_PARTS, joint_loss
from motiongpt.stages.run_folder import clear_stage
from motiongpt.training.devices import seeded
from motiongpt.training.schedule import total_steps
from motiongpt.training.watch import Watcher
from motiongpt.training.world import ALONE, World, this_world
from motiongpt.vqvae import LOSS_PARTS, VQVAE

PARTS = (*LOSS_PARTS, *EXTRA_PARTS)
VALIDATION_BATCH = 32  # clips of similar length
CLIPS_AT_ONCE = 512  # in memory while a dataset is coded: 100 MB of HumanML3D's longest
WINDOW = 16 * CLIPS_AT_ONCE  # clips, captions and codes of which are in memory while shards are written

Codes = dict[tuple[str, float, float], list[int]]
"""(clip, start, end) in seconds -> the codes of that piece; 0 and 0 are the whole clip."""


def data_fields(data: MotionDataset) -> dict[str, float]:
    """The fields of VQVAEConfig that a dataset decides: two widths, and a bias of 1 for features that have none."""
    widths = {"feature_dim": data.feature_dim, "joint_dim": data.representation.joint_dim}
    return widths | ({} if data.representation.biased else {"feature_bias": 1.0})


def train_motion_tokenizer(
    data: MotionDataset,
    model_config: VQVAEConfig,
    config: TrainConfig,
    out: Path,
    *,
    device: torch.device,
    precision: str,
    fresh: bool = False,
    clears: tuple[Path, ...] = (),
    dry_run: bool = False,
    start: MotionTokenizer | None = None,
    sampler: Callable[[MotionTokenizer, Mapping[str, np.ndarray], Path], Callable[[int], Path]] | None = None,
    watchers: Sequence[Watcher] = (),
    world: World = ALONE,
    say: Callable[[str], None] = print,
) -> Result:
    """Train a VQ-VAE on the train split, into `out`. Each process of `world` has its rows of every batch.

    An unfinished training in `out` is resumed; `fresh` starts over, and also empties `clears`, folders of stages that
    learnt the codes of the former tokenizer.

    With `dry_run` one batch is run, and nothing is written or removed.

    With `start` it begins with the weights and the statistics of that tokenizer, instead of random ones and the data's.

    `out` gets config.json, model.safetensors, Mean.npy and Std.npy of the best validation loss so far.

    `sampler` is given the tokenizer, the validation clips (F, D) and `out`, and returns what `train` calls as `sample`;
    `watchers` are those of `train`.

    Raises:
        ValueError: gradients are accumulated, the window is shorter than a code, a batch has fewer rows than there are
            processes, `start` has another shape or other features, there is no validation clip, a clip is in two
            splits, the data's mean and deviation are another network's, or `out` is a dataset.
        BlockingIOError: another process trains in `out`.
        FileExistsError: `out` holds a tokenizer without a state to resume, and `fresh` was not given.
    """
    # what can be wrong
    if config.grad_accum != 1:  # the codebook learns from every forward pass: several are not one large batch
        raise ValueError(f"the VQ-VAE cannot accumulate gradients: --grad-accum must be 1, got {config.grad_accum}")
    unit = model_config.frames_per_code
    if config.window < unit:
        raise ValueError(f"--window must be at least {unit} frames, one code; got {config.window}")
    if config.batch_size < world.size:
        raise ValueError(f"--batch-size {config.batch_size} has no row for each of {world.size} processes; start fewer")
    check_training_folder(out, "a tokenizer", fresh)
    clips, val = _load_clips(data, unit, say)
    data.normalizer.check_pair(data.representation, 1.0, data.folder / "Std.npy")
    if fresh and not dry_run:
        world.from_first(lambda: [clear_stage(stale) for stale in (out, *clears)])

    # model and batches
    with seeded(config.seed):
        model = VQVAE(model_config)
    normalizer = data.normalizer.with_feature_bias(model_config.feature_bias, data.representation)
    if start is not None:
        check_same_motion(start, data, "tokenizer of --from")
        start.copy_weights(model)
        normalizer = start.normalizer
    model.to(device)
    motion_tokenizer = MotionTokenizer(model, normalizer, data.skeleton, data.fps, data.representation)
    extra = joint_loss(model_config, normalizer, data.representation)
    count = len(clips)
    # clips leave memory as they are normalised: one copy of the data, not two
    normalised = {name: normalizer.normalise(clips.pop(name)) for name in list(clips)}
    # one that is listed several times in train.txt is drawn that often
    training = [normalised[name] for name in data.ids("train") if name in normalised]
    rows = world.part(config.batch_size)
    batches = WindowBatches(training, config.window, config.batch_size, config.seed, unit, rows)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    say(f"VQ-VAE {size:.1f} M parameters, {count} training and {len(val)} validation clips of {data.folder}")
    if model_config.quantizer == "fsq":
        say(f"fsq levels {model_config.fsq_levels}: {model_config.codes} codes")
    say(f"{total_steps(config, batches.per_epoch)} steps on {device}, {precision}")

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        total, _, parts = model.loss(batch["motion"], batch["lengths"], extra)
        return total, {name: parts[name] for name in (*PARTS, *model.quantizer.stats) if name in parts}

    def validate() -> dict[str, float]:
        sums = collections.Counter()
        clips = []  # this process's
        motions = sorted(val.values(), key=len)  # batches of similar length
        for i, own in world.turns(-(-len(motions) // VALIDATION_BATCH)):
            if not own:
                continue
            batch = motions[i * VALIDATION_BATCH : (i + 1) * VALIDATION_BATCH]
            clips += batch
            motion, lengths = pad_motions([normalizer.normalise(clip) for clip in batch])  # (B, F, D), (B,)
            motion = torch.nn.functional.pad(motion, (0, 0, 0, -motion.shape[1] % unit))  # to whole codes
            value, frames, parts = model.loss(motion.to(device), lengths.to(device), extra)
            sums.update({"frames": int(frames), "loss": float(value)})
            sums.update({name: float(parts[name]) * int(frames) for name in PARTS if name in parts})
        sums = world.merge(sums)
        frames = sums.pop("frames")
        means = {name: value / frames for name, value in sums.items()}
        # errors are measured in fp32, whatever the precision of the training
        with torch.autocast(device.type, enabled=False):
            return means | reconstruction_errors(motion_tokenizer, clips, world)

    if dry_run:
        here = {"device": device, "precision": precision, "fresh": fresh, "say": say, "world": world, "by_rows": True}
        return try_one_batch(model, batches, loss, config, out, **here)
    return train(
        model,
        batches,
        loss,
        config,
        out,
        device=device,
        precision=precision,
        validate=validate,
        sample=sampler(motion_tokenizer, val, out) if sampler is not None and config.sample_every else None,
        export=motion_tokenizer.save,
        fingerprint={"model": model_config.run_identity(), "data": data.hash(), **config.run_identity()}
        | ({} if start is None else {"start": start.hash}),
        unit="frames",
        watchers=watchers,
        world=world,
        by_rows=True,
    )


def _load_clips(
    data: MotionDataset, unit: int, say: Callable[[str], None]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training clips, and validation clips of at least `unit` frames; `say` gets a line per clip that is dropped.

    Raises ValueError for a clip in two splits, or if no validation clip is left.
    """
    data.check_apart()
    training, dropped = data.load_split("train")
    validation, dropped_val = data.load_split("val")
    for clip, reason in (dropped | dropped_val).items():
        say(f"dropped {clip}: {reason}")
    validation = {clip: motion for clip, motion in validation.items() if len(motion) >= unit}
    if not validation:
        raise ValueError(f"{data.folder}/val.txt has no usable clip: a tokenizer is chosen on validation")
    return training, validation


def tokenise_dataset(
    data: MotionDataset,
    motion_tokenizer: MotionTokenizer,
    out: Path,
    form: str = "json",
    say: Callable[[str], None] = print,
) -> None:
    """Write `out`, one entry per caption of every split and per sentence of edits.json, and its meta.json.

    A caption of part of a clip gets the codes of that part, an edit those of its two whole clips. A residual tokenizer
    gives the codes of its first layer. `form` is json, npy or shards, see `save_tokens`; npy leaves the edits out, and
    shards are written as clips are coded, so that the data set need not fit into memory.

    Of several processes each codes its share of the clips, and the first writes.

    Raises ValueError if tokenizer and data have different skeletons, representations or frame rates, if edits.json is
    wrong, or if no clip is long enough; FileExistsError if a folder is in the way.
    """
    check_same_motion(motion_tokenizer, data)
    edits = read_edits(data.folder)
    if edits and form == "npy":
        say(f"{len(edits)} edits are left out: a folder of code arrays has no place for them")
        edits = []
    dropped = collections.Counter()  # reason -> how many
    used: set[int] = set()  # codes
    count = 0

    def counted() -> Iterator[Entry]:
        nonlocal count
        captioned = False
        window = WINDOW if form == "shards" else None
        for entry in _token_entries(data, motion_tokenizer, edits, dropped, window):
            captioned = captioned or not entry.source
            used.update(entry.codes)
            count += 1
            yield entry
        if not captioned:
            least = motion_tokenizer.config.frames_per_code
            raise ValueError(f"{data.folder} has no captioned clip of at least {least} frames")

    meta = {
        "vqvae": motion_tokenizer.hash,
        "codes": motion_tokenizer.config.codes,
        "fps": motion_tokenizer.fps,
        "frames_per_code": motion_tokenizer.config.frames_per_code,
        "skeleton": motion_tokenizer.skeleton.name,
        "representation": data.representation.name,
        "data": data.hash(),
    }
    licence = get_field(data.info, "licence", str, data.folder / "dataset.json", "")
    meta |= {"licence": licence} if licence else {}  # a model card says it
    styles = get_field(data.info, "styles", dict, data.folder / "dataset.json", {})
    meta |= {"styles": styles} if styles else {}  # --info says how each participant moves
    world = this_world()
    if world.is_first:
        save_tokens(out, counted(), meta, form)
    else:  # code clips for the first one, which waits for them
        collections.deque(counted(), maxlen=0)
    world.wait()
    for reason, times in dropped.items():
        if times:
            say(f"dropped {times}: {reason}")
    say(f"wrote {out}: {count} entries, {len(used)} of {motion_tokenizer.config.codes} codes in use")


def _token_entries(
    data: MotionDataset,
    motion_tokenizer: MotionTokenizer,
    edits: Sequence[Edit],
    dropped: collections.Counter,
    window: int | None,
) -> Iterator[Entry]:
    """The entries of all splits: of each its clips in their order, then its edits. `dropped` counts what is left out.

    With `window` only so many clips are in memory as captions and codes; a clip that the split lists again, further
    on, is coded again.
    """
    people = data.folder / "participants.json"
    participant_of = read_json(people) if people.is_file() else {}
    plain_of = data.plain_captions()
    split_of = split_of_edits(data, edits)  # of their clips
    for split in SPLITS:
        if not (data.folder / f"{split}.txt").is_file():
            continue
        listed = data.ids(split)
        step = window or max(1, len(listed))
        codes_of: Codes = {}
        for first in range(0, len(listed), step):
            clips = listed[first : first + step]
            codes_of = {key: codes for key, codes in codes_of.items() if key[0] in split_of}  # edits come at the end
            captions = _code_clips(data, motion_tokenizer, dict.fromkeys(clips), split_of, codes_of, dropped)
            # entries in the split's own order, and as often as it lists a clip
            for clip in clips:
                for caption in captions.get(clip, ()):
                    codes = codes_of[clip, caption.start, caption.end]
                    if not 0 < len(caption.text) <= MAX_CAPTION:
                        dropped[f"caption empty or of more than {MAX_CAPTION} characters"] += 1
                    elif not codes:
                        dropped["shorter than one code"] += 1
                    else:
                        known = "" if caption.end else plain_of.get(clip, "")  # it is about the whole clip
                        yield Entry(caption.text, tuple(codes), participant_of.get(clip), clip, split, plain=known)
        of_split = [edit for edit in edits if split_of[edit.target] == split]
        yield from _edit_entries(of_split, codes_of, participant_of, split, dropped)


def _code_clips(
    data: MotionDataset,
    motion_tokenizer: MotionTokenizer,
    ids: Iterable[str],
    of_edits: Container[str],
    codes_of: Codes,
    dropped: collections.Counter,
) -> dict[str, list[Caption]]:
    """The captions of clips, whose codes go into `codes_of`; of clips of edits the codes of the whole clip too."""
    world = this_world()
    captions = {}
    by_length = sorted(ids, key=data.frames)  # clips of similar length share a batch
    size = max(1, min(CLIPS_AT_ONCE, -(-len(by_length) // world.size)))
    for i, own in world.turns(-(-len(by_length) // size)):
        clips, unusable = data.load(by_length[i * size : (i + 1) * size] if own else [])
        told = {clip: data.captions(clip) for clip in clips}
        # captions of one clip mostly describe the same frames: each piece is encoded once
        pieces = {(clip, c.start, c.end): c.cut(clips[clip], data.fps) for clip in clips for c in told[clip]}
        pieces |= {(clip, 0.0, 0.0): features for clip, features in clips.items() if clip in of_edits}
        coded = dict(zip(pieces, motion_tokenizer.encode(list(pieces.values())), strict=True))
        for all_told, all_coded, lost in world.gather((told, coded, len(unusable))):
            captions |= all_told
            codes_of |= all_coded
            dropped["not finite or malformed"] += lost
    return captions


def _edit_entries(
    edits: Sequence[Edit],
    codes_of: Codes,
    participant_of: dict[str, str],
    split: str,
    dropped: collections.Counter,
) -> Iterator[Entry]:
    """An entry per sentence of the edits of a split. `dropped` counts the others, such as those of a change too small
    for the codebook: they would teach that nothing has to change."""
    for edit in edits:
        source, target = (codes_of.get((clip, 0.0, 0.0)) for clip in (edit.source, edit.target))
        for text in edit.texts:
            if not source or not target:
                dropped["edit of a clip without codes"] += 1
            elif source == target:
                dropped["edit that the codes do not show"] += 1
            elif len(text) > MAX_CAPTION:
                dropped[f"edit of more than {MAX_CAPTION} characters"] += 1
            else:
                person = participant_of.get(edit.target)
                yield Entry(text, tuple(target), person, edit.target, split, tuple(source))


def is_tokenised(out: Path, tokenizer_hash: str, data: MotionDataset) -> bool:
    """Whether `out` already holds this dataset in the tokens of the tokenizer with this hash."""
    if not out.is_file() or not meta_path(out).is_file():
        return False
    try:
        known = read_tokens_meta(out)
    except ValueError:  # a killed run left two files that do not belong together
        return False
    return (known.get("vqvae"), known.get("data")) == (tokenizer_hash, data.hash())


def reconstruction_errors(
    motion_tokenizer: MotionTokenizer, clips: Sequence[np.ndarray], world: World = ALONE
) -> dict[str, float]:
    """How far decode(encode(clip)) is from the clip, over all coded frames, and how many codes are in use.

    The errors are MPJPE in mm, root-aligned and global; every frame counts once, as in the field's code. For features
    that are no joints (SMPL-X) it is the root mean square error of the normalised features.

    A residual tokenizer decodes all its layers, as in training. Codes in use and their perplexity are those of the
    first layer, which a language model learns.

    Args:
        clips: (F, D) features each, not normalised; each process of `world` has some, and gets what all give.
    """
    codes = motion_tokenizer.encode_all(clips)
    has_joints = motion_tokenizer.representation.has_joints
    sums = collections.Counter()  # over frames
    for clip, decoded in zip(clips, motion_tokenizer.decode_features(codes), strict=True):
        target = torch.as_tensor(clip[: len(decoded)])
        sums["frames"] += len(decoded)
        if has_joints:
            joints = motion_tokenizer.joints(decoded)  # (F, J, 3)
            true_joints = motion_tokenizer.joints(target)
            sums["mpjpe_mm"] += 1000 * float(mpjpe(joints, true_joints).sum())
            sums["global_mpjpe_mm"] += 1000 * float(mpjpe(joints, true_joints, root=None).sum())
        else:
            error = motion_tokenizer.normalizer.normalise(decoded) - motion_tokenizer.normalizer.normalise(target)
            sums["feature_rmse"] += float(error.square().mean(-1).sum())
    used = [row[:, 0] for row in codes] or [torch.zeros(0, dtype=torch.int64)]
    counts = sum(world.gather(code_counts(torch.cat(used), motion_tokenizer.config.codes)))
    sums = world.merge(sums)
    frames = max(1, sums.pop("frames"))
    errors = {name: value / frames for name, value in sums.items()}
    if not has_joints:
        errors["feature_rmse"] **= 0.5
    return errors | {"active_codes": int((counts > 0).sum()), "perplexity": float(perplexity(counts))}
