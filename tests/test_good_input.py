"""The right commands of tests/invocations.py succeed, write what they promise and report it."""

import shlex
from pathlib import Path

import pytest
from invocations import RIGHT, Right, add_to_world


@pytest.fixture(scope="module")
def world(tiny, script) -> Path:
    """The tiny world with a dataset folder, made once per worker."""
    if not (tiny.folder / "data").is_dir():
        add_to_world(tiny.folder, script)
    return tiny.folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working directory, without the environment variables that change a default."""
    for name in ("WORK_DIR", "DATA_JSON_PATH", "VQVAE_CHECKPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("case", RIGHT, ids=[case.name for case in RIGHT])
def test_a_right_command_does_what_it_promises(script, world, here, case: Right):
    out = ""
    for command, code in zip(case.commands, case.codes or (0,) * len(case.commands), strict=True):
        name, *args = shlex.split(command.format(world=world, here=here))
        done = script(name, *args)
        assert done.code == code, (command, done.code, done.err)
        assert "Traceback" not in done.err and "error" not in done.err
        out += done.out
    for piece in case.says:
        assert piece.format(here=here, world=world) in out, out
    for path in case.writes:
        assert (here / path).stat().st_size > 0, path
    if case.same:
        first, second = ((here / path).read_bytes() for path in case.same)
        assert first == second
    if case.differ:
        first, second = ((here / path).read_bytes() for path in case.differ)
        assert first != second


def test_there_are_enough_of_them():
    assert len(RIGHT) >= 30 and len({case.name for case in RIGHT}) == len(RIGHT)


def test_every_script_and_suffix_is_among_them():
    """A new output format needs a right command too."""
    from motiongpt.motion import _WRITERS

    text = " ".join(command for case in RIGHT for command in case.commands)
    used = {command.split()[0] for case in RIGHT for command in case.commands}
    assert {"prepare", "train_vqvae", "tokenize_motions", "finetune", "sample", "render"} <= used
    assert not [suffix for suffix in _WRITERS if f"/m{suffix}" not in text]
