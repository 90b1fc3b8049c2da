"""Tasks: the ids a model reads and those it must predict, as literals on a tiny vocabulary."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import for_each, seeded

from motiongpt.config import LLMConfig, LoRAConfig, TrainConfig, VQVAEConfig
from motiongpt.data.tokens import Entry
from motiongpt.llm import LLM
from motiongpt.stages.recipes import (
    DEMO_VALUES,
    RECIPES,
    find_stage,
    first_language_stage,
    former_values,
    list_recipes,
    parse_tasks,
    recipe_name,
)
from motiongpt.tasks.collate import TaskCollate, collate, lm_loss, lm_losses
from motiongpt.tasks.sequences import NULL_SHARE, Renderer
from motiongpt.tasks.table import FORMER, TASKS, corrupt
from motiongpt.vocab import MotionVocab


class Words:
    """A text tokenizer with one id per word, so that sequences can be written down: a 0, b 1, newline 2, user 3 ...

    Words of a longer sentence, which no test writes down, are all a.
    """

    plain = ("a", "b", "\n", "user", "assistant")
    added_ids = ()
    chat_template = None

    def __init__(self, *special: str) -> None:
        self.words = (*self.plain, *special)
        self.size = len(self.words)

    def encode(self, text: str) -> list[int]:
        pieces = text.replace("\n", " \n ").split(" ")
        return [self.plain.index(piece) if piece in self.plain else 0 for piece in pieces if piece]

    def decode(self, ids) -> str:
        return " ".join(self.plain[i] for i in ids if i < len(self.plain))

    def token_id(self, word: str) -> int | None:
        return self.words.index(word) if word in self.words[len(self.plain) :] else None


CHAT = ("<|im_start|>", "<|im_end|>")  # 5 6
THINKING = (*CHAT, "<think>", "</think>")  # 5 6 7 8
ENTRY = Entry("a b", (1, 0), "P1")

# With CHAT: BEGIN 7, END 8, motion 9 10 11, T2M 12, M2T 13, DENOISE 14, MASK 15, NULL 16, P1 17.
BEFORE, AFTER = [5, 3, 2], [6, 2, 5, 4, 2]
BEGIN, END, M0, M1, T2M, M2T, DENOISE, MASK, NULL, P1 = 7, 8, 9, 10, 12, 13, 14, 15, 16, 17
STOP = 6


def renderer(*special: str, think: str = "auto", **kwargs) -> Renderer:
    return Renderer(MotionVocab(Words(*special), 3, ["P1"]), think, **kwargs)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# 1) Ids and labels.


@for_each(
    "task, prompt, answer",
    [
        ("t2m", [*BEFORE, T2M, P1, 2, 2, 0, 1, *AFTER], [BEGIN, M1, M0, END]),
        ("m2t", [*BEFORE, M2T, P1, 2, 2, BEGIN, M1, M0, END, *AFTER], [0, 1, STOP]),
        ("motion", [], [BEGIN, M1, M0, END]),
        ("caption", [], [0, 1, STOP]),
    ],
)
def test_ids_and_labels_of_each_task(task, prompt, answer):
    ids, labels = renderer(*CHAT).render(task, ENTRY, rng())
    assert ids == [*prompt, *answer]
    assert labels == [False] * len(prompt) + [True] * len(answer)


def test_denoise_hides_one_of_two_codes_and_asks_for_both():
    ids, labels = renderer(*CHAT).render("denoise", ENTRY, rng())
    prompt = [*BEFORE, DENOISE, P1, 2, 2, BEGIN, MASK, M0, END, *AFTER]
    other = [*BEFORE, DENOISE, P1, 2, 2, BEGIN, M1, MASK, END, *AFTER]
    assert ids[:-4] in (prompt, other)
    assert ids[-4:] == [BEGIN, M1, M0, END]
    assert labels == [False] * len(prompt) + [True] * 4


@for_each("S, hidden", [(1, 1), (2, 1), (3, 1), (10, 2), (20, 3), (100, 15)])
def test_denoise_hides_15_percent_but_at_least_one(S, hidden):
    render = renderer(*CHAT)
    motion = render.vocab.motion_ids([i % 3 for i in range(S)])
    corrupted = corrupt(motion, MASK, rng())
    assert sum(id == MASK for id in corrupted) == hidden
    assert [old for old, new in zip(motion, corrupted, strict=True) if new != MASK] == [
        i for i in corrupted if i != MASK
    ]
    assert corrupted[0] == BEGIN and corrupted[-1] == END


def test_caption_dropout_leaves_words_of_the_prompt_out_and_nothing_else():
    """ENTRY's caption is tokens 0 and 1. Both stay, or one, but never none; the answer stays whole."""
    whole, dropping = renderer(*CHAT), renderer(*CHAT, caption_dropout=0.5)
    draw, seen = rng(), set()
    head = len([*BEFORE, T2M, P1, 2, 2])
    for _ in range(40):
        ids, labels = dropping.render("t2m", ENTRY, draw)
        answer = [*AFTER, BEGIN, M1, M0, END]
        seen.add(tuple(ids[head : -len(answer)]))
        assert ids[-len(answer) :] == answer and labels == [False] * (len(ids) - 4) + [True] * 4
    assert seen == {(0, 1), (0,), (1,)}
    for task in ("m2t", "caption", "denoise", "motion"):
        assert dropping.render(task, ENTRY, rng()) == whole.render(task, ENTRY, rng())
    assert dropping.text_prompt(ENTRY.text) == whole.text_prompt(ENTRY.text)  # sampling keeps every word


