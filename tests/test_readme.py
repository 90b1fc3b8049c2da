"""What the pages promise: every command parses, every make target and file exists, the Python example runs."""

import importlib.util
import json
import re
import shlex
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from cases import for_each

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "checkpoints/README.md", "LOG.md", "benchmarks/RESULTS.md", *DOCS]
TEXT = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
README = TEXT["README.md"]
DATA = TEXT["docs/DATA.md"]
ASKING = TEXT["docs/TASKS.md"]
STORIES = sorted((ROOT / "runs").glob("*.sh"))
DEMO = ROOT / "checkpoints" / "demo"


def blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks of these languages."""
    return [body for language, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S) if language in languages]


def script_commands(text: str) -> list[list[str]]:
    """[script, argument, ...] of every line of shell that runs one of scripts/; arrays filled in, variables as 1."""
    commands = []
    arrays = dict(re.findall(r"^(\w+)=\(([^)]*)\)", text, re.M))
    for line in text.replace("\\\n", " ").splitlines():
        line = line.replace("\\", "/")  # Windows paths
        if "scripts/" not in line or line.lstrip().startswith("#"):
            continue
        line = re.sub(r'"\$\{(\w+)\[@\]\}"', lambda match: " ".join(arrays[match[1]].split()), line)
        line = re.sub(r"[^\s\"]*\$\{?\w+\}?[^\s\"]*", "1", line[line.index("scripts/") :])
        commands.append(shlex.split(line, comments=True))
    return commands


SHELL = {page: "".join(blocks(text, "bash", "bat")) for page, text in TEXT.items()}
SHELL |= {f"runs/{story.name}": story.read_text(encoding="utf-8") for story in STORIES}
COMMANDS = [(place, command) for place, text in SHELL.items() for command in script_commands(text)]


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
    scripts = {command[0] for _, command in COMMANDS}
    assert scripts == {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    found = Counter(place for place, _ in COMMANDS)
    least = {"README": 15, "docs/COMING_FROM": 60, "docs/DATA": 15, "docs/EVALUATION": 6, "docs/NOTEBOOK": 5}
    assert all(found[f"{page}.md"] >= number for page, number in least.items()), found
    assert all(found[f"runs/{story.name}"] >= 5 for story in STORIES), found


@for_each("place, command", COMMANDS)
def test_command_parses(place, command, capsys):
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
    named = {m for text in SHELL.values() for m in re.findall(r"^make ([\w-]+)", text, re.M)}
    named |= {m for text in TEXT.values() for m in re.findall(r"`make ([\w-]+)", text)}
    assert {"demo", "test"} <= named <= targets


def test_the_first_command_comes_early():
    """Somebody who is new finds it within ten lines."""
    assert "`make demo`" in "".join(README.splitlines()[:10])


def test_the_report_has_the_columns_and_rows_of_its_script():
    from motiongpt.faithfulness.report import summary

    header = summary([])[0]
    lines = TEXT["docs/EVALUATION.md"].partition(header + "\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert tuple(line.split(" | ")[0].strip("| ") for line in lines) == load_script("scripts/demo_report.py").ROWS
    assert {line.count("|") for line in lines} == {header.count("|")}


def anchor(heading: str) -> str:
    """What a link to a heading ends in, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@for_each("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+?)\)", TEXT[page]):
        path, _, part = target.partition("#")
        if "://" in target:
            continue
        assert not path or (ROOT / page).parent.joinpath(path).exists(), target
        if part:
            text = (ROOT / page).parent.joinpath(path).read_text(encoding="utf-8") if path else TEXT[page]
            assert part in map(anchor, re.findall(r"^#+ (.+)$", text, re.M)), target


def test_every_page_is_reached_from_the_readme():
    assert set(re.findall(r"\]\(([\w/]+\.md)\)", README)) == set(PAGES) - {"README.md"}


def test_the_readme_fits():
    """Short enough to be read, and no line of a page but the rows of tables is wider than the code."""
    assert len(README.splitlines()) <= 195
    lines = [line for page in ("README.md", *DOCS) for line in TEXT[page].splitlines()]
    wide = [line for line in lines if len(line) > 120 and not line.startswith("|")]
    assert wide == []


def test_sources_and_their_flags():
    """The table of docs/DATA.md is the table of the code."""
    from motiongpt.data.prepare.sources import SOURCES

    rows = re.findall(r"^\| `([\w-]+)` \|.*\| `(--[^`]+)` \|$", DATA, re.M)
    said = {name: {flag[2:].replace("-", "_") for flag in flags.split()} for name, flags in rows}
    assert said == {name: set(source.flags) for name, source in SOURCES.items()}


