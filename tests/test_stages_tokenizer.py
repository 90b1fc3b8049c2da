"""The tokenizer stage of a recipe: finished, stopped, trained again, and the stages that learn its codes."""

import json
import re
import shutil

import pytest

SMALL = "--max-steps 1 --eval-every 1 --width 8 --code-dim 8 --codes 8 --depth 1 --window 16 --batch-size 4".split()
STOP = ("--max-minutes", "0.0000001")  # before the first step: nothing is saved yet


@pytest.fixture(scope="module")
def dataset(script, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "d"
    assert script("prepare", "--from", "procedural", "--count", 12, "--workers", 1, "--out", out).code == 0
    return out


@pytest.fixture(scope="module")
def whole(script, tiny, dataset, tmp_path_factory):
    """A run with all stages finished, made once."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = script(*command(tiny, dataset, out))
    assert done.code == 0, done.err
    return out


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def command(tiny, data, out, *more, stage="all"):
    words = ["finetune", "--recipe", "myoskeleton", "--stage", stage, "--data", data, "--out", out, *SMALL, *more]
    return words if stage == 1 else [*words, "--backbone", tiny.backbone]


def finished(run):
    return {p.parent.name for p in run.glob("*/meta.json") if json.loads(p.read_text()).get("finished", True)}


def check(done, message):
    assert done.code == 2 and re.search(message, done.err) and done.err.count("\n") == 1, done.err


def test_the_log_of_a_tokenizer_has_the_parts_of_its_loss(script, dataset, tmp_path):
    """They add up to the loss, in training and in validation, which also decodes the held-out clips."""
    done = script("train_vqvae", "--data", dataset, "--out", tmp_path / "vq", *SMALL, "--log-every", 1)
    assert done.code == 0, done.err
    weights = json.loads((tmp_path / "vq" / "config.json").read_text())
    config = weights.get("VQVAEConfig", weights)
    records = [json.loads(line) for line in (tmp_path / "vq" / "metrics.jsonl").read_text().splitlines()]
    merged = {name: value for record in records for name, value in record.items()}
    for prefix in ("", "val_"):
        parts = merged[f"{prefix}reconstruction"] + config["joint_weight"] * merged[f"{prefix}joints"]
        parts += config["commit_weight"] * merged[f"{prefix}commitment"]
        assert parts == pytest.approx(merged[f"{prefix}loss"], rel=1e-4)
    assert {"perplexity", "val_perplexity", "val_mpjpe_mm"} <= set(merged)
    assert re.search(r"step +1/1  loss \S+  reconstruction \S+  joints \S+  commitment \S+  perplexity", done.out)


@pytest.mark.slow
def test_fresh_of_all_counts_nothing_as_finished_from_its_first_step(script, tiny, dataset, run):
    assert finished(run) == {"vqvae", "stage2", "stage3"}
    done = script(*command(tiny, dataset, run, "--fresh", *STOP))
    assert done.code == 0 and "the same command without --fresh continues" in done.out
    assert finished(run) == set()
    done = script(*command(tiny, dataset, run))
    assert done.code == 0 and "skipped" not in done.out.replace("already; skipped", "")
    assert finished(run) == {"vqvae", "stage2", "stage3"}


def test_fresh_that_cannot_start_removes_nothing(script, tiny, dataset, run):
    check(script(*command(tiny, dataset, run, "--fresh", "--window", 3)), "--window must be at least 4")
    assert finished(run) == {"vqvae", "stage2", "stage3"}


@pytest.mark.slow
def test_a_stage_does_not_start_on_a_tokenizer_that_is_not_there_yet(script, tiny, dataset, tmp_path):
    """It would take the demo's data and tokenizer, and mix the codes of two tokenizers in one run."""
    out = tmp_path / "run"
    assert "time is up" in script(*command(tiny, dataset, out, *STOP, stage=1)).out
    check(script("finetune", "--recipe", "myoskeleton", "--stage", 2, "--out", out), "stopped before its first save")
    assert not (out / "stage2").exists()


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_a_tokenizer_is_not_trained_under_stages_that_learnt_another(script, tiny, dataset, run, fresh):
    (run / "vqvae" / "meta.json").unlink()
    check(script(*command(tiny, dataset, run, *fresh, stage=1)), "stage2, stage3 of .* learnt the codes of another")


def test_flags_that_a_finished_tokenizer_contradicts(script, tiny, dataset, run):
    check(script(*command(tiny, dataset, run, "--codes", 16, "--depth", 2)), "trained with --codes 8, --depth 1")


def test_other_data_does_not_replace_the_tokens_that_stages_learnt(script, tiny, run, tmp_path):
    other, before = tmp_path / "other", (run / "tokens.json").read_bytes()
    assert script("prepare", "--from", "procedural", "--count", 13, "--workers", 1, "--out", other).code == 0
    check(script(*command(tiny, other, run)), "which stages of this run have learnt, is not .*other")
    assert (run / "tokens.json").read_bytes() == before


def test_resume_of_all_insists_once(script, tiny, dataset, run):
    check(script(*command(tiny, dataset, run, "--resume")), "nothing unfinished")
    for name in ("stage2", "stage3"):
        meta = run / name / "meta.json"
        meta.write_text(json.dumps(json.loads(meta.read_text()) | {"finished": False}))
    shutil.rmtree(run / "stage3")
    done = script(*command(tiny, dataset, run, "--resume"))
    assert done.code == 0 and "resumed at step 1 of 1" in done.out + done.err, done.err
    assert finished(run) == {"vqvae", "stage2", "stage3"}


def test_a_tokenizer_stage_can_be_insisted_on_too(script, tiny, dataset, tmp_path):
    check(script(*command(tiny, dataset, tmp_path / "run", "--resume", stage=1)), "has nothing unfinished")


def test_a_stage_trained_again_names_those_that_went_on_from_it(script, tiny, dataset, run):
    words = command(tiny, run / "tokens.json", run, "--fresh", stage=2)
    small = [w for w in words if w not in ("--width", "8", "--code-dim", "--codes", "--depth", "--window", "16")]
    del small[small.index("1", small.index("--eval-every") + 2)]
    done = script(*small)
    assert done.code == 0, done.err
    assert "warning: stage3 started from the former stage 2" in done.out
