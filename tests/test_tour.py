"""The tour's references name what starts at their line; `python tests/test_tour.py --fix` updates the lines."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOUR = ROOT / "docs" / "TOUR.md"
REFERENCE = re.compile(r"`(?P<path>[\w/.]+\.py):(?P<line>\d+) (?P<name>[\w.]+)`")
HEART = ("lora", "llm", "vqvae", "loops", "sampling")  # in the tour's order


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
    """The text with every reference's line made true. ValueError for a name or file that is not there."""

    def line(match: re.Match) -> str:
        path, name = match["path"], match["name"]
        if not (root / path).is_file():
            raise ValueError(f"the tour refers to {path}, which does not exist")
        lines = definitions((root / path).read_text(encoding="utf-8"))
        if name not in lines:
            raise ValueError(f"the tour refers to {name} in {path}, which does not define it")
        return f"`{path}:{lines[name]} {name}`"

    return REFERENCE.sub(line, text)


def references() -> list[str]:
    return sorted({match[0] for match in REFERENCE.finditer(TOUR.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("reference", references())
def test_reference_is_true(reference):
    assert fixed(reference) == reference, "run: python tests/test_tour.py --fix"


def test_no_reference_is_misspelt():
    """Everything in backquotes that looks like a file with a line has the form that is checked."""
    loose = re.findall(r"`[^`]*\.py:[^`]*`", TOUR.read_text(encoding="utf-8"))
    assert len(loose) > 30 and all(REFERENCE.fullmatch(item) for item in loose)


def test_heart_comes_first_and_the_rest_is_marked():
    text = TOUR.read_text(encoding="utf-8")
    headings = re.findall(r"^\d+\. \*\*(\w+)\.py\*\*", text, re.M)
    assert tuple(headings) == HEART
    rows = [line for line in text.splitlines() if line.startswith("|") and text.index(line) < text.index("## 4.")]
    for row in rows:
        for match in REFERENCE.finditer(row):
            first = match["path"] in {f"motiongpt/{name}.py" for name in HEART}
            assert first != ("*(later)*" in row), row


def test_fix_moves_lines_and_refuses_unknown_names(tmp_path):
    source = "import os\n\nX = 1\n\n\nclass A:\n    def b(self): ...\n\n\n@staticmethod\ndef c(): ...\n"
    (tmp_path / "m.py").write_text(source)
    assert fixed("`m.py:1 A.b`, `m.py:99 c` and `m.py:5 X`", tmp_path) == "`m.py:7 A.b`, `m.py:11 c` and `m.py:3 X`"
    with pytest.raises(ValueError, match="does not define it"):
        fixed("`m.py:1 b`", tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        fixed("`n.py:1 b`", tmp_path)


if __name__ == "__main__":
    if sys.argv[1:] != ["--fix"]:
        sys.exit("usage: python tests/test_tour.py --fix")
    TOUR.write_text(fixed(TOUR.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {TOUR}")
