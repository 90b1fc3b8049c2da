"""Training the motion tokenizer (a VQ-VAE) on a dataset folder, and writing the dataset in its codes.

`train_motion_tokenizer` serves `scripts/train_vqvae.py` and the tokenizer stage of a recipe. `tokenise_dataset` serves
`scripts/tokenize_motions.py` and `scripts/finetune.py --stage all`.

It reads no flag: configs come in ready. A full evaluation of a tokenizer is in `motiongpt/evaluation/`; here is only
what validation needs to choose the best one.
"""

import collections
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from motiongpt.config import TrainConfig, VQVAEConfig
from motiongpt.data.batches import WindowBatches, pad_motions
from motiongpt.data.edits import Edit, read_edits, split_of_edits
from motiongpt.data.motions import SPLITS, MotionDataset
from motiongpt.data.tokens import MAX_CAPTION, Entry, meta_path, plain_entries, read_tokens_meta, save_tokens
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
from motiongpt.vqvae import LOSS_PARTS, VQVAE

PARTS = (*LOSS_PARTS, *EXTRA_PARTS)
VALIDATION_BATCH = 32  # clips of similar length
CLIPS_AT_ONCE = 512  # in memory while a dataset is coded: 100 MB of HumanML3D's longest


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
    say: Callable[[str], None] = print,
) -> Result:
    """Train a VQ-VAE on the train split, into `out`.

    An unfinished training in `out` is resumed; `fresh` starts over, and also empties `clears`, folders of stages that
    learnt the codes of the former tokenizer.

    With `dry_run` one batch is run, and nothing is written or removed.

    `out` gets config.json, model.safetensors, Mean.npy and Std.npy of the best validation loss so far.

    Raises:
        ValueError: gradients are accumulated, the window is shorter than a code, there is no validation clip, a clip
            is in two splits, the data's mean and deviation are another network's, or `out` is a dataset.
        BlockingIOError: another process trains in `out`.
        FileExistsError: `out` holds a tokenizer without a state to resume, and `fresh` was not given.
    """
    # what can be wrong
    if config.grad_accum != 1:  # the codebook learns from every forward pass: several are not one large batch
        raise ValueError(f"the VQ-VAE cannot accumulate gradients: --grad-accum must be 1, got {config.grad_accum}")
    unit = model_config.frames_per_code
    if config.window < unit:
        raise ValueError(f"--window must be at least {unit} frames, one code; got {config.window}")
    check_training_folder(out, "a tokenizer", fresh)
    clips, val = _load_clips(data, unit, say)
    data.normalizer.check_pair(data.representation, 1.0, data.folder / "Std.npy")
    if fresh and not dry_run:
        for stale in (out, *clears):
            clear_stage(stale)

    # model and batches
    with seeded(config.seed):
        model = VQVAE(model_config)
    model.to(device)
    normalizer = data.normalizer.with_feature_bias(model_config.feature_bias, data.representation)
    motion_tokenizer = MotionTokenizer(model, normalizer, data.skeleton, data.fps, data.representation)
    extra = joint_loss(model_config, normalizer, data.representation)
    count = len(clips)
    # clips leave memory as they are normalised: one copy of the data, not two
    normalised = {name: normalizer.normalise(clips.pop(name)) for name in list(clips)}
    # one that is listed several times in train.txt is drawn that often
    training = [normalised[name] for name in data.ids("train") if name in normalised]
    batches = WindowBatches(training, config.window, config.batch_size, config.seed, unit)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    say(f"VQ-VAE {size:.1f} M parameters, {count} training and {len(val)} validation clips of {data.folder}")
    if model_config.quantizer == "fsq":
        say(f"fsq levels {model_config.fsq_levels}: {model_config.codes} codes")
    say(f"{total_steps(config, batches.per_epoch)} steps on {device}, {precision}")

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        total, _, parts = model.loss(batch["motion"], batch["lengths"], extra)
        return total, {name: parts[name] for name in (*PARTS, *model.quantizer.stats) if name in parts}

    def validate() -> dict[str, float]:
        total = 0.0
        frames = 0
        sums = collections.Counter()
        motions = sorted(val.values(), key=len)  # batches of similar length
        for first in range(0, len(motions), VALIDATION_BATCH):
            batch = [normalizer.normalise(clip) for clip in motions[first : first + VALIDATION_BATCH]]
            motion, lengths = pad_motions(batch)  # (B, F, D), (B,)
            motion = torch.nn.functional.pad(motion, (0, 0, 0, -motion.shape[1] % unit))  # to whole codes
            value, count, parts = model.loss(motion.to(device), lengths.to(device), extra)
            total += float(value)
            frames += int(count)
            sums.update({name: float(parts[name]) * int(count) for name in PARTS if name in parts})
        # errors are measured in fp32, whatever the precision of the training
        with torch.autocast(device.type, enabled=False):
            by_part = {name: value / frames for name, value in sums.items()}
            return {"loss": total / frames} | by_part | reconstruction_errors(motion_tokenizer, motions)

    if dry_run:
        here = {"device": device, "precision": precision, "fresh": fresh, "say": say}
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
        export=motion_tokenizer.save,
        fingerprint={"model": model_config.run_identity(), "data": data.hash(), **config.run_identity()},
        unit="frames",
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
    gives the codes of its first layer. `form` is json or npy, see `save_tokens`; npy leaves the edits out.

    Raises ValueError if tokenizer and data have different skeletons, representations or frame rates, if edits.json is
    wrong, or if no clip is long enough; FileExistsError if a folder is in the way.
    """
    check_same_motion(motion_tokenizer, data)
    people = data.folder / "participants.json"
    participant_of = read_json(people) if people.is_file() else {}
    plain_of = data.plain_captions()
    edits = read_edits(data.folder)
    if edits and form == "npy":
        say(f"{len(edits)} edits are left out: a folder of code arrays has no place for them")
        edits = []
    split_of = split_of_edits(data, edits)  # of their clips
    entries: list[Entry] = []
    dropped = collections.Counter()  # reason -> how many
    for split in SPLITS:
        if not (data.folder / f"{split}.txt").is_file():
            continue
        ids = list(dict.fromkeys(data.ids(split)))
        by_length = sorted(ids, key=data.frames)  # clips of similar length share a batch
        captions = {}  # clip -> its captions
        codes_of = {}  # (clip, start, end) -> codes
        for first in range(0, len(ids), CLIPS_AT_ONCE):
            clips, unusable = data.load(by_length[first : first + CLIPS_AT_ONCE])
            dropped["not finite or malformed"] += len(unusable)
            captions |= {clip: data.captions(clip) for clip in clips}
            # captions of one clip mostly describe the same frames: each piece is encoded once
            pieces = {(clip, c.start, c.end): c.cut(clips[clip], data.fps) for clip in clips for c in captions[clip]}
            pieces |= {(clip, 0.0, 0.0): features for clip, features in clips.items() if clip in split_of}
            codes_of |= zip(pieces, motion_tokenizer.encode(list(pieces.values())), strict=True)
        # entries in the split's own order, and as often as it lists a clip
        for clip in data.ids(split):
            for caption in captions.get(clip, ()):
                codes = codes_of[clip, caption.start, caption.end]
                if not 0 < len(caption.text) <= MAX_CAPTION:
                    dropped[f"caption empty or of more than {MAX_CAPTION} characters"] += 1
                elif not codes:
                    dropped["shorter than one code"] += 1
                else:
                    known = "" if caption.end else plain_of.get(clip, "")  # it is about the whole clip
                    entries.append(
                        Entry(caption.text, tuple(codes), participant_of.get(clip), clip, split, plain=known)
                    )
        of_split = [edit for edit in edits if split_of[edit.target] == split]
        entries += _edit_entries(of_split, codes_of, participant_of, split, dropped)
    if not plain_entries(entries):
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
    save_tokens(out, entries, meta, form)
    for reason, count in dropped.items():
        if count:
            say(f"dropped {count}: {reason}")
    used = len({code for entry in entries for code in entry.codes})
    say(f"wrote {out}: {len(entries)} entries, {used} of {motion_tokenizer.config.codes} codes in use")


def _edit_entries(
    edits: Sequence[Edit],
    codes_of: dict[tuple[str, float, float], list[int]],
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


def reconstruction_errors(motion_tokenizer: MotionTokenizer, clips: Sequence[np.ndarray]) -> dict[str, float]:
    """How far decode(encode(clip)) is from the clip, over all coded frames, and how many codes are in use.

    The errors are MPJPE in mm, root-aligned and global; every frame counts once, as in the field's code. For features
    that are no joints (SMPL-X) it is the root mean square error of the normalised features.

    A residual tokenizer decodes all its layers, as in training. Codes in use and their perplexity are those of the
    first layer, which a language model learns.

    Args:
        clips: (F, D) features each, not normalised.
    """
    codes = motion_tokenizer.encode_all(clips)
    has_joints = motion_tokenizer.representation.has_joints
    aligned = absolute = squares = 0.0  # sums over frames
    frames = 0
    for clip, decoded in zip(clips, motion_tokenizer.decode_features(codes), strict=True):
        target = torch.as_tensor(clip[: len(decoded)])
        frames += len(decoded)
        if has_joints:
            joints = motion_tokenizer.joints(decoded)  # (F, J, 3)
            true_joints = motion_tokenizer.joints(target)
            aligned += float(mpjpe(joints, true_joints).sum())
            absolute += float(mpjpe(joints, true_joints, root=None).sum())
        else:
            error = motion_tokenizer.normalizer.normalise(decoded) - motion_tokenizer.normalizer.normalise(target)
            squares += float(error.square().mean(-1).sum())
    counts = code_counts(torch.cat([row[:, 0] for row in codes]), motion_tokenizer.config.codes)
    frames = max(1, frames)
    if has_joints:
        errors = {"mpjpe_mm": 1000 * aligned / frames, "global_mpjpe_mm": 1000 * absolute / frames}
    else:
        errors = {"feature_rmse": (squares / frames) ** 0.5}
    return errors | {"active_codes": int((counts > 0).sum()), "perplexity": float(perplexity(counts))}
