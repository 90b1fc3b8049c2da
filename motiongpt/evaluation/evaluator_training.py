"""Training an evaluator on a dataset folder: any skeleton, any representation.

A training pair is a clip, or the piece that a caption with times is about, with its captions. Each
time a pair enters a batch, one of its captions is drawn, and a piece is cut as Guo et al. 2022 cut
it. The model is chosen by R-precision on the validation split; the test split is not opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from motiongpt.config import EvaluatorConfig, TrainConfig
from motiongpt.data.batches import BucketedBatches
from motiongpt.data.motions import MotionDataset
from motiongpt.data.texts import Caption, by_time
from motiongpt.evaluation.clips import UNIT, Item, check_tokens, items_hash, usable_frames
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.evaluation.networks import MatchingNetwork, contrastive_loss, info_nce, pad_captions, pad_clips
from motiongpt.evaluation.published import load_movement_encoder
from motiongpt.evaluation.word_vectors import Vocabulary, caption_tokens, glove_hash, plain_tokens, read_glove
from motiongpt.files.folders import check_training_folder
from motiongpt.files.hashes import file_hash
from motiongpt.loops import Result, train
from motiongpt.metrics.embeddings import GROUP, mm_dist, r_precision
from motiongpt.stages.run_folder import clear_stage
from motiongpt.training.devices import seeded
from motiongpt.training.schedule import total_steps
from motiongpt.training.watch import Watcher

TOP = 3  # R-precision top 1, 2, 3
SHUFFLES = 10  # groupings: the R-precision of a small split depends on who is grouped with whom


def read_pairs(data: MotionDataset, split: str, say: Callable[[str], None] = print) -> list[Item]:
    """The pieces of a split with a caption and at least 4 frames;
    says which clips were dropped, and why.

    Raises ValueError if nothing is left, and see `check_tokens`.
    """
    clips, dropped = data.load_split(split)
    for clip, reason in dropped.items():
        say(f"dropped {clip}: {reason}")
    pairs = []
    short = 0  # pieces
    mute = 0  # clips
    for clip, features in clips.items():
        pieces = by_time(data.captions(clip))
        mute += not pieces
        for captions in pieces.values():
            check_tokens(data, clip, captions)
            # all captions of a piece share its times
            piece = captions[0].cut(features, data.fps)
            short += len(piece) < UNIT
            if len(piece) >= UNIT:
                pairs.append(Item(clip, piece, tuple(captions)))
    if short or mute:
        say(f"{split}: dropped {short} pieces of fewer than {UNIT} frames, {mute} clips without a caption")
    if not pairs:
        raise ValueError(f"{data.folder}/{split}.txt has no clip of {UNIT} frames with a caption")
    return pairs


def random_piece(frames: int, max_frames: int, rng: np.random.Generator) -> slice:
    """The frames of a clip that a training step sees,
    from a random start (Text2MotionDatasetV2 of Guo et al. 2022).

    As many as fit, in units of 4 frames; every third time one unit less.
    """
    size = usable_frames(frames, max_frames)
    if size > UNIT and rng.integers(3) == 0:
        size -= UNIT
    start = int(rng.integers(frames - size + 1))
    return slice(start, start + size)


class Collate:
    """Indices of pairs -> a training batch, as a pure function of the indices and the generator."""

    def __init__(self, pairs: Sequence[Item], evaluator: Evaluator, word_dropout: float) -> None:
        self.pairs = pairs
        self.normalise = evaluator.normalizer.normalise
        self.vocabulary = evaluator.vocabulary
        self.config = evaluator.config
        self.word_dropout = word_dropout

    def tokens(self, caption: Caption, rng: np.random.Generator) -> list[str]:
        """The tokens of a caption, at times without parts of speech,
        some words replaced by an unknown one."""
        plain = rng.random() < self.config.plain_captions
        tokens = plain_tokens(caption.text) if plain else caption_tokens(caption)
        lost = rng.random(len(tokens)) < self.word_dropout  # this also trains the vector of unknown words
        return ["/OTHER" if out else token for token, out in zip(tokens, lost, strict=True)]

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict:
        clips = []
        captions = []
        texts = []
        for pair in (self.pairs[i] for i in indices):
            piece = random_piece(len(pair.features), self.config.max_frames, rng)
            clips.append(self.normalise(pair.features[piece]))
            # one of several captions, another one in another epoch
            caption = pair.captions[rng.integers(len(pair.captions))]
            captions.append(self.vocabulary.encode(self.tokens(caption, rng)))
            texts.append({other.text for other in pair.captions})
        motion, frames = pad_clips(clips, self.config.max_frames)
        words, parts, lengths = pad_captions(captions)
        # pieces that share a caption cannot be told apart: the loss must not ask for it
        same = torch.tensor([[not a.isdisjoint(b) for b in texts] for a in texts])
        # 1 to B - 1; with 0 the loss would push right pairs apart
        shift = int(rng.integers(1, max(2, len(indices))))
        return {
            "motion": motion,
            "frames": frames,
            "words": words,
            "parts": parts,
            "lengths": lengths,
            "same": same,
            "shift": shift,
            "count": len(indices),
        }


def matching_loss(network: MatchingNetwork, batch: dict) -> torch.Tensor:
    """The loss of every pair of a batch, (B,), by the network's objective."""
    config = network.config
    text = network.text(batch["words"], batch["parts"], batch["lengths"]).float()
    motion = network.motion(batch["motion"], batch["frames"]).float()
    if config.objective == "contrastive":
        return contrastive_loss(text, motion, batch["shift"], config.margin)
    return info_nce(text, motion, batch["same"], config.temperature)


