"""--loss-vocab motion: where an example learns motion words alone, its loss is over these, and else over all words."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import for_each, seeded
from tiny_templates import CODES, group, tiny_renderer, tiny_vocab, written

from motiongpt.config import LLMConfig, TrainConfig
from motiongpt.data.tokens import Entry
from motiongpt.evaluation.perplexity import language_perplexity, over_motion_words
from motiongpt.files.store import read_json, read_tensors
from motiongpt.kernels import vocabulary_loss
from motiongpt.llm import LLM
from motiongpt.tasks.collate import TaskCollate, learns_motion_alone, lm_loss, lm_losses
from motiongpt.tasks.table import TABLE, TASKS
from motiongpt.tasks.templates import read_templates

ENTRIES = [
    Entry("a person walks", tuple(range(9)), "P1", plain="someone walks"),
    Entry("someone jumps", (3, 3, 60, 8), source=(1, 2)),
    Entry("he waves", (5, 63, 1, 0, 2)),
]
MIXED = {"t2m": 2.0, "m2t": 1.0, "denoise": 1.0, "caption": 1.0, "predict": 1.0}


def model(family: str = "qwen", tied: bool = True, trained: bool = True) -> LLM:
    vocab = tiny_vocab(family)
    config = LLMConfig(vocab.first_id + 7, 16, 32, 1, 2, 1, 8, tie_embeddings=tied)
    llm = LLM(config, seeded(0))
    llm.extend(vocab.first_id, len(vocab), seeded(1))
    llm.requires_grad_(trained)
    llm.new_in.requires_grad_(True)
    return llm


def batch_of(tasks: dict[str, float], alone: bool = True, rows: int = 12, family: str = "qwen") -> dict:
    build = TaskCollate(ENTRIES, tasks, tiny_renderer(family), alone)
    return build(np.arange(rows) % 2, np.random.default_rng(3))


def by_hand(llm: LLM, batch: dict, smoothing: float) -> torch.Tensor:
    """Row by row, from the logits of all words."""
    logits = llm(batch["ids"])
    total = torch.zeros(())
    first, last = batch["motion_span"]
    for row, alone in enumerate(batch["motion_alone"].tolist()):
        targets, own = batch["targets"][row], logits[row]
        if alone:
            targets, own = torch.where(targets >= 0, targets - first, -1), own[:, first:last]
        total = total + torch.nn.functional.cross_entropy(
            own, targets, ignore_index=-1, reduction="sum", label_smoothing=smoothing
        )
    return total


@for_each(
    "tasks, tied, trained, smoothing",
    [
        (tasks, tied, trained, smoothing)
        for tasks in (MIXED, {"t2m": 1.0})
        for tied in (True, False)
        for trained in (True, False)
        for smoothing in (0.0, 0.1)
    ],
)
def test_the_loss_is_its_definition(monkeypatch, tasks, tied, trained, smoothing):
    """Sum, single values and gradients in fp32, of several chunks."""
    monkeypatch.setattr(vocabulary_loss, "CHUNK", 1000)
    batch = batch_of(tasks)
    assert batch["motion_alone"].any() and batch["motion_alone"].all() == (len(tasks) == 1)
    llm, plain = model(tied=tied, trained=trained), model(tied=tied, trained=trained)
    total, single = lm_losses(llm, batch, smoothing)
    wanted = by_hand(plain, batch, smoothing)
    torch.testing.assert_close(total, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single.sum(), by_hand(plain, batch, 0.0).detach(), rtol=1e-5, atol=1e-5)
    (total / batch["count"]).backward()
    (wanted / batch["count"]).backward()
    for (name, ours), theirs in zip(llm.named_parameters(), plain.parameters(), strict=True):
        if ours.requires_grad and theirs.grad is not None:
            # a head that no label is compared with has no gradient, not one of zeros
            found = torch.zeros_like(ours) if ours.grad is None else ours.grad
            torch.testing.assert_close(found, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_an_example_has_the_same_loss_in_every_batch():
    """So accumulation and the order of the data mean nothing. And the motion words are cheaper than all words."""
    llm, batch = model(), batch_of(MIXED)
    whole = {name: value for name, value in batch.items() if name != "motion_span"}
    rows = range(len(batch["ids"]))
    alone = [
        {name: batch[name][row : row + 1] for name in ("ids", "targets", "labels", "motion_alone")}
        | {"motion_span": batch["motion_span"], "count": int(batch["labels"][row])}
        for row in rows
    ]
    losses = torch.stack([lm_loss(llm, one).detach() for one in alone])
    torch.testing.assert_close(losses.sum(), lm_loss(llm, batch).detach(), rtol=1e-5, atol=1e-5)
    for row in rows:
        full = float(lm_loss(llm, {name: whole[name][row : row + 1] for name in ("ids", "targets")}).detach())
        if batch["motion_alone"][row]:
            assert losses[row] < full - 0.1
        else:
            assert float(losses[row]) == pytest.approx(full, rel=1e-5)


def test_a_batch_of_motion_reads_no_other_row_of_the_table(monkeypatch):
    llm, seen = model(trained=False), []
    logits = llm.logits
    monkeypatch.setattr(llm, "logits", lambda hidden, span: seen.append(span) or logits(hidden, span))
    batch = batch_of({"t2m": 1.0, "denoise": 1.0})
    lm_loss(llm, batch)
    assert seen == [batch["motion_span"]] and seen[0][1] - seen[0][0] == CODES + 2
    seen.clear()
    lm_loss(llm, batch_of({"t2m": 1.0}, alone=False))
    assert (0, llm.first_id) in seen


@for_each(
    "family, changes", [("qwen", {}), ("t5", {}), ("qwen", {"motion_as": "digits"}), ("qwen", {"loss_on_prompt": True})]
)
def test_which_tasks_learn_motion_alone(family, changes):
    """Said of a task what is true of the labels of its examples."""
    renderer = tiny_renderer(family, **changes)
    vocab, rng = renderer.vocab, np.random.default_rng(0)
    span = range(vocab.begin_id, vocab.first_motion + vocab.codes)
    found = set()
    for task in TASKS:
        asked = task in renderer.templates.groups or task not in ("t2m", "m2t", "denoise", "motion")
        if changes.get("motion_as") == "digits" and not asked:
            continue
        for entry in filter(TABLE[task].takes, ENTRIES):
            ids, labels = renderer.render(task, entry, rng)
            learnt = [i for i, labelled in zip(ids, labels, strict=True) if labelled]
            alone = learns_motion_alone(task, renderer)
            # the prompt of the task motion may be empty, so that there is no text to be learnt
            assert all(i in span for i in learnt) == alone or (task == "motion" and "loss_on_prompt" in changes), task
            found |= {alone}
    assert found == ({False} if changes else {True, False})


def test_where_it_can_do_nothing_it_is_refused():
    for tasks, renderer in (
        ({"m2t": 1.0, "caption": 1.0}, tiny_renderer("qwen")),
        ({"predict": 1.0}, tiny_renderer("qwen", motion_as="digits")),
        ({"t2m": 1.0}, tiny_renderer("qwen", loss_on_prompt=True)),
        ({"motion": 1.0}, tiny_renderer("t5")),
    ):
        with pytest.raises(ValueError, match="--loss-vocab motion needs a task that learns motion words"):
            TaskCollate(ENTRIES, tasks, renderer, True)


def test_the_answer_of_a_motion_is_never_mixed_with_text(tmp_path):
    """The rule goes by the task: words around the motion of an answer are refused where templates are read."""
    mixed = {"A": {"b": group(answer=["here: <Motion_Placeholder>"])}}
    with pytest.raises(ValueError, match="output of t2m must be"):
        read_templates(written(tmp_path, mixed))


def test_perplexity_is_over_the_words_of_the_loss():
    """As many equally likely words as there are: logits of zeros."""
    llm = model()
    with torch.no_grad():
        for table in llm.head:
            table.zero_()
    renderer = tiny_renderer("qwen")
    for meta, expected in (({}, llm.vocab_size), ({"loss_vocab": "motion"}, CODES + 2)):
        run = SimpleNamespace(llm=llm, renderer=renderer, vocab=renderer.vocab, meta=meta)
        assert language_perplexity(run, ENTRIES, "t2m", 2) == pytest.approx(expected, rel=1e-4)
        assert language_perplexity(run, ENTRIES, "m2t", 2) == pytest.approx(llm.vocab_size, rel=1e-4)
        assert over_motion_words(run, "t2m") == bool(meta) and not over_motion_words(run, "m2t")


# ---- a stage --------------------------------------------------------------------------------------------------------

CONFIG = TrainConfig(lr=1e-2, max_steps=4, eval_every=2, save_every=1, log_every=1, batch_size=8, warmup=0.0,
                     loss_vocab="motion")  # fmt: skip


@pytest.mark.slow
def test_a_stage_says_what_its_losses_are_over_and_resumes(script, tiny, tmp_path):
    few = ("--max-steps", 4, "--eval-every", 2, "--save-every", 1, "--lr", 1e-2, "--lora-r", 4, "--lora-alpha", 4)
    train = ("finetune", "--stage", 2, "--data", tiny.data, "--backbone", tiny.backbone, *few)
    done = script(*train, "--out", tmp_path / "run", "--loss-vocab", "motion")
    assert done.code == 0, done.err
    said = "--loss-vocab motion: all losses are over 34 motion words for t2m, denoise, all words for m2t"
    assert said in done.out and "by --loss-vocab motion\n" in done.out
    stage = tmp_path / "run" / "stage2"
    meta = read_json(stage / "meta.json")
    assert meta["loss_vocab"] == "motion" and 2 < meta["losses"]["val_t2m"] < 5  # chance is 3.5 of 34 words
    done = script("export", "--format", "hf", "--run", tmp_path / "run", "--out", tmp_path / "hf")
    assert done.code == 0, done.err
    assert "over motion words alone" in (tmp_path / "hf" / "README.md").read_text()
    assert read_json(tmp_path / "hf" / "meta.json")["exported"]["loss_vocab"] == "motion"
    whole = script(*train, "--out", tmp_path / "whole")
    assert whole.code == 0 and "--loss-vocab" not in whole.out
    meta = read_json(tmp_path / "whole" / "stage2" / "meta.json")
    assert "loss_vocab" not in meta and meta["losses"]["val_t2m"] > 5  # of 342 words
    done = script(*train, "--out", tmp_path / "text", "--tasks", "m2t=1", "--loss-vocab", "motion")
    assert done.code == 2 and "--loss-vocab motion needs a task" in done.err and not (tmp_path / "text").exists()


def test_a_killed_stage_goes_on_with_the_same_loss_only(tiny, tmp_path):
    tiny.finetune(tmp_path / "whole", 2, config=CONFIG)
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(tmp_path / "parts", 2, killed_after=2, config=CONFIG)
    with pytest.raises(ValueError, match="--loss-vocab 'motion' there, 'all' here"):
        tiny.finetune(tmp_path / "parts", 2, config=replace(CONFIG, loss_vocab="all"))
    tiny.finetune(tmp_path / "parts", 2, config=CONFIG, resume=True)
    whole, parts = (read_tensors(tmp_path / n / "stage2" / "adapter_model.safetensors") for n in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
