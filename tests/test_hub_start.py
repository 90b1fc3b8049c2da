"""What a command with --hub-repo says before its first step, and when it ends there."""

import time
from collections.abc import Iterator

import pytest
from cases import for_each
from fake_hub import FakeHub, fake_hub
from test_hub_resume import flags, pushed
from test_hub_upload import Training

from motiongpt.cli.hub_flags import kept_on_hub
from motiongpt.hub import HubError, insist
from motiongpt.training import hub_pull


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / "home") as server:
        yield server


@for_each("dry_run", [False, True])
@for_each(
    "given, environment, said",
    [
        ({"hub_repo": "me/ru n"}, {}, "'me/ru n' cannot be the name of a repository"),
        ({"hub_repo": "me/run-{step}"}, {}, "cannot be the name of a repository"),
        ({"hub_repo": "me/deep/run"}, {}, "cannot be the name of a repository"),
        ({"hub_repo": "run"}, {}, "--hub-repo run names no user"),
        ({"hub_repo": ""}, {}, "--hub-repo is empty; give USER/NAME, or drop the flag"),
        ({}, {"HUB_REPO_S1": "me/ru n"}, "'me/ru n' cannot be the name of a repository"),
    ],
)
def test_a_bad_name_is_the_first_thing_that_is_said(tmp_path, monkeypatch, capsys, given, environment, said, dry_run):
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        args = flags(out=tmp_path / "run", dry_run=dry_run, **given)
        with pytest.raises(ValueError, match=said), kept_on_hub(args, [(1, None)]):
            raise AssertionError("the training began")
        before = capsys.readouterr().out
        assert not hub.requests and "token" not in before and before.count("\n") == len(environment)


@for_each(
    "given, environment, numbers, said",
    [
        ({"hub_every": 5}, {"HUB_REPO_S2": "me/two"}, [1], "without --hub-repo"),
        (
            {"hub_keep": 5},
            {"HUB_REPO_S1": "me/one"},
            [2],
            "without a repository for stage 2 .--hub-repo or HUB_REPO_S2",
        ),
        ({"hub_every": 5}, {"HUB_REPO_S2": "me/two"}, [1, 2], None),
        ({"hub_every": 5}, {"HUB_REPO_S1": "me/one"}, [0, 1], None),
    ],
)
def test_flags_for_stages_without_a_repository(tmp_path, monkeypatch, given, environment, numbers, said):
    with fake_hub(monkeypatch, tmp_path / "home"):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        args = flags(out=tmp_path / "run", **given)
        stages = [(number, None) for number in numbers]
        if said is None:
            with kept_on_hub(args, stages):
                return
        with pytest.raises(ValueError, match=f"has no meaning {said}"), kept_on_hub(args, stages):
            pass


def test_offline_mode_is_named_without_a_token_too(hub, tmp_path, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_TOKEN")
    with kept_on_hub(flags(out=tmp_path / "run", hub_repo="me/run"), [(1, None)]):
        pass
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "HF_HUB_OFFLINE is set; unset it" in said and "from the beginning" in said
    assert not hub.requests


def test_a_hub_that_does_not_answer_is_named_while_it_is_waited_for(hub, tmp_path, monkeypatch, capsys):
    """Once one repository has not answered, the others are asked once."""
    monkeypatch.setattr(hub_pull, "PULL_WAITS", (2.0, 8.0, 20.0))
    slept, said = [], []
    monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), said.append(capsys.readouterr().out)))
    hub.fault("", 503, times=10_000)
    with kept_on_hub(flags(out=tmp_path / "run", hub_repo="me/run-{stage}"), [(1, None), (2, None), (3, None)]):
        monkeypatch.undo()
    assert "me/run-1 does not answer; it is tried again for about 75 s at most" in said[0] and not "".join(said[1:])
    assert slept == [2, 8, 20]
    assert [hub.count(f"GET /api/models/me/run-{number}") for number in (1, 2, 3)] == [4, 1, 1]
    assert capsys.readouterr().out.count("the training goes on from the beginning") == 3


def test_insisting_ends_after_its_time():
    calls = []

    def fail():
        calls.append(1)
        raise HubError("away")

    for seconds, expected in ((60.0, 4), (0.0, 1)):
        calls.clear()
        with pytest.raises(HubError):
            insist(fail, (0, 0, 0), lambda seconds: None, seconds)
        assert len(calls) == expected


@pytest.mark.slow
@for_each(
    "change, said",
    [
        ("offline", "HF_HUB_OFFLINE is set; unset it"),
        ("away", "me/run could not be read: the Hub does not answer as it should (503)"),
        ("no token", "me/run could not be read: there is no token; set HF_TOKEN"),
        ("no repository", "there is no me/run"),
        ("damaged", "me/run has no checkpoint that is whole"),
        ("other files", "/run holds files of another training (config.json) than me/run"),
    ],
)
def test_resume_says_why_nothing_came_from_the_hub(tmp_path, monkeypatch, change, said):
    from huggingface_hub import constants

    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        run = tmp_path / "run"
        if change != "no repository":
            pushed(tmp_path / "a", (80,))
        if change == "offline":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        if change == "away":
            hub.fault("", 503, times=10_000)
        if change == "no token":
            monkeypatch.delenv("HF_TOKEN")
        if change == "damaged":
            hub.store.clear()
        if change == "other files":
            run.mkdir()
            (run / "config.json").write_text("{}")
        args = flags(out=run, hub_repo="me/run", resume=True)
        with pytest.raises(FileNotFoundError) as caught, kept_on_hub(args, [(1, None)]):
            raise AssertionError("the training began")
        assert f"--resume: {run} has nothing unfinished, and nothing came from the Hub: " in str(caught.value)
        assert said in str(caught.value) and ("me/run" in hub.repos) == (change != "no repository")
        # with something to resume, it is resumed
        if change != "other files":
            Training(run).save(10)
            with kept_on_hub(args, [(1, None)]):
                pass