def validation_scores(evaluator: Evaluator, pairs: Sequence[Item], seed: int = 0) -> dict[str, float]:
    """R-precision top 1 to 3 and MM-Dist of validation pairs, each from its first frame,
    with one caption drawn.

    Groups have 32 pairs, or all if there are fewer; numbers are means of SHUFFLES groupings.
    `loss`, by which the best model is chosen, is 1 - the mean of the three R-precisions.
    """
    rng = np.random.default_rng(seed)
    captions = [caption_tokens(pair.captions[rng.integers(len(pair.captions))]) for pair in pairs]
    text = evaluator.embed_text(captions)
    motion = evaluator.embed_motion([pair.features for pair in pairs])
    # in smaller groups the right motion is easier to find: compare within one split only
    group = min(GROUP, len(pairs))
    precision = np.mean([r_precision(text, motion, rng, group, TOP) for _ in range(SHUFFLES)], axis=0).tolist()
    scores = {f"r_precision_{k}": value for k, value in enumerate(precision, 1)}
    return {"loss": 1 - sum(precision) / TOP, **scores, "mm_dist": mm_dist(text, motion)}


def new_evaluator(
    data: MotionDataset,
    pairs: Sequence[Item],
    config: EvaluatorConfig,
    seed: int,
    glove: Path | None = None,
    movement: Path | None = None,
) -> Evaluator:
    """Untrained networks for a data set, with weights drawn from `seed`.

    Word vectors are those of `glove`, which stay fixed, or are trained for the words of the
    training captions. `movement` is a decomposed checkpoint whose encoder stays fixed too, as in
    Guo et al.

    Raises ValueError if the movement encoder does not fit the data, or if the data's mean and
    deviation belong to another network; see also `read_glove`.
    """
    data.normalizer.check_pair(data.representation, 1.0, data.folder / "Std.npy")
    contacts = data.representation.contacts
    # foot contacts are columns of the data that the networks do not see
    config = replace(config, feature_dim=data.feature_dim, contacts=contacts.stop - contacts.start if contacts else 0)
    facts = {"data": data.hash(), "train": items_hash(pairs), "seed": seed, "glove": None, "movement": None}

    # 1) Words.
    vectors = None
    if glove is not None:
        vocabulary, vectors = read_glove(glove)
        config = replace(config, word_dim=vectors.shape[1])
        facts["glove"] = glove_hash(glove)
    else:
        forms = []
        for caption in (caption for pair in pairs for caption in pair.captions):
            forms.append(caption_tokens(caption))
            forms += [plain_tokens(caption.text)] if config.plain_captions else []
        vocabulary = Vocabulary.of(forms)

    # 2) A movement encoder that was trained before.
    encoder = None
    if movement is not None:
        encoder = load_movement_encoder(movement)
        facts["movement"] = file_hash(movement)
        inputs = encoder.main[0].in_channels
        width = encoder.main[0].out_channels
        outputs = encoder.out_net.out_features
        if inputs != config.feature_dim - config.contacts:
            raise ValueError(f"{movement} reads {inputs} columns, the data has {config.feature_dim - config.contacts}")
        config = replace(config, movement_width=width, movement_dim=outputs)

    # 3) The networks.
    with seeded(seed):
        network = MatchingNetwork(config, len(vocabulary.words))
    if vectors is not None:
        network.words.weight.data.copy_(torch.from_numpy(vectors))
        network.words.requires_grad_(False)
    if encoder is not None:
        network.movement_encoder.load_state_dict(encoder.state_dict())
        network.movement_encoder.requires_grad_(False)
    normalizer = data.normalizer.with_feature_bias(config.feature_bias, data.representation)
    return Evaluator(network, vocabulary, normalizer, data.skeleton, data.fps, data.representation, facts=facts)


