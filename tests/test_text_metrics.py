"""Caption metrics against numbers worked out by hand, and against nltk and rouge-score where they are installed."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from motiongpt.text_metrics import bert_score, bleu, cider, common_subsequence, rouge_l, words

TEXTS = ["a person walks forward slowly", "the man jumps twice and then sits down on a chair", "she waves"]
REFERENCES = [
    ["a person walks slowly forward", "someone is walking forward slowly"],
    ["a man jumps two times and sits down", "the man jumps and then sits down on the chair"],
    ["she waves with her right hand", "a woman waves"],
]


def test_words():
    assert words("He's LEFT-handed, turns 90 degrees.") == ["he's", "left-handed", "turns", "90", "degrees"]
    assert words(" ... ") == []


def test_bleu_by_hand():
    """the the the cat / the cat sat: 'the' counts once, so 2 of 4 words; 1 of 3 pairs; longer, so no penalty."""
    one, two, three, four = bleu(["the the the cat"], [["the cat sat"]])
    assert one == pytest.approx(2 / 4)
    assert two == pytest.approx(math.sqrt(2 / 4 * 1 / 3))
    assert (three, four) == (0.0, 0.0)
    # two of two words, but the nearest reference has three: exp(1 - 3 / 2)
    assert bleu(["a b"], [["a b c d e", "a b c"]])[0] == pytest.approx(math.exp(-0.5))
    # lengths 2 and 4 are equally near to 3: the shorter, so no penalty
    assert bleu(["a b c"], [["a b", "a b c d"]])[0] == 1.0
    assert bleu(["x"], [["y"]]) == (0.0, 0.0, 0.0, 0.0) == bleu([""], [["y"]])


def test_bleu_is_of_the_corpus():
    """Counts are added before they are divided: 1 of 1 and 0 of 3 words give 1 / 4, not a mean of 1 / 2."""
    assert bleu(["a", "x y z"], [["a"], ["b c d"]])[0] == pytest.approx(1 / 4)


def test_bleu_against_nltk():
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    texts, references = TEXTS[:2], REFERENCES[:2]  # nltk counts one n-gram for a text of fewer than n words
    ours = bleu(texts, references)
    for n in range(1, 5):
        wanted = nltk.corpus_bleu(
            [[words(r) for r in several] for several in references], [words(t) for t in texts], weights=[1 / n] * n
        )
        assert ours[n - 1] == pytest.approx(wanted)


def test_rouge_l_by_hand():
    assert common_subsequence("abcbdab", "bdcaba") == 4  # the textbook's example
    # common: a c; P = 2 / 3, R = 2 / 4, beta^2 = 1.44
    wanted = 2.44 * (2 / 3) * (1 / 2) / (1 / 2 + 1.44 * 2 / 3)
    assert rouge_l(["a b c"], [["a x c y"]]) == pytest.approx(wanted)
    # the best P of one reference and the best R of another
    assert rouge_l(["a b"], [["a", "a b c d"]]) == pytest.approx(1.0)
    assert rouge_l(["a", ""], [["a"], ["b"]]) == pytest.approx(0.5)


def test_rouge_l_against_rouge_score():
    rouge = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    for text, (reference, _) in zip(TEXTS, REFERENCES, strict=True):
        wanted = rouge.score(reference, text)["rougeL"].fmeasure
        assert rouge_l([text], [[reference]], beta=1.0) == pytest.approx(wanted)


def test_cider_by_hand():
    """Two texts, so a word of one set of references weighs log 2 and a word of both 0."""
    # p q / p q: cosine 1 for words and for the pair, nothing for three and four words: 10 x 2 / 4; x y against z: 0
    assert cider(["p q", "x y"], [["p q"], ["z"]]) == pytest.approx((5 + 0) / 2)
    # 'a' is in both and weighs nothing: words p against p 1; pairs (a p) 1; x against y 0, pairs 0
    assert cider(["a p", "a x"], [["a p"], ["a y"]]) == pytest.approx((5 + 0) / 2)
    # one word against two: words cosine 1 / sqrt 2, nothing else, one word's difference
    wanted = 10 * math.exp(-1 / 72) / math.sqrt(2) / 4
    assert cider(["p", "x"], [["p q"], ["z"]]) == pytest.approx(wanted / 2)
    # repeating does not pay: weights 2 and 1 cut to 1 each against |(2, 1)| |(1, 1)|; of 2 pairs, p q is common
    wanted = 10 * math.exp(-1 / 72) * (2 / math.sqrt(10) + 1 / math.sqrt(2)) / 4
    assert cider(["p p q", "x"], [["p q"], ["z"]]) == pytest.approx(wanted / 2)
    # the mean over references
    assert cider(["p q", "x"], [["p q", "r s"], ["z"]]) == pytest.approx(5 / 2 / 2)
    assert cider(["a b"], [["a b"]]) == 0.0  # one text alone: everything is in every text


def test_perfect_captions():
    perfect = [texts[0] for texts in REFERENCES]
    assert bleu(perfect, REFERENCES) == pytest.approx((1, 1, 1, 1))
    assert rouge_l(perfect, REFERENCES) == pytest.approx(1)
    alone = [[text] for text in perfect]
    assert cider(perfect, alone) == pytest.approx(10)
    assert cider(TEXTS, REFERENCES) < cider(perfect, REFERENCES)


def test_mistakes():
    for metric in (bleu, rouge_l, cider):
        with pytest.raises(ValueError, match="got 1 and 2"):
            metric(["a", "b"], [["a"]])
        with pytest.raises(ValueError, match="references of text 1 must be a list of at least one text"):
            metric(["a", "b"], [["a"], []])
        with pytest.raises(ValueError, match="must be a list"):
            metric(["a"], ["a"])
        with pytest.raises(ValueError, match="got 0 and 0"):
            metric([], [])


def test_bert_score_asks_its_package(monkeypatch):
    """The package is an extra: what it is asked and what is made of its answer; and a line where it is not there."""
    calls = []

    def score(hypotheses, references, model_type):
        calls.append((hypotheses, references, model_type))
        return None, None, np.array([0.5, 0.7])

    monkeypatch.setitem(sys.modules, "bert_score", SimpleNamespace(score=score))
    assert bert_score(["a", "b"], [["a"], ("c", "d")], "tiny") == pytest.approx(0.6)
    assert calls == [(["a", "b"], [["a"], ["c", "d"]], "tiny")]
    monkeypatch.setitem(sys.modules, "bert_score", None)
    with pytest.raises(ValueError, match="BERTScore needs the package bert-score: pip install"):
        bert_score(["a"], [["a"]], "tiny")
