"""Text to motion and motion to text, measured by the rules of `protocol`.

`evaluate_t2m` has a row for the real motions, for what the motion tokenizer makes of them, for the
model's motions, and for chance: real motions shuffled among the texts. `evaluate_m2t` has rows for
the captions of people, the model's sentences, and chance. Both only measure; `report` writes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motiongpt.data.motions import MotionDataset
from motiongpt.data.spelling import fold
from motiongpt.data.texts import Caption
from motiongpt.evaluation.model_answers import (
    MULTIMODALITY,
    M2TOptions,
    T2MOptions,
    describe_motions,
    run_facts,
    write_motions,
)
from motiongpt.evaluation.perplexity import perplexities
from motiongpt.evaluation.protocol import Evaluation, EvaluationSet, ProtocolConfig, TableRow
from motiongpt.evaluation.qualities import code_usage
from motiongpt.generator import MotionGenerator
from motiongpt.metrics.captions import bert_score, bleu, cider, rouge_l
from motiongpt.metrics.embeddings import multimodality
from motiongpt.metrics.tokens import code_counts, length_accuracy, token_distances
from motiongpt.motion_tokenizer import MotionTokenizer

if TYPE_CHECKING:
    from motiongpt.evaluation.evaluators import Evaluator


@dataclass(frozen=True)
class Written:
    """One repeat of the model: for each clip the sentence asked, codes, features (F, D);
    embeddings (N, E) by name."""

    sentences: list[str]
    codes: list[list[int]]
    motions: list[Tensor]
    embeddings: dict[str, Tensor]


# 1) Text to motion.


class ModelRow:
    """The model's row of the table: in every repeat it writes a motion for each clip's caption,
    and scores them.

    `real_codes` are the codes of the clips: reference for edit distances,
    and lengths for the policy "gt".
    """

    def __init__(
        self,
        evaluation_set: EvaluationSet,
        motion_tokenizer: MotionTokenizer,
        generator: MotionGenerator,
        real_codes: list[list[int]],
        options: T2MOptions,
    ) -> None:
        self.set = evaluation_set
        self.motion_tokenizer = motion_tokenizer
        self.generator = generator
        self.real_codes = real_codes
        self.options = options
        self.row = TableRow()
        self.several: Tensor | None = None  # (texts, 30, E), for MultiModality
        self.references: dict[str, list] = defaultdict(list)  # sentence -> codes of all clips it is a caption of
        for item, codes in zip(evaluation_set.items, real_codes, strict=True):
            # sentences that differ in spelling only are one sentence
            for sentence in {fold(caption.text) for caption in item.captions}:
                self.references[sentence].append(codes)

    def write(
        self, sentences: list[str], first_seed: int, clips: Sequence[int]
    ) -> tuple[list[list[int]], list[Tensor]]:
        """Codes and features of a motion for each sentence;
        `clips` has the index of the clip it describes.

        Features are cut to what is compared: max_frames,
        or with the policy "cut" the length of the clip.
        """
        policy = self.options.length_policy
        lengths = [len(self.real_codes[i]) for i in clips] if policy == "gt" else None
        codes = write_motions(
            self.generator, sentences, first_seed, lengths, self.options.sampling, self.options.batch_size
        )
        limit = self.set.protocol["max_frames"]
        most = [len(self.set.features[i]) if policy == "cut" else limit for i in clips]
        features = self.motion_tokenizer.decode_features(codes)
        return codes, [x[:size] for x, size in zip(features, most, strict=True)]

    def write_several(self, texts: int) -> None:
        """For MultiModality, once: 30 motions each of the first caption of `texts` clips drawn at
        random."""
        per_text = MULTIMODALITY[1]
        seed = self.set.config.seed
        # 3: a stream beside those of `RepeatDraws`
        drawn = np.random.default_rng([seed, 0, 3]).permutation(self.set.N)[:texts]
        chosen = np.repeat(drawn, per_text)
        sentences = [self.set.items[i].captions[0].text.strip() for i in chosen]
        unused = seed + self.set.config.repeats * self.set.N  # the repeats use the seeds below
        _, motions = self.write(sentences, unused, chosen)
        self.several = self.set.embed(motions).unflatten(0, (-1, per_text))

    def add_repeat(self, repeat: int, captions: Sequence[Caption], text: Tensor) -> Written:
        """Write and score the motions of one repeat; `text` (N, E) are the embeddings of the
        captions."""
        s = self.set
        sentences = [caption.text.strip() for caption in captions]
        codes, motions = self.write(sentences, s.config.seed + repeat * s.N, range(s.N))
        embeddings = {"model": s.embed(motions)}
        # the real motions at the written lengths, so that FID does not measure lengths
        if self.options.length_policy == "cut":
            embeddings["real_cut"] = s.embed([x[: len(y)] for x, y in zip(s.features, motions, strict=True)])
        spread = None
        if self.several is not None:
            spread = multimodality(self.several, s.draws.rng(repeat), MULTIMODALITY[2])
        # the groups and pairs of the other rows in this repeat
        self.row.add_matching(text, embeddings["model"], s.draws.rng(repeat))
        fid = s.fid(embeddings["model"], embeddings.get("real_cut"))
        self.row.add(s.qualities(motions), fid=fid, multimodality=spread)
        self.row.add(self._token_scores(sentences, codes))
        return Written(sentences, codes, motions, embeddings)

    def _token_scores(self, sentences: Sequence[str], codes: Sequence[list[int]]) -> dict[str, np.ndarray]:
        """Per clip: edit distances to the real codes of the same sentence,
        and length against training's median.

        Sentences that training did not show have no length scores.
        """
        edits = token_distances(codes, [self.references[fold(sentence)] for sentence in sentences])
        errors = np.full(len(codes), np.nan)
        within = np.full(len(codes), np.nan)
        for i, (sentence, row) in enumerate(zip(sentences, codes, strict=True)):
            if record := self.generator.run.prompts.find(sentence):
                accuracy = length_accuracy([len(row)], [record["median"]])
                errors[i] = accuracy["error"]
                within[i] = accuracy["within_10_percent"]
        return {f"edit_{name}": x for name, x in edits.items()} | {"length_error": errors, "length_within": within}


def _codebook(rows: Sequence[Sequence[int]], motion_tokenizer: MotionTokenizer) -> dict:
    """`code_usage` of the codes of all motions."""
    codes = [code for row in rows for code in row]
    return code_usage(code_counts(codes, motion_tokenizer.config.codes))


def evaluate_t2m(
    data: MotionDataset,
    evaluator: "Evaluator",
    motion_tokenizer: MotionTokenizer,
    generator: MotionGenerator | None = None,
    protocol: ProtocolConfig | None = None,
    options: T2MOptions | None = None,
) -> Evaluation:
    """Measure text to motion by the protocol of Guo et al. 2022.

    The table has the rows real, reconstruction, model and chance; without a `generator` there is no
    model, and the other rows say how good the motion tokenizer is. `motion_tokenizer` reads and
    writes the generator's codes.

    Raises ValueError if data, tokenizer and evaluator do not fit together,
    or fewer than two clips are usable.
    """
    protocol = protocol or ProtocolConfig()
    options = options or T2MOptions()
    facts = {}
    if generator:
        facts = run_facts(generator.run, options.sampling) | {"length_policy": options.length_policy}
    what = "t2m" if generator else "vqvae"
    s = EvaluationSet(what, data, evaluator, motion_tokenizer, protocol, facts)

    # 1) Once: what the tokenizer makes of the real motions, and what the model needs beside the repeats.
    layers = motion_tokenizer.encode_all(s.features)  # (S, Q) each
    codes = [row[:, 0].tolist() for row in layers]  # the first quantiser layer: the language model's codes
    decoded = motion_tokenizer.decode_features(layers)
    more = {
        "codebook": {"real": _codebook(codes, motion_tokenizer)},
        "lengths": {"real": [len(row) for row in codes]},
    }
    model = ModelRow(s, motion_tokenizer, generator, codes, options) if generator else None
    if model:
        more["perplexity"] = perplexities(generator, s.items, codes, options.batch_size, options.perplexity)
        if options.multimodality_texts:
            model.write_several(options.multimodality_texts)
        shape = None if model.several is None else [*model.several.shape[:2], MULTIMODALITY[2]]
        s.protocol["multimodality"] = shape

    # 2) The rows, repeat by repeat.
    rows = {"real": TableRow(), "reconstruction": TableRow()}
    rows |= {"model": model.row} if model else {}
    # the last line of the table
    rows["chance"] = TableRow()
    embeddings = {"real": s.motion, "reconstruction": s.embed(decoded)}
    qualities = {"real": s.qualities(s.features), "reconstruction": s.qualities(decoded)}
    fids = {name: s.fid(x) for name, x in embeddings.items()}
    first = None
    for repeat in tqdm(range(protocol.repeats), unit="repeat", disable=None):
        captions, text = s.draws.captions(repeat)
        for name, per_clip in qualities.items():
            rows[name].add_matching(text, embeddings[name], s.draws.rng(repeat))
            rows[name].add(per_clip, fid=fids[name])
        rows["chance"].add_matching(text, s.motion[s.draws.chance(repeat)], s.draws.rng(repeat))
        written = model.add_repeat(repeat, captions, text) if model else None
        if repeat == 0:
            first = written
            embeddings["text"] = text
            embeddings |= written.embeddings if written else {}

    # 3) The report, with the sentences and motions of the first repeat.
    if first:
        more["codebook"]["model"] = _codebook(first.codes, motion_tokenizer)
        more["lengths"]["model"] = [len(row) for row in first.codes]
    report, shown = s.report(rows, {"asked": first.sentences} if first else {}, more)
    motions = first.motions if first else decoded
    return Evaluation(report, embeddings, {rank: torch.as_tensor(motions[i]) for rank, i in shown.items()})


# 2) Motion to text.


def caption_scores(
    sentences: Sequence[str], references: Sequence[Sequence[str]], bert_model: str | None
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Scores with a value per clip, (N,), and scores of all sentences together."""
    rouge = [rouge_l([sentence], [several]) for sentence, several in zip(sentences, references, strict=True)]
    together = {f"bleu_{n}": score for n, score in enumerate(bleu(sentences, references), 1)}
    together["cider"] = cider(sentences, references)
    if bert_model:
        together["bert_score"] = bert_score(sentences, references, bert_model)
    return {"rouge_l": np.array(rouge)}, together


