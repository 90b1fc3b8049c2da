"""Stages of a run: what is saved is what was trained, and nothing of another run slips in.

A stage here is three steps of a two-layer model (`Tiny.finetune`) and takes a third of a second.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import seeded

from motiongpt.config import LoRAConfig, TrainConfig
from motiongpt.data.tokens import load_tokens, save_tokens
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
from motiongpt.llm import LLM
from motiongpt.stages.model import load_run, load_weights, motion_words, open_stage
from motiongpt.stages.run_folder import WEIGHTS, RunConfig, find_base, finished_stages, relative_backbone, relative_path
from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.vocab import MotionVocab
from motiongpt.weights.llm import load_llm, save_llm

IDS = torch.tensor([[5, 300, 302, 333, 301], [336, 300, 299, 0, 341]])  # text, markers, codes, task and people words


@torch.no_grad()
def logits_of(run: Path, stage: int | None = None) -> torch.Tensor:
    return load_run(run, stage).llm(IDS)


def copy(tiny, tmp_path: Path) -> Path:
    """A copy of the tiny run, beside a copy of its backbone, for tests that change it."""
    shutil.copytree(tiny.backbone, tmp_path / "backbone")
    shutil.copytree(tiny.run, tmp_path / "run")
    return tmp_path / "run"


def finetune(tiny, tmp_path: Path, number: int = 1, **changes) -> Path:
    return tiny.finetune(tmp_path / "run", number, backbone=str(tmp_path / "backbone"), **changes)


def trained_logits(monkeypatch, train) -> torch.Tensor:
    """Logits of the model that `train()` trains, in eval mode, with adapters not merged."""
    from motiongpt.stages import language

    models, prepare = [], language.prepare_stage

    def spy(*args):
        stage = prepare(*args)
        models.append(stage.model)
        return stage

    monkeypatch.setattr(language, "prepare_stage", spy)
    train()
    with torch.no_grad():
        return models[-1].eval()(IDS)


# 1) What is saved is what was trained.


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_loaded_stage_computes_what_was_trained(tiny, tmp_path, monkeypatch, mode):
    """Merging adapters changes rounding, hence 1e-4. Full weights come back bit for bit, except gathered new rows."""
    expected = trained_logits(monkeypatch, lambda: tiny.finetune(tmp_path / "run", train_mode=mode))
    torch.testing.assert_close(logits_of(tmp_path / "run"), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, logits_of(tiny.run) if mode == "full" else start_of(tiny), atol=1e-3)


def start_of(tiny) -> torch.Tensor:
    llm = load_llm(tiny.backbone)
    llm.extend(300, 42, seeded(42))
    with torch.no_grad():
        return llm(IDS)


def test_base_weights_stay_as_they_are_under_lora(tiny, tmp_path, monkeypatch):
    before = read_tensors(tiny.backbone / "model.safetensors")
    folder = tiny.finetune(tmp_path / "run")
    assert not (folder / "model.safetensors").exists()
    after = read_tensors(tiny.backbone / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
@pytest.mark.parametrize("modes", [("lora", "lora"), ("full", "full"), ("full", "lora")])
def test_stage_two_goes_on_from_stage_one(tiny, tmp_path, modes, monkeypatch):
    """With almost no learning rate stage 2 equals stage 1, so it started there and not from the backbone."""
    run, config = tmp_path / "run", TrainConfig(lr=1e-12, max_steps=1, eval_every=1, warmup=0.0)
    tiny.finetune(run, 1, train_mode=modes[0])
    folder = tiny.finetune(run, 2, train_mode=modes[1], config=config)
    torch.testing.assert_close(logits_of(run, 2), logits_of(run, 1), atol=1e-4, rtol=1e-4)
    base = {"lora": "../../backbone", "full": "../stage1"}[modes[0]]
    assert (folder / read_json(folder / "meta.json")["base"]).resolve() == (
        tiny.backbone if modes[0] == "lora" else folder / base
    ).resolve()
    assert load_run(run).stage == 2 and sorted(finished_stages(run)) == [1, 2]
    # an adapter goes on from an adapter, or starts on a full stage
    expected = trained_logits(monkeypatch, lambda: tiny.finetune(run, 3))
    torch.testing.assert_close(logits_of(run), expected, atol=1e-4, rtol=1e-4)
    assert load_run(run).stage == 3 and load_run(run, task="m2t").stage == 2  # stage 3 learns t2m only


def test_full_training_cannot_start_from_an_adapter(tiny, tmp_path):
    copy(tiny, tmp_path)
    with pytest.raises(ValueError, match="--train full cannot start from the adapter"):
        finetune(tiny, tmp_path, 2, train_mode="full")


def test_another_rank_than_the_stage_before_is_refused(tiny, tmp_path):
    copy(tiny, tmp_path)
    with pytest.raises(ValueError, match="adapter of r 4, alpha 4.0; --lora-r 8"):
        finetune(tiny, tmp_path, 2, lora=LoRAConfig(lora_r=8, lora_alpha=4.0))


def test_dropout_is_the_stages_own(tiny):
    text_tokenizer, run = load_text_tokenizer(tiny.backbone), RunConfig.read(tiny.run)
    model = open_stage(tiny.run / "stage1", text_tokenizer, run, "lora", LoRAConfig(4, 4.0, 0.25), 0)
    assert {m.p for m in model.llm.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_without_the_stage_before_it_warns_and_starts_from_the_backbone(tiny, tmp_path, monkeypatch):
    from motiongpt.stages import language

    stages, lines = [], []
    prepare = language.prepare_stage

    def spy(job, device, say):
        stages.append(prepare(job, device, lines.append))
        return stages[-1]

    monkeypatch.setattr(language, "prepare_stage", spy)
    for number in (2, 3):
        tiny.finetune(tmp_path / "run", number)
    shares = "t2m 50, m2t 30, denoise 20 %"
    assert lines[0] == f"recipe signmotiongpt, stage 2 of 3: test ({shares}), from backbone {tiny.backbone}"
    without = "this stage starts from the backbone without it"
    assert stages[0].plan.warning == f"warning: there is no {tmp_path / 'run' / 'stage1'}; {without}"
    assert stages[1].plan.warning is None and f"from {tmp_path / 'run' / 'stage2'}" in "\n".join(lines)
    (tmp_path / "half" / "stage1").mkdir(parents=True)
    tiny.finetune(tmp_path / "half", 2)
    assert stages[2].plan.warning == f"warning: {tmp_path / 'half' / 'stage1'} is not finished; {without}"
    (tmp_path / "stopped" / "stage1" / "state").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"stage1 is not finished.*repeat the command of stage 1"):
        tiny.finetune(tmp_path / "stopped", 2)


def test_from_another_runs_stage(tiny, tmp_path):
    config = TrainConfig(lr=1e-12, max_steps=1, eval_every=1, warmup=0.0)
    tiny.finetune(tmp_path / "run", 3, source=tiny.run / "stage1", config=config)
    torch.testing.assert_close(logits_of(tmp_path / "run"), logits_of(tiny.run), atol=1e-4, rtol=1e-4)
    with pytest.raises(FileNotFoundError, match="--from .* holds no weights"):
        tiny.finetune(tmp_path / "other", 3, source=tmp_path)


# 2) Where a run and its backbone are.


def test_a_run_moves_together_with_its_backbone(tiny, tmp_path):
    expected = logits_of(tiny.run)
    copy(tiny, tmp_path / "elsewhere with spaces")
    torch.testing.assert_close(logits_of(tmp_path / "elsewhere with spaces" / "run"), expected, atol=0, rtol=0)


def test_an_adapter_without_its_backbone_says_so(tiny, tmp_path):
    run = copy(tiny, tmp_path)
    shutil.rmtree(tmp_path / "backbone")
    with pytest.raises(FileNotFoundError, match=f"stage1 was trained on {tmp_path / 'backbone'}, which is not there"):
        load_run(run)


def test_a_run_trained_in_full_needs_no_backbone_to_sample(tiny, tmp_path):
    shutil.copytree(tiny.backbone, tmp_path / "backbone")
    finetune(tiny, tmp_path, train_mode="full")
    expected = logits_of(tmp_path / "run")
    shutil.rmtree(tmp_path / "backbone")
    assert torch.equal(logits_of(tmp_path / "run"), expected)
    for name in ("tokenizer.json", "tokenizer_config.json"):  # an older run has none of its own
        (tmp_path / "run" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"was trained on {tmp_path / 'backbone'}, which is not there"):
        load_run(tmp_path / "run")
    shutil.copytree(tiny.backbone, tmp_path / "backbone")
    assert torch.equal(logits_of(tmp_path / "run"), expected)


def change_weights(folder: Path) -> None:
    tensors = read_tensors(folder / "model.safetensors")
    write_tensors(folder / "model.safetensors", {name: 1.01 * tensor for name, tensor in tensors.items()})


def test_an_adapter_is_not_put_on_other_weights(tiny, tmp_path):
    """Not on a changed backbone, and not on a full stage that was trained again."""
    run = copy(tiny, tmp_path)
    change_weights(tmp_path / "backbone")
    with pytest.raises(ValueError, match=r"stage1 was trained on other weights than .*backbone holds now"):
        load_run(run)
    with pytest.raises(ValueError, match="stage1 was trained on other weights"):
        finetune(tiny, tmp_path, 2)
    tiny.finetune(tmp_path / "two", 1, train_mode="full")
    tiny.finetune(tmp_path / "two", 2)
    load_run(tmp_path / "two")
    change_weights(tmp_path / "two" / "stage1")
    with pytest.raises(ValueError, match=r"stage1/model.safetensors is damaged or replaced: meta.json knows it as"):
        load_run(tmp_path / "two")
    write_json(
        tmp_path / "two" / "stage1" / "meta.json",
        {key: value for key, value in read_json(tmp_path / "two" / "stage1" / "meta.json").items() if key != "hashes"},
    )
    with pytest.raises(ValueError, match=r"stage2 was trained on other weights than .*stage1 holds now"):
        load_run(tmp_path / "two")


def test_a_run_is_not_continued_on_another_backbone_of_the_same_name(tiny, tmp_path):
    shutil.copytree(tiny.backbone, tmp_path / "backbone")
    finetune(tiny, tmp_path, train_mode="full")
    change_weights(tmp_path / "backbone")
    with pytest.raises(ValueError, match="run was begun on other weights than .*backbone holds now"):
        finetune(tiny, tmp_path, 2)


def test_runs_written_before_there_were_hashes_are_read(tiny, tmp_path):
    run = copy(tiny, tmp_path)
    for path, outer in ((run / "stage1" / "meta.json", None), (run / "config.json", "RunConfig")):
        content = read_json(path)
        assert len((content[outer] if outer else content).pop("base_hash")) == 16
        assert content.pop("hashes")
        write_json(path, content)
    assert torch.equal(logits_of(run), logits_of(tiny.run))
    finetune(tiny, tmp_path, 2)
    assert load_run(run).stage == 2


def test_paths_in_json_have_forward_slashes_and_may_be_absolute(tmp_path, monkeypatch):
    assert relative_path(tmp_path / "a" / "b", tmp_path / "c") == "../a/b"

    def on_windows(path, start):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr("os.path.relpath", on_windows)
    assert relative_path(tmp_path / "a", tmp_path / "c") == (tmp_path / "a").resolve().as_posix()
    (tmp_path / "a").mkdir()
    assert find_base(relative_backbone(tmp_path / "a", tmp_path / "c"), tmp_path / "c") == tmp_path / "a"


def test_the_backbone_is_named_relative_to_the_run(tiny, tmp_path):
    assert RunConfig.read(tiny.run).backbone == "../backbone"
    assert relative_backbone(tmp_path, tmp_path / "a" / "b") == "../.."
    assert relative_backbone("Qwen/Qwen3-0.6B", tmp_path) == "Qwen/Qwen3-0.6B"


def test_a_hub_backbone_is_remembered_by_its_id(tiny, tmp_path, monkeypatch):
    """The snapshot's folder is this machine's cache: neither PEFT nor another machine would find it.

    A stage asks for its backbone once: for a repo id that may be a download.
    """
    asked = []
    monkeypatch.setattr("motiongpt.stages.run_folder.resolve_backbone", {"Some/Model": tiny.backbone}.__getitem__)
    monkeypatch.setattr(
        "motiongpt.weights.wrong_folders.resolve_backbone", lambda name: asked.append(name) or tiny.backbone
    )
    for number in (1, 2):
        folder = tiny.finetune(tmp_path / "run", number, backbone="Some/Model")
        assert read_json(folder / "meta.json")["base"] == "Some/Model"
        assert read_json(folder / "adapter_config.json")["base_model_name_or_path"] == "Some/Model"
    assert RunConfig.read(tmp_path / "run").backbone == "Some/Model" and asked == ["Some/Model"] * 2
    assert load_run(tmp_path / "run").stage == 2


def test_a_stage_folder_may_be_named_itself(tiny):
    assert load_run(tiny.run / "stage1").stage == 1
    with pytest.raises(ValueError, match="no finished stage 3; finished: 1"):
        load_run(tiny.run, 3)


# 3) PEFT reads what we write.


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, "full"])
def test_auto_peft_loads_a_stage_folder(tiny, tmp_path, before):
    """The same logits within 1e-4: PEFT uses other kernels. With `before`, the base is a full stage 1."""
    peft = pytest.importorskip("peft")
    run = tiny.run
    if before:
        run = tmp_path / "run"
        tiny.finetune(run, 1, train_mode="full")
        tiny.finetune(run, 2)
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(run / f"stage{load_run(run).stage}").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits[..., :342], logits_of(run), atol=1e-4, rtol=1e-4)


# 4) Nothing is overwritten silently, nothing of another run is mixed in.


def test_a_finished_stage_is_refused_unless_fresh(tiny, tmp_path):
    run = copy(tiny, tmp_path)
    before = (run / "stage1" / "adapter_model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="is finished; --fresh"):
        finetune(tiny, tmp_path)
    assert (run / "stage1" / "adapter_model.safetensors").read_bytes() == before
    finetune(tiny, tmp_path, fresh=True, config=TrainConfig(lr=3e-2, max_steps=2, eval_every=2))
    assert (run / "stage1" / "adapter_model.safetensors").read_bytes() != before
    assert read_json(run / "stage1" / "meta.json")["steps"] == 2


@pytest.mark.parametrize("before, after", [("lora", "full"), ("full", "lora")])
def test_fresh_in_the_other_mode_leaves_a_stage_of_that_mode(tiny, tmp_path, monkeypatch, before, after):
    tiny.finetune(tmp_path / "run", train_mode=before)
    expected = trained_logits(monkeypatch, lambda: tiny.finetune(tmp_path / "run", train_mode=after, fresh=True))
    torch.testing.assert_close(logits_of(tmp_path / "run"), expected, atol=1e-4, rtol=1e-4)
    names = {path.name for path in (tmp_path / "run" / "stage1").iterdir()}
    assert names >= set(WEIGHTS[after]) and not names & set(WEIGHTS[before])


def test_fresh_removes_nothing_when_something_else_is_wrong(tiny, tmp_path):
    run = copy(tiny, tmp_path)
    before = logits_of(run)
    with pytest.raises(FileNotFoundError):
        finetune(tiny, tmp_path, fresh=True, data=tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="--max-seq-len is 5"):
        finetune(tiny, tmp_path, fresh=True, config=TrainConfig(max_seq_len=5))
    assert torch.equal(logits_of(run), before)


def test_another_recipe_in_the_same_folder_is_refused(tiny, tmp_path):
    copy(tiny, tmp_path)
    with pytest.raises(ValueError, match="is a run of recipe signmotiongpt; give --recipe captions another --out"):
        finetune(tiny, tmp_path, recipe="captions")


def test_resume_insists(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="--resume: .* has nothing unfinished"):
        tiny.finetune(tmp_path / "run", 1, resume=True)


def test_a_killed_stage_goes_on_and_ends_as_if_it_had_not_been(tiny, tmp_path):
    config = TrainConfig(lr=1e-2, max_steps=4, eval_every=2, save_every=1, warmup=0.0)
    tiny.finetune(tmp_path / "whole", config=config)
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(tmp_path / "parts", killed_after=2, config=config)
    assert finished_stages(tmp_path / "parts") == {}
    with pytest.raises(FileNotFoundError, match="no finished stage"):
        load_run(tmp_path / "parts")
    tiny.finetune(tmp_path / "parts", config=config, resume=True)
    whole, parts = (read_tensors(tmp_path / n / "stage1" / "adapter_model.safetensors") for n in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_log_has_losses_by_task_and_edit_distances(tiny, tmp_path, monkeypatch):
    """Each task's loss is that of its own labels. Decoding changes nothing that is trained, and a resume logs alike."""
    from motiongpt.stages import language

    config = TrainConfig(lr=1e-2, max_steps=4, eval_every=2, save_every=1, log_every=1, batch_size=8, warmup=0.0)

    def logged(name: str) -> list[dict]:
        lines = (tmp_path / name / "stage2" / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if not k.endswith("_per_s")} for line in lines]

    tiny.finetune(tmp_path / "whole", 2, config=config)
    steps = [line for line in logged("whole") if "loss" in line]
    tasks = {"t2m", "m2t", "denoise"}
    for line in steps:
        drawn = tasks & set(line)
        assert drawn and min(line[task] for task in drawn) - 1e-5 <= line["loss"] <= max(line[t] for t in drawn) + 1e-5
    validations = [line for line in logged("whole") if "val_loss" in line]
    assert any(f"val_{task}" in validations[-1] for task in tasks)
    assert "val_edit_distance" not in validations[0] and 0 <= validations[-1]["val_edit_share"] <= 1
    # the numbers of the closing validation, from the saved weights
    losses = read_json(tmp_path / "whole" / "stage2" / "meta.json")["losses"]
    assert losses["val_edit_distance"] == validations[-1]["val_edit_distance"]
    # a kill and a resume log the same
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(tmp_path / "parts", 2, killed_after=3, config=config)
    tiny.finetune(tmp_path / "parts", 2, config=config, resume=True)
    assert logged("parts") == logged("whole")
    # neither decoding nor the single values are seen by the weights
    monkeypatch.setattr(language.Prepared, "decode", lambda self: {})
    tiny.finetune(tmp_path / "plain", 2, config=config)
    whole, plain = (read_tensors(tmp_path / n / "stage2" / "adapter_model.safetensors") for n in ("whole", "plain"))
    assert all(torch.equal(whole[name], plain[name]) for name in whole)


