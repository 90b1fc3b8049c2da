"""A training that is pushed to the Hub: what arrives, whatever the Hub does, and that the training never waits."""

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cases import for_each
from fake_hub import TOKEN, FakeHub, fake_hub

from motiongpt.files.store import write_json
from motiongpt.hub import HubError, HubRepo
from motiongpt.training import hub_commit, hub_upload
from motiongpt.training.hub_checkpoints import Manifest, checkpoint_names, missing_in
from motiongpt.training.hub_upload import HubUploader

TOTAL = 100


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / "home") as server:
        yield server


class Training:
    """What the loop leaves in a run folder, without the loop."""

    def __init__(self, run: Path, uploader: HubUploader | None = None, seed: int = 0, lr: float = 1e-3) -> None:
        self.run, self.uploader, self.seed, self.lr = run, uploader, seed, lr

    def save(self, step: int, stage: str = "stage1", told: bool = True) -> None:
        """A save at `step`, renamed as `save_state` does it; the bytes depend on seed, stage and step only."""
        folder = self.run / stage
        random = np.random.default_rng([self.seed, step, *stage.encode()])
        fresh = folder / "state" / ".new"
        fresh.mkdir(parents=True)
        (fresh / "tensors.safetensors").write_bytes(random.bytes(3000))
        write_json(fresh / "state.json", {"step": step, "fingerprint": {"lr": self.lr, "start": str(self.run)}})
        shutil.rmtree(folder / "state" / "previous", ignore_errors=True)
        if (folder / "state" / "last").exists():
            (folder / "state" / "last").rename(folder / "state" / "previous")
        fresh.rename(folder / "state" / "last")
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": step}) + "\n")
        for name, content in (("adapter_model.safetensors", random.bytes(2000)), ("loss.png", random.bytes(100))):
            (folder / ".tmp").write_bytes(content)
            (folder / ".tmp").rename(folder / name)
        write_json(folder / "meta.json", {"finished": False})
        write_json(self.run / "config.json", {"RunConfig": {"codes": 8}, "stage": stage})
        write_json(self.run / "prompts.json", {"captions": list("abc")})
        if told and self.uploader is not None:
            self.uploader.on_save(step, folder, TOTAL)

    def finish(self, stage: str = "stage1", told: bool = True) -> None:
        self.save(TOTAL, stage, told)
        if told and self.uploader is not None:
            self.uploader.on_end(True)
        write_json(self.run / stage / "meta.json", {"finished": True, "steps": TOTAL})

    def files(self) -> dict[str, bytes]:
        """What a resume needs: everything but the former state and what is the uploader's own."""
        found = {path.relative_to(self.run).as_posix(): path for path in self.run.rglob("*") if path.is_file()}
        return {
            name: path.read_bytes()
            for name, path in found.items()
            if "/previous/" not in name and name != "hub.json" and not name.startswith(".")
        }


def start(run: Path, lines: list[str], stage: str = "stage1", repo: str = "me/run", **settings) -> Training:
    fresh = settings.pop("fresh", False)
    uploader = HubUploader(run, say=lines.append, **settings)
    if fresh:
        uploader.replace({repo: stage})
    uploader.begin(HubRepo(repo, TOKEN), run / stage, carried=["stage1", "stage2"])
    return Training(run, uploader)


def manifests(hub: FakeHub, repo: str = "me/run") -> list[Manifest]:
    """Of the checkpoints, the furthest along first; each is whole by the list of files and by its bytes."""
    files = hub.repos[repo].files
    listing = HubRepo(repo, TOKEN).read()
    found = []
    for name in checkpoint_names(files):
        manifest = Manifest.from_json(json.loads(files[f"checkpoints/{name}/manifest.json"]), name)
        assert missing_in(listing, manifest) is None
        for path, piece in manifest.pieces.items():
            content = files[piece.place]
            assert hashlib.sha256(content).hexdigest().startswith(piece.hash), path
        found.append(manifest)
    return found


