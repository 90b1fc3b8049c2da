"""A training that goes on elsewhere: what is pulled from the Hub into an empty folder, and what is left alone."""

import json
import os
import shutil
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cases import for_each
from fake_hub import TOKEN, Blob, FakeHub, fake_hub
from test_hub_upload import Training, manifests, start

from motiongpt.cli.environment import HUB_VARIABLES, hub_token
from motiongpt.cli.hub_flags import hub_watchers, kept_on_hub, repo_names
from motiongpt.files.store import write_json
from motiongpt.hub import HubError, HubRepo
from motiongpt.stages.run_folder import check_place
from motiongpt.training import hub_pull
from motiongpt.training.hub_checkpoints import (
    AnotherTraining,
    Manifest,
    identity,
    is_finished,
    is_run_file,
    run_progress,
)
from motiongpt.training.hub_pull import pull_run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / "home") as server:
        yield server


def pushed(folder: Path, steps: tuple[int, ...] = (50, 80), stage: str = "stage1") -> Training:
    """Machine A: a training that has pushed these saves of a stage; 100 is its end."""
    training = start(folder, [], every=1, keep=9, stage=stage)
    for step in steps:
        if step == 100:
            training.finish(stage)
        else:
            training.save(step, stage)
            wait(training)
    assert training.uploader.close(30)
    return training


def wait(training: Training) -> None:
    while training.uploader._waiting or training.uploader._flying is not None:
        time.sleep(0.005)


def pull(run: Path, before: int | None = None, repo: str = "me/run") -> list[str]:
    """Machine B: what it said."""
    lines = []
    hub_repo = HubRepo(repo, TOKEN)
    pull_run(run, hub_repo, hub_repo.read(), lines.append, before, lambda seconds: None)
    assert not [path for path in run.rglob("*.tmp")] if run.exists() else True, "something temporary is left"
    return lines


def files(run: Path) -> dict[str, bytes]:
    return Training(run).files()


# 1) What comes, and where it is placed.


def test_an_empty_folder_gets_the_newest_checkpoint(hub, tmp_path):
    training = pushed(tmp_path / "a" / "run")
    lines = pull(tmp_path / "b" / "run")
    assert files(tmp_path / "b" / "run") == training.files()
    assert identity(tmp_path / "b" / "run") == training.uploader.training
    assert len(lines) == 1 and lines[0].startswith("pulled stage1, step 80 of 100 from me/run into ")
    assert pull(tmp_path / "b" / "run") == [], "the second time there is nothing to do"
    assert not hub.leaks


def test_finished_stages_come_too_without_their_state(hub, tmp_path):
    training = pushed(tmp_path / "a", (50, 100))
    pull(tmp_path / "b")
    expected = {name: data for name, data in training.files().items() if "/state/" not in name}
    assert files(tmp_path / "b") == expected and pull(tmp_path / "b") == []
    again = start(tmp_path / "a", [], every=1, stage="stage2")
    again.save(60, "stage2")
    assert again.uploader.close(30)
    lines = pull(tmp_path / "b")
    assert "pulled stage2, step 60" in lines[0]
    expected = {name: data for name, data in again.files().items() if not name.startswith("stage1/state/")}
    assert files(tmp_path / "b") == expected


def test_fresh_pulls_only_the_stages_before(hub, tmp_path):
    training = pushed(tmp_path / "a", (100,))
    training.uploader = None
    again = start(tmp_path / "a", [], every=1, stage="stage2")
    again.save(60, "stage2")
    assert again.uploader.close(30)
    assert pull(tmp_path / "b", before=1) == [] and not (tmp_path / "b").exists()
    assert "pulled the stages before this one" in pull(tmp_path / "b", before=2)[0]
    assert (tmp_path / "b" / "stage1" / "meta.json").is_file() and not (tmp_path / "b" / "stage2").exists()
    assert pull(tmp_path / "b", before=2) == []


@for_each(
    "local, says, step",
    [
        ((50,), "pulled stage1, step 80", 80),  # behind
        ((80,), None, 80),  # as far
        ((90,), "is further along (stage1, step 90) than me/run (stage1, step 80 of 100)", 90),
        ((100,), "is further along (stage1, step 100)", 100),
    ],
)
def test_who_is_further_along_wins(tmp_path, monkeypatch, local, says, step):
    with fake_hub(monkeypatch, tmp_path / "home"):
        training = pushed(tmp_path / "a" / "run", (80,))
        here = Training(tmp_path / "b" / "run")
        here.finish(told=False) if local == (100,) else here.save(*local, told=False)
        before = here.files()
        lines = pull(tmp_path / "b" / "run")
    assert (says is None and not lines) or (len(lines) == 1 and says in lines[0])
    assert run_progress(here.run)[0].step == step
    assert here.files() == (training.files() if step == 80 and local != (80,) else before)


