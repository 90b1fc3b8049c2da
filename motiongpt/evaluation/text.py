"""Text to motion and motion to text, measured as `protocol.py` says.

`evaluate_t2m` has a row for the real motions, what the tokenizer gives back of them, what the model writes, and chance
(real motions dealt out to shuffled texts); `evaluate_m2t` one for the captions people wrote, the model's and chance.
"""

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
from motiongpt.data.prompts import fold
from motiongpt.data.texts import Caption
from motiongpt.data.tokens import Entry
from motiongpt.evaluation.clips import Item
from motiongpt.evaluation.protocol import Setting, TableRow
from motiongpt.evaluation.qualities import code_usage
from motiongpt.files.hashes import short_hash
from motiongpt.generator import DESCRIBE, MotionGenerator
from motiongpt.metrics.captions import bert_score, bleu, cider, rouge_l
from motiongpt.metrics.embeddings import multimodality
from motiongpt.metrics.tokens import code_counts, length_accuracy, token_distances
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.model import LoadedRun, load_run
from motiongpt.stages.run import finished_stages, stage_folder
from motiongpt.tasks.batches import collate, lm_loss
from motiongpt.weights.llm import weights_hash

if TYPE_CHECKING:
    from motiongpt.evaluation.evaluators import Evaluator

POLICIES = {
    "own": "the model ends its motions itself",
    "gt": "the length of the real motion is demanded",
    "cut": "the model ends its motions itself; they and the real ones they are compared with are cut to the shorter",
}
MULTIMODALITY = (100, 30, 10)  # texts, motions of each, pairs of each


def run_hash(run: LoadedRun) -> str:
    """16 hex digits of the weights a stage samples with: its own, and the base an adapter sits on."""
    stage = weights_hash(stage_folder(run.folder, run.stage))
    return short_hash([f"{stage}/{run.meta.get('base_hash', '')}".encode()])


def codebook(rows: Sequence[Sequence[int]], motion_tokenizer: MotionTokenizer) -> dict:
    return code_usage(code_counts([code for row in rows for code in row], motion_tokenizer.config.codes))


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
def language_perplexity(run: LoadedRun, entries: Sequence[Entry], task: str, batch_size: int) -> float:
    """exp(mean cross-entropy in nats per token) of the right answers to a task, given all that is before them."""
    rng, device = np.random.default_rng(0), next(run.llm.parameters()).device  # the same masks of denoising every time
    examples = [run.renderer.render(task, entry, rng) for entry in entries]
    total, count = 0.0, 0
    for first in range(0, len(examples), batch_size):
        batch = collate(examples[first : first + batch_size])
        count += batch["count"]
        batch = {name: x.to(device) for name, x in batch.items() if isinstance(x, Tensor)}
        total += float(lm_loss(run.llm, batch))
    return math.exp(total / count)


def perplexities(
    generator: MotionGenerator, items: Sequence[Item], codes: Sequence[list[int]], batch_size: int, which: str
) -> dict[str, dict[str, float]]:
    """Stage -> task -> `language_perplexity` of each task a stage was trained on, over the first caption of each clip.

    `which` is "all" of the run's finished stages, the generator's "stage" alone, or "none". Other stages are loaded one
    after the other, the generator's own waiting on the CPU.
    """
    own, found = generator.run, {}
    stages = {"all": finished_stages(own.folder), "stage": {own.stage: own.meta}, "none": {}}[which]
    entries = [Entry(item.captions[0].text, tuple(row)) for item, row in zip(items, codes, strict=True)]
    dtype = own.llm.embed_tokens.weight.dtype
    for stage, meta in stages.items():
        own.llm.to(generator.device if stage == own.stage else "cpu")
        run = own if stage == own.stage else load_run(own.folder, stage, generator.device, dtype)
        found[str(stage)] = {task: language_perplexity(run, entries, task, batch_size) for task in meta["tasks"]}
        del run  # before the next one comes
    own.llm.to(generator.device)
    return found


