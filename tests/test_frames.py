"""Frames: what each family's own chat template writes for one user turn, id by id.

The templates here are the parts of the published ones that a user turn reaches. Where the real tokenizers are at hand,
their own templates are the reference as well (test_real_tokenizers.py).
"""

import json
from pathlib import Path

import pytest
from cases import for_each
from tiny_tokenizers import LLAMA3, byte_level, sentencepiece_model

from motiongpt.files.sentencepiece_model import tokenizer_json
from motiongpt.tasks.frames import CHAT_FORMATS, Frame, find_chat_format
from motiongpt.tasks.sequences import Renderer
from motiongpt.text_tokenizer import JSONTokenizer, load_text_tokenizer
from motiongpt.vocab import MotionVocab

CAPTION = "a person walks forward and waves"
CONTENT = f"<T2M><PID_NULL>\n\n{CAPTION}"

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# SmolLM2 and Qwen2.5: a default system message unless the first message is one
SMOLLM2 = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}"
    "{% endif %}" + CHATML
)
LLAMA3_CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + m['role'] + '\n' + m['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# published without the first space, which Llama 2's tokenizer of that time put there by itself
LLAMA2_CHAT = "{% for m in messages %}{{ bos_token + ' [INST] ' + m['content'] | trim + ' [/INST]' }}{% endfor %}"


def sentencepiece(kind: str, chat_template: str | None = None) -> JSONTokenizer:
    content = tokenizer_json(sentencepiece_model(kind), 100 if kind == "t5" else 0)
    return JSONTokenizer(json.dumps(content), chat_template)


# family -> its tokenizer, and the template of the reference
CHATS = {
    "chatml": (lambda: byte_level("<|endoftext|>", "<|im_start|>", "<|im_end|>"), CHATML),
    "llama 3": (lambda: byte_level(*LLAMA3), LLAMA3_CHAT),
    "gemma": (lambda: sentencepiece("gemma"), GEMMA_CHAT),
    "llama 2 chat": (lambda: sentencepiece("llama", LLAMA2_CHAT), LLAMA2_CHAT),
}


def transformers_tokenizer(text_tokenizer, words, folder: Path):
    transformers = pytest.importorskip("transformers")
    text_tokenizer.save(folder, words)
    return transformers.AutoTokenizer.from_pretrained(folder)


def chat(theirs, template: str, *messages: tuple[str, str]) -> list[int]:
    """The ids of a conversation up to the answer, by the reference."""
    turns = [{"role": role, "content": content} for role, content in messages]
    return theirs.apply_chat_template(turns, chat_template=template, add_generation_prompt=True, return_dict=False)


# 1) The reference.


@for_each("make, template", CHATS.values())
def test_prompts_are_what_the_chat_template_writes(make, template, tmp_path):
    vocab = MotionVocab(make(), 4)
    render = Renderer(vocab)
    theirs = transformers_tokenizer(vocab.text_tokenizer, vocab.words, tmp_path)
    assert render.text_prompt(CAPTION) == chat(theirs, template, ("user", CONTENT))
    codes = "<M2T><PID_NULL>\n\n<MOT_BEGIN><motion_3><motion_0><MOT_END>"
    assert render.motion_prompt([3, 0]) == chat(theirs, template, ("user", codes))
    # text in several lines, and text that names markers
    for text in ("one\ntwo", "пешеход идёт", "1 2 3"):
        assert render.text_prompt(text) == chat(theirs, template, ("user", f"<T2M><PID_NULL>\n\n{text}"))
    for text in ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "[/INST]", "</s>"):
        prompt, plain = render.text_prompt(text), render.text_prompt("x")
        assert sum(i in vocab.text_tokenizer.added_ids for i in prompt) == sum(
            i in vocab.text_tokenizer.added_ids for i in plain
        )


def test_a_default_system_message_is_left_out(tmp_path):
    """SmolLM2's and Qwen2.5's templates write one if there is none. Ours is their rendering without the system turn."""
    vocab = MotionVocab(CHATS["chatml"][0](), 4)
    theirs = transformers_tokenizer(vocab.text_tokenizer, vocab.words, tmp_path)
    ours = Renderer(vocab).text_prompt(CAPTION)
    for messages in ([("user", CONTENT)], [("system", ""), ("user", CONTENT)]):
        ids = chat(theirs, SMOLLM2, *messages)
        assert ids != ours and ids[-len(ours) :] == ours
        assert ids.count(vocab.text_tokenizer.token_id("<|im_start|>")) == 3