def test_a_decoded_caption_is_one_that_sampling_would_write(tiny, tmp_path):
    """Edit distance by hand: greedy motions of the finished run for the held-out captions, against their codes."""
    from motiongpt import MotionGenerator
    from motiongpt.metrics.tokens import edit_distances
    from motiongpt.stages.held_out import DECODED

    seen = {}

    def spy(prepared) -> dict[str, float]:
        seen.update(decode(prepared), entries=prepared.plan.held_out[:DECODED])
        return {}

    from motiongpt.stages import language

    decode = language.Prepared.decode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language.Prepared, "decode", spy)
        config = TrainConfig(lr=1e-2, max_steps=2, eval_every=2, warmup=0.0)
        tiny.finetune(tmp_path / "run", 3, config=config, data=tiny.data)
    generator = MotionGenerator.load(tmp_path / "run", stage=3)
    texts = [entry.text for entry in seen["entries"]]
    people = [entry.participant for entry in seen["entries"]]
    motions = generator.generate(texts, people, temperature=0.0, per_prompt_vocab=False)
    edits = edit_distances([(m.tokens, e.codes) for m, e in zip(motions, seen["entries"], strict=True)])
    assert seen["edit_distance"] == pytest.approx(edits.mean())


def test_an_unfinished_stage_with_other_settings_is_refused_and_left_alone(tiny, tmp_path):
    run = copy(tiny, tmp_path)
    meta = read_json(run / "stage1" / "meta.json")
    (run / "stage1" / "meta.json").write_text(json.dumps(meta | {"finished": False}))
    before = (run / "config.json").read_bytes()
    with pytest.raises(ValueError, match="other settings .*lr 0.01 there, 0.5 here"):
        finetune(tiny, tmp_path, config=TrainConfig(lr=0.5, max_steps=3, batch_size=8, warmup=0.0))
    assert (run / "config.json").read_bytes() == before


