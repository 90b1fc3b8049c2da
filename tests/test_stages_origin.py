"""Fine-tuning from a stage of another run: what it needs comes along, or one line says what does not fit."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from motiongpt.config import TrainConfig
from motiongpt.data.tokens import load_tokens, save_tokens
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, write_json
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.model import load_run
from motiongpt.stages.origin import named_stage, read_origin
from motiongpt.stages.run_folder import RunConfig, finished_stages

FEW = ("--max-steps", 2, "--eval-every", 2, "--batch-size", 8, "--lr", 0.01, "--warmup", 0)


def data_of(tiny, path: Path, meta: dict | None = None, below: int = 32, **changes) -> Path:
    """The tiny captions with codes below `below` only; without `meta` no meta file, as data of other people."""
    entries = [replace(entry, **changes) for entry in load_tokens(tiny.data) if max(entry.codes) < below]
    save_tokens(path, entries, meta or {})
    if meta is None:
        path.with_name(f"{path.stem}.meta.json").unlink()
    return path


def from_stage(script, tiny, tmp_path: Path, data: Path, *more: object, source: Path | None = None):
    command = ("finetune", "--stage", 3, "--from", source or tiny.run / "stage1", "--data", data)
    return script(*command, "--out", tmp_path / "new", *FEW, *more)


@pytest.mark.parametrize("kind", ["its own tokens", "no meta file, fewer codes, nobody named", "its tokenizer rounded"])
def test_all_that_a_stage_needs_comes_along(script, tiny, tmp_path, kind):
    data, more = tiny.data, ()
    if kind.startswith("no meta"):
        data = data_of(tiny, tmp_path / "data.json", below=25, participant=None)
    elif kind.endswith("rounded"):
        MotionTokenizer.load(tiny.vqvae).save(tmp_path / "half", torch.float16)
        hash_of = file_hash(tmp_path / "half" / "model.safetensors")
        data = data_of(tiny, tmp_path / "data.json", {"codes": 32, "vqvae": hash_of})
        more = ("--vqvae", tmp_path / "half")
    done = from_stage(script, tiny, tmp_path, data, *more)
    assert done.code == 0, done.err
    assert f"from {tiny.run / 'stage1'}" in done.out.splitlines()[0]
    run, former = tmp_path / "new", RunConfig.read(tiny.run)
    adapter = read_json(run / "stage3" / "adapter_config.json")
    assert (adapter["r"], adapter["lora_alpha"]) == (4, 4.0)  # the stage's own, not the recipe's 16
    config = RunConfig.read(run)
    assert (config.codes, config.participants, config.base_hash) == (32, ("P0", "P1", "P2"), former.base_hash)
    assert (run / config.backbone).resolve() == tiny.backbone.resolve()
    if not more:
        assert file_hash(run / "vqvae" / "model.safetensors") == file_hash(tiny.vqvae / "model.safetensors")
    assert load_run(run).stage == 3
    assert script("sample", "--run", run, "--prompt", "someone waves", "--output", tmp_path / "w.npy").code == 0


def test_it_starts_where_the_stage_ended(script, tiny, tmp_path):
    done = from_stage(script, tiny, tmp_path, tiny.data, "--lr", 1e-12, "--max-steps", 1)
    assert done.code == 0, done.err
    ids = torch.tensor([[5, 300, 302, 333, 301]])
    with torch.no_grad():
        torch.testing.assert_close(load_run(tmp_path / "new").llm(ids), load_run(tiny.run).llm(ids), atol=1e-4, rtol=0)


def refused(done, tmp_path: Path, *pieces: object) -> bool:
    one_line = done.code == 2 and done.err.count("\n") == 1 and all(str(piece) in done.err for piece in pieces)
    return one_line and not (tmp_path / "new" / "stage3").exists()


def test_what_does_not_fit_is_one_line_that_says_what_to_do(script, tiny, tmp_path):
    stage, advice = tiny.run / "stage1", f"scripts/tokenize_motions.py --data DATASET --vqvae {tiny.run / 'vqvae'}"
    learnt = file_hash(tiny.vqvae / "model.safetensors")
    other = data_of(tiny, tmp_path / "other.json", {"codes": 32, "vqvae": "0" * 16})
    done = from_stage(script, tiny, tmp_path, other)
    assert refused(done, tmp_path, other, f"tokenizer {'0' * 16}", learnt, advice), done.err
    larger = data_of(tiny, tmp_path / "larger.json", {"codes": 40})
    done = from_stage(script, tiny, tmp_path, larger)
    assert refused(done, tmp_path, larger, "a codebook of 40", f"--from {stage} learnt one of 32", advice), done.err
    stranger = data_of(tiny, tmp_path / "stranger.json", participant="P9")
    done = from_stage(script, tiny, tmp_path, stranger)
    assert refused(done, tmp_path, f"{stage} knows participants P0, P1, P2", "has P9 too", "take participant_id"), (
        done.err
    )
    done = from_stage(script, tiny, tmp_path, tiny.data, "--lora-r", 8)
    assert refused(done, tmp_path, f"{stage} has an adapter of r 4", "--lora-r 8", "drop them"), done.err
    done = from_stage(script, tiny, tmp_path, tiny.data, source=tiny.vqvae.parent)
    assert refused(done, tmp_path, f"--from {tiny.vqvae.parent} holds no weights"), done.err
    lone = shutil.copytree(stage, tmp_path / "far" / "away" / "lone")
    done = from_stage(script, tiny, tmp_path, tiny.data, source=lone)
    assert refused(done, tmp_path, tmp_path / "far" / "backbone"), done.err
    shutil.copytree(tiny.backbone, tmp_path / "far" / "backbone")  # where the lone stage looks for it
    done = from_stage(script, tiny, tmp_path, tiny.data, source=lone)
    assert done.code == 0, done.err


def test_a_run_stands_for_its_highest_finished_stage(script, tiny, tmp_path):
    """Not for one that was stopped, and for a --debug stage only if there is no other."""
    run = shutil.copytree(tiny.run, tmp_path / "of a run" / "run")
    shutil.copytree(tiny.backbone, tmp_path / "of a run" / "backbone")
    for name, changes in (("stage2", {"name": "second"}), ("stage3", {"debug": True}), ("stage4", {"finished": False})):
        stage = shutil.copytree(run / "stage1", run / name)
        write_json(stage / "meta.json", read_json(stage / "meta.json") | changes)
    done = from_stage(script, tiny, tmp_path, tiny.data, source=run)
    assert done.code == 0, done.err
    line = f"--from {run} is a run: starting from its highest finished stage, {run / 'stage2'} (second)"
    assert line in done.out.splitlines()
    assert f"from {run / 'stage2'}" in done.out.splitlines()[1]  # the stage's own first line
    for name in ("stage1", "stage2"):
        shutil.rmtree(run / name)
    said = []
    assert named_stage(run, said.append) == run / "stage3" and len(said) == 1
    assert named_stage(run / "stage3", said.append) == run / "stage3" and len(said) == 1
    shutil.rmtree(run / "stage3")
    with pytest.raises(FileNotFoundError, match="holds no weights .*; it is a run without a finished stage"):
        named_stage(run, said.append)


def test_where_a_backbone_is_named(tiny, tmp_path):
    """Of a run, of a stage without its run, of a stage that is a backbone, and of a plain backbone."""
    assert Path(read_origin(tiny.run / "stage1").backbone).resolve() == tiny.backbone.resolve()
    assert read_origin(tiny.backbone).backbone == str(tiny.backbone)
    full = dict(recipe="captions", train_mode="full", backbone="tiny", tasks={"caption": 1.0})
    captions = tiny.finetune(tmp_path / "captions", **full)
    origin = read_origin(captions)
    assert (origin.backbone, origin.config, origin.vqvae) == (str(captions), None, None)


def test_the_next_stage_takes_the_rank_of_the_one_before(script, tiny, tmp_path):
    """Without the flags it was given: the recipe's rank is for the stage that makes the adapter."""
    config = TrainConfig(lr=1e-2, max_steps=1, eval_every=1, warmup=0.0)
    tiny.finetune(tmp_path / "run", 1, config=config)
    done = script("finetune", "--stage", 2, "--data", tiny.data, "--out", tmp_path / "run", *FEW)
    assert done.code == 0 and f"lora_r 4 (adapter in {tmp_path / 'run' / 'stage1'})" in done.out, done.err
    assert sorted(finished_stages(tmp_path / "run")) == [1, 2]


