"""Motions as decimal text: what is allowed, what is read, what is learnt, and that a model writes back its training."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import for_each, seeded
from tiny_templates import FAMILIES, tiny_renderer

from motiongpt.config import LLMConfig, SampleConfig
from motiongpt.data.tokens import Entry
from motiongpt.decoding import DecodingLLM
from motiongpt.generation.digits import DIGITS, read_digits, write_digits
from motiongpt.lengths import Limits
from motiongpt.llm import LLM
from motiongpt.stages.model import load_run
from motiongpt.tasks.collate import TaskCollate, lm_losses
from motiongpt.tasks.digits import ids_made_of, parse_digits, tokens_per_code
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.templates import built_in

CODES = 128
WITH_DIGITS = tuple(name for name in FAMILIES if name != "t5")  # the pieces of the tiny T5 have no digit


def digits_renderer(family: str = "qwen", templates: str = "zhang", **settings) -> Renderer:
    return tiny_renderer(family, templates, CODES, motion_as="digits", **settings)


def tiny_run(renderer: Renderer, seed: int = 0, positions: int = 1024, width: int = 32) -> SimpleNamespace:
    """What `write_digits` needs of a run, with random weights."""
    vocab = renderer.vocab
    sizes = dict(hidden_size=width, intermediate_size=2 * width, num_layers=2, head_dim=8, max_positions=positions)
    llm = LLM(LLMConfig(vocab_size=vocab.first_id, **sizes), seeded(seed))
    llm.extend(vocab.first_id, len(vocab), seeded(seed))
    config = SimpleNamespace(codes=CODES)
    return SimpleNamespace(llm=llm, model=DecodingLLM(llm.eval()), vocab=vocab, renderer=renderer, config=config)


def answer_ids(renderer: Renderer, text: str) -> list[int]:
    return renderer.vocab.text_tokenizer.encode(text)


# 1) Reading numbers.


@for_each(
    "text, codes, faults",
    [
        ("42,18,91", [42, 18, 91], []),
        ("7", [7], []),
        ("0,127", [0, 127], []),
        (" 42, 18", [42, 18], []),
        ("42 18", [42, 18], []),
        ("042,00", [42, 0], []),
        (",,3,,", [3], []),
        ("", [], ["there is no number"]),
        (",", [], ["there is no number"]),
        ("1,128,2", [1, 2], ["1 of 3 numbers is outside the codebook of 128 (0 to 127): 128"]),
        ("999,999", [], ["2 of 2 numbers are outside the codebook of 128 (0 to 127): 999"]),
        ("9" * 5000, [], [f"1 of 1 numbers is outside the codebook of 128 (0 to 127): {'9' * 20}"]),
        ("walk 3,-4", [3, 4], ["there is more than numbers and commas: 'walk'"]),
        ("٣,３", [], ["there is more than numbers and commas: '\\u0663'", "there is no number"]),
    ],
)
def test_parse_digits(text, codes, faults):
    assert parse_digits(text, CODES) == (codes, faults)


def test_any_text_is_read_and_codes_are_in_the_codebook():
    """2,000 texts of any characters, and what training writes is read back."""
    draw = np.random.default_rng(0)
    pool = list("0123456789,,,, -.\n٣²①a<>\x00🕺") + ["<motion_3>", "### Response:"]
    for _ in range(2000):
        codes, _ = parse_digits("".join(draw.choice(pool, size=draw.integers(0, 40))), CODES)
        assert all(0 <= code < CODES for code in codes)
        written = draw.integers(0, CODES, size=draw.integers(1, 60)).tolist()
        assert parse_digits(",".join(map(str, written)), CODES) == (written, [])


# 2) Ids.


@for_each("family", WITH_DIGITS)
def test_allowed_ids_are_those_of_numbers_and_write_nothing_else(family):
    renderer = digits_renderer(family)
    text_tokenizer = renderer.vocab.text_tokenizer
    allowed = ids_made_of(text_tokenizer, DIGITS)
    draw = np.random.default_rng(0)
    for _ in range(200):
        motion = draw.integers(0, CODES, size=draw.integers(1, 20)).tolist()
        *ids, stop = renderer.answer("<Motion_Placeholder>", Request("t2m", motion=motion))
        assert set(ids) <= set(allowed) and stop == renderer.frame.stop_id not in allowed
        assert len(ids) <= tokens_per_code(text_tokenizer, CODES) * len(motion)
        written = text_tokenizer.decode(draw.choice(allowed, size=30).tolist())
        assert set(written) <= set(DIGITS)
    assert not set(allowed) & set(text_tokenizer.added_ids) and max(allowed) < renderer.vocab.first_id


class Pieces:
    """A text tokenizer of whole pieces, cut greedily, that joins what it is given: `▁` is a space."""

    added_ids = (0,)

    def __init__(self, *pieces: str, before: str = "") -> None:
        self.pieces, self.size, self.before = ("</s>", *pieces), len(pieces) + 1, before

    def encode(self, text: str) -> list[int]:
        text, ids = self.before + text.replace(" ", "▁"), []
        while text:
            fitting = [i for i, piece in enumerate(self.pieces) if i and text.startswith(piece)]
            ids.append(max(fitting, key=lambda i: len(self.pieces[i])))
            text = text[len(self.pieces[ids[-1]]) :]
        return ids

    def decode(self, ids) -> str:
        text = "".join(self.pieces[i] for i in ids if i)
        return text.replace("▁", "" if self.before else " ")


@for_each(
    "pieces, before, wanted",
    [
        # numbers of several digits, as GPT-2's; a piece with a space is not how a motion is written
        (("12", "▁12", "0,", ",", "a", *"0123456789"), "", {"12", "0,", ",", *"0123456789"}),
        # single digits, as Llama's and Qwen's
        (("▁", "▁1", ",", "a", *"0123456789"), "", {",", *"0123456789"}),
        # a space before every word, as T5's: the answer may begin with it
        (("▁", "▁1", ",", "a", *"0123456789"), "▁", {"▁", "▁1", ",", *"0123456789"}),
    ],
)
def test_which_pieces_are_allowed(pieces, before, wanted):
    text_tokenizer = Pieces(*pieces, before=before)
    assert {text_tokenizer.pieces[i] for i in ids_made_of(text_tokenizer, DIGITS)} == wanted


def test_tokens_per_code_of_single_digits():
    single = Pieces(",", *"0123456789")
    assert [tokens_per_code(single, codes) for codes in (10, 11, 100, 101, 512, 1024)] == [2, 3, 3, 4, 4, 5]


# 3) Learning.


def test_new_words_have_no_part_in_the_loss_of_digits():
    """The oracle: torch's cross-entropy over the text ids alone. Nothing that a new word's row holds changes it, and
    no such row gets a gradient from the softmax. As motion words, they do both."""
    renderer = digits_renderer()
    run = tiny_run(renderer)
    entries = [Entry("a person walks", (42, 18, 91)), Entry("someone jumps", (7, 127))]
    batch = TaskCollate(entries, {"t2m": 1.0, "keys": 1.0}, renderer)(np.array([0, 1, 0]), np.random.default_rng(0))
    N = renderer.vocab.first_id
    assert batch["text_ids"] == N and int(batch["targets"].max()) < N and int(batch["ids"].max()) < N
    logits = run.llm(batch["ids"])
    assert logits.shape[-1] > N
    for smoothing in (0.0, 0.1):
        wanted = torch.nn.functional.cross_entropy(
            logits[..., :N].flatten(0, 1), batch["targets"].flatten(), ignore_index=-1, reduction="sum",
            label_smoothing=smoothing,
        )  # fmt: skip
        total, single = lm_losses(run.llm, batch, smoothing)
        # gathering before the product changes roundings only, of a sum of about 2,000
        torch.testing.assert_close(total, wanted, atol=1e-2, rtol=1e-5)
        assert single.shape == (batch["count"],)
    total.backward()
    assert run.llm.new_in.grad is None or not run.llm.new_in.grad.any()
    before = lm_losses(run.llm, batch)[0]
    with torch.no_grad():
        run.llm.new_in += 100 * torch.randn(run.llm.new_in.shape, generator=seeded(1))
    assert torch.equal(lm_losses(run.llm, batch)[0], before)
    whole = {name: value for name, value in batch.items() if name != "text_ids"}
    assert not torch.allclose(lm_losses(run.llm, whole)[0], before)
    words = TaskCollate(entries, {"t2m": 1.0}, tiny_renderer("qwen", "zhang", CODES))
    assert "text_ids" not in words(np.array([0]), np.random.default_rng(0))


@for_each("task", ["t2m", "m2t", "denoise", "motion"])
def test_a_task_that_has_words_of_motion_is_refused(task):
    with pytest.raises(ValueError, match=f"--motion-as digits needs templates that word {task}, such as"):
        TaskCollate([Entry("walks", (1, 2))], {task: 1.0}, digits_renderer("qwen", "plain"))


def test_what_digits_cannot_be_is_refused():
    with pytest.raises(ValueError, match="tokenizer cannot write digits and commas"):
        digits_renderer("t5")
    with pytest.raises(ValueError, match='loss_on_prompt needs "frame": "none"'):
        digits_renderer("qwen", "plain", loss_on_prompt=True)
    TaskCollate([Entry("walks", (1, 2))], {"caption": 1.0, "predict": 1.0}, digits_renderer("qwen", "plain"))


# 4) Sampling.


@for_each("family", WITH_DIGITS)
@for_each("temperature", [0.0, 3.0])
def test_whatever_random_weights_write_is_a_motion_and_a_report(family, temperature):
    """Codes of the codebook, at most `hard_max` of them, never an exception; the report counts what was left out."""
    renderer = digits_renderer(family)
    limits = [Limits(3, 5, 7), Limits(1, 1, 1), Limits(2, 4, 5)]
    prompts = [renderer.request(Request("t2m", text)) for text in ("a person walks", "x", "someone jumps")]
    for seed in range(2):
        run = tiny_run(renderer, seed)
        config = SampleConfig(temperature=temperature, top_p=1.0, repetition_penalty=2.0, no_repeat_ngram=1)
        motions = write_digits(run, prompts, limits, [seed, seed + 1, seed + 2], config)
        for motion, row in zip(motions, limits, strict=True):
            assert set(motion.text) <= set(DIGITS) and motion.text
            assert len(motion.codes) <= row.hard_max and all(0 <= code < CODES for code in motion.codes)
            outside = parse_digits(motion.text, CODES)[1]
            assert bool(motion.faults) or (not outside and len(motion.codes) >= row.hard_min)


def test_a_motion_does_not_depend_on_who_shares_its_batch():
    """Also where a neighbour may be longer, and where the rows need more positions together than the model has."""
    renderer = digits_renderer()
    prompts = [renderer.request(Request("t2m", text)) for text in ("walks", "a person walks forward", "jumps")]
    limits, config = [Limits(1, 2, 2), Limits(1, 5, 10), Limits(1, 1, 1)], SampleConfig(temperature=1.0, top_p=1.0)
    longest = max(map(len, prompts))
    cut = 0
    for positions in (1024, longest + 20):
        run = tiny_run(renderer, positions=positions)
        for seed in range(4):
            together = write_digits(run, prompts, limits, [seed, seed + 1, seed + 2], config)
            for b in range(3):
                alone = write_digits(run, prompts[b : b + 1], limits[b : b + 1], [seed + b], config)
                assert alone == together[b : b + 1]
                cut += "cut off" in str(alone[0].faults) or "are kept" in str(alone[0].faults)
    assert cut > 0  # or the bound of a row was never reached
    with pytest.raises(ValueError, match="shorten it"):
        write_digits(tiny_run(renderer, positions=longest), prompts, limits, [5, 6, 7], config)


def test_penalties_on_codes_are_not_penalties_on_digits():
    renderer = digits_renderer()
    run, prompts = tiny_run(renderer), [renderer.request(Request("t2m", "walks"))]
    plain, limits = SampleConfig(temperature=1.0), [Limits(1, 5, 10)]
    for seed in range(3):
        strict = SampleConfig(temperature=1.0, repetition_penalty=3.0, no_repeat_ngram=1)
        assert write_digits(run, prompts, limits, [seed], strict) == write_digits(run, prompts, limits, [seed], plain)


@for_each(
    "text, is_cut, given, codes, faults",
    [
        ("42,18,91", False, {}, [42, 18, 91], []),
        ("42,18,91", True, {}, [42, 18], ["cut off after"]),
        ("42,18,", True, {}, [42, 18], ["cut off after"]),
        ("42", True, {}, [], ["there is no number", "cut off after", "at least 2 were wanted"]),
        ("1,2,3,4,5,6", False, {}, [1, 2, 3, 4], ["6 codes were written, the first 4 are kept"]),
        ("1,2,3,4,5,6", True, {}, [1, 2, 3, 4], ["5 codes were written, the first 4 are kept"]),
        ("1,500,3", False, {}, [1, 3], ["1 of 3 numbers is outside"]),
        ("7", False, {}, [7], ["1 codes were written, at least 2 were wanted"]),
        ("5,6,7", False, {0: 5, 2: 7}, [5, 6, 7], []),
        ("5,6,7", False, {0: 6, 1: 6, 9: 1}, [5, 6, 7], ["given codes are not at their positions: 0, 9"]),
    ],
)
def test_no_motion_ends_in_the_middle_of_a_number(text, is_cut, given, codes, faults):
    renderer = digits_renderer()
    run = SimpleNamespace(vocab=renderer.vocab, config=SimpleNamespace(codes=CODES))
    motion = read_digits(run, answer_ids(renderer, text), is_cut, Limits(2, 3, 4), given)
    assert (motion.codes, motion.text, len(motion.faults)) == (codes, text, len(faults))
    assert all(part in line for part, line in zip(faults, motion.faults, strict=True))


def learn(renderer: Renderer, entries: list[Entry], steps: int, width: int = 64) -> SimpleNamespace:
    """A tiny model trained on text to motion."""
    run = tiny_run(renderer, width=width)
    run.llm.train()
    collate = TaskCollate(entries, {"t2m": 1.0}, renderer)
    optimizer = torch.optim.AdamW(run.llm.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(steps):
        draw = np.random.default_rng(step)
        batch = collate(draw.integers(len(entries), size=10), draw)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, step / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
        total, _ = lm_losses(run.llm, batch)
        optimizer.zero_grad()
        (total / batch["count"]).backward()
        torch.nn.utils.clip_grad_norm_(run.llm.parameters(), 1.0)
        optimizer.step()
    run.llm.eval()
    return run


@pytest.mark.slow
def test_a_small_model_writes_back_the_motions_it_learnt():
    """20 captions with a motion each, 400 steps: the greedy answer is the motion of training, in numbers."""
    draw = np.random.default_rng(0)
    verbs, ways = ("walks", "runs", "jumps", "waves", "sits"), ("forward", "backward", "left", "twice")
    texts = [f"a person {verb} {way}" for verb in verbs for way in ways]
    entries = [Entry(text, tuple(draw.integers(0, CODES, size=draw.integers(4, 12)).tolist())) for text in texts]
    # the frame alone: the Alpaca prompt is long, and a test should be quick
    renderer = digits_renderer("qwen", built_in("myoskeleton-pretrain"), quote_share=0.0)
    run = learn(renderer, entries, 400)
    prompts = [renderer.request(Request("t2m", entry.text)) for entry in entries]
    limits = [Limits(1, len(entry.codes), 16) for entry in entries]
    motions = write_digits(run, prompts, limits, [0] * 20, SampleConfig(temperature=0.0))
    assert [(motion.codes, motion.faults) for motion in motions] == [(list(entry.codes), ()) for entry in entries]


def test_a_trained_run_of_digits_is_loaded_and_writes(tiny, tmp_path):
    """Its stage keeps the setting. No gradient reaches the new words, so their rows stay as they were drawn."""
    templates = replace(built_in("zhang"), motion_as="digits")
    tasks = {"t2m": 0.25, "init": 0.25, "last": 0.25, "keys": 0.25}
    tiny.finetune(tmp_path, 1, tasks=tasks, templates=templates)
    run = load_run(tmp_path)
    assert run.renderer.templates.motion_as == "digits" and run.renderer.templates.loss_on_prompt
    requests = [Request("t2m", "a person walks forward"), Request("init", "a person walks forward", given={0: 5})]
    prompts = [run.renderer.request(request) for request in requests]
    motions = write_digits(run, prompts, [Limits(2, 3, 4)] * 2, [0, 1], SampleConfig(), [{}, {0: 5}])
    assert all(len(motion.codes) <= 4 and max(motion.codes, default=0) < run.config.codes for motion in motions)
    assert all(motion.faults or motion.codes for motion in motions)
