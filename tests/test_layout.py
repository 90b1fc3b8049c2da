"""House rules that a reader would not see broken, checked on the syntax trees.

A module of `motiongpt/` imports only from strictly lower levels, inside functions too, so every file can be read
after the ones below it. A package is one unit with one level; its own files, sub-packages included, import each
other without a cycle. Each rule looks at all files and lists everything that breaks it.
"""

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, SCRIPTS = ROOT / "motiongpt", ROOT / "scripts"

LEVELS = {
    -1: "kernels",
    0: "config lora files metrics hub signals lengths",
    1: "layers word_tables quantizers sampling checkpoint body text_tokenizer",
    2: "llm backbones vqvae vocab features render procedural rigs training",
    3: "loops decoding motion data weights faithfulness constraints cleanup",
    4: "motion_tokenizer tasks",
    5: "motion_files stages",
    6: "generation continuous",
    7: "generator",
    8: "evaluation cli",
    9: "studio",
}
LEVEL = {unit: level for level, units in LEVELS.items() for unit in units.split()}
LAZY = {"matplotlib", "h5py", "smplx", "huggingface_hub", "PIL", "av", "tensorboard"}
SEEDERS = {"torch.manual_seed", "torch.default_generator.manual_seed", "torch.cuda.manual_seed", "torch.seed"}
FOREIGN = {"transformers", "peft", "scipy", "accelerate", "pytorch_lightning", "hydra", "pytest"}
MAX_LINES, MAX_SCRIPT_LINES = 400, 150
MAX_MODULES, MAX_PACKAGES = 18, 24  # of the top folder: `ls motiongpt` fits on a screen

FILES = sorted(PACKAGE.rglob("*.py"))  # with __init__.py files, which only hand names on
MODULES = [path for path in FILES if path.name != "__init__.py"]
SCRIPT_FILES = sorted(SCRIPTS.glob("*.py"))
SOURCES = [*FILES, *SCRIPT_FILES]
USERS = [*SOURCES, *sorted((ROOT / "benchmarks").glob("*.py")), *sorted((ROOT / "tests").glob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), name_of(path))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


