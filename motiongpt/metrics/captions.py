"""How well written captions match reference captions:
BLEU, ROUGE-L and CIDEr count words, BERTScore uses a package.

The numbers are those of the public coco-caption code (pycocoevalcap), which the field reports.
`caption_words` splits a text. Every metric takes hypotheses, one text per motion, and references, a
list of at least one text per motion.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

Ngrams = Counter[tuple[str, ...]]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def caption_words(text: str) -> list[str]:
    """Lower-case words, inner apostrophes and hyphens kept:
    "He's left-handed." -> he's left-handed."""
    return _WORD.findall(text.lower())


def ngrams(tokens: Sequence[str], n: int) -> Ngrams:
    """How often each sequence of n words occurs."""
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _corpus(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[list[str], list[list[str]]]]:
    if len(hypotheses) != len(references) or not len(hypotheses):
        raise ValueError(f"expected as many references as hypotheses, got {len(references)} and {len(hypotheses)}")
    for i, texts in enumerate(references):
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"references of text {i} must be a list of at least one text")
    return [
        (caption_words(text), [caption_words(r) for r in texts])
        for text, texts in zip(hypotheses, references, strict=True)
    ]


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float, float, float]:
    """BLEU-1 ... BLEU-4 of the whole corpus (Papineni et al. 2002, section 2.3), 0 to 1.

    The geometric mean of the shares of n-grams that occur in a reference, each counted at most as
    often as there. If the texts (h words in all) are shorter than their references (r words), it is
    multiplied by exp(1 - r / h). The reference nearest in length counts, the shorter of two equally
    near ones. No smoothing: without a common n-gram the score is 0.
    """
    matched = [0] * 4
    total = [0] * 4
    hypothesis_length = 0
    reference_length = 0
    for text, texts in _corpus(hypotheses, references):
        hypothesis_length += len(text)
        # a tie goes to the shorter reference: tuples compare by their second number
        reference_length += min((abs(len(r) - len(text)), len(r)) for r in texts)[1]
        for n in range(1, 5):
            most = Counter()  # an n-gram counts at most as often as in the reference that has it most
            for reference in texts:
                most |= ngrams(reference, n)
            counts = ngrams(text, n)
            matched[n - 1] += (counts & most).total()
            total[n - 1] += counts.total()
    # without a common word no longer n-gram matches either, and the texts may be empty
    if not matched[0]:
        return 0.0, 0.0, 0.0, 0.0
    penalty = min(0.0, 1 - reference_length / hypothesis_length)
    # t may be 0 if all texts are shorter than n words; then m is 0 as well
    logs = [math.log(m / t) if m else -math.inf for m, t in zip(matched, total, strict=True)]
    return tuple(math.exp(penalty + sum(logs[:n]) / n) for n in range(1, 5))


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    # row[j] is the length for the words of a so far and the first j words of b
    row = [0] * (len(b) + 1)
    for x in a:
        before = row
        row = [0]
        for j, y in enumerate(b):
            row.append(before[j] + 1 if x == y else max(before[j + 1], row[j]))
    return row[-1]


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]], beta: float = 1.2) -> float:
    """ROUGE-L (Lin 2004, equations 2 to 4), the mean over texts, 0 to 1.

    P and R are the length of the longest common subsequence divided by the words of the text and of
    the reference, each the best over the references; F = (1 + beta^2) P R / (R + beta^2 P).
    coco-caption takes beta 1.2, rouge-score 1.
    """
    scores = []
    for text, texts in _corpus(hypotheses, references):
        lengths = [(common_subsequence(text, reference), len(reference)) for reference in texts]
        # the two may come from different references, as in coco-caption
        precision = max(common / max(1, len(text)) for common, _ in lengths)
        recall = max(common / max(1, size) for common, size in lengths)
        both = recall + beta**2 * precision
        scores.append((1 + beta**2) * precision * recall / both if both else 0.0)
    return sum(scores) / len(scores)