def content(hub: FakeHub, manifest: Manifest, repo: str = "me/run") -> dict[str, bytes]:
    return {path: hub.repos[repo].files[piece.place] for path, piece in manifest.pieces.items()}


def messages(hub: FakeHub) -> list[str]:
    return hub.repos["me/run"].messages if "me/run" in hub.repos else []


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


# 1) What is pushed, and when.


def test_half_and_end_are_pushed_whole_and_in_one_commit_each(hub, tmp_path):
    lines = []
    training = start(tmp_path / "run", lines)
    expected = {}
    for step in (10, 40, 60, 90):
        training.save(step)
        if step == 60:
            expected[60] = training.files()
            until(lambda: len(messages(hub)) == 2)
    training.finish()
    assert training.uploader.close(30)
    expected[100] = training.files()
    repo = hub.repos["me/run"]
    assert repo.messages == ["initial commit", "stage1, step 60, of 100", "stage1, step 100, its end"] and repo.private
    assert {manifest.step: content(hub, manifest) for manifest in manifests(hub)} == expected
    assert [line.partition(" (")[0] for line in lines] == [
        "pushed stage1, step 60 of 100 to me/run",
        "pushed stage1, step 100 of 100 to me/run",
    ]
    # a finished stage lies where a run folder has it, without its state
    root = {path: data for path, data in repo.files.items() if not path.startswith((".git", "checkpoints/"))}
    assert root == {path: data for path, data in expected[100].items() if "/state/" not in path}
    assert not hub.leaks, "the token went to the storage"
    left = {path.name for path in tmp_path.joinpath("run").iterdir()}
    assert left == {"config.json", "prompts.json", "stage1", "hub.json"}, "snapshots are removed"


@for_each(
    "every, pushed, steps, expected",
    [
        (0, 0, [49, 50, 51, 99], [50]),
        (0, 0, [80], [80]),  # the first save after the half is late
        (0, 60, [70, 90], []),  # the half is there already
        (30, 0, [10, 30, 40, 59, 61, 80, 95], [30, 59, 61, 95]),
        (30, 61, [80, 90], [90]),
        (1, 0, [1, 2, 3], [1, 2, 3]),
    ],
)
def test_when_a_push_is_due(tmp_path, monkeypatch, every, pushed, steps, expected):
    taken = []

    def take(uploader, stage):
        taken.append(stage.saved)
        stage.pushed = stage.saved

    monkeypatch.setattr(HubUploader, "_take", take)
    uploader = HubUploader(tmp_path, every=every)
    uploader.begin(HubRepo("me/run", TOKEN), tmp_path / "stage1", pushed=pushed)
    for step in steps:
        uploader.on_save(step, tmp_path / "stage1", TOTAL)
    assert taken == expected


def test_a_training_that_stops_pushes_its_last_save(hub, tmp_path):
    training = start(tmp_path / "run", lines := [])
    training.save(10)
    training.save(20)
    training.uploader.on_end(False)
    assert training.uploader.close(30), lines
    assert [manifest.step for manifest in manifests(hub)] == [20]


def test_old_checkpoints_go_and_finished_stages_stay(hub, tmp_path):
    training = start(tmp_path / "run", [], every=10, keep=2)
    for step in (10, 20, 30):
        training.save(step)
        until(lambda step=step: f"stage1, step {step}, of 100" in messages(hub))
    training.finish()
    training.uploader.begin(HubRepo("me/run", TOKEN), tmp_path / "run" / "stage2", carried=["stage1"])
    until(lambda: "stage1, step 100, its end" in messages(hub))
    training.save(60, "stage2")
    assert training.uploader.close(30)
    found = manifests(hub)
    assert [(manifest.stage, manifest.step) for manifest in found] == [("stage2", 60), ("stage1", 100)]
    assert {"stage1/adapter_model.safetensors", "stage2/adapter_model.safetensors"} <= set(found[0].pieces)
    assert "stage1/state/last/state.json" not in found[0].pieces
    # the first stage was neither sent a second time nor offered
    weights = hashlib.sha256(training.files()["stage1/adapter_model.safetensors"]).hexdigest()
    assert hub.asked.count(weights) == 1


