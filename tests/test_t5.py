"""T5 against `transformers` on tiny random weights, its files, its batches, and hidden spans."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import for_each, seeded
from tiny_tokenizers import sentencepiece_model

from motiongpt import lora
from motiongpt.backbones.t5 import T5, T5Config
from motiongpt.config import LLM_PRESETS, LoRAConfig, SampleConfig
from motiongpt.data.tokens import Entry
from motiongpt.files.sentencepiece_model import tokenizer_json
from motiongpt.files.store import read_tensors, write_tensors
from motiongpt.generation.text import generate_text
from motiongpt.lengths import Limits
from motiongpt.llm import LLM
from motiongpt.sampling import generate
from motiongpt.stages.language import Prepared
from motiongpt.stages.model import lora_for
from motiongpt.tasks.collate import collate, lm_losses
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.spans import corrupt_spans
from motiongpt.text_tokenizer import JSONTokenizer
from motiongpt.vocab import MotionVocab
from motiongpt.weights.backbone import load_backbone
from motiongpt.weights.t5 import load_t5, save_t5, t5_config_from_hf, t5_config_to_hf

transformers = pytest.importorskip("transformers")

V, U, T = 60, 23, 17
SHAPE = dict(vocab_size=V, d_ff=40, num_layers=2, decoder_start_token_id=0)
CASES = {
    "v1.0-tied-relu": dict(d_model=24, d_kv=8, num_heads=3, feed_forward_proj="relu", tie_word_embeddings=True),
    "v1.1-untied-gated": dict(
        d_model=20, d_kv=4, num_heads=5, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=3
    ),
    "odd-heads-wider-than-the-model": dict(d_model=18, d_kv=6, num_heads=7, feed_forward_proj="gated-gelu"),
    "distances-past-the-last-bucket": dict(
        d_model=16, d_kv=8, num_heads=2, relative_attention_num_buckets=8, relative_attention_max_distance=9
    ),
}
CLOSE = dict(atol=1e-4, rtol=1e-5)  # fp32 on both sides, with sums in another order, logits of order 10
END = 1


def reference(case: str, folder: Path | None = None):
    """A tiny transformers model, saved to `folder`. Norm weights are random, so that a forgotten one shows."""
    torch.manual_seed(1)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**SHAPE, **CASES[case])).eval()
    if not CASES[case].get("tie_word_embeddings", True):  # transformers 5 ties the head of every new model
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.uniform_(0.5, 1.5)
    if folder is not None:
        model.save_pretrained(folder)
    return model


def draw_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Left-padded instructions (3, U) that end in </s>, where each starts, and answers (3, T) after the start id."""
    generator = seeded(2)
    instruction = torch.randint(2, V, (3, U), generator=generator)
    instruction[:, -1] = END
    start = torch.tensor([0, 5, 17])
    instruction[torch.arange(U) < start[:, None]] = 0
    return instruction, start, torch.randint(2, V, (3, T), generator=generator)


@pytest.fixture
def batch():
    return draw_batch()


@torch.no_grad()
def ours(model: T5, instruction, start, answer, cached: bool = False) -> torch.Tensor:
    """Logits (B, T + 1, V) at the start id and at every id of the answer."""
    rows = torch.cat((instruction, answer), 1)
    if not cached:
        return model.logits(model.hidden(rows, start=start))
    cache = model.new_cache(len(rows), rows.shape[1])
    hidden = [model.hidden(rows[:, : U + 2], cache, start)]
    hidden += [model.hidden(rows[:, i : i + 1], cache, start) for i in range(U + 2, U + T)]
    return model.logits(torch.cat(hidden, 1))


@torch.no_grad()
def theirs(model, instruction, start, answer) -> torch.Tensor:
    real = torch.arange(instruction.shape[1]) >= start[:, None]
    decoder_ids = torch.nn.functional.pad(answer, (1, 0))
    return model(input_ids=instruction, attention_mask=real.long(), decoder_input_ids=decoder_ids).logits


