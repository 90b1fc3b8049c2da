"""What is not of this training: other trainings, foreign files, later formats. And one that was started over."""

import json
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cases import for_each
from fake_hub import TOKEN, Blob, FakeHub, fake_hub
from test_hub_resume import files, flags, pull, pushed, wait
from test_hub_upload import Training, content, manifests, messages, start

from motiongpt.cli.hub_flags import hub_watchers, kept_on_hub
from motiongpt.files.hashes import short_hash
from motiongpt.files.store import read_json, write_json
from motiongpt.hub import HubError, HubRepo
from motiongpt.training.hub_checkpoints import (
    AnotherTraining,
    Manifest,
    identity,
    replaced,
    run_progress,
    same_settings,
    stage_settings,
)
from motiongpt.training.hub_commit import take_snapshot
from motiongpt.training.hub_upload import HubUploader


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / "home") as server:
        yield server


def edit(hub: FakeHub, change: Callable[[dict[str, Blob]], None]) -> None:
    """A commit by hand."""
    repo = hub.repos["me/run"]
    tree = dict(repo.commits[-1][2])
    change(tree)
    repo.add(tree, "by hand")


def rewrite(hub: FakeHub, place: str, text: str) -> None:
    edit(hub, lambda tree: tree.update({place: Blob(len(text.encode()), text.encode())}))


# 1) A run folder that has files and no trained step.


@pytest.mark.slow
@for_each(
    "name, text, has_name, refused",
    [
        ("config.json", "{}", None, "config.json"),
        ("vqvae/model.safetensors", "another", None, "vqvae/model.safetensors"),
        ("stage1/adapter_model.safetensors", "another", None, "adapter_model.safetensors"),
        ("notes.txt", "mine", "another", "hub.json"),
        ("config.json", "{}", "the same", None),  # of a pull that was killed, to a checkpoint before this one
        ("config.json", None, None, None),  # the same bytes
        ("stage1/metrics.jsonl", '{"step": 1}\n', None, None),  # it was killed before its first save
        ("notes.txt", "mine", None, None),
    ],
)
def test_files_of_another_training_stay(tmp_path, monkeypatch, name, text, has_name, refused):
    with fake_hub(monkeypatch, tmp_path / "home"):
        (tmp_path / "a" / "vqvae").mkdir(parents=True)
        (tmp_path / "a" / "vqvae" / "model.safetensors").write_bytes(b"tokenizer")
        training = pushed(tmp_path / "a", (80,))
        run = tmp_path / "b"
        (run / name).parent.mkdir(parents=True)
        (run / name).write_bytes(text.encode() if text is not None else (tmp_path / "a" / name).read_bytes())
        if has_name is not None:
            write_json(run / "hub.json", {"training": identity(training.run) if has_name == "the same" else has_name})
        before = files(run)
        if refused is None:
            assert len(pull(run)) == 1 and files(run) == before | training.files()
            return
        with pytest.raises(AnotherTraining, match="holds files of another training .*stage1, step 80 of 100") as caught:
            pull(run)
        assert refused in str(caught.value) and files(run) == before


def test_fresh_leaves_files_of_another_training_too(hub, tmp_path):
    pushed(tmp_path / "a", (100,))
    write_json(tmp_path / "b" / "config.json", {"RunConfig": {"codes": 9}})
    before = files(tmp_path / "b")
    [line] = pull(tmp_path / "b", before=2)
    assert "are not pulled from me/run" in line and "config.json is of another training" in line
    assert files(tmp_path / "b") == before


