"""Text to motion and motion to text, measured as `protocol.py` says.

`evaluate_t2m` has a row for the real motions, what the tokenizer gives back of them, what the model writes, and chance
(real motions dealt out to the wrong texts); `evaluate_m2t` one for the captions people wrote, the model's and chance.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt.config import SampleConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.data.tokens import Entry, fold
from motiongpt.evaluation import code_usage
from motiongpt.generator import DESCRIBE, MotionGenerator
from motiongpt.metrics import code_counts, length_accuracy, multimodality, token_distances
from motiongpt.protocol import Item, Row, Setting, qualities
from motiongpt.stages import LoadedRun, stage_folder
from motiongpt.tasks import collate, lm_loss
from motiongpt.text_metrics import bert_score, bleu, cider, rouge_l
from motiongpt.tokenizer import MotionTokenizer
from motiongpt.weights import weights_hash

if TYPE_CHECKING:
    from motiongpt.evaluators import Evaluator

POLICIES = {
    "own": "the model ends its motions itself",
    "gt": "the length of the real motion is demanded",
    "cut": "the model ends its motions itself; they and the real ones they are compared with are cut to the shorter",
}
MULTIMODALITY = (100, 30, 10)  # texts, motions of each, pairs of each


def run_hash(run: LoadedRun) -> str:
    """16 hex digits of the weights a stage samples with: its own, and the base an adapter sits on."""
    stage = weights_hash(stage_folder(run.folder, run.stage))
    return hashlib.sha256(f"{stage}/{run.meta.get('base_hash', '')}".encode()).hexdigest()[:16]


def codebook(rows: Sequence[Sequence[int]], size: int) -> dict:
    return code_usage(code_counts([code for row in rows for code in row], size))


def in_batches(sizes: Sequence[int], batch_size: int, write: Callable[[list[int]], list]) -> list:
    """`write` of batches of indices of similar size; what it returns, in order."""
    out: list = [None] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], i))
    for first in tqdm(range(0, len(order), batch_size), unit="batch", disable=None, leave=False):
        indices = order[first : first + batch_size]
        for i, value in zip(indices, write(indices), strict=True):
            out[i] = value
    return out


def write_motions(
    generator: MotionGenerator, texts: Sequence[str], first_seed: int, lengths: Sequence[int] | None,
    config: SampleConfig, batch_size: int,
) -> list[list[int]]:  # fmt: skip
    """Codes of a motion for each text, row i with seed first_seed + i; `lengths` in codes are kept exactly."""
    code = generator.run.config.frames_per_code / generator.run.config.fps  # seconds
    sizes = lengths or [generator.run.prompts.expected_length(text) for text in texts]

    def write(indices: list[int]) -> list[list[int]]:
        seconds = [lengths[i] * code for i in indices] if lengths else None
        motions = generator.generate(
            [texts[i] for i in indices], seed=[first_seed + i for i in indices], seconds=seconds,
            exact_length=lengths is not None, config=config,
        )  # fmt: skip
        return [list(motion.tokens) for motion in motions]

    return in_batches(sizes, batch_size, write)


@torch.inference_mode()
def language_perplexity(generator: MotionGenerator, entries: Sequence[Entry], task: str, batch_size: int) -> float:
    """exp(mean cross-entropy in nats per token) of the right answers to a task, given all that is before them."""
    renderer, rng = generator.run.renderer, np.random.default_rng(0)  # the same masks of denoising every time
    examples = [renderer.render(task, entry, rng) for entry in entries]
    total, count = 0.0, 0
    for first in range(0, len(examples), batch_size):
        batch = collate(examples[first : first + batch_size])
        count += batch["count"]
        batch = {name: x.to(generator.device) for name, x in batch.items() if isinstance(x, Tensor)}
        total += float(lm_loss(generator.run.llm, batch))
    return math.exp(total / count)


def perplexities(
    generator: MotionGenerator, items: Sequence[Item], codes: Sequence[list[int]], batch_size: int
) -> dict:
    """`language_perplexity` of each task this stage was trained on, over the first caption of each clip."""
    entries = [Entry(item.captions[0].text, tuple(row)) for item, row in zip(items, codes, strict=True)]
    return {task: language_perplexity(generator, entries, task, batch_size) for task in generator.run.meta["tasks"]}


def evaluate_t2m(
    data: MotionDataset, evaluator: "Evaluator", tokenizer: MotionTokenizer,
    generator: MotionGenerator | None = None, *, split: str = "test", clips: int | None = None,
    min_frames: int | None = None, repeats: int = 20, policy: str = "own", seed: int = 0,
    config: SampleConfig | None = None, multimodality_texts: int = MULTIMODALITY[0], batch_size: int = 32,
) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Text to motion; without a generator the rows of the tokenizer alone (real, reconstruction, chance).

    Args:
        policy: key of POLICIES: who decides how long a motion is.
        min_frames: shorter clips are dropped; default `shortest_clip`.
        multimodality_texts: texts of which 30 motions each are written, once; 0 leaves MultiModality out.

    Returns: the report; embeddings of the first repeat by name, (N, E); features of the clips shown, by rank.
    Raises ValueError where data, tokenizer and evaluator do not fit together, or fewer than 32 clips are usable.
    """
    if policy not in POLICIES:
        raise ValueError(f"the length policy is one of {', '.join(POLICIES)}, got {policy!r}")
    config = config or SampleConfig()
    facts = {} if generator is None else {
        "run": generator.run.config.recipe, "stage": generator.run.stage, "run_hash": run_hash(generator.run),
        "length_policy": policy,
        "sampling": asdict(config),
    }  # fmt: skip
    s = Setting("t2m" if generator else "vqvae", data, evaluator, tokenizer, split, clips, min_frames, repeats, seed,
                facts)  # fmt: skip
    N, quality = s.N, lambda x: qualities(x, data.representation, data.fps)
    all_layers = tokenizer.encode_all(s.features)
    real_codes = [row[:, 0].tolist() for row in all_layers]
    decoded = tokenizer.decode_features(all_layers)
    shown_from: Sequence = decoded
    fixed = {"real": (s.features, s.motion), "reconstruction": (decoded, evaluator.embed_motion(decoded))}
    rows = {name: Row() for name in (*fixed, *(["model"] if generator else []), "chance")}
    embeddings = {name: embedded for name, (_, embedded) in fixed.items()}
    clip_qualities = {name: quality(features) for name, (features, _) in fixed.items()}
    fids = {name: s.fid(embedded) for name, (_, embedded) in fixed.items()}
    references: dict[str, list] = defaultdict(list)  # a sentence -> the real codes of the clips it is said of
    for item, codes in zip(s.items, real_codes, strict=True):
        for key in {fold(caption.text) for caption in item.captions}:
            references[key].append(codes)
    several, written = None, []
    if generator and multimodality_texts:
        several = _several(s, evaluator, tokenizer, generator, policy, config, multimodality_texts, batch_size)

    for repeat in tqdm(range(repeats), unit="repeat", disable=None):
        captions, text = s.texts.draw(repeat)
        embeddings.setdefault("text", text)
        for name, (_, embedded) in fixed.items():
            rows[name].match(text, embedded, s.texts.shuffle(repeat))
            rows[name].add(clip_qualities[name], fid=fids[name])
        rows["chance"].match(text, s.motion[s.texts.deal(repeat)], s.texts.shuffle(repeat))
        if not generator:
            continue
        sentences = [caption.text.strip() for caption in captions]
        lengths = [len(codes) for codes in real_codes] if policy == "gt" else None
        codes = write_motions(generator, sentences, seed + repeat * N, lengths, config, batch_size)
        made, real = _cut(s, tokenizer.decode_features(codes), policy)
        embedded = evaluator.embed_motion(made)
        row = rows["model"]
        row.match(text, embedded, s.texts.shuffle(repeat))
        against = None if policy != "cut" else evaluator.embed_motion(real)
        spread = None if several is None else multimodality(several, s.texts.shuffle(repeat), MULTIMODALITY[2])
        row.add(quality(made), fid=s.fid(embedded, against), multimodality=spread)
        row.add(_token_scores(generator, sentences, codes, references))
        written.append(codes)
        if repeat == 0:
            asked, embeddings["model"], shown_from = sentences, embedded, made
            embeddings |= {} if against is None else {"real_cut": against}

    main = rows["model" if generator else "reconstruction"]
    table = {
        item.name: {"frames": len(item.features), "captions": [caption.text for caption in item.captions]}
        | ({"asked": asked[i]} if generator else {})
        | main.per_clip(i)
        for i, item in enumerate(s.items)
    }
    size = tokenizer.config.codes
    more = {
        "codebook": {"real": codebook(real_codes, size)},
        "lengths": {"real": [len(codes) for codes in real_codes]},
    }
    if generator:
        used = [codes for repeat in written for codes in repeat]
        more["codebook"]["model"] = codebook(used, size)
        more["lengths"]["model"] = [len(codes) for codes in used]
        more["perplexity"] = perplexities(generator, s.items, real_codes, batch_size)
        s.protocol["multimodality"] = None if several is None else [*several.shape[:2], MULTIMODALITY[2]]
    report, shown = s.report(rows, table, more)
    return report, embeddings, {rank: shown_from[i] for rank, i in shown.items()}