def test_the_snapshot_is_of_the_moment_of_the_save(hub, tmp_path):
    """The training replaces its state, its weights and its log while the upload has not begun."""
    gate = threading.Event()
    hub.before_commit = lambda repo: gate.wait(20)
    training = start(tmp_path / "run", [], every=1)
    training.save(50)
    expected = training.files()
    until(lambda: hub.count("POST .*/commit/"))
    for step in (51, 52, 53):  # each replaces the one that waits
        training.save(step)
    last = training.files()
    gate.set()
    assert training.uploader.close(30)
    assert [content(hub, manifest) for manifest in manifests(hub)] == [last, expected]


def test_without_links_files_are_copied(hub, tmp_path, monkeypatch):
    def no_links(*args):
        raise OSError("Operation not supported")

    monkeypatch.setattr(hub_commit.os, "link", no_links)
    training = start(tmp_path / "run", [])
    training.save(50)
    expected = training.files()
    training.save(51)
    assert training.uploader.close(30)
    assert content(hub, manifests(hub)[0]) in (expected, training.files())


def test_what_is_too_large_is_left_out_and_named(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_commit, "LARGE_BYTES", 50)
    run, lines = tmp_path / "run", []
    training = start(run, lines, every=10)
    (run / "vqvae").mkdir(parents=True)
    (run / "vqvae" / "model.safetensors").write_bytes(bytes(51))
    training.save(50)
    training.save(60)
    training.uploader.close(30)
    assert sum("vqvae is larger than" in line and "not pushed" in line for line in lines) == 1, lines
    assert not any(path.startswith("vqvae") for path in manifests(hub)[0].pieces)


# 2) Faults of the Hub. The training goes on, and everything arrives as if there had been none.

REQUESTS = ("GET /api/models", "POST .*/preupload", "POST .*/batch", "PUT /storage", "POST .*/verify", "POST .*/commit",
            "HEAD .*/resolve", "GET .*/resolve")  # fmt: skip


@pytest.mark.slow
@for_each("request, how", [(request, how) for request in REQUESTS for how in (503, "half")])
def test_every_request_may_fail_once(tmp_path, monkeypatch, request, how):
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        training = start(tmp_path / "run", lines := [], every=50)
        training.save(50)
        until(lambda: len(messages(hub)) == 2)
        hub.fault(request, how)
        training.save(60)
        training.finish()
        assert training.uploader.close(60), lines
        assert [manifest.step for manifest in manifests(hub)] == [100, 50]
        assert content(hub, manifests(hub)[0]) == training.files()


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, tmp_path):
    hub.fault("POST .*/commit", "lost")
    training = start(tmp_path / "run", lines := [])
    training.save(50)
    assert training.uploader.close(30)
    assert hub.repos["me/run"].messages == ["initial commit", "stage1, step 50, of 100"]
    assert "pushed stage1, step 50 of 100" in lines[0] and len(lines) == 1


def test_a_hub_that_is_away_for_a_while(hub, tmp_path):
    """The failure is one line, the next save brings it, and a finished stage at the end comes too."""
    hub.fault(".*", 503, times=40)
    training = start(tmp_path / "run", lines := [])
    training.save(50)
    until(lambda: lines)
    assert "not pushed: stage1, step 50 of 100 (me/run could not be read" in lines[0]
    assert "tried again at the next save and at the end" in lines[0] and lines[0].count("\n") == 0
    hub._faults.clear()
    training.save(60)  # not due, but owed
    until(lambda: len(lines) == 2)
    assert "pushed stage1, step 60" in lines[1] and [manifest.step for manifest in manifests(hub)] == [60]
    assert training.uploader.close(30)