@for_each(
    "there, here, same",
    [
        ({"lr": 1.0}, {"lr": 1.0}, True),
        ({"lr": 1.0}, {"lr": 2.0}, False),
        ({"lr": 1.0, "start": "/a"}, {"lr": 1.0, "start": "/b"}, True),
        ({"grad_accum": 3, "micro_batches": 4}, {"grad_accum": 4, "micro_batches": 4}, True),  # on two devices, on one
        ({"grad_accum": 1, "micro_batches": 1}, {"grad_accum": 4, "micro_batches": 4}, False),
        ({"grad_accum": 4}, {"grad_accum": 4, "micro_batches": 4}, True),  # an older state
    ],
)
def test_one_training_is_told_by_what_a_resume_compares(there, here, same):
    assert same_settings(there, here) is same_settings(here, there) is same


def test_micro_batches_are_of_the_state(tmp_path):
    assert stage_settings(tmp_path) == {}
    state = tmp_path / "state" / "last" / "state.json"
    write_json(state, {"step": 1, "fingerprint": {"grad_accum": 3}, "micro_batches": 4})
    assert stage_settings(tmp_path) == {"grad_accum": 3, "micro_batches": 4}


# 2) Files that no training writes.


def test_only_what_a_training_writes_is_pushed(hub, tmp_path):
    """Others would publish what nobody asked to, or make a checkpoint that no machine takes."""
    training = start(tmp_path / "run", lines := [])
    names = ["notes.txt", "x.pkl", "tokenizer.pkl", "tokenizer:1.json", "model-a?b.safetensors",
             'model-"a".safetensors', "model-a\\b.safetensors", "model-|.safetensors", "loss.png.bak",
             "events.out.tfevents.1", ".hidden.json", "shard-<1>.safetensors"]  # fmt: skip
    for folder in ("", "vqvae", "stage1", "stage1/state/last", "stage2"):
        for name in names:
            (training.run / folder).mkdir(parents=True, exist_ok=True)
            (training.run / folder / name).write_bytes(b"mine")
    training.finish()
    assert training.uploader.close(30), lines
    again = start(training.run, lines, stage="stage2")
    again.save(60, "stage2")
    (again.run / "stage2" / "state" / "last" / "tensors:1.safetensors").write_bytes(b"mine")
    assert again.uploader.close(30), lines
    [newest, former] = manifests(hub)  # each is read as another machine reads it
    expected = {path: data for path, data in training.files().items() if data != b"mine"}
    expected = {path: data for path, data in expected.items() if not path.startswith("stage1/state/")}
    assert content(hub, newest) == expected and (newest.stage, former.stage) == ("stage2", "stage1")
    pull(tmp_path / "b")
    assert files(tmp_path / "b") == expected


def test_every_snapshot_is_read_again(tmp_path):
    """Whatever letter a name has, and wherever the file lies."""
    training = Training(tmp_path / "run")
    training.save(10)
    for number in range(1, 127):
        for folder in ("", "stage1", "stage1/state/last"):
            if chr(number) != "/":
                for name in (f"tokenizer{chr(number)}.json", f"model{chr(number)}.safetensors"):
                    (training.run / folder / name).write_bytes(b"x")
    snapshot = take_snapshot(training.run / "stage1", tmp_path / "snapshot", "name", 100, ["stage1"], print).hashed()
    written = json.loads(json.dumps(snapshot.manifest.to_json()))
    assert Manifest.from_json(written, "manifest.json") == snapshot.manifest
    assert len(snapshot.manifest.pieces) > 8


def test_what_others_put_beside_a_finished_stage_stays(hub, tmp_path):
    pushed(tmp_path / "a", (60,))
    rewrite(hub, "stage1/README.md", "a model card")
    training = start(tmp_path / "a", [])
    training.finish()
    assert training.uploader.close(30) and hub.repos["me/run"].files["stage1/README.md"] == b"a model card"


# 3) A training that was started over.


def go_on(hub: FakeHub, run: Path, **given) -> Namespace:
    return flags(out=run, **{"hub_repo": "me/run"} | given)