def as_version_4(folder: Path, tied: bool) -> None:
    """Rewrite config.json as transformers 4 wrote it: tie_word_embeddings alone tells what head there is."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    for name in ("scale_decoder_outputs", "is_gated_act", "dense_act_fn"):
        values.pop(name, None)
    values["torch_dtype"] = values.pop("dtype")
    path.write_text(json.dumps(values | {"tie_word_embeddings": tied, "n_positions": 512}))


def measure_t5(case: str, folder: Path) -> dict[str, float]:
    """What was compared -> largest difference of a logit: padded and not, cached and not, and files both ways."""
    model = reference(case, folder / "theirs")
    rows = instruction, start, answer = draw_batch()
    expected = theirs(model, *rows)
    t5 = load_t5(folder / "theirs")
    errors = {"left-padded": ours(t5, *rows) - expected, "cached": ours(t5, *rows, cached=True) - expected}
    alone = [
        ours(t5, instruction[i : i + 1, first:], None, answer[i : i + 1]) for i, first in enumerate(start.tolist())
    ]
    errors["each row alone"] = torch.cat(alone) - expected
    save_t5(t5, folder / "ours")
    again, info = transformers.T5ForConditionalGeneration.from_pretrained(folder / "ours", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    errors["written back"] = theirs(again.eval(), *rows) - expected
    as_version_4(folder / "theirs", CASES[case].get("tie_word_embeddings", True))
    errors["v4 config"] = ours(load_backbone(folder / "theirs"), *rows) - expected
    assert load_t5(folder / "ours").config == t5.config == load_t5(folder / "theirs").config
    return {name: difference.abs().max().item() for name, difference in errors.items()}


@for_each("case", CASES)
def test_logits_equal_transformers(case, tmp_path):
    errors = measure_t5(case, tmp_path)
    assert max(errors.values()) < CLOSE["atol"], errors


@for_each("case", CASES)
def test_new_words_become_rows_of_one_table(case, tmp_path):
    """transformers loads the extended model; base rows past the tokenizer's last id make room for the words."""
    reference(case, tmp_path / "theirs")
    model = load_t5(tmp_path / "theirs")
    model.extend(55, 9, seeded(3))
    save_t5(model, tmp_path / "extended")
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "extended").eval()
    instruction, start, answer = draw_batch()
    answer[:, -3:] = 63  # the last new word
    rows = (instruction, start, answer)
    expected = ours(model, *rows)
    assert expected.shape[-1] == 64
    torch.testing.assert_close(theirs(again, *rows), expected, **CLOSE)
    torch.testing.assert_close(ours(load_t5(tmp_path / "extended"), *rows), expected, **CLOSE)


@for_each("case", CASES)
def test_greedy_generation_equals_transformers(case, batch, tmp_path):
    """The sampler writes text as `generate` of transformers does, from left-padded instructions."""
    reference_model = reference(case, tmp_path)
    instruction, start, _ = batch
    mask = (torch.arange(U) >= start[:, None]).long()
    with torch.no_grad():
        rows = reference_model.generate(
            input_ids=instruction,
            attention_mask=mask,
            max_new_tokens=12,
            do_sample=False,
            use_cache=False,  # its cache has as many layers as the encoder
        )
    expected = []
    for row in rows[:, 1:].tolist():
        expected.append(row[: row.index(END)] if END in row else row)
    prompts = [row[first:] for row, first in zip(instruction.tolist(), start.tolist(), strict=True)]
    written = generate_text(
        load_t5(tmp_path),
        prompts,
        first_id=V,
        stop_ids=[END],
        seeds=[0] * 3,
        config=SampleConfig(temperature=0.0, repetition_penalty=1.0, no_repeat_ngram=0, max_new_tokens=12),
    )
    assert written == expected and any(written)