def evaluate_m2t(
    data: MotionDataset,
    evaluator: "Evaluator",
    motion_tokenizer: MotionTokenizer,
    generator: MotionGenerator,
    protocol: ProtocolConfig | None = None,
    options: M2TOptions | None = None,
) -> Evaluation:
    """Measure motion to text: the model's sentence against all captions of a clip,
    and against its motion.

    The table has the rows real, model and chance, of sentences. A greedy model writes once, and
    repeats only draw captions and groups. The model's sentences reach the evaluator without parts
    of speech. Raises as `evaluate_t2m`.
    """
    protocol = protocol or ProtocolConfig()
    options = options or M2TOptions()
    facts = run_facts(generator.describing_run, options.sampling)
    facts |= {"bert_model": options.bert_model} if options.bert_model else {}
    s = EvaluationSet("m2t", data, evaluator, motion_tokenizer, protocol, facts)
    # 1) once: codes, all captions, perplexity
    codes = motion_tokenizer.encode(s.features)
    references = [[caption.text for caption in item.captions] for item in s.items]
    more = {"perplexity": perplexities(generator, s.items, codes, options.batch_size, options.perplexity)}

    # 2) the rows, repeat by repeat
    rows = {name: TableRow() for name in ("real", "model", "chance")}
    embeddings = {"real": s.motion}
    first_sentences: list[str] = []
    for repeat in tqdm(range(protocol.repeats), unit="repeat", disable=None):
        _, text = s.draws.captions(repeat)
        if repeat == 0 or options.sampling.temperature > 0:  # greedy sentences are the same in every repeat
            sentences = describe_motions(generator, codes, protocol.seed + repeat * s.N, options)
            written = evaluator.embed_text(sentences)
            per_clip, together = caption_scores(sentences, references, options.bert_model)
        if repeat == 0:
            first_sentences = sentences
            embeddings |= {"model": written, "text": text}
        texts = {"real": text, "model": written, "chance": text[s.draws.chance(repeat)]}
        for name, row in texts.items():
            rows[name].add_matching(row, s.motion, s.draws.rng(repeat))
        rows["model"].add(per_clip, **together)
    # 3) the report, with the sentences of the first repeat
    report, shown = s.report(rows, {"written": first_sentences}, more)
    return Evaluation(report, embeddings, {rank: torch.as_tensor(s.features[i]) for rank, i in shown.items()})