def test_the_plain_share_asks_in_plain_words_and_changes_nothing_else():
    """Half of 400 examples of "a b" ask for its plain caption "b": between 160 and 240, four deviations either way."""
    entry, draw = Entry("a b", (1, 0), plain="b"), rng()
    never, half, always = (renderer(*CHAT, plain_share=share) for share in (0.0, 0.5, 1.0))
    plainly = never.render("t2m", replace(entry, text="b"), rng())
    assert always.render("t2m", entry, rng()) == plainly != never.render("t2m", entry, rng())
    assert 160 < sum(half.render("t2m", entry, draw) == plainly for _ in range(400)) < 240
    for task in ("m2t", "caption", "read"):  # what is written, and what is read to be reworded, stays
        assert always.render(task, entry, rng()) == never.render(task, entry, rng())
    nobody_said = replace(entry, plain="")
    assert always.render("t2m", nobody_said, rng()) == never.render("t2m", nobody_said, rng())


def test_batches_of_text_alone_are_of_similar_sentences():
    """`read` and `caption` show no codes, so their number must not sort the examples; with t2m beside them it does."""
    entries = [Entry("a " * 40, (1,), plain="b"), Entry("a", (1,) * 50, plain="b")]
    lengths = {
        tasks: TaskCollate(entries, dict.fromkeys(tasks, 1.0), renderer(*CHAT)).lengths().argmax()
        for tasks in (("read",), ("read", "caption"), ("read", "t2m"))
    }
    assert lengths == {("read",): 0, ("read", "caption"): 0, ("read", "t2m"): 1}


def test_denoise_hides_every_place_sooner_or_later():
    motion, draw = renderer(*CHAT).vocab.motion_ids([0] * 10), rng()
    places = {i for _ in range(200) for i, id in enumerate(corrupt(motion, MASK, draw)) if id == MASK}
    assert places == set(range(1, 11))  # 2 of 10 per draw: to miss a place 200 times has odds of 0.8^200


def test_a_missing_participant_is_pid_null():
    ids, _ = renderer(*CHAT).render("t2m", Entry("a", (0,)), rng())
    assert ids[:5] == [*BEFORE, T2M, NULL]