def test_the_tokenizer_must_be_the_one_that_wrote_the_codes(tiny, tmp_path):
    other = shutil.copytree(tiny.vqvae, tmp_path / "other")
    tensors = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(tensors[:-4] + b"\x00\x00\x80\x3f")
    content = read_json(other / "config.json")
    assert content["hashes"].pop("model.safetensors")  # another tokenizer, and not a damaged one
    write_json(other / "config.json", content)
    with pytest.raises(ValueError, match="is not the tokenizer that wrote"):
        tiny.finetune(tmp_path / "run", vqvae=other)
    assert not (tmp_path / "run").exists()
    for folder, message in ((tmp_path, "holds no tokenizer .no config"), (tiny.backbone, "config.json is not a tok")):
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            tiny.finetune(tmp_path / "run", vqvae=folder)
    tiny.finetune(tmp_path / "run", vqvae=tiny.run)  # a run's own folder serves as well
    assert sorted(p.name for p in (tmp_path / "run" / "vqvae").iterdir()) == [
        "Mean.npy", "Std.npy", "config.json", "model.safetensors",
    ]  # fmt: skip


def test_a_later_stage_takes_no_codes_of_another_tokenizer(tiny, tmp_path):
    """Not even without --vqvae: the run would decode them with the tokenizer it has."""
    copy(tiny, tmp_path)
    data = tmp_path / "codes.json"
    save_tokens(data, load_tokens(tiny.data), {"codes": 32, "vqvae": "0" * 16})
    with pytest.raises(ValueError, match="was made with another tokenizer than .*codes.json; give --vqvae or another"):
        finetune(tiny, tmp_path, 2, data=data)
    assert not (tmp_path / "run" / "stage2").exists()
    save_tokens(data, load_tokens(tiny.data), {"codes": 32})  # this meta.json does not say which tokenizer
    finetune(tiny, tmp_path, 2, data=data)