def imports_of(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Dotted names that nodes of a file import. Relative ones become absolute: `from motiongpt import lora` and
    `from motiongpt.lora import inject` both import motiongpt.lora."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                inner = ROOT / module.replace(".", "/") / alias.name
                yield f"{module}.{alias.name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else module


def at_import(path: Path) -> list[ast.AST]:
    """The nodes that run when a file is imported: everything outside functions."""
    nodes, queue = [], [tree_of(path)]
    while queue:
        node = queue.pop()
        nodes.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            queue.extend(ast.iter_child_nodes(node))
    return nodes


@cache
def defined_in(path: Path) -> set[str]:
    """Names that a file defines at its top, inside `if` and `try` too; imported ones are not among them."""
    names, queue = set(), list(tree_of(path).body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            queue.extend(ast.iter_child_nodes(node))
    return names


def detours(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """`from motiongpt.x import name` of a module x that does not define the name. Packages hand names on."""
    for node in nodes:
        module = getattr(node, "module", None) or ""
        source = ROOT / f"{module.replace('.', '/')}.py"
        if isinstance(node, ast.ImportFrom) and module.startswith("motiongpt.") and source.is_file():
            for alias in node.names:
                if alias.name not in defined_in(source):
                    yield f"{name_of(path)}:{node.lineno} imports {alias.name} from {module}, which does not define it"


def own_imports(path: Path, nodes: Iterable[ast.AST]) -> set[str]:
    """The modules of the package that nodes of a file import, such as "motiongpt.data.tokens"."""
    return {name for name in imports_of(path, nodes) if name.startswith("motiongpt.")}


def unit_of(module: str) -> str:
    """What has one level: "motiongpt.data.readers.bvh" belongs to the unit data."""
    return module.split(".")[1]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def report(problems: Iterable[str]) -> None:
    problems = list(problems)
    assert not problems, "\n" + "\n".join(problems)


# 1) The import law.


def breaches(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    own = unit_of(module_name(path))
    for other in sorted(own_imports(path, nodes)):
        level = LEVEL.get(unit_of(other))
        if unit_of(other) != own and (level is None or level >= LEVEL[own]):
            yield f"{name_of(path)} (level {LEVEL[own]}) imports {other} (level {level})"


def test_every_unit_has_a_level_and_every_level_a_unit():
    units = {unit_of(module_name(path)) for path in MODULES}
    assert units == set(LEVEL) and all(isinstance(level, int) for level in LEVELS)


def test_modules_import_from_lower_levels_only():
    report(breach for path in MODULES for breach in breaches(path, nodes_of(path)))


def test_modules_import_each_other_without_a_cycle():
    edges = {module_name(path): own_imports(path, nodes_of(path)) for path in MODULES}
    while edges:
        free = [name for name, needs in edges.items() if not (needs - {name}) & set(edges)]
        assert free, f"a cycle among {', '.join(sorted(edges))}"
        edges = {name: needs for name, needs in edges.items() if name not in free}


def test_the_law_would_catch_a_breach():
    """The checker sees imports inside functions, relative ones and `from motiongpt import module`."""
    source = (
        "def f():\n    from motiongpt.loops import train\n    from . import tokens\n    from motiongpt import cli\n"
        "    from motiongpt.data.readers import bvh\n    from motiongpt.files.store import read_json\n"
    )
    path, nodes = PACKAGE / "data" / "batches.py", list(ast.walk(ast.parse(source)))
    assert own_imports(path, nodes) == {
        *("motiongpt.loops", "motiongpt.data.tokens", "motiongpt.cli", "motiongpt.data.readers.bvh"),
        "motiongpt.files.store",
    }
    assert list(breaches(path, nodes)) == [
        "motiongpt/data/batches.py (level 3) imports motiongpt.cli (level 8)",
        "motiongpt/data/batches.py (level 3) imports motiongpt.loops (level 3)",
    ]


def test_nothing_imports_a_script():
    scripts = {script.stem for script in SCRIPT_FILES}

    def is_script(name: str) -> bool:
        top, *rest = name.split(".")
        return top == "scripts" or (top in scripts and not rest)

    report(
        f"{name_of(path)} imports {name}"
        for path in SOURCES
        for name in imports_of(path, nodes_of(path))
        if is_script(name)
    )


# 2) What is imported where.


def test_a_name_is_imported_from_the_module_that_defines_it():
    report(detour for path in USERS for detour in detours(path, nodes_of(path)))


def test_a_detour_would_be_seen():
    source = "from motiongpt.loops import train, Checkpoint, nn\nfrom motiongpt.features import Normalizer\n"
    path, nodes = PACKAGE / "data" / "batches.py", list(ast.walk(ast.parse(source)))
    assert list(detours(path, nodes)) == [
        f"motiongpt/data/batches.py:1 imports {name} from motiongpt.loops, which does not define it"
        for name in ("Checkpoint", "nn")
    ]


def test_oracles_stay_in_tests():
    report(
        f"{name_of(path)} imports {name}"
        for path in SOURCES
        for name in imports_of(path, nodes_of(path))
        if name.split(".")[0] in FOREIGN
    )


def test_heavy_libraries_are_imported_where_they_are_used():
    report(
        f"{name_of(path)} imports {name} when it is imported"
        for path in FILES
        for name in imports_of(path, at_import(path))
        if name.split(".")[0] in LAZY
    )


def test_importing_the_package_is_light():
    code = "import sys, motiongpt; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    """The names that other people's Python code imports."""
    code = """
import motiongpt
[getattr(motiongpt, name) for name in motiongpt.__all__]
from motiongpt import Motion, MotionGenerator
from motiongpt.features import features_to_joints, joints_to_features
from motiongpt.files import read_json, write_json
from motiongpt.lora import inject
from motiongpt.vqvae import VQVAE
from motiongpt.weights import load_llm, load_vqvae
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_faces_only_hand_names_on():
    """An `__init__.py` below the top holds a docstring, explicit imports of its own modules, and `__all__`."""
    problems = []
    for path in FILES:
        if path.name != "__init__.py" or path.parent == PACKAGE:
            continue
        for node in tree_of(path).body:
            doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            listing = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            own = isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{module_name(path.parent)}.")
            if not (doc or listing or own):
                problems.append(f"{name_of(path)}:{node.lineno} does more than hand names on")
    report(problems)


# 3) Things nobody may do.


def test_no_silent_failures():
    problems = []
    for path in SOURCES:
        for node in nodes_of(path):
            where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ExceptHandler):
                problems += [f"{where} bare except"] if node.type is None else []
                dropped = all(isinstance(step, ast.Pass) for step in node.body)
                problems += [f"{where} an exception is dropped"] if dropped else []
            if isinstance(node, ast.keyword):
                value = getattr(node.value, "value", None)  # None if it is no constant
                problems += [f"{where} {node.arg}=False"] * (node.arg in ("strict", "weights_only") and value is False)
                unpickles = node.arg == "allow_pickle" and (value is not False)
                problems += [f"{where} unpickles"] * unpickles
    report(problems)


def test_no_work_at_import():
    """Importing a file sets no seed, makes no folder and parses no arguments."""
    banned = ("seed", "manual_seed", "mkdir", "makedirs", "parse_args", "getenv")
    report(
        f"{name_of(path)}:{node.lineno} {ast.unparse(node.func)} at import"
        for path in SOURCES
        for node in at_import(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in banned
    )


def test_no_global_randomness_in_the_library():
    """np.random functions share one state. Only `training/devices.py` seeds torch's own: the loop owns the dropout."""
    problems = []
    for path in FILES:
        for node in nodes_of(path):
            where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
                allowed = node.attr in ("Generator", "default_rng", "SeedSequence")
                problems += [] if allowed else [f"{where} {node.attr}"]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in SEEDERS:
                problems += [] if path.name == "devices.py" else [f"{where} {ast.unparse(node.func)}"]
        if "random" in {name.split(".")[0] for name in imports_of(path, nodes_of(path))}:
            problems.append(f"{name_of(path)} imports random")
    report(problems)


def test_files_are_short_and_say_what_they_are():
    problems = []
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").count("\n")
        most = MAX_SCRIPT_LINES if path.parent == SCRIPTS else MAX_LINES
        problems += [f"{name_of(path)} has {lines} lines, at most {most}"] if lines > most else []
        problems += [] if ast.get_docstring(tree_of(path)) else [f"{name_of(path)} has no docstring"]
    report(problems)
    assert statistics.median(path.read_text(encoding="utf-8").count("\n") for path in MODULES) <= 220


def test_the_top_fits_on_a_screen():
    modules = [path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert len(modules) <= MAX_MODULES and len(packages) <= MAX_PACKAGES, (modules, packages)


def test_there_is_no_utils():
    banned = ("utils", "util", "helpers", "misc", "common")
    report(f"{name_of(path)} is named after nothing" for path in FILES if path.stem in banned)