def test_a_share_of_the_examples_hides_the_participant():
    """3,000 draws at 30 % lie within 5 standard deviations; chance alone fails this once in 10^6 seeds.

    It holds for every task with a prompt. An entry without a participant has nothing to hide.
    """
    render, draw, n = renderer(*CHAT), rng(), 1000
    hidden = 0
    for task in ("t2m", "m2t", "denoise"):
        words = [render.render(task, ENTRY, draw)[0][len(BEFORE) + 1] for _ in range(n)]
        assert set(words) == {NULL, P1}
        hidden += words.count(NULL)
    assert abs(hidden / (3 * n) - NULL_SHARE) < 5 * math.sqrt(NULL_SHARE * (1 - NULL_SHARE) / (3 * n))
    assert NULL_SHARE == 0.3


def test_a_caption_is_encoded_once(monkeypatch):
    render, calls = renderer(*CHAT), []
    encode = render.vocab.text_tokenizer.encode
    monkeypatch.setattr(render.vocab.text_tokenizer, "encode", lambda text: calls.append(text) or encode(text))
    first = [render.render(task, ENTRY, rng()) for task in FORMER]
    assert calls.count("a b") == 1 == max(map(calls.count, calls)) and first == [
        render.render(task, ENTRY, rng()) for task in FORMER
    ]


# 2) The frame.


@pytest.mark.parametrize(
    "think, after", [("auto", [6, 2, 5, 4, 2, 7, 2, 2, 8, 2, 2]), ("empty", [6, 2, 5, 4, 2, 7, 2, 2, 8, 2, 2]),
                     ("none", [6, 2, 5, 4, 2])],
)  # fmt: skip
def test_frame_with_a_thinking_tokenizer(think, after):
    frame = renderer(*THINKING, think=think).frame
    assert (frame.before, frame.after, frame.stop_id) == ([5, 3, 2], after, 6)


def test_frame_without_think_words():
    frame = renderer(*CHAT).frame
    assert (frame.before, frame.after, frame.stop_id) == (BEFORE, AFTER, STOP)
    with pytest.raises(ValueError, match="--think empty"):
        renderer(*CHAT, think="empty")
    with pytest.raises(ValueError, match="--think must be one of"):
        renderer(*CHAT, think="maybe")


def test_frame_in_words():
    """The framed ids decode to Qwen's chat template, one turn each."""
    from motiongpt.text_tokenizer import train_text_tokenizer

    render = Renderer(MotionVocab(train_text_tokenizer(["a person walks"], 300), 3))
    text = render.vocab.text_tokenizer.full.decode(render.frame.before + render.frame.after, skip_special_tokens=False)
    assert text == "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("word", ["<|endoftext|>", "</s>", "<eos>"])
def test_frame_without_chat_markers(word):
    render = renderer(word)  # the word is 5; BEGIN 6, END 7, motion 8 9 10, T2M 11 ... P1 16
    assert (render.frame.before, render.frame.after, render.frame.stop_id) == ([], [2], 5)
    assert render.render("t2m", ENTRY, rng())[0] == [11, 16, 2, 2, 0, 1, 2, 6, 9, 8, 7]


def test_a_tokenizer_without_any_end_is_refused():
    with pytest.raises(ValueError, match="neither chat markers nor an end-of-text"):
        renderer()


# 3) Training and sampling see the same prompt.


@for_each("special", [CHAT, THINKING, ("</s>",)])
@for_each("participant", [None, "P1"])
def test_the_prompt_of_training_is_the_prompt_of_sampling(special, participant):
    render, entry = renderer(*special), Entry("a b", (1, 0), participant)
    for task, prompt in (
        ("t2m", render.text_prompt("a b", participant)),
        ("m2t", render.motion_prompt([1, 0], participant)),
    ):
        ids, labels = render.render(task, entry, rng())
        assert ids[: labels.index(True)] == prompt


# 4) Too long, unknown, mixed.


