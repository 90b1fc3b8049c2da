"""The tour's references name what starts at their line, and every module is where a reader looks for it.

`python tests/test_tour.py --fix` updates the line numbers of the tour and the line counts of the README.
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from cases import for_each

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "docs" / "TOUR.md"
FAMILIES = ROOT / "docs" / "FAMILIES.md"
README = ROOT / "README.md"
REFERENCE = re.compile(r"`(?P<path>[\w/.]+\.py):(?P<line>\d+) (?P<name>[\w.]+)`")
COUNT = re.compile(r"\[(?P<name>\w+)\.py\]\(motiongpt/(?P=name)\.py\), (?P<lines>\d+) lines")
TOTAL = re.compile(r"^[\d,]+ lines, made to be read", re.M)
HEART = ("lora", "llm", "vqvae", "loops", "sampling")  # in the order of the tour and of the README
FOLDERS = ("motiongpt", "scripts", "benchmarks")


@cache
def definitions(source: str) -> dict[str, int]:
    """Name -> line of every function, class, method (`Class.method`) and constant of a module."""
    lines = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            lines[node.name] = node.lineno
        if isinstance(node, ast.ClassDef):
            lines |= {f"{node.name}.{m.name}": m.lineno for m in node.body if isinstance(m, ast.FunctionDef)}
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        lines |= {target.id: node.lineno for target in targets if isinstance(target, ast.Name)}
    return lines


def fixed(text: str, root: Path = ROOT) -> str:
    """The text with every reference's line made true. ValueError for names and files that are not there, all in one."""
    wrong = []

    def line(match: re.Match) -> str:
        path, name = match["path"], match["name"]
        if not (root / path).is_file():
            wrong.append(f"the tour refers to {path}, which does not exist")
            return match[0]
        lines = definitions((root / path).read_text(encoding="utf-8"))
        if name not in lines:
            wrong.append(f"the tour refers to {name} in {path}, which does not define it")
            return match[0]
        return f"`{path}:{lines[name]} {name}`"

    text = REFERENCE.sub(line, text)
    if wrong:
        raise ValueError("; ".join(wrong))
    return text


def counted(text: str) -> str:
    """The README with the line counts of the heart made true."""
    lines = {name: len((ROOT / f"motiongpt/{name}.py").read_text(encoding="utf-8").splitlines()) for name in HEART}
    text = COUNT.sub(lambda match: match[0].replace(f"{match['lines']} lines", f"{lines[match['name']]} lines"), text)
    return TOTAL.sub(f"{sum(lines.values()):,} lines, made to be read", text)


def text() -> str:
    return TOUR.read_text(encoding="utf-8")


def modules() -> set[str]:
    files = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    return {path for path in files if not path.endswith("/__init__.py")}


@for_each("page", [TOUR, FAMILIES])
def test_references_are_true(page):
    content = page.read_text(encoding="utf-8")
    now = [match[0] for match in REFERENCE.finditer(content)]
    true = [match[0] for match in REFERENCE.finditer(fixed(content))]
    wrong = [f"{a} is {b}" for a, b in zip(now, true, strict=True) if a != b]
    assert wrong == [], "run: python tests/test_tour.py --fix"


def test_no_reference_is_misspelt():
    """Everything in backquotes that looks like a file with a line has the form that is checked."""
    loose = re.findall(r"`[^`]*\.py:[^`]*`", text())
    assert len(loose) > 150
    loose += re.findall(r"`[^`]*\.py:[^`]*`", FAMILIES.read_text(encoding="utf-8"))
    assert [item for item in loose if not REFERENCE.fullmatch(item)] == []


def test_heart_comes_first_in_order():
    """The drawing names the five, the first section tells them, and its references hardly leave them."""
    drawing = re.search(r"```text\n(.*?)```", text(), re.S)[1]
    assert set(HEART) <= set(re.findall(r"\w+", drawing))
    assert tuple(re.findall(r"^\d+\. \*\*(\w+)\.py\*\*", text(), re.M)) == HEART
    assert tuple(match["name"] for match in COUNT.finditer(README.read_text(encoding="utf-8"))) == HEART
    section = text().partition("\n## 1.")[2].partition("\n## ")[0]
    others = [match["path"] for match in REFERENCE.finditer(section) if Path(match["path"]).stem not in HEART]
    assert set(others) == {"motiongpt/layers.py", "motiongpt/quantizers.py", "motiongpt/word_tables.py"}


def test_only_a_few_things_wait_for_later():
    """*(later)* follows a reference, never one of the heart, and marks so few that the mark means something."""
    marked = re.findall(REFERENCE.pattern + r" \*\(later\)\*", text())
    assert 0 < len(marked) == text().count("*(later)*") - 1 <= 8  # once it is explained
    assert not {path for path, *_ in marked} & {f"motiongpt/{name}.py" for name in HEART}


def test_every_module_has_its_row_where_a_reader_looks():
    """One row in "Where is what", under the heading of its folder."""
    section = text().partition("\n## 4. Where is what\n")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for part in section.split("\n### ")[1:]:
        folder = re.search(r"`([\w/]+)/`", part.splitlines()[0])[1]
        for row in re.findall(r"^\| `.*", part, re.M):
            found.setdefault(REFERENCE.match(row, 2)["path"], []).append(folder)
    assert modules() - set(found) == set(), "modules without a row"
    assert {path: folders for path, folders in found.items() if folders != [str(Path(path).parent)]} == {}


def test_the_readme_counts_its_lines():
    now = README.read_text(encoding="utf-8")
    assert TOTAL.search(now) and counted(now) == now, "run: python tests/test_tour.py --fix"


def test_fix_moves_lines_and_refuses_unknown_names(tmp_path):
    source = "import os\n\nX = 1\n\n\nclass A:\n    def b(self): ...\n\n\n@staticmethod\ndef c(): ...\n"
    (tmp_path / "m.py").write_text(source)
    assert fixed("`m.py:1 A.b`, `m.py:99 c` and `m.py:5 X`", tmp_path) == "`m.py:7 A.b`, `m.py:11 c` and `m.py:3 X`"
    with pytest.raises(ValueError, match="does not define it"):
        fixed("`m.py:1 b`", tmp_path)
    with pytest.raises(ValueError, match="n.py, which does not exist; .* refers to b in m.py"):
        fixed("`n.py:1 b` and `m.py:1 b`", tmp_path)


if __name__ == "__main__":
    if sys.argv[1:] != ["--fix"]:
        sys.exit("usage: python tests/test_tour.py --fix")
    for page, mend in ((TOUR, fixed), (FAMILIES, fixed), (README, counted)):
        page.write_text(mend(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {page}")