def test_what_has_failed_is_tried_again_at_the_end(hub, tmp_path):
    hub.fault(".*", 503, times=40)
    training = start(tmp_path / "run", lines := [])
    training.save(50)
    until(lambda: lines)
    hub._faults.clear()
    assert training.uploader.close(30)
    assert len(lines) == 2 and "pushed stage1, step 50" in lines[1] and [found.step for found in manifests(hub)] == [50]


def test_a_dead_hub_costs_the_training_nothing(tmp_path, monkeypatch):
    with fake_hub(monkeypatch, tmp_path / "home") as gone:
        pass
    with fake_hub(monkeypatch, tmp_path / "home"):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", gone.url)  # nobody listens there any more
        training = start(tmp_path / "run", lines := [], every=10)
        began = time.process_time()
        for step in range(10, 100, 10):
            training.save(step)
        assert time.process_time() - began < 10
        training.finish()
        assert not training.uploader.close(60)
    assert lines and all(line.startswith("not pushed: ") for line in lines)
    assert "step 100 of 100" in lines[-1] and f"it is in {tmp_path / 'run'}" in lines[-1]


def test_a_hub_that_goes_silent_is_left_after_its_time(monkeypatch, tmp_path):
    """The library itself would wait for ever; so would the end of the script."""
    with fake_hub(monkeypatch, tmp_path / "home", silent_seconds=0.2) as hub:
        hub.hang_seconds = 40.0
        hub.fault("POST .*/commit", "hang", times=1)
        training = start(tmp_path / "run", lines := [])
        training.save(50)
        began = time.monotonic()
        assert training.uploader.close(60) and time.monotonic() - began < hub.hang_seconds, lines
        assert [manifest.step for manifest in manifests(hub)] == [50]
        # and if it stays silent, the end waits as long as it was told to
        hub.hang_seconds = 5.0
        hub.fault(".*", "hang", times=1000)
        training = start(tmp_path / "other", lines, repo="me/other")
        training.save(50)
        began = time.monotonic()
        assert not training.uploader.close(0.5)
        assert time.monotonic() - began < 3 and "the upload takes too long" in lines[-1]
        hub.hang_seconds = 0.0


def test_at_most_one_push_flies_and_the_newest_waits(hub, tmp_path):
    gate = threading.Event()
    inside, most = [], []

    def before(repo):
        inside.append(1)
        most.append(len(inside))
        gate.wait(20)
        inside.pop()

    hub.before_commit = before
    training = start(tmp_path / "run", [], every=1, keep=9)
    for step in range(1, 8):
        training.save(step)
        until(lambda: inside)
        assert len(list((tmp_path / "run").glob(".push.*.tmp/?"))) <= 2, "snapshots that nobody will push take room"
    gate.set()
    assert training.uploader.close(30)
    assert max(most) == 1 and [manifest.step for manifest in manifests(hub)] == [7, 1]


