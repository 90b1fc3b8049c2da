"""The README's "Coming from ..." tables are run: every command, line of Python, variable and file of the right column.

Each table runs from top to bottom in a folder that holds tiny versions of what it names (`make_world`), so a row may
use what a row above it wrote. Trainings get the smallest sizes there are, for the flags that the row does not say.
"""

import json
import os
import re
import shlex
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from test_chains import make_kit_xml, make_myoskeleton
from test_sources import write_smplx

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.config import LoRAConfig, TrainConfig
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = {"SignMotionGPT": 23, "Motion LLM": 11, "MotionGPT (Zhang et al.)": 11, "MyoSkeleton": 15, "The KIT learner": 9}
KINDS = {"command": 48, "rest": 17, "python": 5, "variable": 2, "tokens": 6, "file": 5, "make": 1}

SMALL = {"--max-steps": "1", "--eval-every": "1", "--batch-size": "4", "--save-every": "1"}
SMALL_VQVAE = SMALL | {"--width": "8", "--code-dim": "8", "--codes": "8", "--depth": "1", "--window": "16"}
SMALL_LANGUAGE = SMALL | {"--grad-accum": "1"}
VALUES = {"--" + f.name.replace("_", "-"): f for config in (TrainConfig, LoRAConfig) for f in fields(config)}


