"""What the pages promise: every command parses, every make target and file exists, the Python example runs."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STORIES = sorted((ROOT / "runs").glob("*.sh"))
DEMO = ROOT / "checkpoints" / "demo"


def blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks of these languages."""
    return [body for language, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S) if language in languages]


def script_commands(text: str) -> list[list[str]]:
    """[script, argument, ...] of every line of shell that runs one of scripts/; arrays filled in, variables as 1."""
    commands, arrays = [], dict(re.findall(r"^(\w+)=\(([^)]*)\)", text, re.M))
    for line in text.replace("\\\n", " ").splitlines():
        line = line.replace("\\", "/")  # Windows paths
        if "scripts/" not in line or line.lstrip().startswith("#"):
            continue
        line = re.sub(r'"\$\{(\w+)\[@\]\}"', lambda match: " ".join(arrays[match[1]].split()), line)
        line = re.sub(r"[^\s\"]*\$\{?\w+\}?[^\s\"]*", "1", line[line.index("scripts/") :])
        commands.append(shlex.split(line, comments=True))
    return commands


COMMANDS = [command for block in blocks(README, "bash", "bat") for command in script_commands(block)]
COMMANDS += [command for story in STORIES for command in script_commands(story.read_text(encoding="utf-8"))]


def load_script(path: str):
    spec = importlib.util.spec_from_file_location("script_" + Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """The scripts put the checkout on the path; that is undone after each test."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])


def test_commands_are_found():
    """The parser of this file sees them all: a README without commands would pass everything below."""
    scripts = {command[0] for command in COMMANDS}
    assert scripts == {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[8:60])
def test_command_parses(command, capsys):
    """Flags, choices and required arguments, against the script's own parser."""
    parser = load_script(command[0]).make_parser()
    try:
        parser.parse_args(command[1:])
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_wrong_flag_would_be_seen():
    with pytest.raises(SystemExit):
        load_script("scripts/sample.py").make_parser().parse_args(["--prompt", "x", "--sekonds", "3"])


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {m for block in blocks(README, "bash") for m in re.findall(r"^make ([\w-]+)", block, re.M)}
    named |= set(re.findall(r"`make ([\w-]+)", README))
    assert {"demo", "test"} <= named <= targets


def test_the_first_command_comes_early():
    """Somebody who is new finds it within ten lines."""
    assert "`make demo`" in "".join(README.splitlines()[:10])


def test_the_report_has_the_columns_and_rows_of_its_script():
    from motiongpt.faithfulness.report import summary

    header = summary([])[0]
    lines = README.partition(header + "\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert tuple(line.split(" | ")[0].strip("| ") for line in lines) == load_script("scripts/demo_report.py").ROWS
    assert {line.count("|") for line in lines} == {header.count("|")}


def test_every_module_is_in_the_tour():
    tour = (ROOT / "docs" / "TOUR.md").read_text(encoding="utf-8")
    folders = ("motiongpt", "scripts", "benchmarks")
    files = {p.relative_to(ROOT).as_posix() for folder in folders for p in (ROOT / folder).rglob("*.py")}
    files = {path for path in files if not path.endswith("/__init__.py")}
    assert {path for path in files if f"`{path}:" not in tour} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/TOUR.md", "checkpoints/README.md", "LOG.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_pinned_versions_meet_the_lower_bounds():
    """requirements.txt and setup.py name the same packages, and no pin is below its bound."""

    def version(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")))

    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(re.match(r"([\w-]+)==([\d.]+)", line).groups() for line in lines if "==" in line.split(";")[0])
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    required = re.search(r"install_requires=\[(.*?)\]", setup, re.S)[1]
    bounds = dict(re.findall(r"\"([\w-]+)>=([\d.]+)\"", required))
    assert set(pins) == set(bounds)
    assert lines[1].startswith("torch=="), "torch is installed first, from the index that is asked for"
    for name, bound in bounds.items():
        assert version(pins[name]) >= version(bound), name


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    if not (DEMO / "config.json").is_file():
        pytest.skip("needs the shipped checkpoint checkpoints/demo")
    (example,) = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    exec(compile(example.replace('"checkpoints/demo"', repr(str(DEMO))), "README.md", "exec"), {})
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"walk.gif", "walk.npy"}
    codes, lengths, *_ = capsys.readouterr().out.splitlines()
    assert all(0 <= int(code) < 512 for code in codes.split())
    # 3 and 4 s are 15 and 20 codes; the target is kept to within 5 % or one code, of 4 frames
    assert all(abs(got - 4 * want) <= 4 for got, want in zip(eval(lengths), (15, 20), strict=True))