def test_a_motion_does_not_depend_on_its_neighbours(tmp_path):
    reference("v1.1-untied-gated", tmp_path)
    model = load_t5(tmp_path)
    model.extend(50, 9, seeded(4))
    prompts = [[5, 6, 7, END], [*range(2, 30), END], [9, END]]
    write = {"begin_id": 50, "codes": 7, "config": SampleConfig(temperature=1.0)}
    limits = [Limits(3, 6, 9)] * 3
    together = generate(model, prompts, limits=limits, seeds=[1, 2, 3], **write)
    alone = [
        generate(model, [prompt], limits=limits[:1], seeds=[seed], **write)[0]
        for seed, prompt in zip([1, 2, 3], prompts, strict=True)
    ]
    assert together == alone and len(set(map(tuple, together))) == 3
    with pytest.raises(ValueError, match="must end with </s>"):
        generate(model, [[5, 6, 7]], limits=limits[:1], seeds=[1], **write)
    with pytest.raises(ValueError, match="4 tokens exceed the cache's capacity of 3"):
        model.hidden(torch.tensor([[5, END, 50, 51, 52]]), model.new_cache(1, 2))


def tiny(**changes) -> T5:
    sizes = dict(vocab_size=V, hidden_size=16, intermediate_size=24, num_layers=2, num_decoder_layers=2)
    return T5(T5Config(**sizes | dict(num_heads=3, head_dim=4) | changes)).eval()