def tables(text: str) -> dict[str, list[tuple[str, str]]]:
    """Heading -> [(there, here), ...] of the section "Coming from ..."."""
    section = text.partition("\n## Coming from ...\n")[2].partition("\n## ")[0]
    found = {}
    for part in section.split("\n### ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        assert lines[:2] == ["| there | here |", "|---|---|"]
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
        found[part.splitlines()[0]] = [(there, here) for there, here in rows]
    return found


TABLES = tables(README)


def kind(piece: str) -> str | None:
    """What a piece of code in the right column is; None for a word that only names something, such as a flag."""
    patterns = {
        "command": r"(\w+=\S+ )*python scripts/.*",
        "rest": r"\w+\.py .*",  # with ..., the flags of the command above
        "make": r"make \w+",
        "variable": r"[A-Z_]+",
        "tokens": r"[\[\"].*",
        "file": r"[\w/]+\.(json|jsonl|png|gif)",
        "python": r"(from|\w+ =) .*",
    }
    return next((name for name, pattern in patterns.items() if re.fullmatch(pattern, piece)), None)


def pieces(cell: str) -> list[tuple[str, str]]:
    return [(found, piece) for piece in re.findall(r"`([^`]+)`", cell) if (found := kind(piece))]


def split_flags(words: list[str]) -> dict[str, list[str]]:
    """["--a", "1", "2", "--b"] -> {"--a": ["1", "2"], "--b": []}"""
    flags: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            flags[word] = []
        else:
            flags[list(flags)[-1]].append(word)
    return flags


def small(name: str, flags: dict[str, list[str]]) -> dict[str, list[str]]:
    """The flags that make a training or a picture tiny, where the row does not say other values."""
    size = {"train_vqvae": SMALL_VQVAE, "render": {"--size": "64"}}.get(name, {})
    if name == "finetune" and "--list" not in flags:
        myo, stage = flags.get("--recipe") == ["myoskeleton"], flags["--stage"]
        size = SMALL_VQVAE if myo and stage == ["1"] else SMALL_LANGUAGE
        size = SMALL_VQVAE | SMALL_LANGUAGE if myo and stage == ["all"] else size
    return {flag: [value] for flag, value in size.items() if flag not in flags}


class Table:
    """Runs the pieces of one table in the working directory, and checks what each of them promises."""

    def __init__(self, script, monkeypatch):
        self.script, self.monkeypatch = script, monkeypatch
        self.last: dict[str, dict[str, list[str]]] = {}  # script -> flags of its last full command
        self.names: dict = {}  # of the Python rows

    def run(self, name: str, flags: dict[str, list[str]], **environment: str) -> None:
        """One command, which ends well, writes its --out and --output, and takes the values that it was given."""
        given = dict(flags)
        flags = flags | small(name, flags)
        with self.monkeypatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            done = self.script(name, *(word for flag, values in flags.items() for word in (flag, *values)))
        assert done.code == 0, done.err
        for path in given.get("--out", []) + given.get("--output", []) + given.get("--plain", []):
            assert Path(path).stat().st_size > 0
        if "--list" in given:
            assert "not there yet" in done.out
            return
        if "--explain" in given:
            assert given["--explain"][0] in done.out and re.search("would keep|kept:", done.out)
            return
        wrote = [path.rstrip("/") for path in re.findall(r"^wrote ([^\s:;]+)", done.out, re.M)]
        assert "skipped" in done.out or (wrote and all(Path(path).exists() for path in wrote)), done.out
        for variable in environment:
            assert f"environment: {variable}" in done.out
        if "--trace" in given:
            assert "ids allowed, end logit" in done.out
        if name == "finetune":
            stage = given["--stage"][0]
            out = Path(given["--out"][0] if "--out" in given else environment["WORK_DIR"] + "/outputs/run")
            trained = ["1", "2", "3"] if stage == "all" else [stage]
            for number in trained:
                myo = given.get("--recipe") == ["myoskeleton"] and number == "1"
                assert (out / ("vqvae/model.safetensors" if myo else f"stage{number}/meta.json")).is_file()
            for flag in given.keys() & VALUES.keys() if "skipped" not in done.out else ():
                field = VALUES[flag]
                assert f"{field.name} {type(field.default)(given[flag][0])} (flag)" in done.out
            if "--config" in given:
                assert f"(--config {given['--config'][0]})" in done.out

    def command(self, piece: str) -> None:
        before, _, rest = piece.partition("python scripts/")
        name, _, rest = rest.partition(".py")
        self.last[name] = split_flags(shlex.split(rest))
        self.run(name, self.last[name], **dict(word.split("=") for word in before.split()))

    def rest(self, piece: str) -> None:
        """A command with ... or of one flag that needs no others; what is finished is trained again."""
        name, _, rest = piece.partition(".py")
        words = shlex.split(rest)
        own = split_flags([word for word in words if word != "..."])
        if "..." in words:
            again = {"--fresh": []} if name == "finetune" and own and "--out" not in own else {}
            own = self.last[name] | again | own
        self.run(name, own)

    def make(self, piece: str) -> None:
        target = piece.removeprefix("make ")
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)

    def variable(self, piece: str) -> None:
        """A variable with a token for the Hub, which is never printed. Nothing is fetched."""
        from motiongpt.cli.environment import use_hub_token

        with self.monkeypatch.context() as patch:
            patch.delenv("HF_TOKEN", raising=False)
            patch.setenv(piece, "a secret")
            said = []
            patch.setattr("builtins.print", said.append)
            use_hub_token("somebody/some-run")
            assert said == [f"Hub token (environment: {piece})"] and os.environ["HF_TOKEN"] == "a secret"

    def tokens(self, piece: str) -> None:
        """A token dataset, or the value of motion_tokens in one: its codes begin with 42 18."""
        from motiongpt.data.tokens import load_tokens

        value = json.loads(piece)
        whole = isinstance(value, list) and isinstance(value[0], dict)
        content = value if whole else [{"text_query": "a person walks", "motion_tokens": value}]
        Path("read.json").write_text(json.dumps(content), encoding="utf-8")
        (entry,) = load_tokens("read.json")
        assert (42, 18, 91)[: len(entry.codes)] == entry.codes and entry.text == "a person walks"
        assert entry.participant == ("P001" if whole else None)

    def file(self, piece: str) -> None:
        assert Path(piece).stat().st_size > 0

    def python(self, piece: str) -> None:
        exec(compile(piece, "README.md", "exec"), self.names)
        if piece.startswith("motion_tokens"):
            assert all(0 <= code < 32 for code in self.names["motion_tokens"])
            assert len(self.names["motion_tokens"]) > 0