def train_evaluator(
    data: MotionDataset,
    model_config: EvaluatorConfig,
    config: TrainConfig,
    out: Path,
    *,
    device: torch.device,
    precision: str = "fp32",
    glove: Path | None = None,
    movement: Path | None = None,
    patience: int = 0,
    fresh: bool = False,
    watchers: Sequence[Watcher] = (),
    say: Callable[[str], None] = print,
) -> Result:
    """Train an evaluator on the train split and write it to `out`.

    An unfinished training in `out` is resumed; `fresh` starts over. `out` gets the evaluator with
    the best validation R-precision so far. `patience` validations in a row without a better one end
    the training; 0: never. `config.caption_dropout` is the share of words that become unknown.
    `watchers` are those of `train`.

    Raises:
        ValueError: gradients are accumulated, no clip is usable, a clip is in two splits, `out` is
            a data set or an evaluation; see also `new_evaluator`.
        FileNotFoundError: there is no validation split.
        FileExistsError: `out` holds an evaluator without a state to resume, and `fresh` is not
            given.
    """
    if config.grad_accum != 1:  # pairs are told apart within a batch: several small batches are not one large one
        raise ValueError(f"an evaluator cannot accumulate gradients: --grad-accum must be 1, got {config.grad_accum}")
    if config.batch_size < 2:
        raise ValueError(f"--batch-size must be at least 2 to tell pairs apart, got {config.batch_size}")
    # 1) the data, and everything that may fail
    check_training_folder(out, "an evaluator", fresh)
    data.check_apart()
    pairs = read_pairs(data, "train", say)
    val = read_pairs(data, "val", say)
    if len(val) < 2:
        raise ValueError(f"{data.folder}/val.txt has one usable clip; R-precision needs at least 2")
    evaluator = new_evaluator(data, pairs, model_config, config.seed, glove, movement)
    evaluator.facts["val"] = items_hash(val)  # the model is chosen by it
    # the old training goes only now, after everything that could refuse the new one
    if fresh:
        clear_stage(out)
    # 2) the parts of the loop
    network = evaluator.network.to(device)
    collate = Collate(pairs, evaluator, config.caption_dropout)
    # random batches, as in validation: in a batch of equal lengths, length would not help to find the caption
    batches = BucketedBatches([0] * len(pairs), config.batch_size, config.seed, collate)
    size = sum(p.numel() for p in network.parameters() if p.requires_grad) / 1e6
    say(
        f"evaluator {size:.1f} M parameters, {len(evaluator.vocabulary.words)} words, {len(pairs)} training and "
        f"{len(val)} validation pieces of {data.folder}"
    )
    if len(val) < GROUP:
        say(f"only {len(val)} validation pieces: R-precision in one group of {len(val)}, not {GROUP}")
    say(f"{total_steps(config, batches.per_epoch)} steps on {device}, {precision}")

    def loss(batch):
        losses = matching_loss(network, batch)
        return losses.sum(), {}

    def validate():
        # in fp32 as in an evaluation, whatever training runs in
        with torch.autocast(device.type, enabled=False):
            return validation_scores(evaluator, val, config.seed)

    return train(
        network,
        batches,
        loss,
        config,
        out,
        device=device,
        precision=precision,
        validate=validate,
        export=evaluator.save,
        unit="pairs",
        patience=patience,
        watchers=watchers,
        # what a resumed training must share with the one before
        fingerprint={"model": evaluator.config.to_dict(), **evaluator.facts, **config.run_identity()},
    )
