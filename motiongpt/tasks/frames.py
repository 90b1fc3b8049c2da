"""The turn of a chat around a request, one row per family of text tokenizers.

    Qwen, SmolLM2   <|im_start|>user\\n REQUEST <|im_end|>\\n<|im_start|>assistant\\n ANSWER <|im_end|>
    Llama 3         <|begin_of_text|><|start_header_id|>user<|end_header_id|>\\n\\n REQUEST <|eot_id|>
                    <|start_header_id|>assistant<|end_header_id|>\\n\\n ANSWER <|eot_id|>
    Gemma           <bos><start_of_turn>user\\n REQUEST <end_of_turn>\\n<start_of_turn>model\\n ANSWER <end_of_turn>
    Llama 2 chat    <s> [INST] REQUEST [/INST] ANSWER </s>
    Llama 1, 2      <s> REQUEST \\n ANSWER </s>
    T5              REQUEST </s> for the encoder, ANSWER </s> for the decoder
    others          REQUEST \\n ANSWER and the end of a text

A text tokenizer belongs to the first row whose markers it has. Llama 2 with and without chat have the same tokens, so
there the chat template of the folder decides: it has [INST] or not. A row is what the family's own template writes for
one user turn without a system message. The templates of SmolLM2, Qwen2.5 and Llama 3 add a default system
message if there is none; ours never do.
"""

import re
from dataclasses import dataclass

from motiongpt.text_tokenizer import TextTokenizer
from motiongpt.vocab import MotionVocab

THINK = ("auto", "none", "empty")


@dataclass(frozen=True)
class ChatFormat:
    """A row: the text around a request, with special tokens by name."""

    markers: tuple[str, ...]  # a text tokenizer that has all of them has this format
    start: str  # the first token of every text
    before: str
    after: str
    stop: str  # ends an answer in words
    template: str = ""  # what the folder's chat template must contain
    lead: str = ""  # what the family puts before the first word of a text


CHAT_FORMATS = (
    ChatFormat(
        markers=("<|im_start|>", "<|im_end|>"),
        start="",
        before="<|im_start|>user\n",
        after="<|im_end|>\n<|im_start|>assistant\n",
        stop="<|im_end|>",
    ),
    ChatFormat(
        markers=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        start="<|begin_of_text|>",
        before="<|start_header_id|>user<|end_header_id|>\n\n",
        after="<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        stop="<|eot_id|>",
    ),
    ChatFormat(
        markers=("<bos>", "<start_of_turn>", "<end_of_turn>"),  # before Llama: Gemma has <s> and </s>, tags of HTML
        start="<bos>",
        before="<start_of_turn>user\n",
        after="<end_of_turn>\n<start_of_turn>model\n",
        stop="<end_of_turn>",
    ),
    ChatFormat(markers=("<|endoftext|>",), start="", before="", after="\n", stop="<|endoftext|>"),
    ChatFormat(
        markers=("<s>", "</s>"),
        start="<s>",
        before=" [INST] ",
        after=" [/INST]",
        stop="</s>",
        template="[INST]",
        lead=" ",
    ),
    ChatFormat(markers=("<s>", "</s>"), start="<s>", before="", after="\n", stop="</s>", lead=" "),
    ChatFormat(markers=("</s>",), start="", before="", after="\n", stop="</s>"),
    ChatFormat(markers=("<eos>",), start="", before="", after="\n", stop="<eos>"),
)
T5_FORMAT = ChatFormat(markers=("</s>",), start="", before="", after="</s>", stop="</s>")

NAMED = sorted({marker for row in CHAT_FORMATS for marker in row.markers} | {"[INST]", "[/INST]"})


def find_chat_format(text_tokenizer: TextTokenizer, encoder: bool = False) -> ChatFormat:
    """The row of a text tokenizer, of an encoder-decoder's if `encoder`. ValueError if none fits."""
    for row in (T5_FORMAT,) if encoder else CHAT_FORMATS:
        has_markers = all(text_tokenizer.token_id(marker) is not None for marker in row.markers)
        if has_markers and row.template in (text_tokenizer.chat_template or ""):
            return row
    if encoder:
        raise ValueError("the tokenizer of an encoder-decoder needs the token </s>; this one has none")
    raise ValueError("the tokenizer has neither chat markers nor an end-of-text token we know")


class Frame:
    """The turn around a request as ids: `before` + request + `after` + answer, and `stop_id` ends an answer in words.

    `start` is what a text without a request begins with, and `lead` comes before its first word. `encoder`: for an
    encoder-decoder.
    """

    def __init__(self, vocab: MotionVocab, think: str = "auto", encoder: bool = False) -> None:
        if think not in THINK:
            raise ValueError(f"--think must be one of {', '.join(THINK)}, got {think!r}")
        text_tokenizer = vocab.text_tokenizer
        chat_format = find_chat_format(text_tokenizer, encoder)
        self.start = _ids(text_tokenizer, chat_format.start)
        self.lead = chat_format.lead
        self.before = self.start + _ids(text_tokenizer, chat_format.before)
        self.after = _ids(text_tokenizer, chat_format.after)
        self.stop_id = vocab.id(chat_format.stop)
        if chat_format is CHAT_FORMATS[0]:
            self.after += _think_block(text_tokenizer, think)


def blank_before_text(text_tokenizer: TextTokenizer) -> list[int]:
    """The empty line before a sentence as ids, as if the two were encoded together.

    GPT-2's rule for words, which SmolLM2 has, gives a line break before a letter a token of its own; elsewhere two are
    one token. Other programs encode the whole prompt, and must get the ids of the training.
    """
    word = text_tokenizer.encode("a")
    both = text_tokenizer.encode("\n\na")
    return both[: -len(word)] if word and both[-len(word) :] == word else text_tokenizer.encode("\n\n")


def _think_block(text_tokenizer: TextTokenizer, think: str) -> list[int]:
    """The empty block with which Qwen3's own template opens an answer without thinking."""
    opened, closed = text_tokenizer.token_id("<think>"), text_tokenizer.token_id("</think>")
    if opened is None or closed is None:
        if think == "empty":
            raise ValueError("--think empty needs a tokenizer with <think> and </think>; this one has none")
        return []
    if think == "none":
        return []
    blank = text_tokenizer.encode("\n\n")
    return [opened, *blank, closed, *blank]


def _ids(text_tokenizer: TextTokenizer, text: str) -> list[int]:
    """A text of a row to ids: tokens by name, and what stands between them as text."""
    known = [re.escape(marker) for marker in NAMED if text_tokenizer.token_id(marker) is not None]
    ids: list[int] = []
    for i, part in enumerate(re.split(f"({'|'.join(known)})", text)):
        if i % 2:  # re.split puts what it found at the odd places
            ids.append(text_tokenizer.token_id(part))
        elif part:
            ids += text_tokenizer.encode(part)
    return ids
