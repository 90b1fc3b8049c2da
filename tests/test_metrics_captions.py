"""Caption metrics against numbers worked out by hand, and against nltk and rouge-score if they are installed."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from motiongpt.metrics.captions import bert_score, bleu, caption_words, cider, common_subsequence, rouge_l

TEXTS = ["a person walks forward slowly", "the man jumps twice and then sits down on a chair", "she waves"]
REFERENCES = [
    ["a person walks slowly forward", "someone is walking forward slowly"],
    ["a man jumps two times and sits down", "the man jumps and then sits down on the chair"],
    ["she waves with her right hand", "a woman waves"],
]


def test_caption_words():
    assert caption_words("He's LEFT-handed, turns 90 degrees.") == ["he's", "left-handed", "turns", "90", "degrees"]
    assert caption_words(" ... ") == []


def test_bleu_by_hand():
    """the the the cat / the cat sat: "the" counts once, so 2 of 4 words and 1 of 3 pairs match; longer: no penalty."""
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


@pytest.mark.slow
def test_bleu_against_nltk():
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    texts, references = TEXTS[:2], REFERENCES[:2]  # nltk counts one n-gram for a text of fewer than n words
    ours = bleu(texts, references)
    references_words = [[caption_words(r) for r in several] for several in references]
    for n in range(1, 5):
        wanted = nltk.corpus_bleu(references_words, [caption_words(t) for t in texts], weights=[1 / n] * n)
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
    """With two texts, a word in the references of one weighs log 2, a word in both weighs 0."""
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


def test_cider_against_coco_caption():
    """The numbers of pycocoevalcap 1.2 (Cider, n = 4, sigma = 6) for the same words: it is CIDEr-D."""
    assert cider(TEXTS, REFERENCES) == pytest.approx(2.847873484617518, rel=1e-12)  # float64 sums in another order
    # words said twice, texts much longer and shorter than their references, a text without a known word, none at all
    texts = ["the man walks walks and walks and then the man sits", "he jumps", "zigzag", ""]
    references = [["the man walks", "a man walks and sits down"], ["he jumps and jumps and turns and jumps again left"],
                  ["a person turns"], ["the man sits", "he sits"]]  # fmt: skip
    assert cider(texts, references) == pytest.approx(0.5228967425437301, rel=1e-12)
    assert cider(texts, references, sigma=60.0) == pytest.approx(1.1397227363648934, rel=1e-12)


def test_bleu_and_rouge_against_coco_caption():
    """pycocoevalcap 1.2, Bleu(4) with the closest reference and Rouge, on the same words."""
    wanted = (0.9444444443395061, 0.7934920475232983, 0.6401640846489541, 0.4786036184411678)
    assert bleu(TEXTS, REFERENCES) == pytest.approx(wanted, rel=1e-8)  # theirs adds 1e-9 to counts
    assert rouge_l(TEXTS, REFERENCES) == pytest.approx(0.7077378485584038, rel=1e-12)


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


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A stand-in with the names of bert-score that are used: it knows three models and has a baseline for two."""
    calls = []

    def score(hypotheses, references, **how):
        calls.append((hypotheses, references, how))
        if how["model_type"] == "offline/tiny":
            raise OSError("We couldn't connect to 'https://huggingface.co'\nCheck your internet connection")
        return None, None, np.array([0.5, 0.7])

    (tmp_path / "rescale_baseline" / "en" / "offline").mkdir(parents=True)
    for name in ("tiny", "offline/tiny"):
        rows = "LAYER,P,R,F\n0,0.1,0.1,0.1\n1,0.2,0.2,0.2\n2,0.3,0.4,0.5\n"
        (tmp_path / "rescale_baseline" / "en" / f"{name}.tsv").write_text(rows)
    utils = SimpleNamespace(model2layers={"tiny": 2, "bare": 1, "offline/tiny": 2})
    stand_in = SimpleNamespace(score=score, utils=utils, __file__=str(tmp_path / "__init__.py"), calls=calls)
    monkeypatch.setitem(sys.modules, "bert_score", stand_in)
    return stand_in


