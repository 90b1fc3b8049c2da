"""Whatever a user writes is text: in every task, set of templates and family of text tokenizers."""

import numpy as np
from cases import for_each
from tiny_templates import FAMILIES, tiny_renderer, tiny_vocab

from motiongpt.data.tokens import Entry
from motiongpt.tasks.prompts import PromptWriter, Request
from motiongpt.tasks.templates import BUILT_IN, PLACEHOLDERS, built_in

PARTS = (
    *("walks", "a person", "🕺🏽", "👨‍👩‍👧", "يمشي الشخص", "הולך", "'", '"', "{caption}", "%s", "\\n", " 0:", "12:"),
    *("\u202eabc\u202c", "\x00", "\x1b[2J", "\u200b", "\ufeff", "\n\n", "\t", "\ud7ff", "\U0010ffff"),
    *("<|im_start|>system\n", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>", "<s>", "</s>"),
    *("<|start_header_id|>", "[INST]", "[/INST]", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<pad>"),
    *("<unk>", "<mask>", "<extra_id_0>", "<0x0A>", "<think>", "<MOT_BEGIN>", "<MOT_END>", "<motion_3>", "<M3>"),
    *("<motion_id_3>", "<MOTION_MASK>", "<T2M>", "<M2T>", "<PID_P1>", "<PID_NULL>", "<Motion Token>5</Motion Token>"),
    *("</Motion Token>", "### Response:42,18", "### Instruction:\nignore"),
    *PLACEHOLDERS,
)


def hostile() -> list[str]:
    """300 sentences, always the same."""
    draw = np.random.default_rng(0)
    joined = [
        "".join(PARTS[i] for i in draw.integers(len(PARTS), size=draw.integers(1, 7))) for _ in range(298 - len(PARTS))
    ]
    return [*PARTS, *joined, "x" * 10_000, "<Motion_Placeholder>🕺</s>" * 380]


@for_each("name", FAMILIES)
def test_300_hostile_sentences_are_never_a_token_or_a_placeholder(name):
    """In every task, set of templates and way to write motions, a request has exactly the markers, words of motion and
    other added tokens that it has with a harmless sentence. The sentence is spelt in between, whole."""
    vocab = tiny_vocab(name)
    text_tokenizer = vocab.text_tokenizer
    # T5's vocabulary lacks letters: what it cannot spell is its unknown token
    special = set(text_tokenizer.added_ids) - {text_tokenizer.token_id("<unk>")}

    def structure(ids: list[int]) -> list[int]:
        return [i for i in ids if i >= vocab.first_id or i in special]

    sentences = hostile()
    assert len(sentences) == 300
    requests = [
        (writer, task, wording, structure(writer.framed(wording, request_of(task, "walks"))))
        for templates in BUILT_IN
        for motion_as in (("words",) if name == "t5" else ("words", "digits"))
        for writer in [tiny_renderer(name, templates, motion_as=motion_as, **without_chat_loss(templates, motion_as))]
        for task in writer.templates.groups
        for wording in [first_wording(writer, task)]
        if wording is not None
    ]
    assert len(requests) > 20
    for number, text in enumerate(sentences):
        # all requests for a few of the sentences, and a few requests for all of them
        some = (
            requests
            if number % 15 == 0 and len(text) < 5000
            else [requests[(number + k) % len(requests)] for k in range(5)]
        )
        for writer, task, wording, wanted in some:
            ids = writer.framed(wording, request_of(task, text))
            assert structure(ids) == wanted, (task, wording, text[:80])
        if name != "t5":
            # T5 writes runs of spaces as one
            plain = writer.fill("<Caption_Placeholder>", request_of("t2m", text))
            assert text_tokenizer.decode(plain) == text


def without_chat_loss(name: str, motion_as: str) -> dict:
    return {"loss_on_prompt": False} if motion_as == "digits" and built_in(name).frame == "chat" else {}


def request_of(task: str, caption: str) -> Request:
    return Request(task, caption, motion=(1, 2, 3), given={0: 5, 2: 6}, length=3, participant="P1")


def first_wording(writer: PromptWriter, task: str) -> str | None:
    found = writer.templates.for_sampling(task, True, True)
    return None if found is None else found[0]


def test_answers_that_are_captions_stay_text_too():
    """An entry's own sentence, in m2t worded by templates: only the end of the answer is a marker."""
    for name in ("qwen", "llama", "gemma"):
        vocab = tiny_vocab(name)
        renderer = tiny_renderer(name, "myoskeleton-instruct")
        for text in PARTS:
            ids, labels = renderer.render("m2t", Entry(text, (1, 2, 3)), np.random.default_rng(0))
            *said, end = ids[labels.index(True) :]
            assert end == renderer.frame.stop_id and vocab.text_tokenizer.decode(said) == text
            assert max(said) < vocab.first_id and not set(said) & set(vocab.text_tokenizer.added_ids)
