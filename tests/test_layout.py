"""The house rules that no reader would notice being broken, read off the syntax trees.

A module of `motiongpt/` imports only from strictly lower levels, inside functions too, so every file can be read
after the ones below it. `data/` and `render/` are packages of one level: siblings may import each other without
a cycle. `tasks` stands half a level above `data/`, whose entries it renders, `foreign_vqvae` half a level below
`weights`, which loads what it reads. `__init__` re-exports and is exempt.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, SCRIPTS = ROOT / "motiongpt", ROOT / "scripts"

LEVELS = {
    0: "config rotations skeletons lora metrics text_metrics files words stand_ins",
    1: "layers vocab sampling features kinematic_measures quantizers unpickle assets",
    1.5: "representations body_model",
    2: "llm vqvae normalizer action_checks",
    2.5: "foreign_vqvae",
    3: "weights data render faithfulness",
    3.5: "tasks word_vectors",
    3.75: "matching",
    4: "motion checkpoint tokenizer stages faithfulness_report evaluators",
    4.5: "motion_files",
    5: "loops generator",
    5.5: "evaluation",
    5.6: "protocol",
    5.7: "text_evaluation",
    5.8: "evaluation_report",
    5.9: "comparison",
    6: "finetuning tokenizer_training evaluator_training cli",
    7: "tokenizer_stage language_stage",
}
LEVEL = {module: level for level, modules in LEVELS.items() for module in modules.split()}
LAZY = {"matplotlib", "h5py", "smplx", "huggingface_hub", "PIL", "plotly", "imageio", "tensorboard"}
FOREIGN = {"transformers", "peft", "scipy", "accelerate", "pytorch_lightning", "hydra", "pytest"}
MAX_LINES, MAX_SCRIPT_LINES = 400, 150

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
SCRIPT_FILES = sorted(SCRIPTS.glob("*.py"))
SOURCES = [*sorted(PACKAGE.rglob("*.py")), *SCRIPT_FILES]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name_of(path))


def imports_of(path: Path, nodes: list[ast.AST] | None = None) -> Iterator[str]:
    """Dotted names a file imports, relative ones made absolute; `from motiongpt import lora` is motiongpt.lora."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in nodes or list(ast.walk(tree_of(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            is_package = (ROOT / module.replace(".", "/") / "__init__.py").is_file()
            yield from (f"{module}.{alias.name}" for alias in node.names) if is_package else (module,)


def at_import(path: Path) -> list[ast.AST]:
    """The nodes that run when a file is imported: all but the insides of functions."""
    nodes, queue = [], [tree_of(path)]
    while queue:
        node = queue.pop()
        nodes.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            queue.extend(ast.iter_child_nodes(node))
    return nodes


def module_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE).with_suffix("").parts


def own_imports(path: Path) -> set[tuple[str, ...]]:
    """What a file imports of the package, as ("data", "tokens"); names of __init__ itself are left out."""
    found = set()
    for name in imports_of(path):
        parts = tuple(name.split("."))
        if parts[0] == "motiongpt" and len(parts) > 1 and parts[1] in LEVEL:
            found.add(parts[1:])
        elif parts[0] == "motiongpt" and parts[1:] not in ((), ("__version__",)):
            found.add(parts[1:])
    return found


# 1) The import law.


def test_every_module_has_a_level_and_every_level_a_module():
    assert {module_of(path)[0] for path in MODULES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_from_lower_levels_only(path):
    own = module_of(path)
    for other in own_imports(path):
        assert other[0] in LEVEL, f"{name_of(path)} imports {'.'.join(other)}, which has no level"
        sibling = len(own) > 1 and other[0] == own[0]
        assert sibling or LEVEL[other[0]] < LEVEL[own[0]], (
            f"{name_of(path)} (level {LEVEL[own[0]]}) imports {'.'.join(other)} (level {LEVEL[other[0]]})"
        )


@pytest.mark.parametrize("package", ["data", "render"])
def test_siblings_import_each_other_without_a_cycle(package):
    edges = {
        path.stem: {other[1] for other in own_imports(path) if other[0] == package and len(other) > 1}
        for path in (PACKAGE / package).glob("*.py")
        if path.name != "__init__.py"
    }
    while edges:
        free = [name for name, needs in edges.items() if not needs & set(edges)]
        assert free, f"{package}/ has a cycle among {', '.join(sorted(edges))}"
        edges = {name: needs for name, needs in edges.items() if name not in free}


def test_the_law_would_catch_a_breach(tmp_path, monkeypatch):
    """The checker sees imports inside functions, relative ones and `from motiongpt import module`."""
    source = (
        "def f():\n    from motiongpt.loops import train\n    from . import tokens\n    from motiongpt import cli\n"
    )
    path = PACKAGE / "data" / "batches.py"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding=None: source)
    assert own_imports(path) == {("loops",), ("data", "tokens"), ("cli",)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_imports_a_script(path):
    scripts = {script.stem for script in SCRIPT_FILES}
    for name in imports_of(path):
        top, *rest = name.split(".")
        assert top != "scripts" and (top not in scripts or rest), f"{name_of(path)} imports {name}"


# 2) What is imported where.


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_oracles_stay_in_tests(path):
    assert not {name.split(".")[0] for name in imports_of(path)} & FOREIGN


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_heavy_libraries_are_imported_where_they_are_used(path):
    assert not {name.split(".")[0] for name in imports_of(path, at_import(path))} & LAZY


def test_importing_the_package_is_light():
    code = "import sys, motiongpt; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    code = "import motiongpt; [getattr(motiongpt, name) for name in motiongpt.__all__]"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# 3) Things nobody may do.


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_silent_failures(path):
    for node in ast.walk(tree_of(path)):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where} bare except"
            assert not all(isinstance(step, ast.Pass) for step in node.body), f"{where} an exception is dropped"
        if isinstance(node, ast.keyword) and node.arg in ("strict", "weights_only"):
            assert getattr(node.value, "value", True) is not False, f"{where} {node.arg}=False"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert getattr(node.value, "value", True) is False, f"{where} unpickles"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_work_at_import(path):
    """No seed is set, nothing is read, made or parsed when a file is imported."""
    for node in at_import(path):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called.split(".")[-1] not in ("seed", "manual_seed", "mkdir", "makedirs", "parse_args", "getenv"), (
                f"{name_of(path)}:{node.lineno} {called} at import"
            )


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_no_global_randomness_in_the_library(path):
    """np.random.<draw> shares one state; torch.manual_seed is for the loop, which owns the process's dropout."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in ("Generator", "default_rng", "SeedSequence"), (
                f"{name_of(path)}:{node.lineno} {node.attr}"
            )
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.manual_seed":
            assert path.name == "loops.py", f"{name_of(path)}:{node.lineno} torch.manual_seed"
    assert not {"random"} & {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_are_short_and_say_what_they_are(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= (MAX_SCRIPT_LINES if path.parent == SCRIPTS else MAX_LINES)
    assert not lines or ast.get_docstring(tree_of(path)), f"{name_of(path)} has no docstring"


def test_there_is_no_utils():
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in ("utils", "util", "helpers", "misc", "common")]