@pytest.mark.slow
@for_each("repo", ["me/run", "me/run-stage{stage}"])
def test_a_kill_before_the_first_push_does_not_undo_fresh(tmp_path, monkeypatch, capsys, repo):
    """The command without --fresh goes on, and its push replaces what was there, as it would have without the kill."""
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        both = [(1, None), (2, None)]
        run = tmp_path / "run"
        with kept_on_hub(go_on(hub, run, hub_repo=repo), both):
            training = Training(run)
            training.finish()
            training.save(80, "stage2")
        with kept_on_hub(go_on(hub, run, hub_repo=repo), both) as _:
            pass  # pushes the finished stage
        args = go_on(hub, run, hub_repo=repo, hub_every=1)
        with kept_on_hub(args, both):
            training.uploader = hub_watchers(args, 2, run / "stage2")[0]
            training.save(90, "stage2")
        commits = {name: len(other.commits) for name, other in hub.repos.items()}

        args = go_on(hub, run, hub_repo=repo, fresh=True)
        with monkeypatch.context() as patch, kept_on_hub(args, both):
            for stage in ("stage1", "stage2"):
                shutil.rmtree(run / stage)
            fresh = Training(run, hub_watchers(args, 1, run / "stage1")[0], lr=5.0)
            fresh.save(10)  # not half-way yet
            patch.setattr(HubUploader, "close", lambda *args: True)  # the kill
            args.hub = None
        assert {name: len(other.commits) for name, other in hub.repos.items()} == commits
        capsys.readouterr()

        args = go_on(hub, run, hub_repo=repo)
        with kept_on_hub(args, both):
            said = capsys.readouterr().out
            assert "was begun with --fresh: its next push replaces what me/run" in said and "pulled" not in said
            assert run_progress(run)[0].step == 10
            fresh.uploader = hub_watchers(args, 1, run / "stage1")[0]
            fresh.save(60)
            wait(fresh)
            assert set(replaced(run)) == set(hub.repos) - {repo.format(stage=1)}, "those whose push is still due"
            fresh.finish()
            fresh.uploader = hub_watchers(args, 2, run / "stage2")[0]
            fresh.save(20, "stage2")
        assert "another training" not in capsys.readouterr().out
        assert read_json(run / "hub.json") == {"training": identity(run)}
        for name in hub.repos:
            newest = manifests(hub, name)[0]
            assert newest.fingerprint["lr"] == 5.0 and newest.training == identity(run)
        assert manifests(hub, repo.format(stage=2))[0].step == 20


def test_a_first_push_whose_answer_is_lost_is_not_made_twice(hub, tmp_path):
    pushed(tmp_path / "old", (50, 80))
    fresh = start(tmp_path / "new", lines := [], fresh=True, new=True)
    fresh.lr = 5.0
    hub.fault("POST .*/commit", "lost")
    fresh.save(60)
    assert fresh.uploader.close(30), lines
    assert messages(hub)[-2:] == ["stage1, step 80, of 100", "stage1, step 60, of 100"]
    assert replaced(fresh.run) == {}


def test_starting_a_later_stage_over_keeps_the_earlier_ones(hub, tmp_path):
    run = tmp_path / "run"
    pushed(run, (100,))
    second = start(run, [], every=1, keep=9, stage="stage2")
    for step in (60, 80):
        second.save(step, "stage2")
        wait(second)
    assert second.uploader.close(30)
    shutil.rmtree(run / "stage2")
    again = start(run, lines := [], stage="stage2", keep=9, fresh=True)
    again.save(50, "stage2")
    assert again.uploader.close(30), lines
    assert [manifest.name for manifest in manifests(hub)] == ["stage2-00000050", "stage1-00000100"]


# 4) Manifests that cannot be read.


def newest_manifest(hub: FakeHub) -> tuple[str, dict]:
    place = f"checkpoints/{manifests(hub)[0].name}/manifest.json"
    return place, json.loads(hub.repos["me/run"].files[place])