def other_data(tiny, tmp_path: Path, codes: int | None = 32, **changes) -> Path:
    path = tmp_path / "other.json"
    save_tokens(
        path, [replace(entry, **changes) for entry in load_tokens(tiny.data)], {"codes": codes} if codes else {}
    )
    if codes is None:
        (tmp_path / "other.meta.json").unlink()
    return path


def test_the_words_of_a_run_are_those_of_its_first_stage(tiny, tmp_path):
    """Otherwise rows of new words would be read under other names, without an error."""
    copy(tiny, tmp_path)
    with pytest.raises(ValueError, match="knows participants P0, P1, P2; .* has P9 too"):
        finetune(tiny, tmp_path, 2, data=other_data(tiny, tmp_path, participant="P9"))
    with pytest.raises(ValueError, match="was begun with --codes 32, got 40"):
        finetune(tiny, tmp_path, 2, data=other_data(tiny, tmp_path, codes=40))
    with pytest.raises(ValueError, match="was begun with --think auto, got none"):
        finetune(tiny, tmp_path, 2, think="none")
    shutil.copytree(tiny.backbone, tmp_path / "backbone2")
    other = LLM(load_llm(tiny.backbone).config, torch.Generator().manual_seed(9))  # the same shape, other weights
    save_llm(other, tmp_path / "backbone2")
    with pytest.raises(ValueError, match=f"begun with --backbone {tmp_path}/backbone, got {tmp_path}/backbone2"):
        tiny.finetune(tmp_path / "run", 2, backbone=str(tmp_path / "backbone2"))