def test_another_training_here_is_left_alone(hub, tmp_path):
    pushed(tmp_path / "a", (80,))
    here = Training(tmp_path / "b", lr=5.0)
    here.save(10)
    before = here.files()
    with pytest.raises(AnotherTraining, match="hold different trainings .*step 10; there stage1, step 80 of 100"):
        pull(tmp_path / "b")
    assert here.files() == before


def test_one_that_is_being_trained_is_not_replaced(hub, tmp_path):
    from motiongpt.files.lock import hold

    pushed(tmp_path / "a", (80,))
    Training(tmp_path / "b").save(10)
    before = files(tmp_path / "b")
    with hold(tmp_path / "b" / "stage1", "trained"), pytest.raises(BlockingIOError, match="another process"):
        pull(tmp_path / "b")
    assert files(tmp_path / "b") == before


# 2) Checkpoints that are damaged.


def cut(hub: FakeHub, newest: Manifest) -> None:
    """The storage has lost half of the state."""
    blob = hub.repos["me/run"].commits[-1][2][newest.pieces["stage1/state/last/tensors.safetensors"].place]
    hub.store[blob.sha256] = hub.store[blob.sha256][:1500]


def flip(hub: FakeHub, newest: Manifest) -> None:
    blob = hub.repos["me/run"].commits[-1][2][newest.pieces["stage1/adapter_model.safetensors"].place]
    data = bytearray(hub.store[blob.sha256])
    data[1000] ^= 1
    hub.store[blob.sha256] = bytes(data)


def edit(change: Callable[[dict[str, Blob], str, dict], None]) -> Callable[[FakeHub, Manifest], None]:
    """A commit by hand: `change` gets the tree, the folder of the newest checkpoint and its manifest."""

    def damage(hub: FakeHub, newest: Manifest) -> None:
        repo = hub.repos["me/run"]
        tree, root = dict(repo.commits[-1][2]), f"checkpoints/{newest.name}/"
        manifest = json.loads(tree[root + "manifest.json"].content)
        change(tree, root, manifest)
        if root + "manifest.json" in tree and tree[root + "manifest.json"].content.startswith(b"{"):
            content = json.dumps(manifest).encode()
            tree[root + "manifest.json"] = Blob(len(content), content)
        repo.add(tree, "by hand")

    return damage


def name_piece(path: str) -> Callable[[FakeHub, Manifest], None]:
    return edit(lambda tree, root, manifest: manifest["pieces"].update({path: manifest["pieces"]["config.json"]}))