@for_each("task", TASKS)
def test_a_sequence_that_does_not_fit_is_an_error_never_a_cut(task):
    length = len(renderer(*CHAT).render(task, ENTRY, rng())[0])
    assert len(renderer(*CHAT, max_seq_len=length).render(task, ENTRY, rng())[0]) == length
    with pytest.raises(ValueError, match=f"needs {length} tokens for task {task}, --max-seq-len is {length - 1}"):
        renderer(*CHAT, max_seq_len=length - 1).render(task, ENTRY, rng())


def test_unknown_tasks_are_refused():
    with pytest.raises(ValueError, match="unknown task 'dance'"):
        renderer(*CHAT).render("dance", ENTRY, rng())
    for tasks in ({}, {"dance": 1.0}, {"t2m": 0.0}, {"t2m": -1.0}, {"t2m": math.nan}, {"t2m": math.inf}):
        with pytest.raises(ValueError, match="tasks must be positive shares"):
            TaskCollate([ENTRY], tasks, renderer(*CHAT))


def test_mixture_has_the_stated_shares():
    """6,000 draws at 50/30/20 %: each share lies within 5 standard deviations; chance fails this once in 10^6 seeds."""
    shares = {"t2m": 0.5, "m2t": 0.3, "denoise": 0.2}
    words = {T2M: "t2m", M2T: "m2t", DENOISE: "denoise"}
    build, draw = TaskCollate([ENTRY], shares, renderer(*CHAT)), rng()
    n, seen = 6000, dict.fromkeys(shares, 0)
    for _ in range(n // 100):
        for id in build(np.zeros(100, int), draw)["ids"][:, len(BEFORE)].tolist():
            seen[words[id]] += 1
    for task, share in shares.items():
        assert abs(seen[task] / n - share) < 5 * math.sqrt(share * (1 - share) / n), seen


def test_a_batch_is_a_function_of_its_generator():
    build = TaskCollate([ENTRY, Entry("b", (2,) * 30)], {"t2m": 1.0, "denoise": 1.0}, renderer(*CHAT))
    first, again = (build(np.array([0, 1, 1]), np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first["ids"], again["ids"]) and torch.equal(first["targets"], again["targets"])


def test_collate_as_literal_tensors():
    F, T = False, True
    batch = collate([([5, 6, 7, 8], [F, F, T, T]), ([5, 9], [T, T])])
    assert batch["ids"].tolist() == [[5, 6, 7], [5, 0, 0]]
    assert batch["targets"].tolist() == [[-1, 7, 8], [9, -1, -1]]
    assert (batch["count"], batch["units"]) == (3, 4)


# 5) The loss.


def test_lm_loss_is_the_cross_entropy_over_labelled_positions():
    """Gathering before the vocabulary product changes only roundings: 1e-4 of a sum of about 20."""
    entries = [ENTRY, Entry("b a b", (2, 2, 1, 0), plain="a b"), Entry("b", (1, 1), source=(0, 2))]
    build = TaskCollate(entries, {task: 1.0 for task in TASKS}, renderer(*CHAT))
    batch = build(np.array([0, 1] * 5), rng())
    config = LLMConfig(vocab_size=20, hidden_size=16, intermediate_size=32, num_layers=1, head_dim=4)
    llm = LLM(config, seeded(0))
    for smoothing in (0.0, 0.1):
        naive = torch.nn.functional.cross_entropy(
            llm(batch["ids"]).flatten(0, 1), batch["targets"].flatten(), ignore_index=-1, reduction="sum",
            label_smoothing=smoothing,
        )  # fmt: skip
        torch.testing.assert_close(lm_loss(llm, batch, smoothing), naive, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_single_losses_leave_the_sum_and_its_gradient_as_they_were(smoothing):
    """The sum is torch's cross_entropy, which has no values per label and task, bit for bit. Gradients are rounded
    elsewhere: fp32."""
    tasks = {"t2m": 2.0, "m2t": 1.0, "denoise": 1.0, "motion": 1.0}
    build = TaskCollate([ENTRY, Entry("b a b", (2, 2, 1, 0))], tasks, renderer(*CHAT))
    batch = build(np.array([0, 1] * 6), rng())
    config = LLMConfig(vocab_size=20, hidden_size=16, intermediate_size=32, num_layers=1, head_dim=4)
    llm, plain = LLM(config, seeded(0)), LLM(config, seeded(0))
    total, single = lm_losses(llm, batch, smoothing)
    labelled = batch["targets"] >= 0
    logits = plain.logits(plain.hidden(batch["ids"])[labelled])
    wanted = torch.nn.functional.cross_entropy(
        logits.float(), batch["targets"][labelled], reduction="sum", label_smoothing=smoothing
    )
    total.backward()
    wanted.backward()
    assert torch.equal(total, wanted) and not single.requires_grad
    for (name, ours), theirs in zip(llm.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5, msg=name)
    # by task: rows of one task, scored alone, without smoothing
    parts = build.split_by_task(single, batch)
    drawn = {build.names[i] for i in batch["task"].tolist()}
    assert set(parts) == set(batch["task_labels"]) == drawn and len(drawn) > 1
    for name, part in parts.items():
        rows = batch["task"] == build.names.index(name)
        alone = {"ids": batch["ids"][rows], "targets": batch["targets"][rows]}
        assert batch["task_labels"][name] == int((alone["targets"] >= 0).sum())
        torch.testing.assert_close(part, lm_loss(llm, alone).detach(), rtol=1e-5, atol=1e-5)


def test_padding_and_prompts_get_no_gradient_of_the_loss():
    """Nothing after the last label of a row matters: with other padding the loss is the same, bit for bit."""
    batch = TaskCollate([ENTRY, Entry("b", (2,) * 9)], {"t2m": 1.0}, renderer(*CHAT))(np.array([0, 1]), rng())
    config = LLMConfig(vocab_size=20, hidden_size=16, intermediate_size=32, num_layers=1, head_dim=4)
    llm = LLM(config, seeded(0))
    other = dict(batch, ids=batch["ids"].clone())
    other["ids"][0, -3:] = 11
    assert (batch["targets"][0, -3:] == -1).all()
    assert torch.equal(lm_loss(llm, batch), lm_loss(llm, other))


# 6) Recipes and flags.


def test_stages_by_number_and_name():
    assert [find_stage("signmotiongpt", str(n))[1].name for n in (1, 2, 3)] == ["motion-lm", "multitask", "sft"]
    assert find_stage("signmotiongpt", "sft")[0] == 3
    assert find_stage("signmotiongpt", "2")[1].tasks == {"t2m": 0.5, "m2t": 0.3, "denoise": 0.2}
    with pytest.raises(ValueError, match="no stage '4'; it has 3 stages: 1 motion-lm"):
        find_stage("signmotiongpt", "4")
    with pytest.raises(ValueError, match="unknown recipe 'zzz'"):
        find_stage("zzz", "1")


def test_every_recipe_asks_for_tasks_that_exist():
    for stages in RECIPES.values():
        for stage in stages:
            assert stage.trains_tokenizer or math.isclose(sum(stage.tasks.values()), 1.0)
            assert set(stage.tasks) <= set(TASKS)


def test_every_value_of_a_recipe_is_a_valid_setting():
    """A misspelt name would be silently ignored, since configs take from a recipe only what they know."""
    for stage in (stage for stages in RECIPES.values() for stage in stages):
        for values in (stage.values, stage.values | stage.full, stage.values | DEMO_VALUES | stage.demo):
            left = dict(values)
            for config in (TrainConfig, LoRAConfig, VQVAEConfig):
                config(**{name: left.pop(name) for name in set(values) & set(config.__dataclass_fields__)})
            assert not left, stage.name


def test_recipes_of_one_stage_and_of_a_tokenizer_first():
    assert find_stage("motiongpt", "1") == find_stage("zhang", "finetune") == (1, RECIPES["zhang"][0])
    assert recipe_name("motiongpt") == recipe_name("zhang") == "zhang"
    for number in ("2", "3"):
        with pytest.raises(ValueError, match="no stage '[23]'; it has one stage: 1 finetune"):
            find_stage("motiongpt", number)
    stages = RECIPES["myoskeleton"]
    assert [stage.name for stage in stages] == ["tokenizer", "pretrain", "instruct"]
    assert [stage.trains_tokenizer for stage in stages] == [True, False, False]
    assert {name: first_language_stage(name) for name in RECIPES} == {
        "signmotiongpt": 1, "signmotiongpt-paper": 1, "signmotiongpt-full": 1, "captions": 1, "zhang": 1,
        "myoskeleton": 2,
    }  # fmt: skip


def test_the_published_values_of_zhang():
    """37,500 micro-steps of 4 in updates of 256: 585 of them."""
    values = RECIPES["zhang"][0].values
    assert values["batch_size"] * values["grad_accum"] == 256 and values["max_steps"] == 37_500 // values["grad_accum"]
    assert (values["lora_r"], values["lora_alpha"], values["lora_targets"]) == (64, 16.0, ("q_proj", "v_proj"))


def test_the_published_values_of_signmotiongpt():
    """They have their own name; the default recipe has the same stages and tasks."""
    ours, published = RECIPES["signmotiongpt"], RECIPES["signmotiongpt-paper"]
    assert [stage.values["epochs"] for stage in published] == [3.0, 2.0, 3.0]
    for stage in published:
        assert (stage.values["lr"], stage.values["batch_size"], stage.values["grad_accum"]) == (1e-5, 8, 8)
    assert [(s.name, s.tasks, s.demo) for s in ours] == [(s.name, s.tasks, s.demo) for s in published]
    begun = published[0].values | {"max_steps": 0}
    changed = former_values("signmotiongpt", 1, begun)
    assert RECIPES["signmotiongpt"][0].values | changed == published[0].values and changed["lr"] == 1e-5
    assert former_values("signmotiongpt", 1, begun | {"lr": 3e-4}).get("lr") is None  # a flag's, not the default
    assert former_values("signmotiongpt", 1, {}) == former_values("zhang", 1, begun) == {}


def test_the_published_values_of_myoskeleton():
    first, second, third = (stage.values for stage in RECIPES["myoskeleton"])
    assert (first["warmup"], second["warmup"], third["warmup"]) == (0.0, 50.0, 20.0)
    assert third["max_seq_len"] == 256 and "weight_decay" not in third and second["weight_decay"] == 1e-4


def test_the_list_names_every_stage_and_how_recipes_differ_from_their_sources():
    lines = list_recipes().splitlines()
    named = [line.split()[:2] for line in lines if line.split()[0] in RECIPES]
    assert named == [[name, str(n)] for name, stages in RECIPES.items() for n in range(1, len(stages) + 1)]
    assert any(line.strip().startswith("motions are new words") and "--motion-as digits" in line for line in lines)


def test_the_tasks_of_zhang_and_of_myoskeleton():
    """Four examples of each clip, one per task; MyoSkeleton's shares are not published."""
    assert RECIPES["zhang"][0].tasks == dict.fromkeys(("t2m", "init", "last", "keys"), 0.25)
    _, pretrain, instruct = RECIPES["myoskeleton"]
    assert pretrain.tasks == dict.fromkeys(("t2m", "m2t", "predict"), 1 / 3)
    assert instruct.tasks == dict.fromkeys(("t2m", "m2t", "predict", "inbetween"), 0.25)


def test_tasks_flag():
    assert parse_tasks(["t2m=0.5", "m2t=.5"]) == {"t2m": 0.5, "m2t": 0.5}
    assert parse_tasks(["t2m"]) == {"t2m": 1.0}
    for words in (["t2m=x"], ["dance"], ["t2m=0"], ["t2m=-1"], ["t2m=nan"], ["t2m=inf"], ["t2m=1", "t2m=2"], ["=1"]):
        with pytest.raises(ValueError, match="expected TASK or TASK=SHARE"):
            parse_tasks(words)