def test_a_stage_whose_data_lacks_participants_keeps_the_runs(tiny, tmp_path):
    run = copy(tiny, tmp_path)
    finetune(tiny, tmp_path, 2, data=other_data(tiny, tmp_path, participant="P1"))
    assert RunConfig.read(run).participants == ("P0", "P1", "P2")
    assert load_run(run).vocab.participants == ("P0", "P1", "P2")


def test_a_full_stage_with_other_words_is_refused(tiny, tmp_path):
    folder = tiny.finetune(tmp_path / "run", train_mode="full")
    with pytest.raises(ValueError, match="has 42 motion words, this run 43"):
        load_weights(folder, MotionVocab(load_text_tokenizer(tiny.backbone), 33, ("P0", "P1", "P2")))


def test_a_backbone_knows_its_motion_words_in_the_codes_of_its_own_tokenizer_only(tiny, tmp_path):
    """For another tokenizer's codes the same rows would be noise."""
    folder = tiny.finetune(tmp_path / "run", train_mode="full")
    (folder / "tokenizer.json").write_bytes((tiny.backbone / "tokenizer.json").read_bytes())
    text_tokenizer, people = load_text_tokenizer(tiny.backbone), ("P0", "P1", "P2")
    vocab = MotionVocab(text_tokenizer, 32, people)
    table = load_llm(folder).embed_tokens.weight[vocab.first_id :]
    write_json(folder / "meta.json", {"motion_words": motion_words(vocab, "abc")})

    def rows(vocab, vqvae):
        llm, _, base = load_weights(folder, vocab, vqvae=vqvae)
        assert base == folder and llm.vocab_size == vocab.first_id + len(vocab)
        return llm.new_in

    assert torch.equal(rows(vocab, "abc"), table)
    for other, vqvae in ((vocab, "abd"), (vocab, None), (MotionVocab(text_tokenizer, 31, people), "abc")):
        drawn = rows(other, vqvae)
        assert len(drawn) == len(other) and not torch.isin(drawn, table).any()
    # other participants: the rows of the words that both have are kept, whatever place they have now
    other = MotionVocab(text_tokenizer, 32, ("P1", "P3"))
    kept = rows(other, "abc")
    for word, row in zip(other.words, kept, strict=True):
        if word == "<PID_P3>":
            assert not torch.isin(row, table).any()
        else:
            assert torch.equal(row, table[vocab.words.index(word)]), word