@pytest.mark.slow
@for_each(
    "damage, said",
    [
        (cut, "is damaged (stage1/state/last/tensors.safetensors: "),
        (flip, "is damaged (stage1/adapter_model.safetensors: its hash is another)"),
        (edit(lambda tree, root, manifest: tree.pop(root + "stage1/meta.json")), "meta.json is missing"),
        (
            edit(lambda tree, root, manifest: tree.update({root + "prompts.json": Blob(1, b"x")})),
            "prompts.json has 1 bytes of",
        ),
        (edit(lambda tree, root, manifest: tree.update({root + "manifest.json": Blob(1, b"x")})), "not valid JSON"),
        (edit(lambda tree, root, manifest: manifest.pop("fingerprint")), "the key fingerprint is missing"),
        (edit(lambda tree, root, manifest: manifest.update(step=79)), "is that of stage1-00000079"),
        (edit(lambda tree, root, manifest: manifest.update(stage="stage1/..")), "is no stage"),
        (
            edit(lambda tree, root, manifest: manifest["pieces"]["config.json"].update(place="../outside.json")),
            "lies at",
        ),
        (name_piece("../../outside.json"), "is no file of a run"),
        (name_piece("/tmp/outside.json"), "is no file of a run"),
        (name_piece("stage1/../../outside.json"), "is no file of a run"),
        (name_piece("C:\\outside.json"), "is no file of a run"),
        (name_piece(".bashrc"), "is no file of a run"),
        (name_piece("train.py"), "is no file of a run"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, monkeypatch, damage, said):
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        training = pushed(tmp_path / "a" / "run", (50,))
        expected = training.files()
        training = pushed(tmp_path / "a" / "run", (80,))
        damage(hub, manifests(hub)[0])
        lines = pull(tmp_path / "b" / "run")
    assert len(lines) == 2 and said in lines[0] and "stage1-00000080" in lines[0], lines
    assert "the one before it is looked at" in lines[0] and "pulled stage1, step 50 of 100" in lines[1]
    assert files(tmp_path / "b" / "run") == expected
    assert not list(tmp_path.rglob("outside.json"))


def test_a_training_goes_on_over_a_damaged_checkpoint(hub, tmp_path):
    """It is no obstacle for later ones, though it seems to be further along."""
    pushed(tmp_path / "a", (50, 80))
    flip(hub, manifests(hub)[0])
    repo = HubRepo("me/run", TOKEN)
    pulled = pull_run(tmp_path / "b", repo, repo.read(), lambda line: None)
    assert pulled.newest.step == 50 and pulled.damaged == {"stage1-00000080"}
    again = start(tmp_path / "b", lines := [], every=1)
    again.uploader.damaged["me/run"] = pulled.damaged
    again.save(60)
    assert again.uploader.close(30), lines
    assert [manifest.step for manifest in manifests(hub)] == [60, 50]


def test_if_none_is_whole_nothing_is_placed(hub, tmp_path):
    pushed(tmp_path / "a", (80,))
    flip(hub, manifests(hub)[0])
    lines = pull(tmp_path / "b")
    assert len(lines) == 1 and "is damaged" in lines[0] and not files(tmp_path / "b")


@for_each(
    "path, allowed",
    [
        ("stage1/adapter_model.safetensors", True),
        ("stage1/state/last/shard-00002-model-00001-of-00001.safetensors", True),
        ("stage1/model-00001-of-00002.safetensors", True),
        ("vqvae/Mean.npy", True),
        ("tokens.json", True),
        ("stage1/.lock", False),
        ("stage1/state/.new/x", False),
        ("stage1", False),
        ("stage1/", False),
        ("stage1//x", False),
        ("stagex/x", False),
        ("con:fig.json", False),
        ("config.json\0", False),
        ("setup.py", False),
        ("tokenizer.pkl", False),
        ("tokenizer:1.json", False),
        ("stage1/state/previous/state.json", False),
        ("stage2/state/last/state.json", False),  # of another stage than the manifest's
        ("stage1/state/last/0/.metadata", False),
        ("stage1/state/last/tensors.pt", False),
        ("stage1/x.pkl", False),
        ("stage1/notes.json", False),
        ("stage1/samples/1.json", False),
        ("stage1/model-\n.safetensors", False),
    ],
)
def test_paths_of_a_manifest(path, allowed):
    assert is_run_file(path, "stage1") is allowed


# 3) A network that fails, a kill.


@pytest.mark.slow
@for_each("request, how", [(request, how) for request in ("GET /storage", "GET .*/resolve", "HEAD .*/resolve")
                           for how in (500, "drop", "half")])  # fmt: skip
def test_downloads_may_fail_once(tmp_path, monkeypatch, request, how):
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        training = pushed(tmp_path / "a" / "run", (80,))
        hub.fault(request, how)
        lines = pull(tmp_path / "b" / "run")
    assert files(tmp_path / "b" / "run") == training.files() and len(lines) == 1


def test_a_hub_that_goes_away_while_it_is_pulled_is_no_damage(hub, tmp_path):
    """An older checkpoint must not be taken because the network fails."""
    pushed(tmp_path / "a", (50, 80))
    repo = HubRepo("me/run", TOKEN)
    listing = repo.read()
    hub.fault("", 503, times=45, skip=6)  # long enough for all tries of one file, and then it is back
    with pytest.raises(HubError, match="does not answer as it should"):
        pull_run(tmp_path / "b", repo, listing, print, None, lambda seconds: None)
    assert not files(tmp_path / "b")


@contextmanager
def recorded(patch: pytest.MonkeyPatch) -> Iterator[list]:
    """The renames of the block."""
    moves, move = [], os.replace
    patch.setattr(hub_pull.os, "replace", lambda *args: (moves.append(args), move(*args)))
    yield moves


@pytest.mark.slow
def test_a_pull_may_be_killed_anywhere(hub, tmp_path, monkeypatch):
    """Then it counts as less far along, and the next one ends as if nothing had been."""
    pushed(tmp_path / "a", (100,))
    again = start(tmp_path / "a", [], every=1, stage="stage2")
    again.save(60, "stage2")
    assert again.uploader.close(30)
    behind, early = Training(tmp_path / "behind"), Training(tmp_path / "early")
    behind.finish(told=False)
    behind.save(20, "stage2", told=False)
    early.save(20, told=False)
    for place in (behind, early):
        write_json(place.run / "hub.json", {"training": again.uploader.training})
    expected = {}
    for place in ("none", "behind", "early"):
        begin = tmp_path / place
        begin.mkdir(exist_ok=True)
        clean = shutil.copytree(begin, tmp_path / f"clean-{place}")
        with monkeypatch.context() as patch, recorded(patch) as moves:
            pull(clean)
        expected[place] = files(clean)
        for kill in range(1, len(moves) + 1, 1 if place == "early" else 3):
            run = shutil.copytree(begin, tmp_path / f"{place}-{kill}")
            if (child := os.fork()) == 0:
                left = [kill]

                def dying(*args, left=left, move=os.replace):
                    left[0] -= 1
                    move(*args) if left[0] else os._exit(137)

                hub_pull.os.replace = dying
                pull(run)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137, kill
            told = run_progress(run)
            assert told is None or told[0] < (2, False, 60), (place, kill, told)
            check_place(run)
            if is_finished(run / "stage1"):
                weights = (run / "stage1" / "adapter_model.safetensors").read_bytes()
                assert weights == expected[place]["stage1/adapter_model.safetensors"], "marked too early"
            pull(run)
            assert files(run) == expected[place], (place, kill)
            assert not [path for path in run.rglob("*.tmp")], "leftovers of the kill"


# 4) The script: flags and environment.


def flags(**given) -> Namespace:
    values = {"hub_repo": None, "hub_every": None, "hub_keep": None, "hub_public": False, "fresh": False}
    return Namespace(**values | {"debug": False, "dry_run": False, "resume": False} | given)


@for_each(
    "given, environment, names",
    [
        ({"hub_repo": "me/run"}, {}, {1: "me/run", 2: "me/run"}),
        ({"hub_repo": "me/run-stage{stage}"}, {}, {1: "me/run-stage1", 2: "me/run-stage2"}),
        ({"hub_repo": "run"}, {"HF_USER": "me"}, {1: "me/run", 2: "me/run"}),
        ({}, {"HUB_REPO_S1": "me/one", "HUB_REPO_S2": "two", "HF_USER": "you"}, {1: "me/one", 2: "you/two"}),
        ({}, {"HUB_REPO_S2": "me/two"}, {2: "me/two"}),
        ({"hub_repo": "me/run"}, {"HUB_REPO_S1": "me/one"}, {1: "me/run", 2: "me/run"}),  # flags come first
        ({}, {"HF_USER": "me"}, {}),
        ({"hub_repo": "me/run"}, {"HF_USER": "me"}, {1: "me/run", 2: "me/run"}),
    ],
)
def test_names_of_repositories(monkeypatch, capsys, given, environment, names):
    for name in HUB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert repo_names(flags(**given), (1, 2)) == names
    used = {name for name in environment if not given} if names else set()
    used |= {name for name in environment if name == "HF_USER" and "/" not in given.get("hub_repo", "/")}
    said = capsys.readouterr().out
    for name in environment:
        assert (f"environment: {name})" in said) == (name in used), said
        assert (name in said.partition("note: ")[2]) == (name not in used), said


@for_each(
    "given, environment, said",
    [
        ({"hub_repo": "run"}, {}, "--hub-repo run names no user; give USER/NAME, or set HF_USER"),
        ({"hub_every": 5}, {}, "--hub-every has no meaning without --hub-repo"),
        ({"hub_public": True}, {}, "--hub-public has no meaning without --hub-repo"),
        ({"hub_repo": "me/run", "hub_keep": 0}, {}, "--hub-keep must be at least 1, got 0"),
        ({"hub_repo": "me/run", "hub_every": -1}, {}, "--hub-every must be at least 1, got -1"),
        ({"hub_repo": "me/ru n"}, {}, "'me/ru n' cannot be the name of a repository"),
    ],
)
def test_flags_that_make_no_sense(tmp_path, monkeypatch, given, environment, said):
    for name in HUB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    args = flags(out=tmp_path / "run", **given)
    with pytest.raises(ValueError, match=said), kept_on_hub(args, [(1, None)]):
        pass


def test_where_the_token_is_from(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert hub_token()[0] is None
    (tmp_path / "token").write_text("hf_login")
    assert hub_token() == ("hf_login", "the login on this machine")
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "hf_old")
    assert hub_token() == ("hf_old", "environment: HUGGINGFACE_HUB_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_new")
    assert hub_token() == ("hf_new", "environment: HF_TOKEN")


@for_each(
    "change, said, commits",
    [
        ("no token", "no token for the Hub: set HF_TOKEN", 0),
        ("wrong token", "does not know the token (401)", 0),
        ("read only", "the token may not do that (403", 0),
        ("dead", "does not answer as it should", 0),
        ("offline", "HF_HUB_OFFLINE is set; unset it", 0),
        ("public", "note: me/run is public", 1),
        ("--hub-public", "made me/run on the Hub, public", 1),
        ("ancestor", "Hub token (environment: HUGGINGFACE_HUB_TOKEN)", 1),
    ],
)
def test_what_is_said_at_the_start(tmp_path, monkeypatch, capsys, change, said, commits):
    """One line before the first step, and the training goes on."""
    from huggingface_hub import constants

    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        if change in ("no token", "ancestor"):
            monkeypatch.delenv("HF_TOKEN")
        if change == "ancestor":
            monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", TOKEN)
        if change == "wrong token":
            monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        hub.users[TOKEN] = ("me", change != "read only")
        if change == "dead":
            monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", change == "offline")
        if change == "public":
            hub.make("me/run", private=False)
        run = tmp_path / "run"
        args = flags(out=run, hub_repo="me/run", hub_public=change == "--hub-public")
        with kept_on_hub(args, [(1, None)]):
            before = capsys.readouterr().out
            watchers = hub_watchers(args, 1, run / "stage1")
            training = Training(run)
            training.save(60)
            [watcher.on_save(60, run / "stage1", 100) for watcher in watchers]
        after = capsys.readouterr().out
        assert said in before and before.count("\n") <= 3 and TOKEN not in before + after
        assert len(hub.repos["me/run"].commits if "me/run" in hub.repos else [0]) - 1 == commits, after
        assert "hf_wrong" not in before + after


def test_debug_and_dry_run_leave_the_hub_alone(hub, tmp_path, capsys):
    pushed(tmp_path / "a", (80,))
    requests = len(hub.requests)
    with kept_on_hub(flags(out=tmp_path / "b", hub_repo="me/run", dry_run=True), [(1, None)]):
        pass
    assert len(hub.requests) == requests
    with kept_on_hub(flags(out=tmp_path / "b", hub_repo="me/run", debug=True), [(1, None)]) as _:
        pass
    assert "me/run can be read; --debug pulls and pushes nothing" in capsys.readouterr().out
    assert not (tmp_path / "b").exists() and len(hub.repos["me/run"].commits) == 2


def test_a_finished_stage_that_never_arrived_is_pushed_by_the_next_command(hub, tmp_path):
    run = tmp_path / "run"
    Training(run).finish()
    for _ in range(2):
        with kept_on_hub(flags(out=run, hub_repo="me/run"), [(1, None)]):
            pass
        assert hub.repos["me/run"].messages[1:] == ["stage1, step 100, its end"]


def test_a_repository_per_stage(hub, tmp_path):
    """Each holds its own stage; a machine with an empty folder gets all of them."""
    args = flags(out=tmp_path / "a", hub_repo="me/run-stage{stage}")
    with kept_on_hub(args, [(1, None), (2, None)]):
        training = Training(tmp_path / "a")
        for number in (1, 2):
            training.uploader = hub_watchers(args, number, tmp_path / "a" / f"stage{number}")[0]
            training.save(60, f"stage{number}")
            training.finish(f"stage{number}") if number == 1 else training.uploader.on_end(False)
    assert set(hub.repos) == {"me/run-stage1", "me/run-stage2"}
    assert {path.partition("/")[0] for path in manifests(hub, "me/run-stage2")[0].pieces} >= {"stage2"}
    assert not any(path.startswith("stage1/") for path in manifests(hub, "me/run-stage2")[0].pieces)
    with kept_on_hub(flags(out=tmp_path / "b", hub_repo="me/run-stage{stage}"), [(2, None)]):
        pass
    expected = {name: data for name, data in files(tmp_path / "a").items() if not name.startswith("stage1/state/")}
    assert files(tmp_path / "b") == expected
