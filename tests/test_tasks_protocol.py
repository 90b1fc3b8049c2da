"""Requests that a published checkpoint depends on: the text of their sources, and its ids."""

import base64

import numpy as np
import pytest
from cases import for_each
from tiny_templates import CODES, OPEN_MOTION_LAB, tiny_renderer, tiny_vocab
from tiny_tokenizers import sentencepiece_model

from motiongpt.data.tokens import Entry
from motiongpt.files.sentencepiece_model import tokenizer_json
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.templates import BUILT_IN, CAPTION, built_in

INSTRUCTION = "Generate a sequence of motion tokens matching the following human motion description"
ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)


@for_each(
    "task, ending, keys",
    [
        ("t2m", ".", ""),
        ("init", " given the initial token.", "<Motion Token>5</Motion Token>"),
        ("last", " given the last token.", "<Motion Token>7</Motion Token>"),
        ("keys", " given several key tokens.", "<Motion Token>5,6,7</Motion Token>"),
    ],
)
@for_each("kind", ["llama", "gemma"])
def test_the_prompt_of_zhang_is_the_published_text_and_its_ids(task, ending, keys, kind):
    """As scripts/generate_dataset.py and scripts/prepare_motion.py of qiqiApink/MotionGPT write them. lit-llama's
    tokenizer encodes the whole text with sentencepiece, behind <s>, and in training the answer and </s> with it."""
    import sentencepiece

    theirs = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(kind))
    given = {"init": {0: 5}, "last": {-1: 7}, "keys": {0: 5, 12: 6, 20: 7}}.get(task, {})
    text = ALPACA.format(instruction=INSTRUCTION + ending, input=f"a person walks forward{keys}")
    renderer = tiny_renderer(kind, "zhang", motion_as="digits")
    ids = renderer.request(Request(task, "a person walks forward", given=given))
    assert ids == [theirs.bos_id(), *theirs.encode(text)]
    if task == "t2m":
        entry = Entry("a person walks forward", (42, 18, 9))
        ids, labels = renderer.render(task, entry, np.random.default_rng(0))
        stop = theirs.eos_id() if kind == "llama" else theirs.piece_to_id("<end_of_turn>")
        assert ids == [theirs.bos_id(), *theirs.encode(f"{text}42,18,9"), stop] and all(labels)


def test_a_filled_template_has_the_ids_of_transformers_for_the_whole_string():
    """OpenMotionLab's code fills the string, then encodes it, motions as the added tokens <motion_id_i>: codes, then
    begin, end and mask. Only a caption that spells such a token differs: here it stays text."""
    transformers = pytest.importorskip("transformers")
    content = tokenizer_json(sentencepiece_model("t5"), 100)
    charsmap = base64.b64decode(content["normalizer"]["normalizers"][0]["precompiled_charsmap"])
    pieces = [tuple(piece) for piece in content["model"]["vocab"]]
    theirs = transformers.T5Tokenizer(vocab=pieces, _spm_precompiled_charsmap=charsmap)
    theirs.add_tokens([f"<motion_id_{i}>" for i in range(CODES + 3)])
    vocab = tiny_vocab("t5")
    names = {vocab.begin_id: CODES, vocab.end_id: CODES + 1, vocab.id("<MOTION_MASK>"): CODES + 2}
    names |= {vocab.first_motion + code: code for code in range(CODES)}

    def spelt(codes) -> str:
        return "".join(f"<motion_id_{code}>" for code in (CODES, *codes, CODES + 1))

    renderer = tiny_renderer("t5", frame="none")
    codes, given = (3, 1, 4, 1, 5), {0: 3, 4: 5}
    filled = {
        "<Caption_Placeholder>": "a  person walks,\tthen waves.",
        "<Motion_Placeholder>": spelt(codes),
        "<Motion_Placeholder_s1>": spelt((3, 5)),
        "<Motion_Placeholder_Masked>": spelt((3, *[CODES + 2] * 3, 5)),
        "<Frame_Placeholder>": "20",
    }
    lab = [text for section in OPEN_MOTION_LAB.values() for part in section.values() for text in part["input"]]
    more = ["  two  blanks <Motion_Placeholder>  ", "x<Motion_Placeholder>y.", "a\n<Motion_Placeholder> (b)", ""]
    checked = 0
    for text in [
        *lab,
        *more,
        *(t for name in BUILT_IN[2:] for g in built_in(name).groups.values() for t in g[0].inputs),
    ]:
        if any(word in text for word in ("Second", "Framelen")):
            continue
        whole = text
        for placeholder, value in filled.items():
            whole = whole.replace(placeholder, value)
        request = Request("t2m", filled[CAPTION], codes, given, 5)
        ours = [
            theirs.convert_tokens_to_ids(f"<motion_id_{names[i]}>") if i in names else i
            for i in renderer.framed(text, request)
        ]
        assert ours == theirs(whole).input_ids, text
        checked += 1
    assert checked > 25
