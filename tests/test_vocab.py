"""Motion words: the layout of ids, participants, and every spelling of motion tokens."""

import pytest
from cases import for_each
from test_text_tokenizer import TOKENIZERS
from tiny_tokenizers import CAPTIONS

from motiongpt.text_tokenizer import load_text_tokenizer, train_text_tokenizer
from motiongpt.vocab import TASK_WORDS, MotionVocab, format_motion, parse_motion

# 1) The layout of ids.


def test_layout_of_ids_is_the_documented_one():
    tokenizer = train_text_tokenizer(CAPTIONS, 300)
    vocab = MotionVocab(tokenizer, 4, ["P2", "P1", "P2"])
    n = tokenizer.size
    assert vocab.words == (
        "<MOT_BEGIN>", "<MOT_END>", "<motion_0>", "<motion_1>", "<motion_2>", "<motion_3>",
        "<T2M>", "<M2T>", "<DENOISE>", "<MOTION_MASK>", "<PID_NULL>", "<PID_P1>", "<PID_P2>",
    )  # fmt: skip
    assert (vocab.first_id, vocab.begin_id, vocab.end_id, vocab.first_motion) == (n, n, n + 1, n + 2)
    assert vocab.motion_ids([0, 3]) == [n, n + 2, n + 5, n + 1]
    assert [vocab.id(word) for word in TASK_WORDS] == [n + 6, n + 7, n + 8, n + 9, n + 10]
    assert [vocab.participant_id(name) for name in (None, "P1", "P2")] == [n + 10, n + 11, n + 12]
    assert len(vocab) == 13


@for_each("make", TOKENIZERS.values())
def test_first_id_is_the_largest_id_plus_one(make):
    tokenizer = make()
    assert tokenizer.size == max(tokenizer.full.get_vocab().values()) + 1 == len(tokenizer.full.get_vocab())
    assert MotionVocab(tokenizer, 1).first_id == tokenizer.size


@pytest.mark.parametrize("code", [-1, 4, 10**12])
def test_a_code_outside_the_codebook_is_refused(code):
    with pytest.raises(ValueError, match=f"code {code} is outside the codebook of 4"):
        MotionVocab(train_text_tokenizer(CAPTIONS, 300), 4).motion_ids([0, code])


def test_participants_are_known_or_refused_by_name():
    vocab = MotionVocab(train_text_tokenizer(CAPTIONS, 300), 4, ["P1"])
    with pytest.raises(ValueError, match="unknown participant 'P9'.*P1"):
        vocab.participant_id("P9")
    with pytest.raises(ValueError, match="unknown participant ''"):
        vocab.participant_id("")


def test_a_word_cannot_exist_twice(tmp_path):
    """A participant named NULL would share <PID_NULL>, and every later id would be off by one."""
    tokenizer = train_text_tokenizer(CAPTIONS, 300)
    with pytest.raises(ValueError, match="<PID_NULL> exists already"):
        MotionVocab(tokenizer, 4, ["NULL"])
    tokenizer.save(tmp_path, MotionVocab(tokenizer, 4).words)
    with pytest.raises(ValueError, match="<MOT_BEGIN> exists already"):
        MotionVocab(load_text_tokenizer(tmp_path), 4)


def test_unknown_words_and_empty_codebooks_are_refused():
    tokenizer = train_text_tokenizer(CAPTIONS, 300)
    with pytest.raises(ValueError, match="<NOTHING>"):
        MotionVocab(tokenizer, 4).id("<NOTHING>")
    with pytest.raises(ValueError, match="at least one code"):
        MotionVocab(tokenizer, 0)


# 2) Motion as text.


@for_each(
    "text",
    [
        "<MOT_BEGIN><motion_42><motion_18><motion_0><MOT_END>",
        "<M_START><M42><M18><M0><M_END>",
        "<motion_id_42> <motion_id_18> <motion_id_0>",
        "42 18 0",
        "42,18,0",
        "42, 18\n0\t",
        "<MOT_BEGIN> 42 <M18> <motion_0> <MOT_END>",
        "042 18 00",
    ],
)
def test_every_spelling_of_motion_is_read(text):
    assert parse_motion(text) == [42, 18, 0]


@pytest.mark.parametrize("text", ["", "   \n", "<MOT_BEGIN><MOT_END>"])
def test_no_motion_is_no_codes(text):
    assert parse_motion(text) == []


@for_each(
    "text",
    ["walk", "42 x", "-3", "1.5", "<motion_>", "<motion_4", "<motion_-4>", "[1]", "1e3", "４２", "<motion_٣>", "²"],
)
def test_anything_else_is_a_named_error(text):
    with pytest.raises(ValueError, match="not a motion token"):
        parse_motion(text)


def test_format_and_parse_are_inverse():
    codes = [0, 511, 42, 42, 7]
    assert format_motion(codes) == "<MOT_BEGIN><motion_0><motion_511><motion_42><motion_42><motion_7><MOT_END>"
    assert parse_motion(format_motion(codes)) == codes
    assert parse_motion(format_motion([])) == []