def make_world(here: Path, tiny, script, table: str) -> None:
    """Tiny versions of everything that rows read and no row above them writes."""
    for backbone in ("Qwen/Qwen3-0.6B", "unsloth/Qwen3-1.7B"):  # a folder goes before a Hub repo id
        shutil.copytree(tiny.backbone, here / backbone)
    (here / "settings.json").write_text('{"lr": 2e-05, "weight_decay": 0.01}', encoding="utf-8")
    walk = np.zeros((4, 22, 3), np.float32) + np.cumsum(HUMANML3D.offsets, 0)
    (here / "poses").mkdir()
    for name in ("walk", "wave"):
        np.save(here / "poses" / f"{name}.npy", walk)
    np.save(here / "poses" / "myo.npy", np.random.default_rng(0).normal(size=(8, 28, 3)))
    if table in ("SignMotionGPT", "Motion LLM"):
        shutil.copytree(tiny.vqvae, here / "outputs/vqvae")
        text = tiny.data.read_text(encoding="utf-8").replace('"P0"', '"P001"').replace('"P1"', '"P40"')
        (here / "tokens.json").write_text(text, encoding="utf-8")
        shutil.copy(tiny.data.with_name("tokens.meta.json"), here)
    if table == "SignMotionGPT":
        write_smplx(here / "clips", [f"P{i}_00{i}-word{i}" for i in range(6)])
        (here / "arrays").mkdir()
        for i in range(6):
            np.save(here / "arrays" / f"hello{i}.npy", np.random.default_rng(i).random((12, 182), np.float32))
    if table in ("MotionGPT (Zhang et al.)", "MyoSkeleton"):
        done = script("prepare", "--from", "procedural", "--count", 8, "--out", here / "data/mine")
        assert done.code == 0, done.err
    if table == "MotionGPT (Zhang et al.)":
        (here / "data/mine").rename(here / "HumanML3D")
        (here / "HumanML3D/dataset.json").unlink()  # as it was downloaded
        published = Normalizer.load(here / "HumanML3D")
        (here / "meta").mkdir()
        published.with_feature_bias(25.0, get_representation("humanml3d", HUMANML3D)).save(here / "meta")
    if table in ("MotionGPT (Zhang et al.)", "The KIT learner"):
        rng = np.random.default_rng(0)

        def features() -> np.ndarray:  # their contacts, the last four, are 0 or 1
            return np.hstack([0.1 * rng.standard_normal((24, KIT.feature_dim - 4)), rng.integers(0, 2, (24, 4))])

        clips(here / "KIT-ML", "new_joint_vecs", features)
    if table == "The KIT learner":
        make_kit_xml(here / "kit_xml")
    if table == "MyoSkeleton":
        (here / "datasets").mkdir()
        make_myoskeleton(here / "datasets/myoskeleton_h5")
        for path in (here / "datasets/myoskeleton_h5").iterdir():
            path.rename(path.with_stem(f"{path.stem}_motions"))
        skeleton = replace(HUMANML3D, name="mine")
        (here / "my_skeleton.json").write_text(skeleton.to_json(), encoding="utf-8")
        shutil.copytree(here / "data/mine/new_joints", here / "my_joints/raw_joints")
        for path in (here / "data/mine").glob("t*"):
            shutil.copytree(path, here / "my_joints" / path.name) if path.is_dir() else shutil.copy(
                path, here / "my_joints"
            )


def clips(folder: Path, name: str, draw) -> None:
    """Six captioned clips, four of them for training."""
    (folder / name).mkdir(parents=True)
    (folder / "texts").mkdir()
    names = [f"{i:05}" for i in range(6)]
    for clip in names:
        np.save(folder / name / f"{clip}.npy", draw().astype(np.float32))
        (folder / "texts" / f"{clip}.txt").write_text("A person walks forward.#a/DET#0.0#0.0\n", encoding="utf-8")
    for split, some in (("train", names[:4]), ("val", names[4:5]), ("test", names[5:])):
        (folder / f"{split}.txt").write_text("\n".join(some) + "\n", encoding="utf-8")


@pytest.mark.parametrize("table", ROWS)
def test_the_right_column_does_what_it_says(table, tiny, script, tmp_path, monkeypatch):
    for name in ("WORK_DIR", "DATA_JSON_PATH", "VQVAE_CHECKPOINT", "HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    make_world(tmp_path, tiny, script, table)
    runner = Table(script, monkeypatch)
    for there, here in TABLES[table]:
        for found, piece in pieces(here):
            try:
                getattr(runner, found)(piece)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"row of {there}: {piece}\n{error}") from error


def test_nothing_is_skipped():
    """Every table, row and piece is counted; a row without anything to run would be a promise nobody checks."""
    assert {name: len(rows) for name, rows in TABLES.items()} == ROWS
    found = [piece for rows in TABLES.values() for _, here in rows for piece in pieces(here)]
    assert {name: sum(kind == name for kind, _ in found) for name in KINDS} == KINDS
    empty = [here for rows in TABLES.values() for _, here in rows if not pieces(here)]
    assert empty == []
    words = {code for rows in TABLES.values() for _, here in rows for code in re.findall(r"`([^`]+)`", here)}
    assert {code for code in words if not kind(code)} == {"--out", "--plain"}, (
        "code that is none of the kinds, so never run"
    )


def test_a_wrong_row_would_be_seen(tiny, script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = Table(script, monkeypatch)
    with pytest.raises(AssertionError, match="unrecognized arguments: --txt"):
        runner.command(f"python scripts/sample.py --run {tiny.run} --txt walk")
    with pytest.raises(FileNotFoundError):
        runner.file("outputs/none.json")
    with pytest.raises(ValueError, match="not a motion token"):
        runner.tokens('"<pose_42>"')
    assert kind("--out") is None and kind("sample.py ... --trace") == "rest" and kind("HF_TOKEN") == "variable"