def test_a_later_format_is_left_alone(hub, tmp_path):
    """By pulls, by pushes, and by --fresh: nobody here can tell what it is."""
    training = pushed(tmp_path / "a")
    place, manifest = newest_manifest(hub)
    assert manifest["format"] == 1
    rewrite(hub, place, json.dumps({"format": 2, "parts": []}))
    before = hub.repos["me/run"].files
    said = "me/run: .*stage1-00000080/manifest.json has format 2, and this version reads up to 1; update"
    with pytest.raises(HubError, match=said) as caught:
        pull(tmp_path / "b")
    assert caught.value.kind == "denied" and not files(tmp_path / "b")
    for fresh in (False, True):
        again = start(training.run, lines := [], every=1, fresh=fresh)
        again.save(90)
        assert not again.uploader.close(30)
        assert len(lines) == 1 and "has format 2" in lines[0] and "goes on without it" in lines[0]
    assert hub.repos["me/run"].files == before


def test_the_first_manifests_have_no_format(hub, tmp_path):
    training = pushed(tmp_path / "a")
    place, manifest = newest_manifest(hub)
    del manifest["format"]
    rewrite(hub, place, json.dumps(manifest))
    assert "pulled stage1, step 80 of 100" in pull(tmp_path / "b")[0] and files(tmp_path / "b") == training.files()


def test_checkpoints_that_nobody_can_read_are_not_deleted(hub, tmp_path):
    training = pushed(tmp_path / "a")
    for name in [manifest.name for manifest in manifests(hub)]:
        rewrite(hub, f"checkpoints/{name}/manifest.json", "}")
    before = hub.repos["me/run"].files
    again = start(training.run, lines := [], every=1)
    again.save(90)
    assert not again.uploader.close(30) and hub.repos["me/run"].files == before
    assert len(lines) == 1 and "me/run holds checkpoints that cannot be read (stage1-00000080, stage1-" in lines[0]
    again = start(training.run, lines, every=1, fresh=True)
    again.save(95)
    assert again.uploader.close(30) and [manifest.step for manifest in manifests(hub)] == [95]


# 5) Leftovers.


def test_what_came_of_a_refused_checkpoint_is_not_placed(hub, tmp_path):
    """The damaged checkpoint says of a file that B has that it should be another one; the one before it does not."""
    pushed(tmp_path / "a", (100,))
    again = start(tmp_path / "a", [], every=1, keep=9, stage="stage2")
    for step in (60, 80):
        again.save(step, "stage2")
        wait(again)
    assert again.uploader.close(30)
    here = Training(tmp_path / "b")
    here.finish(told=False)
    here.save(20, "stage2", told=False)
    write_json(here.run / "hub.json", {"training": identity(again.run)})
    own = (here.run / "stage1" / "meta.json").read_bytes()
    other = own.replace(b"100", b"101")
    place, manifest = newest_manifest(hub)
    blob = hub.repos["me/run"].commits[-1][2][manifest["pieces"]["stage2/adapter_model.safetensors"]["place"]]
    hub.store[blob.sha256] = bytes(blob.size)
    manifest["pieces"]["stage1/meta.json"]["hash"] = short_hash([other])
    rewrite(hub, "stage1/meta.json", other.decode())
    rewrite(hub, place, json.dumps(manifest))
    lines = pull(here.run)
    assert len(lines) == 2 and "is damaged" in lines[0] and "pulled stage2, step 60" in lines[1]
    assert (here.run / "stage1" / "meta.json").read_bytes() == own


def test_a_folder_that_is_held_keeps_its_name(hub, tmp_path):
    from motiongpt.files.lock import hold

    pushed(tmp_path / "a", (80,))
    here = Training(tmp_path / "b")
    here.save(10)
    write_json(here.run / "hub.json", {"training": "mine"})
    repo = HubRepo("me/run", TOKEN)
    with hold(here.run / "stage1", "trained"), pytest.raises(BlockingIOError):
        pull(here.run)
    assert identity(here.run) == "mine" and repo.read() is not None
