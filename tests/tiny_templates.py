"""Vocabularies and renderers of every family of text tokenizers, and a file of templates as OpenMotionLab writes it."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from tiny_tokenizers import LLAMA3, SENTENCES, byte_level, sentencepiece_model

from motiongpt.files.sentencepiece_model import tokenizer_json
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.templates import Templates, built_in
from motiongpt.text_tokenizer import JSONTokenizer, TextTokenizer, train_text_tokenizer
from motiongpt.vocab import MotionVocab

CODES = 64
FAMILIES = ("qwen", "llama3", "llama", "gemma", "t5")


@cache
def tiny_vocab(family: str, codes: int = CODES) -> MotionVocab:
    """The vocabulary of a family's tiny text tokenizer, with the participant P1."""
    return MotionVocab(_text_tokenizer(family), codes, ["P1"])


def _text_tokenizer(family: str) -> TextTokenizer:
    if family == "qwen":
        return train_text_tokenizer(SENTENCES, 320)
    if family == "llama3":
        return byte_level(*LLAMA3)
    return JSONTokenizer(json.dumps(tokenizer_json(sentencepiece_model(family), 100 if family == "t5" else 0)))


def tiny_renderer(
    family: str, templates: Templates | str = "plain", codes: int = CODES, dropout: float = 0.0, **settings
) -> Renderer:
    """A renderer of any length for a family, with templates (built-in ones by name) and some of their settings.

    T5's is an encoder-decoder's, which learns no prompt.
    """
    templates = built_in(templates) if isinstance(templates, str) else templates
    t5 = family == "t5"
    settings |= {"loss_on_prompt": False} if t5 else {}
    templates = replace(templates, **settings)
    return Renderer(
        tiny_vocab(family, codes), max_seq_len=10**6, caption_dropout=dropout, encoder=t5, templates=templates
    )


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "templates.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def group(cls: str = "t2m", asked: object = ("do <Caption_Placeholder>",), answer: object = ("<Motion_Placeholder>",)):
    return {"class": cls, "input": asked, "output": answer}


OPEN_MOTION_LAB = {
    "Text-to-Motion": {
        "caption": group(asked=["Show <Caption_Placeholder>.", "I need <Caption_Placeholder>"]),
        "caption_framelen": group(asked=["<Frame_Placeholder> frames of <Caption_Placeholder>"]),
        "framelen": group("l2m", ["<Framelen_Placeholder> frames", "<Frame_Placeholder> frames, please"]),
        "random": group("n2m", ["Surprise me."]),
    },
    "Motion-to-Text": {
        "caption": group("m2t", ["What is <Motion_Placeholder>?"], ["<Caption_Placeholder>"]),
        "count-sec": group(
            "m2l", ["How long is <Motion_Placeholder>?"], ["<Second_Placeholder>", "It takes <Second_Placeholder>"]
        ),
    },
    "Text-to-Text": {
        "caption-to-seclen": group("t2t", ["How long is <Caption_Placeholder>?"], ["<Second_Placeholder> seconds"]),
        "seclen-to-caption": group("t2t", ["", "What takes <Second_Placeholder>?"], ["<Caption_Placeholder>"]),
        "random-caption": group("n2t", ["Say something."], ["<Caption_Placeholder>"]),
    },
    "Motion-to-Motion": {
        "motion_prediction": group("predict", ["Predict motion: <Motion_Placeholder_s1>"], ["<Motion_Placeholder_s2>"]),
        "motion_inbetween": group("inbetween", ["Complete the masked motion: <Motion_Placeholder_Masked>"]),
    },
}  # fmt: skip