def test_a_run_goes_on_where_its_backbone_has_moved(script, tiny, tmp_path):
    """Weights count, not their place: for an unfinished stage, for the next one, and for the demo's own settings."""
    places = [tmp_path / name / "backbone" for name in "abc"]
    shutil.copytree(tiny.backbone, places[0])
    run = tmp_path / "run"

    def stage(number: int, backbone: Path, *more: object):
        command = ("finetune", "--stage", number, "--data", tiny.data, "--backbone", backbone, "--out", run)
        return script(*command, *FEW, "--lora-r", 4, "--lora-alpha", 4, *more)

    assert stage(1, places[0]).code == 0
    meta = run / "stage1" / "meta.json"
    write_json(meta, read_json(meta) | {"finished": False})
    places[0].parent.rename(places[1].parent)
    done = stage(1, places[1])
    assert done.code == 0 and "resumed at step" in done.out + done.err, done.err
    places[1].parent.rename(places[2].parent)
    done = stage(2, places[2])
    assert done.code == 0 and f"from {run / 'stage1'}" in done.out, done.err
    assert RunConfig.read(run).backbone == "../c/backbone"
    # other weights are refused as before
    (other,) = (shutil.copytree(tiny.run / name, tmp_path / "d" / name) for name in ("stage1",))
    done = stage(3, other)
    assert done.code == 2 and "--backbone" in done.err and done.err.count("\n") == 1, done.err


def test_the_demo_of_another_checkout_is_the_demo(tiny, tmp_path):
    from motiongpt.cli.stages import _is_demo, _run_backbone

    here, there = (shutil.copytree(tiny.backbone, tmp_path / name / "backbone").parent for name in ("here", "there"))
    assert _is_demo(str(there / "backbone"), here) and not _is_demo(str(tiny.run / "stage1"), here)
    assert not _is_demo("some/repo", here)
    run = shutil.copytree(tiny.run, tmp_path / "far" / "run")  # its backbone stayed behind
    assert _run_backbone(run, here) == str(here / "backbone")
    with open(here / "backbone" / "model.safetensors", "ab") as file:
        file.write(b" ")
    assert not _is_demo(str(there / "backbone"), here)
    assert _run_backbone(run, here) == str(tmp_path / "far" / "backbone")  # and --stage says that it is not there