def _cut(s: Setting, made: list[Tensor], policy: str) -> tuple[list[Tensor], list[np.ndarray]]:
    """Written and real motions as they are compared: at most max_frames, with the policy `cut` of one length."""
    limit = s.protocol["max_frames"]
    most = [min(limit, len(x)) if policy == "cut" else limit for x in s.features]
    made = [x[:size] for x, size in zip(made, most, strict=True)]
    return made, [x[: len(y)] for x, y in zip(s.features, made, strict=True)]


def _several(
    s: Setting, evaluator: "Evaluator", tokenizer: MotionTokenizer, generator: MotionGenerator, policy: str,
    config: SampleConfig, texts: int, batch_size: int,
) -> Tensor:  # fmt: skip
    """(texts, 30, E): embeddings of 30 motions of the first caption of some clips drawn at random."""
    rng = np.random.default_rng([s.seed, 0, 3])
    chosen = np.repeat(rng.permutation(s.N)[:texts], MULTIMODALITY[1])
    sentences = [s.items[i].captions[0].text.strip() for i in chosen]
    lengths = [len(s.features[i]) // tokenizer.config.frames_per_code for i in chosen] if policy == "gt" else None
    first = s.seed + s.repeats * s.N  # seeds that no repeat uses
    made = tokenizer.decode_features(write_motions(generator, sentences, first, lengths, config, batch_size))
    most = [len(s.features[i]) if policy == "cut" else s.protocol["max_frames"] for i in chosen]
    embedded = evaluator.embed_motion([x[:size] for x, size in zip(made, most, strict=True)])
    return embedded.unflatten(0, (-1, MULTIMODALITY[1]))


def _token_scores(
    generator: MotionGenerator, sentences: Sequence[str], codes: Sequence[list[int]], references: dict[str, list]
) -> dict[str, np.ndarray]:
    """Edit distances to the real codes of the same sentence, and how the lengths meet those of its training."""
    edits = token_distances(codes, [references[fold(sentence)] for sentence in sentences])
    known = [generator.run.prompts.find(sentence) for sentence in sentences]
    errors, within = np.full(len(codes), np.nan), np.full(len(codes), np.nan)
    for i, (row, record) in enumerate(zip(codes, known, strict=True)):
        if record:
            accuracy = length_accuracy([len(row)], [record["median"]])
            errors[i], within[i] = accuracy["error"], accuracy["within_10_percent"]
    return {f"edit_{n}": x for n, x in edits.items()} | {"length_error": errors, "length_within": within}


def evaluate_m2t(
    data: MotionDataset, evaluator: "Evaluator", tokenizer: MotionTokenizer, generator: MotionGenerator, *,
    split: str = "test", clips: int | None = None, min_frames: int | None = None, repeats: int = 20, seed: int = 0,
    config: SampleConfig | None = None, batch_size: int = 32, bert_model: str | None = None,
) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Motion to text: the model's sentence of each clip against all of its captions, and against the clip itself.

    `config` is `generator.DESCRIBE` unless given: greedy, so the sentences are written once and repeats only draw
    groups. The model's sentences have no parts of speech for the evaluator. `bert_model` is for `bert_score`. Returns
    and raises as `evaluate_t2m`.
    """
    config = config or DESCRIBE
    facts = {"run": generator.run.config.recipe, "stage": generator.run.stage, "run_hash": run_hash(generator.run)}
    facts |= {"sampling": asdict(config)}
    facts |= {"bert_model": bert_model} if bert_model else {}
    s = Setting("m2t", data, evaluator, tokenizer, split, clips, min_frames, repeats, seed, facts)
    codes = tokenizer.encode(s.features)
    references = [[caption.text for caption in item.captions] for item in s.items]
    rows = {name: Row() for name in ("real", "model", "chance")}
    embeddings, first_sentences = {"real": s.motion}, None
    for repeat in tqdm(range(repeats), unit="repeat", disable=None):
        _, text = s.texts.draw(repeat)
        if repeat == 0 or config.temperature > 0:
            start = seed + repeat * s.N
            sentences = in_batches(
                list(map(len, codes)), batch_size,
                lambda indices, start=start: generator.describe_all(
                    [codes[i] for i in indices], seeds=[start + i for i in indices], config=config
                ),
            )  # fmt: skip
            written = evaluator.embed_text(sentences)
            rouge = np.array([rouge_l([x], [several]) for x, several in zip(sentences, references, strict=True)])
            overlap = dict(zip(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), bleu(sentences, references), strict=True))
            overlap["cider"] = cider(sentences, references)
            overlap |= {"bert_score": bert_score(sentences, references, bert_model)} if bert_model else {}
            first_sentences = first_sentences or sentences
            embeddings.setdefault("model", written)
            embeddings.setdefault("text", text)
        for name, row in {"real": text, "model": written, "chance": text[s.texts.deal(repeat)]}.items():
            rows[name].match(row, s.motion, s.texts.shuffle(repeat))
        rows["model"].add({"rouge_l": rouge}, **overlap)
    table = {
        item.name: {"frames": len(item.features), "captions": references[i], "written": first_sentences[i]}
        | rows["model"].per_clip(i)
        for i, item in enumerate(s.items)
    }
    report, shown = s.report(rows, table, {"perplexity": perplexities(generator, s.items, codes, batch_size)})
    return report, embeddings, {rank: torch.as_tensor(s.features[i]) for rank, i in shown.items()}