def cider(hypotheses: Sequence[str], references: Sequence[Sequence[str]], sigma: float = 6.0) -> float:
    """CIDEr-D with sigma 6 (Vedantam et al. 2015; cider_scorer.py of coco-caption),
    the mean over texts, 0 to 10.

    coco-caption calls this CIDEr; the paper's plain CIDEr neither clips weights nor looks at
    lengths. nlg-metricverse computes CIDEr-D too, and MotionGPT prints 100 times its number. It
    splits at spaces only, so "Walks." is not "walks", and sentences as people write them score
    lower than here.

    An n-gram has the weight log(texts / texts whose references have it): an n-gram of every caption
    counts nothing, and a single text scores 0. For n = 1 ... 4 take the cosine of text and
    reference, with the text's weights clipped to the reference's, times exp(-(difference in
    words)^2 / 2 sigma^2). The score is 10 times the mean over n and references.
    """
    corpus = _corpus(hypotheses, references)
    seen: Counter = Counter()  # n-gram -> number of texts whose references have it
    for _, texts in corpus:
        # a set: an n-gram counts once per text, however often its references repeat it
        seen.update({gram for reference in texts for n in range(1, 5) for gram in ngrams(reference, n)})

    def weights(tokens: list[str], n: int) -> dict[tuple[str, ...], float]:
        # an n-gram that no reference has is as rare as one of a single text
        return {g: count * math.log(len(corpus) / max(1, seen[g])) for g, count in ngrams(tokens, n).items()}

    def cosine(text: list[str], reference: list[str], n: int) -> float:
        a, b = weights(text, n), weights(reference, n)
        size = math.hypot(*a.values()) * math.hypot(*b.values())
        # min: repeating a word of the reference gains nothing
        return sum(min(w, b[g]) * b[g] for g, w in a.items() if g in b) / size if size else 0.0

    scores = []
    for text, texts in corpus:
        for reference in texts:
            penalty = math.exp(-((len(text) - len(reference)) ** 2) / (2 * sigma**2))
            similarity = sum(cosine(text, reference, n) for n in range(1, 5)) / 4
            scores.append(10 * penalty * similarity / len(texts))
    return sum(scores) / len(corpus)


def bert_score(hypotheses: Sequence[str], references: Sequence[Sequence[str]], model: str) -> float:
    """BERTScore F1 (Zhang et al. 2020), the mean over texts,
    each against the reference that suits it best.

    Computed by the package `bert-score` (extra `eval`), which compares what words mean in their
    sentence. As in MotionGPT, scores are rescaled so that two unrelated English sentences get 0,
    and words are weighted by their rarity in the references. Scores of different models are not
    comparable. An empty text is 0 before rescaling.

    `model` is a name that the package knows, such as roberta-large (MotionGPT's choice), or a
    folder of that name with the model; only the folder works offline. The package says which layer
    is read.

    Raises ValueError if the package is not installed, knows no layer or baseline for the name,
    or cannot load it.
    """
    _corpus(hypotheses, references)
    try:
        import bert_score as package
    except ModuleNotFoundError as error:
        raise ValueError("BERTScore needs the package bert-score: pip install 'motiongpt[eval]'") from error
    # a folder of that name, such as models/roberta-large, has the layer and baseline of the name
    layers, place = package.utils.model2layers, f"/{Path(model).as_posix()}"
    name = next((name for name in layers if place.endswith(f"/{name}")), model)
    baselines = Path(package.__file__).parent / "rescale_baseline" / "en" / f"{name}.tsv"
    if name not in layers or not baselines.is_file():
        raise ValueError(
            f"bert-score has no layer and baseline for {model!r}; take roberta-large, or a folder of that name"
        )
    spoken = [text if text.strip() else "." for text in hypotheses]  # transformers 5 fails on an empty text
    try:
        _, _, f1 = package.score(
            spoken,
            [list(texts) for texts in references],
            model_type=model,
            num_layers=layers[name],
            lang="en",
            idf=True,
            rescale_with_baseline=True,
            baseline_path=str(baselines),
            nthreads=0,  # do not fork a process with threads
        )
    except OSError as error:
        raise ValueError(
            f"{model!r} for BERTScore is no folder and cannot be fetched; offline, name a folder"
        ) from error
    lowest = float(baselines.read_text().splitlines()[1 + layers[name]].split(",")[3])  # LAYER,P,R,F
    # an empty text gets a rescaled 0, whatever the full stop in its place has scored
    scores = [float(x) if text.strip() else -lowest / (1 - lowest) for x, text in zip(f1, hypotheses, strict=True)]
    return sum(scores) / len(scores)