def test_a_full_disk_costs_a_line(hub, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    training = start(tmp_path / "run", lines := [])
    with monkeypatch.context() as patch:
        patch.setattr(hub_commit.os, "link", full)
        patch.setattr(hub_commit.shutil, "copyfile", full)
        training.save(50)
    assert "the Hub gets no copy of stage1" in lines[0] and "No space left" in lines[0]
    training.save(60)
    assert training.uploader.close(30) and [manifest.step for manifest in manifests(hub)] == [60]


# 3) Other writers.


def test_a_conflict_is_met_by_another_look(hub, tmp_path):
    """Somebody commits between our look and our commit, three times."""
    times = iter(range(3))

    def somebody(repo):
        if next(times, None) is not None:
            repo.add(dict(repo.commits[-1][2]), "a README by hand")

    hub.before_commit = somebody
    training = start(tmp_path / "run", lines := [])
    training.save(50)
    assert training.uploader.close(30), lines
    assert hub.repos["me/run"].messages.count("a README by hand") == 3
    assert [manifest.step for manifest in manifests(hub)] == [50]


def test_two_machines_with_the_same_training_share_a_repository(hub, tmp_path):
    """Whatever the order of their commits, each checkpoint is whole, and the furthest along are kept."""
    lines = []
    trainings = [start(tmp_path / name / "run", lines, every=5) for name in "ab"]

    def live(training, steps):
        for step in steps:
            training.save(step)
            time.sleep(0.02)
        training.uploader.on_end(False)
        training.uploader.close(60)

    threads = [
        threading.Thread(target=live, args=(training, range(first, 60, 5)))
        for training, first in zip(trainings, (5, 7), strict=True)
    ]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert [manifest.step for manifest in manifests(hub)][0] == 57
    assert len(manifests(hub)) == 2 and not [line for line in lines if line.startswith("not pushed")], lines


def test_one_that_is_behind_does_not_push_over_one_that_is_ahead(hub, tmp_path):
    ahead = start(tmp_path / "a", [])
    ahead.save(80)
    assert ahead.uploader.close(30)
    behind = start(tmp_path / "b", lines := [])
    behind.save(60)
    assert behind.uploader.close(30)
    assert "me/run is further along, stage1 at step 80; stage1, step 60 of 100 is not pushed" in lines
    assert [manifest.step for manifest in manifests(hub)] == [80]


def test_another_training_is_refused_and_goes_on_without_the_hub(hub, tmp_path):
    first = start(tmp_path / "a", [])
    first.save(60)
    assert first.uploader.close(30)
    before = hub.repos["me/run"].files
    other = start(tmp_path / "b", lines := [], every=10)
    other.lr = 2e-3
    for step in (70, 80, 90):
        other.save(step)
    other.finish()
    assert not other.uploader.close(30)
    assert len(lines) == 1 and "me/run holds another training (stage1, step 60)" in lines[0]
    assert "give another --hub-repo, or --fresh" in lines[0] and "goes on without it" in lines[0]
    assert hub.repos["me/run"].files == before


def test_other_stages_of_another_training_are_told_apart_by_its_name(hub, tmp_path):
    """Settings can be compared within a stage only."""
    first = start(tmp_path / "a", [])
    first.save(60)
    assert first.uploader.close(30)
    other = start(tmp_path / "b", lines := [], stage="stage2")
    other.save(60, "stage2")
    other.uploader.close(30)
    assert "holds another training" in lines[0]
    shutil.copyfile(tmp_path / "a" / "hub.json", tmp_path / "b" / "hub.json")
    again = start(tmp_path / "b", lines, stage="stage2")
    again.save(70, "stage2")
    assert again.uploader.close(30) and manifests(hub)[0].stage == "stage2"


def test_fresh_replaces_what_was_there(hub, tmp_path):
    old = start(tmp_path / "old", [])
    old.finish()
    old.uploader.begin(HubRepo("me/run", TOKEN), tmp_path / "old" / "stage2", carried=["stage1"])
    old.save(60, "stage2")
    assert old.uploader.close(30) and len(manifests(hub)) == 2
    fresh = start(tmp_path / "new", lines := [], fresh=True, new=True)
    fresh.lr = 5e-4
    hub.fault(".*", 503, times=40)
    fresh.save(49, told=False)
    fresh.save(50)
    until(lambda: lines)  # the first push has failed; the next one still may replace
    hub._faults.clear()
    fresh.save(60)
    assert fresh.uploader.close(30), lines
    assert [(manifest.stage, manifest.step) for manifest in manifests(hub)] == [("stage1", 60)]
    assert not any(path.startswith(("stage1/", "stage2/")) for path in hub.repos["me/run"].files)
    # the former files are still in the history
    assert any(
        "stage2/adapter_model.safetensors" in path for _, _, tree in hub.repos["me/run"].commits for path in tree
    )


def test_a_repository_with_other_things_is_left_alone(hub, tmp_path):
    repo = HubRepo("me/run", TOKEN)
    repo.create(True)
    repo.commit({"config.json": b"{}", "notes.txt": b"mine"}, [], "a model", repo.read().commit)
    before = hub.repos["me/run"].files
    training = start(tmp_path / "run", lines := [])
    training.save(50)
    training.uploader.close(30)
    assert "me/run holds other files (config.json)" in lines[0] and hub.repos["me/run"].files == before


# 4) Who may not, and the token.


@for_each(
    "token, change, said",
    [
        ("hf_unknown", None, "does not know the token (401)"),
        (None, None, "there is no token; set HF_TOKEN"),
        (TOKEN, "read only", "the token may not do that (403"),
        (TOKEN, "another user", "the token may not do that (403"),
    ],
)
def test_who_may_not_push_is_told_once(tmp_path, monkeypatch, token, change, said):
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        hub.users[TOKEN] = {"read only": ("me", False), "another user": ("you", True)}.get(change, ("me", True))
        uploader = HubUploader(tmp_path / "run", every=10, say=(lines := []).append)
        uploader.begin(HubRepo("me/run", token), tmp_path / "run" / "stage1")
        training = Training(tmp_path / "run", uploader)
        for step in (50, 60, 70):
            training.save(step)
        assert not uploader.close(30)
    assert len(lines) == 1 and said in lines[0] and "goes on without it" in lines[0], lines


def test_no_error_shows_the_token(hub, tmp_path, monkeypatch):
    """Even if the server says it back."""
    from huggingface_hub import HfApi

    def tell(self, *args, **kwargs):
        raise ValueError(f"Illegal header value b'Bearer {TOKEN}'")

    monkeypatch.setattr(HfApi, "model_info", tell)
    with pytest.raises(HubError) as caught:
        HubRepo("me/run", TOKEN).read()
    assert TOKEN not in str(caught.value) and "***" in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__, "a traceback would show it"


@for_each("name", ["run", "me/run/deep", "me/ru n", "me/..", "", "me/run.git"])
def test_names_that_cannot_be_repositories(name):
    with pytest.raises(ValueError, match="expected USER/NAME"):
        HubRepo(name, TOKEN)


def test_offline_mode_is_named(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    training = start(tmp_path / "run", lines := [])
    training.save(50)
    training.uploader.close(30)
    assert len(lines) == 1 and "HF_HUB_OFFLINE is set; unset it" in lines[0]


# 5) All faults, one at a time.


@pytest.mark.slow
def test_a_fault_at_any_request_changes_nothing(hub, tmp_path):
    """At least 45 points: each request of a training with two pushes fails in each of three ways."""

    def live(name: str) -> tuple[list[str], list[str]]:
        training = start(tmp_path / name, lines := [], every=50, repo=f"me/{name}")
        training.save(50)
        until(lambda: not training.uploader._waiting and training.uploader._flying is None)
        training.finish()
        assert training.uploader.close(60), (name, lines)
        hub._faults.clear()
        requests = len(hub.requests)
        made = manifests(hub, f"me/{name}")
        assert content(hub, made[0], f"me/{name}") == training.files()
        return [manifest.name for manifest in made], requests

    hub.requests.clear()
    expected, requests = live("calm")
    wrong = []
    faults = [(point, how) for point in range(requests) for how in (500, "drop", "lost")]
    for point, how in faults:
        hub.fault("", how, skip=point)
        made, _ = live(f"{how}-{point}")
        wrong += [(point, how, made)] if made != expected else []
    assert not wrong and len(faults) >= 45, (len(faults), wrong)


def test_waits_between_tries_grow_and_end():
    waits = hub_upload.PUSH_WAITS
    assert sorted(waits) == list(waits) and sum(waits) < 600