# 5) What can be wrong with a run.


def test_folders_that_are_no_runs(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_run(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="not a run folder: no config.json"):
        load_run(tmp_path)
    for folder in (tiny.backbone, tiny.vqvae):
        with pytest.raises(ValueError, match="is not a run folder: its config.json is of another kind"):
            load_run(folder)
    (tmp_path / "config.json").write_text('{"RunConfig": {"recipe": "x"}}')
    with pytest.raises(ValueError, match="RunConfig is incomplete"):
        load_run(tmp_path)


def test_a_run_of_captions_writes_no_motion(tiny, tmp_path):
    full = dict(recipe="captions", train_mode="full", backbone="tiny", tasks={"caption": 1.0})
    folder = tiny.finetune(tmp_path / "bb", **full)
    with pytest.raises(ValueError, match="trained on captions only"):
        load_run(tmp_path / "bb")
    llm = load_llm(folder)  # it is a plain backbone, without motion words
    assert isinstance(llm, LLM) and llm.config.vocab_size == load_text_tokenizer(folder).size
    tiny.finetune(tmp_path / "run", backbone=str(folder))
    assert load_run(tmp_path / "run").config.backbone == "../bb/stage1"
    for wrong, message in (
        (dict(train_mode="lora"), "needs --train full"),
        (dict(tasks={"motion": 1.0}), "learn captions first"),
        (dict(recipe="signmotiongpt"), "no weights yet"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny.finetune(tmp_path / "new", **full | wrong)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "meta.json"])
def test_a_damaged_stage_names_its_file(tiny, tmp_path, name):
    path = copy(tiny, tmp_path) / "stage1" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=name):
        load_run(tmp_path / "run")