def test_the_skeleton_of_the_page_loads():
    from motiongpt.body.skeletons import Skeleton
    from motiongpt.features.representations import get_representation

    (text,) = [block for block in blocks(DATA, "json") if '"joints"' in block]
    skeleton = Skeleton.from_json(text)
    assert (skeleton.name, skeleton.num_joints, skeleton.fps) == ("mine", 15, 30)
    assert [skeleton.joints[j] for j in skeleton.face] == ["right_hip", "left_hip", "right_shoulder", "left_shoulder"]
    assert get_representation("positions", skeleton).dim == 45
    section = DATA.partition("\n## Skeletons\n")[2].partition("\n## ")[0]
    explained = re.findall(r"^\| (`\w+`(?:, `\w+`)?) \|", section, re.M)
    missing = {field.name for field in fields(Skeleton)} - set(re.findall(r"\w+", " ".join(explained)))
    assert missing == {"name", "joints", "parents", "has_lengths"}, "a key that the page does not explain"


def test_captions_of_the_page_are_read(tmp_path):
    """Both tables of captions say the same, and the lines of texts/ID.txt are what the page says of them."""
    from motiongpt.data.prepare.caption_table import read_captions
    from motiongpt.data.texts import parse_captions

    (table,) = blocks(DATA, "csv")
    (entries,) = [block for block in blocks(DATA, "json") if '"captions"' in block]
    (lines,) = [block for block in blocks(DATA, "text") if "#a/DET" in block]
    for name, text in (("captions.csv", table), ("captions.json", entries), ("clip.txt", lines)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    rows = read_captions(tmp_path / "captions.csv")
    assert rows == read_captions(tmp_path / "captions.json")
    assert [len(row.captions) for row in rows.values()] == [2, 1]
    plain, tagged, piece = parse_captions(tmp_path / "clip.txt")
    assert plain.text == tagged.text == "a person walks forward" and (plain.start, plain.end) == (0, 0)
    assert (piece.text, piece.start, piece.end) == ("he turns around", 2.5, 4.0)


def test_the_token_data_set_of_the_page_is_read(tmp_path):
    from motiongpt.data.tokens import load_tokens

    (text,) = [block for block in blocks(DATA, "json") if '"motion_tokens"' in block]
    (tmp_path / "tokens.json").write_text(text, encoding="utf-8")
    assert [entry.codes for entry in load_tokens(tmp_path / "tokens.json")] == [(42, 18, 91), (7, 300)]


def test_the_tables_of_tasks_are_those_of_the_code():
    from motiongpt.tasks.table import TASKS
    from motiongpt.tasks.templates import PLACEHOLDERS, SETTINGS

    def first_column(heading: str) -> list[str]:
        section = ASKING.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        columns = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
        return [name for column in columns for name in re.findall(r"`([^`]+)`", column)]

    assert sorted(first_column("The tasks")) == sorted(TASKS)
    words = first_column("Words: template files")
    assert words == [*(name for name in words if name in PLACEHOLDERS), *SETTINGS]
    assert set(PLACEHOLDERS) <= set(words)


def test_the_files_of_the_tasks_page_are_read(tmp_path):
    from motiongpt.constraints.spec import read_constraints
    from motiongpt.tasks.templates import read_templates

    templates, constraints = blocks(ASKING, "json")
    for name, text in (("templates.json", templates), ("constraints.json", constraints)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert set(read_templates(tmp_path / "templates.json").groups) == {"predict"}
    read = read_constraints(tmp_path / "constraints.json")
    assert (len(read.path), len(read.reach), read.loop) == (2, 1, True)


def test_an_installed_package_has_its_data_files():
    """setup.py names every file of the package that is no module."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    patterns = re.findall(r'"([^"]+)"', re.search(r'package_data={"motiongpt": \[(.*?)\]}', setup)[1])
    named = {path for pattern in patterns for path in (ROOT / "motiongpt").glob(pattern)}
    files = {path for path in (ROOT / "motiongpt").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert named == files and files


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
    codes, sentence, lengths = capsys.readouterr().out.splitlines()
    assert sentence == "a person walks forward"  # by the stage that learnt the way back, not by the one that wrote it
    codebook = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))["RunConfig"]["codes"]
    assert all(0 <= int(code) < codebook for code in codes.split())
    # 3 and 4 s are 15 and 20 codes; the target is kept to within 5 % or one code, of 4 frames
    assert all(abs(got - 4 * want) <= 4 for got, want in zip(eval(lengths), (15, 20), strict=True))