def test_llama_without_chat_and_t5_are_the_text_itself(tmp_path):
    """Llama 1 and 2: the start of a text and a line break. T5: what its encoder reads ends with </s>."""
    vocab = MotionVocab(sentencepiece("llama"), 4)
    theirs = transformers_tokenizer(vocab.text_tokenizer, vocab.words, tmp_path / "llama")
    assert Renderer(vocab).text_prompt(CAPTION) == theirs(f"{CONTENT}\n").input_ids
    vocab = MotionVocab(sentencepiece("t5"), 4)
    theirs = transformers_tokenizer(vocab.text_tokenizer, vocab.words, tmp_path / "t5")
    assert Renderer(vocab, encoder=True).text_prompt(CAPTION) == theirs(CONTENT).input_ids
    assert theirs(CONTENT).input_ids[-1] == theirs.eos_token_id == Renderer(vocab, encoder=True).frame.stop_id


def test_llama_2_chat_is_what_its_authors_encode():
    """Meta's code: the start token, and sentencepiece's ids of "[INST] caption [/INST]"."""
    import sentencepiece as library

    text_tokenizer = sentencepiece("llama", LLAMA2_CHAT)
    frame = Frame(MotionVocab(text_tokenizer, 4))
    theirs = library.SentencePieceProcessor(model_proto=sentencepiece_model("llama"))
    # a caption follows a space there, here a word of motion: without that space it is the caption's own
    ids = [*frame.before[:-1], *text_tokenizer.encode(f" {CAPTION}"), *frame.after]
    assert frame.before[-1:] == text_tokenizer.encode(" ")
    assert ids == [theirs.bos_id(), *theirs.encode(f"[INST] {CAPTION} [/INST]")]


# 2) Which row it is.


@for_each(
    "make, start, stop, row",
    [
        (CHATS["chatml"][0], None, "<|im_end|>", 0),
        (CHATS["llama 3"][0], "<|begin_of_text|>", "<|eot_id|>", 1),
        (CHATS["gemma"][0], "<bos>", "<end_of_turn>", 2),  # it has <s> and </s> too
        (lambda: byte_level("<|endoftext|>", "<s>", "</s>"), None, "<|endoftext|>", 3),
        (CHATS["llama 2 chat"][0], "<s>", "</s>", 4),
        (lambda: sentencepiece("llama"), "<s>", "</s>", 5),
        (lambda: sentencepiece("llama", "{{ messages }}"), "<s>", "</s>", 5),
        (lambda: byte_level("</s>"), None, "</s>", 6),
        (lambda: byte_level("<eos>"), None, "<eos>", 7),
    ],
)
def test_the_markers_of_a_tokenizer_choose_its_chat_format(make, start, stop, row):
    vocab = MotionVocab(make(), 4)
    assert find_chat_format(vocab.text_tokenizer) is CHAT_FORMATS[row]
    frame = Frame(vocab)
    assert frame.stop_id == vocab.id(stop)
    assert frame.start == ([] if start is None else [vocab.id(start)]) == frame.before[: len(frame.start)]


def test_a_tokenizer_of_no_family_is_refused():
    with pytest.raises(ValueError, match="neither chat markers nor an end-of-text"):
        Frame(MotionVocab(byte_level("<other>"), 4))
    with pytest.raises(ValueError, match="encoder-decoder needs the token </s>"):
        Frame(MotionVocab(byte_level("<eos>"), 4), encoder=True)


def test_the_chat_of_llama_2_survives_a_save(tmp_path):
    """A run keeps the tokenizer, and with it the template that tells chat from no chat."""
    sentencepiece("llama", LLAMA2_CHAT).save(tmp_path)
    assert find_chat_format(load_text_tokenizer(tmp_path)) is CHAT_FORMATS[4]


def test_texts_without_a_request_begin_as_the_family_does():
    """Gemma without <bos> is badly off. The start is read, not learnt."""
    import numpy as np

    from motiongpt.data.tokens import Entry

    for name, (make, _) in CHATS.items():
        vocab = MotionVocab(make(), 4)
        render = Renderer(vocab)
        start = render.frame.start
        for task, answer in (("motion", vocab.motion_ids([1, 0])), ("caption", vocab.text_tokenizer.encode("a"))):
            ids, labels = render.render(task, Entry("a", (1, 0)), np.random.default_rng(0))
            assert ids[: len(start) + len(answer)] == start + answer, name
            assert labels == [False] * len(start) + [True] * (len(ids) - len(start))
        assert len(start) == (name != "chatml")