def test_validation_looks_at_entries_of_all_captions_whatever_their_order(tiny, tmp_path, monkeypatch):
    """The file has ten entries per caption in a row, so its first four entries would be one caption only."""
    from motiongpt.stages import language, plan

    checked, collate = [], language.TaskCollate
    monkeypatch.setattr(plan, "MAX_VALIDATION_ENTRIES", 4)
    monkeypatch.setattr(
        language, "TaskCollate", lambda entries, *rest: checked.append(entries) or collate(entries, *rest)
    )
    entries = load_tokens(tiny.data)
    held_out = [replace(e, split="val", text=f"caption {i // 10}") for i, e in enumerate(entries)]
    for name, order in (("a", held_out), ("b", held_out[::-1])):
        save_tokens(tmp_path / f"{name}.json", [*entries[:8], *order], {"codes": 32})
        tiny.finetune(tmp_path / name, data=tmp_path / f"{name}.json")
    assert checked[1] == checked[3] and len(checked[1]) == 4
    assert len({entry.text for entry in checked[1]}) > 1


def test_entries_of_the_test_split_are_left_out_and_counted(tiny, tmp_path, monkeypatch):
    from motiongpt.stages import language

    said, prepare = [], language.prepare_stage
    monkeypatch.setattr(language, "prepare_stage", lambda *args: said.append(prepare(*args)) or said[-1])
    entries = load_tokens(tiny.data)
    save_tokens(tmp_path / "t.json", [replace(e, split="test") if i < 3 else e for i, e in enumerate(entries)],
                {"codes": 32})  # fmt: skip
    tiny.finetune(tmp_path / "run", data=tmp_path / "t.json")
    assert said[0].summary.endswith("33 training and 4 validation entries, 3 test entries left out")


def test_data_that_cannot_be_trained_on(tiny, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ValueError, match="needs train and val entries, has 40 and 0"):
        tiny.finetune(run, data=other_data(tiny, tmp_path, split="train"))
    with pytest.raises(ValueError, match="motion code .* outside the codebook of 5"):
        tiny.finetune(run, codes=5)
    with pytest.raises(ValueError, match="--max-seq-len is 10"):
        tiny.finetune(run, config=TrainConfig(max_seq_len=10))
    assert not run.exists()