def test_files_must_agree_with_themselves(tmp_path):
    """A copy of the word table must be a copy; a head that is another matrix belongs to no tied model."""
    save_t5(tiny(), tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = read_tensors(path)
    for key in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        write_tensors(path, tensors | {key: tensors["shared.weight"].clone()})
        load_t5(tmp_path)
        write_tensors(path, tensors | {key: tensors["shared.weight"] + 1})
        with pytest.raises(ValueError, match=f"model.safetensors: {key} must equal shared.weight"):
            load_t5(tmp_path)
    key = "decoder.block.1.layer.1.EncDecAttention.q.weight"
    write_tensors(path, {name: tensor for name, tensor in tensors.items() if name != key})
    with pytest.raises(ValueError, match=f"missing 1 .{key}"):
        load_t5(tmp_path)
    write_tensors(path, tensors | {key: tensors[key][:-1]})
    with pytest.raises(ValueError, match=rf"{key} is \(11, 16\), the model has \(12, 16\)"):
        load_t5(tmp_path)
    # old files of v1.0 hold a table that no version of the model reads
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    write_tensors(path, tensors | {unread: torch.zeros(32, 3)})
    load_t5(tmp_path)


@for_each(
    "change, message",
    [
        ({"model_type": "umt5"}, "model_type 'umt5' is not supported"),
        ({"feed_forward_proj": "gated-silu"}, "feed_forward_proj 'gated-silu' is not supported"),
        ({"feed_forward_proj": ["relu"]}, "feed_forward_proj"),
        ({"d_kv": "64"}, "d_kv must be a whole number"),
        ({"num_layers": 10**6}, "num_layers is 1000000"),
        ({"is_encoder_decoder": False}, "only a whole, unquantised T5"),
        ({"quantization_config": {}}, "only a whole, unquantised T5"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
        ({"relative_attention_max_distance": 3}, "max_distance"),
        ({"decoder_start_token_id": V}, "start_id"),
    ],
)
def test_a_config_that_cannot_be_computed_is_refused(change, message):
    values = t5_config_to_hf(tiny().config)
    assert t5_config_from_hf(values, False) == tiny().config
    with pytest.raises(ValueError, match=message):
        t5_config_from_hf(values | change, False)


def test_the_head_of_transformers_5():
    """It calls every head tied; what is not scaled and has a head in its files is v1.1."""
    values = t5_config_to_hf(tiny().config) | {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    assert not t5_config_from_hf(values, True).tie_embeddings
    assert t5_config_from_hf(values, False).tie_embeddings
    del values["scale_decoder_outputs"]
    assert t5_config_from_hf(values, True).tie_embeddings  # and the files must agree


# Batches and training.


def example(instruction: list[int], answer: list[int]) -> tuple[list[int], list[bool]]:
    return instruction + answer, [False] * len(instruction) + [True] * len(answer)


def test_examples_are_split_at_the_first_label():
    batch = collate([example([5, 6, 7, END], [8, 9]), example([5, END], [8, 9, 10])], encoder=True)
    assert batch["instruction"].tolist() == [[5, 6, 7, END], [5, END, 0, 0]]
    assert batch["instruction_lengths"].tolist() == [4, 2]
    assert batch["ids"].tolist() == [[8, 0], [8, 9]]
    assert batch["targets"].tolist() == [[8, 9, -1], [8, 9, 10]]
    assert (batch["count"], batch["units"]) == (5, 11)


def test_tasks_become_instructions_and_answers():
    """What the encoder reads ends with </s>; sentences that the decoder writes do too, motions with <MOT_END>."""
    words = JSONTokenizer(json.dumps(tokenizer_json(sentencepiece_model("t5"), sentinels=100)))
    vocab = MotionVocab(words, 16, ["P1"])
    renderer = Renderer(vocab, encoder=True)
    entry = Entry("a person walks forward", tuple(range(16)), None)
    rng = np.random.default_rng(0)
    caption, motion, end = words.encode(entry.text), vocab.motion_ids(entry.codes), words.token_id("</s>")

    def split(task: str) -> tuple[list[int], list[int]]:
        ids, labels = renderer.render(task, entry, rng)
        first = labels.index(True)
        assert all(labels[first:])
        return ids[:first], ids[first:]

    instruction, answer = split("t2m")
    assert instruction == renderer.text_prompt(entry.text) == [vocab.id("<T2M>"), vocab.id("<PID_NULL>"), *caption, end]
    assert answer == motion
    instruction, answer = split("m2t")
    assert instruction == renderer.motion_prompt(entry.codes) and instruction[-1] == end
    assert answer == [*caption, end]
    instruction, answer = split("denoise")
    assert vocab.id("<MOTION_MASK>") in instruction and instruction[-1] == end and answer == motion
    # hidden spans: 3 of 18 words of motion are one span, 15 % of a short caption a single word
    sentinel = words.token_id("<extra_id_0>")
    for task, whole in (("motion", motion), ("caption", caption)):
        instruction, answer = split(task)
        assert instruction[-1] == answer[-1] == end and answer[0] == sentinel
        gap = instruction.index(sentinel)
        assert instruction[:gap] + answer[1:-1] + instruction[gap + 1 : -1] == whole
        assert len(answer) == 2 + max(1, round(0.15 * len(whole)))


def test_a_batch_has_the_loss_of_its_examples(batch, tmp_path):
    """Right-padded, each alone, and as transformers computes it."""
    instruction, start, answer = batch
    lengths = [17, 4, 9]
    examples = [example(instruction[i, start[i] :].tolist(), answer[i, : lengths[i]].tolist()) for i in range(3)]
    reference_model = reference("v1.1-untied-gated", tmp_path)
    model = load_t5(tmp_path)
    total, single = lm_losses(model, collate(examples, encoder=True))
    alone = [lm_losses(model, collate([one], encoder=True))[0].detach() for one in examples]
    torch.testing.assert_close(sum(alone), total.detach(), **CLOSE)
    labels = answer.masked_fill(torch.arange(T) >= torch.tensor(lengths)[:, None], -100)
    mask = (torch.arange(U) >= start[:, None]).long()
    mean = reference_model(input_ids=instruction, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(total.detach() / sum(lengths), mean.detach(), **CLOSE)
    torch.testing.assert_close(single.sum(), total.detach(), **CLOSE)


@for_each("gated", [False, True])
@for_each("tied", [False, True])
def test_lora_finds_the_layers_and_old_rows_never_move(gated, tied):
    """Defaults and recipes name a decoder's layers. Base weights stay bit for bit the same, new rows learn."""
    model = tiny(gated=gated, tie_embeddings=tied)
    model.extend(55, 9, seeded(3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mlp = ("wi_0", "wi_1", "wo") if gated else ("wi", "wo")
    assert lora_for(model, LoRAConfig()).lora_targets == ("q", "k", "v", "o", *mlp)
    assert lora_for(model, LoRAConfig(lora_targets=("q_proj", "v_proj"))).lora_targets == ("q", "v")
    assert lora_for(model, LoRAConfig(lora_targets=("q", "q_proj", "wo"))).lora_targets == ("q", "wo")
    absent = "wi" if gated else "wi_0"  # a name of T5's own is not silently dropped
    for name in ("wii", absent):
        with pytest.raises(ValueError, match=f"--lora-targets {name} names no linear layer"):
            lora.inject(model, lora_for(model, LoRAConfig(lora_targets=("q", name))))
    lora.inject(model, lora_for(model, LoRAConfig()), seeded(0))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    batch = collate([example([5, 60, END], [55, 57, 56])], encoder=True)
    losses = []
    for _ in range(5):
        loss, _ = lm_losses(model, batch)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    after = model.state_dict()
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    assert moved == (["new_in"] if tied else ["new_in", "new_out"])


def test_full_training_reaches_every_weight(batch, tmp_path):
    """Gradients equal those of transformers, the tables of the position bias too."""
    theirs_model = reference("v1.0-tied-relu", tmp_path)
    model = load_t5(tmp_path)
    instruction, start, answer = batch
    real = torch.arange(U) >= start[:, None]
    rows = torch.cat((instruction, answer), 1)
    for kind in (theirs_model, model):
        if kind is model:
            logits = model.logits(model.hidden(rows, start=start))
        else:
            decoder_ids = torch.nn.functional.pad(answer, (1, 0))
            logits = kind(input_ids=instruction, attention_mask=real.long(), decoder_input_ids=decoder_ids).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, V), answer.reshape(-1)).backward()
    grads = {name: parameter.grad for name, parameter in theirs_model.named_parameters()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], atol=1e-5, rtol=1e-4)


def test_older_gpus_train_it_in_fp32(monkeypatch):
    """Unless fp16 is asked for: its states are known to overflow there, as those of Gemma 3 are."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    models = [tiny(), LLM(LLM_PRESETS["tiny"]), LLM(replace(LLM_PRESETS["tiny"], scale_embeddings=True))]
    stages = [SimpleNamespace(model=model, device=torch.device("cuda")) for model in models]
    assert [Prepared.precision(stage, "auto") for stage in stages] == ["fp32", "fp16", "fp32"]
    assert [Prepared.precision(stage, "fp16") for stage in stages] == ["fp16"] * 3
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert [Prepared.precision(stage, "auto") for stage in stages] == ["bf16"] * 3


# Hidden spans.


def test_spans_and_what_is_left_make_the_text():
    rng = np.random.default_rng(0)
    sentinels = list(range(10_000, 10_100))
    shares, lengths = [], []
    for n in [1, 2, 3, 5, *range(10, 400, 7), 5000]:
        text = list(range(n))
        instruction, answer = corrupt_spans(text, sentinels, rng)
        spans, current = {}, None
        for i in answer:
            if i > 9999:
                current = i
                spans[current] = []
            else:
                spans[current].append(i)
        rebuilt = [j for i in instruction for j in (spans[i] if i > 9999 else [i])]
        assert rebuilt == text and all(spans.values())
        assert list(spans) == sentinels[: len(spans)] == [i for i in instruction if i > 9999]
        if 100 < n < 500:
            shares.append(sum(map(len, spans.values())) / n)
            lengths.append(sum(map(len, spans.values())) / len(spans))
    assert max(abs(share - 0.15) for share in shares) < 0.01 and abs(np.mean(lengths) - 3) < 0.1
    for text, words in (([], sentinels), ([1, 2], [])):
        with pytest.raises(ValueError, match="nothing to hide"):
            corrupt_spans(text, words, rng)