class Writer:
    """What the model writes for the clips of a setting, and what it is worth, repeat by repeat."""

    def __init__(
        self, s: Setting, motion_tokenizer: MotionTokenizer, generator: MotionGenerator, real_codes: list[list[int]],
        policy: str, config: SampleConfig, batch_size: int,
    ) -> None:  # fmt: skip
        self.s, self.motion_tokenizer, self.generator, self.real_codes = s, motion_tokenizer, generator, real_codes
        self.policy, self.config, self.batch_size = policy, config, batch_size
        self.row, self.several = TableRow(), None
        self.codes: list[list[int]] = []  # of the first repeat: as many as the real row's
        self.references: dict[str, list] = defaultdict(list)  # a sentence -> the codes of the clips it is said of
        for item, codes in zip(s.items, real_codes, strict=True):
            for key in {fold(caption.text) for caption in item.captions}:
                self.references[key].append(codes)

    def write(
        self, sentences: list[str], first_seed: int, clips: Sequence[int]
    ) -> tuple[list[list[int]], list[Tensor]]:
        """Codes and features of a motion for each sentence, said of the clip of that index; the features as they are
        compared: at most max_frames, with the policy `cut` at most the clip's."""
        lengths = [len(self.real_codes[i]) for i in clips] if self.policy == "gt" else None
        codes = write_motions(self.generator, sentences, first_seed, lengths, self.config, self.batch_size)
        limit = self.s.protocol["max_frames"]
        most = [len(self.s.features[i]) if self.policy == "cut" else limit for i in clips]
        return codes, [x[:size] for x, size in zip(self.motion_tokenizer.decode_features(codes), most, strict=True)]

    def write_several(self, texts: int) -> None:
        """For MultiModality, once: (texts, 30, E), motions of the first caption of some clips drawn at random."""
        _, per_text, pairs = MULTIMODALITY
        chosen = np.repeat(np.random.default_rng([self.s.seed, 0, 3]).permutation(self.s.N)[:texts], per_text)
        sentences = [self.s.items[i].captions[0].text.strip() for i in chosen]
        _, made = self.write(sentences, self.s.seed + self.s.repeats * self.s.N, chosen)  # seeds no repeat uses
        self.several = self.s.embed(made).unflatten(0, (-1, per_text))
        self.s.protocol["multimodality"] = [*self.several.shape[:2], pairs]

    def repeat(self, repeat: int, captions: Sequence[Caption], text: Tensor) -> tuple[list[str], list[Tensor], dict]:
        """Fill the row of one repeat; returns its sentences, its motions, and embeddings by name."""
        s = self.s
        sentences = [caption.text.strip() for caption in captions]
        codes, made = self.write(sentences, s.seed + repeat * s.N, range(s.N))
        embeddings = {"model": s.embed(made)}
        if self.policy == "cut":
            embeddings["real_cut"] = s.embed([x[: len(y)] for x, y in zip(s.features, made, strict=True)])
        spread = None
        if self.several is not None:
            spread = multimodality(self.several, s.texts.shuffle(repeat), MULTIMODALITY[2])
        self.row.match(text, embeddings["model"], s.texts.shuffle(repeat))
        fid = s.fid(embeddings["model"], embeddings.get("real_cut"))
        self.row.add(s.qualities(made), fid=fid, multimodality=spread)
        self.row.add(_token_scores(self.generator, sentences, codes, self.references))
        self.codes = self.codes or codes
        return sentences, made, embeddings