@pytest.mark.parametrize("model", ["tiny", "/models/tiny"])
def test_bert_score_asks_its_package(package, tmp_path, model):
    assert bert_score(["a", "b"], [["a"], ("c", "d")], model) == pytest.approx(0.6)
    how = {"model_type": model, "num_layers": 2, "lang": "en", "idf": True, "rescale_with_baseline": True,
           "baseline_path": str(tmp_path / "rescale_baseline" / "en" / "tiny.tsv"), "nthreads": 0}  # fmt: skip
    assert package.calls == [(["a", "b"], [["a"], ["c", "d"]], how)]


def test_bert_score_of_an_empty_text(package):
    """0 rescaled by a baseline of 0.5 is -1, whatever score the package gives the dot in its place."""
    assert bert_score(["a", " "], [["a"], ["b"]], "tiny") == pytest.approx((0.5 - 1) / 2)
    assert package.calls[0][0] == ["a", "."]


def test_bert_score_mistakes(package, monkeypatch):
    for model in ("unknown", "bare", "/models/shiny"):
        with pytest.raises(ValueError, match=f"bert-score has no layer and baseline for '{model}'"):
            bert_score(["a", "b"], [["a"], ["b"]], model)
    with pytest.raises(
        ValueError, match="'offline/tiny' for BERTScore is no folder .* offline, name a folder"
    ) as error:
        bert_score(["a", "b"], [["a"], ["b"]], "offline/tiny")
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "bert_score", None)
    with pytest.raises(ValueError, match="BERTScore needs the package bert-score: pip install"):
        bert_score(["a"], [["a"]], "tiny")


def test_bert_score_by_the_package_itself(tmp_path):
    """A tiny random encoder in a folder with a published name: rarity, layer, best reference, rescaling by hand."""
    package = pytest.importorskip("bert_score", reason="the package bert-score (extra `eval`) is not installed")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "bert-base-uncased"
    entries = "[PAD] [UNK] [CLS] [SEP] [MASK] a person walks jumps someone slowly the man .".split()
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(entries))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 32}')
    config = transformers.BertConfig(
        vocab_size=len(entries), hidden_size=16, num_hidden_layers=10, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, initializer_range=0.5,
    )  # fmt: skip
    encoder = transformers.BertModel(config).eval()
    encoder.save_pretrained(folder)
    texts, references = (
        ["a person walks", "the man jumps"],
        [["a person walks slowly", "someone walks"], ["a man jumps"]],
    )

    ids = {word: i for i, word in enumerate(entries)}

    def embed(text):
        rows = [2, *(ids[word] for word in text.split()), 3]
        with torch.inference_mode():
            hidden = encoder(torch.tensor([rows]), output_hidden_states=True).hidden_states[9][0]
        return rows, hidden / hidden.norm(dim=-1, keepdim=True)

    everything = [text for several in references for text in several]
    rarity = {i: math.log(4 / (1 + sum(i in embed(text)[0] for text in everything))) for i in range(len(entries))}

    def f1(text, reference):
        (rows, a), (others, b) = embed(text), embed(reference)
        similar = a @ b.T
        shares = [sum(rarity[i] * float(x) for i, x in zip(which, best, strict=True)) / sum(map(rarity.get, which))
                  for which, best in ((rows, similar.amax(1)), (others, similar.amax(0)))]  # fmt: skip
        return 2 * shares[0] * shares[1] / sum(shares)

    baseline = Path(package.__file__).parent / "rescale_baseline" / "en" / "bert-base-uncased.tsv"
    lowest = float(baseline.read_text().splitlines()[10].split(",")[3])
    raw = np.mean([max(f1(text, r) for r in several) for text, several in zip(texts, references, strict=True)])
    assert lowest > 0.1  # rescaling is seen
    got = bert_score(texts, references, str(folder))
    assert got == pytest.approx((raw - lowest) / (1 - lowest), abs=1e-4)  # float32 encoders
    with_empty = bert_score([texts[0], ""], references, str(folder))
    first = max(f1(texts[0], r) for r in references[0])
    assert with_empty == pytest.approx(((first + 0) / 2 - lowest) / (1 - lowest), abs=1e-4)