def evaluate_t2m(
    data: MotionDataset, evaluator: "Evaluator", motion_tokenizer: MotionTokenizer,
    generator: MotionGenerator | None = None, *, split: str = "test", clips: int | None = None,
    min_frames: int | None = None, repeats: int = 20, policy: str = "own", seed: int = 0,
    config: SampleConfig | None = None, multimodality_texts: int = MULTIMODALITY[0], batch_size: int = 32,
    perplexity: str = "all",
) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Text to motion; without a generator the rows of the tokenizer alone (real, reconstruction, chance).

    Args:
        policy: key of POLICIES: who decides how long a motion is.
        min_frames: shorter clips are dropped; default `shortest_clip`.
        multimodality_texts: texts of which 30 motions each are written, once; 0 leaves MultiModality out.
        perplexity: of which stages, see `perplexities`.

    Returns: the report; embeddings of the first repeat by name, (N, E); features of the clips shown, by rank.
    Raises ValueError where data, tokenizer and evaluator do not fit together, or fewer than 32 clips are usable.
    """
    if policy not in POLICIES:
        raise ValueError(f"the length policy is one of {', '.join(POLICIES)}, got {policy!r}")
    config = config or SampleConfig()
    facts = _run_facts(generator, config) | {"length_policy": policy} if generator else {}
    s = Setting("t2m" if generator else "vqvae", data, evaluator, motion_tokenizer, split, clips, min_frames, repeats,
                seed, facts)  # fmt: skip
    layers = motion_tokenizer.encode_all(s.features)
    codes, decoded = [row[:, 0].tolist() for row in layers], motion_tokenizer.decode_features(layers)
    more = {"codebook": {"real": codebook(codes, motion_tokenizer)}, "lengths": {"real": [len(row) for row in codes]}}
    writer, sentences, shown_from = None, None, decoded
    if generator:
        writer = Writer(s, motion_tokenizer, generator, codes, policy, config, batch_size)
        more["perplexity"] = perplexities(generator, s.items, codes, batch_size, perplexity)
        s.protocol["multimodality"] = None
        if multimodality_texts:
            writer.write_several(multimodality_texts)
    rows, embeddings = (
        {"real": TableRow(), "reconstruction": TableRow()},
        {"real": s.motion, "reconstruction": s.embed(decoded)},
    )
    rows |= ({"model": writer.row} if writer else {}) | {"chance": TableRow()}
    fixed = {"real": s.qualities(s.features), "reconstruction": s.qualities(decoded)}
    fids = {name: s.fid(embeddings[name]) for name in fixed}
    for repeat in tqdm(range(repeats), unit="repeat", disable=None):
        captions, text = s.texts.draw(repeat)
        embeddings.setdefault("text", text)
        for name, per_clip in fixed.items():
            rows[name].match(text, embeddings[name], s.texts.shuffle(repeat))
            rows[name].add(per_clip, fid=fids[name])
        rows["chance"].match(text, s.motion[s.texts.deal(repeat)], s.texts.shuffle(repeat))
        written = writer.repeat(repeat, captions, text) if writer else None
        if written and repeat == 0:
            sentences, shown_from = written[:2]
            embeddings |= written[2]
    if writer:
        more["codebook"]["model"] = codebook(writer.codes, motion_tokenizer)
        more["lengths"]["model"] = [len(row) for row in writer.codes]
    report, shown = s.report(rows, {"asked": sentences} if writer else {}, more)
    return report, embeddings, {rank: torch.as_tensor(shown_from[i]) for rank, i in shown.items()}


def _run_facts(generator: MotionGenerator, config: SampleConfig) -> dict:
    """What the protocol says of a language model."""
    run = generator.run
    return {"run": run.config.recipe, "stage": run.stage, "run_hash": run_hash(run), "sampling": asdict(config)}


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
    data: MotionDataset, evaluator: "Evaluator", motion_tokenizer: MotionTokenizer, generator: MotionGenerator, *,
    split: str = "test", clips: int | None = None, min_frames: int | None = None, repeats: int = 20, seed: int = 0,
    config: SampleConfig | None = None, batch_size: int = 32, bert_model: str | None = None, perplexity: str = "all",
) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:  # fmt: skip
    """Motion to text: the model's sentence of each clip against all of its captions, and against the clip itself.

    `config` is `generator.DESCRIBE` unless given: greedy, so the sentences are written once and repeats only draw
    groups. The model's sentences have no parts of speech for the evaluator. `bert_model` is for `bert_score`. Returns
    and raises as `evaluate_t2m`.
    """
    config = config or DESCRIBE
    facts = _run_facts(generator, config)
    facts |= {"bert_model": bert_model} if bert_model else {}
    s = Setting("m2t", data, evaluator, motion_tokenizer, split, clips, min_frames, repeats, seed, facts)
    codes = motion_tokenizer.encode(s.features)
    references = [[caption.text for caption in item.captions] for item in s.items]
    more = {"perplexity": perplexities(generator, s.items, codes, batch_size, perplexity)}
    rows = {name: TableRow() for name in ("real", "model", "chance")}
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
    report, shown = s.report(rows, {"written": first_sentences}, more)
    return report, embeddings, {rank: torch.as_tensor(s.features[i]) for rank, i in shown.items()}
