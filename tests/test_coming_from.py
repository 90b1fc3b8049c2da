"""docs/COMING_FROM.md is run: every command, line of Python, variable, token data set and promised file of the page.

Each section runs from top to bottom in a folder that holds tiny versions of what it names (`make_world`), so a command
may use what one above it wrote. Trainings get the smallest sizes there are, for the flags that the page does not give.
"""

import ast
import json
import os
import re
import shlex
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import test_weights_vqvae
import torch
from test_chains import make_kit_xml, make_myoskeleton
from test_sources import write_smplx

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.cli.config_file import ANCESTOR_FOLDERS, ANCESTOR_NAMES, read_config_file
from motiongpt.config import LoRAConfig, TrainConfig
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.files.store import write_json
from motiongpt.weights.vqvae import load_vqvae, save_t2m_gpt

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "COMING_FROM.md"
PROJECTS = ("SignMotionGPT", "Motion LLM", "MotionGPT (Zhang et al.)", "MyoSkeleton", "The KIT learner")
SETTINGS = "One file of settings"  # the section before those of the projects
KINDS = {"command": 81, "settings": 2, "python": 5, "variable": 2, "tokens": 6, "file": 5, "make": 1}
"""How many of each the page has: one that is dropped, or that the parser does not see, is noticed."""
THERE = {"SignMotionGPT": 24, "Motion LLM": 5, "MotionGPT (Zhang et al.)": 13, "MyoSkeleton": 14, "The KIT learner": 7}
"""How many things of each project are answered, as `# there:` in its blocks."""

SMALL = {"--max-steps": "1", "--eval-every": "1", "--batch-size": "4", "--save-every": "1"}
SMALL_VQVAE = SMALL | {"--width": "8", "--code-dim": "8", "--codes": "8", "--depth": "1", "--window": "16"}
SMALL_LANGUAGE = SMALL | {"--grad-accum": "1"}
VALUES = {"--" + f.name.replace("_", "-"): f for config in (TrainConfig, LoRAConfig) for f in fields(config)}


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """Heading -> [(language, content), ...] of the fenced blocks of its section."""
    found = {}
    for part in text.split("\n## ")[1:]:
        found[part.splitlines()[0]] = re.findall(r"^```(\w+)\n(.*?)^```", part, re.M | re.S)
    return found


def shell_pieces(block: str) -> list[tuple[str, str]]:
    """(kind, line) of a block of shell. ValueError for a line that is none of the kinds, so would never be run."""
    patterns = {
        "command": r"(\w+=\S+ )*python scripts/.*",
        "make": r"make \w+",
        "variable": r"export (\w+)=your_token",
    }
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("# writes "):
            found += [("file", path) for path in re.findall(r"[\w/]+\.(?:jsonl|json|png|gif)", line)]
        elif line and not line.startswith("#"):
            kinds = [kind for kind, pattern in patterns.items() if re.fullmatch(pattern, line)]
            if not kinds:
                raise ValueError(f"nothing here runs this line: {line}")
            found.append((kinds[0], line))
    return found


def pieces(language: str, block: str) -> list[tuple[str, str]]:
    """(kind, content) of everything in a block that can be run or checked, in order."""
    if language == "bash":
        return shell_pieces(block)
    if language == "python":
        return [("python", ast.unparse(statement)) for statement in ast.parse(block).body]
    if language == "json":
        content = json.loads(block)
        return [("settings", block)] if isinstance(content, dict) else [("tokens", json.dumps(e)) for e in content]
    raise ValueError(f"nothing here runs a block of {language or 'no language'}")


SECTIONS = sections(PAGE.read_text(encoding="utf-8"))


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
    """The flags that make a training or a picture tiny, where the page does not give other values."""
    size = {"train_vqvae": SMALL_VQVAE, "render": {"--size": "64"}}.get(name, {})
    if name == "finetune" and "--list" not in flags:
        myo, stage = flags.get("--recipe") == ["myoskeleton"], flags["--stage"]
        size = SMALL_VQVAE if myo and stage == ["1"] else SMALL_LANGUAGE
        size = SMALL_VQVAE | SMALL_LANGUAGE if myo and stage == ["all"] else size
    return {flag: [value] for flag, value in size.items() if flag not in flags}


class Section:
    """Runs the pieces of one section in the working directory, and checks what each of them promises."""

    def __init__(self, script, monkeypatch):
        self.script = script
        self.monkeypatch = monkeypatch
        self.seen: set[str] = set()  # commands so far
        self.names: dict = {}  # of the Python blocks

    def run(self, name: str, flags: dict[str, list[str]], **environment: str) -> str:
        """One command, which ends well, writes its --out and --output, and takes the values that it was given; returns
        what it printed."""
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
            assert "as decimal text" in done.out
            return done.out
        if "--explain" in given:
            assert given["--explain"][0] in done.out and re.search("would keep|kept:", done.out)
            return done.out
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
        return done.out

    def command(self, piece: str) -> None:
        before, _, rest = piece.partition("python scripts/")
        name, _, rest = rest.partition(".py")
        environment = dict(word.split("=") for word in before.split())
        printed = self.run(name, split_flags(shlex.split(rest, comments=True)), **environment)
        if piece in self.seen:
            assert "skipped" in printed, "the same command again is to find its training finished"
        self.seen.add(piece)

    def make(self, piece: str) -> None:
        target = piece.removeprefix("make ")
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)

    def variable(self, piece: str) -> None:
        """A variable with a token for the Hub, which is never printed. Nothing is fetched."""
        from motiongpt.cli.environment import use_hub_token

        name = piece.removeprefix("export ").partition("=")[0]
        with self.monkeypatch.context() as patch:
            patch.delenv("HF_TOKEN", raising=False)
            patch.setenv(name, "a secret")
            said = []
            patch.setattr("builtins.print", said.append)
            use_hub_token("somebody/some-run")
            assert said == [f"Hub token (environment: {name})"] and os.environ["HF_TOKEN"] == "a secret"

    def tokens(self, piece: str) -> None:
        """One entry of a token data set: its codes begin with 42 18."""
        from motiongpt.data.tokens import load_tokens

        value = json.loads(piece)
        Path("read.json").write_text(json.dumps([value]), encoding="utf-8")
        (entry,) = load_tokens("read.json")
        assert (42, 18, 91)[: len(entry.codes)] == entry.codes and entry.text == "a person walks"
        assert entry.participant == value.get("participant_id")

    def file(self, piece: str) -> None:
        assert Path(piece).stat().st_size > 0

    def python(self, piece: str) -> None:
        exec(compile(piece, PAGE.name, "exec"), self.names)
        if piece.startswith("motion_tokens"):
            assert all(0 <= code < 32 for code in self.names["motion_tokens"])
            assert len(self.names["motion_tokens"]) > 0


def make_world(here: Path, tiny, script, project: str) -> None:
    """Tiny versions of everything that a section reads and no command of it writes."""
    for backbone in ("Qwen/Qwen3-0.6B", "unsloth/Qwen3-1.7B"):  # a folder goes before a Hub repo id
        shutil.copytree(tiny.backbone, here / backbone)
    (here / "settings.json").write_text('{"lr": 2e-05, "weight_decay": 0.01}', encoding="utf-8")
    walk = np.zeros((4, 22, 3), np.float32) + np.cumsum(HUMANML3D.offsets, 0)
    (here / "poses").mkdir()
    for name in ("walk", "wave"):
        np.save(here / "poses" / f"{name}.npy", walk)
    np.save(here / "poses" / "myo.npy", np.random.default_rng(0).normal(size=(8, 28, 3)))
    if project in ("SignMotionGPT", "Motion LLM"):
        shutil.copytree(tiny.vqvae, here / "outputs/vqvae")
        text = tiny.data.read_text(encoding="utf-8").replace('"P0"', '"P001"').replace('"P1"', '"P40"')
        (here / "tokens.json").write_text(text, encoding="utf-8")
        meta = json.loads(tiny.data.with_name("tokens.meta.json").read_text(encoding="utf-8"))
        meta.pop("tokens", None)  # the hash of what was just edited
        (here / "tokens.meta.json").write_text(json.dumps(meta), encoding="utf-8")
    if project == "SignMotionGPT":
        write_smplx(here / "clips", [f"P{i}_00{i}-word{i}" for i in range(6)])
        (here / "arrays").mkdir()
        reference = test_weights_vqvae.make("signmotiongpt")
        test_weights_vqvae.saved("signmotiongpt", reference, here / "vqvae_model.pt")
        torch.save({"mean": torch.zeros(182), "std": torch.ones(182)}, here / "vqvae_stats.pt")
        for i in range(6):
            np.save(here / "arrays" / f"hello{i}.npy", np.random.default_rng(i).random((12, 182), np.float32))
    if project in ("MotionGPT (Zhang et al.)", "MyoSkeleton"):
        # a seed of short captions: with this test's tiny tokenizer a long one has no room among digits
        done = script("prepare", "--from", "procedural", "--count", 8, "--seed", 35, "--out", here / "data/mine")
        assert done.code == 0, done.err
    if project == "MotionGPT (Zhang et al.)":
        (here / "data/mine").rename(here / "HumanML3D")
        (here / "HumanML3D/dataset.json").unlink()  # as it was downloaded
        published = Normalizer.load(here / "HumanML3D")
        (here / "meta").mkdir()
        save_t2m_gpt(load_vqvae(tiny.vqvae), here / "net_last.pth")  # as theirs: it says nothing about itself
        published.with_feature_bias(25.0, get_representation("humanml3d", HUMANML3D)).save(here / "meta")
    if project in ("MotionGPT (Zhang et al.)", "The KIT learner"):
        rng = np.random.default_rng(0)

        def features() -> np.ndarray:  # their contacts, the last four, are 0 or 1
            return np.hstack([0.1 * rng.standard_normal((24, KIT.feature_dim - 4)), rng.integers(0, 2, (24, 4))])

        clips(here / "KIT-ML", "new_joint_vecs", features)
    if project == "The KIT learner":
        make_kit_xml(here / "kit_xml")
    if project == "MyoSkeleton":
        pytest.importorskip("transformers")
        from tiny_backbones import backbone as tiny_backbone

        tiny_backbone("t5", here / "google-t5/t5-base")
        (here / "datasets").mkdir()
        make_myoskeleton(here / "datasets/myoskeleton_h5")
        for path in (here / "datasets/myoskeleton_h5").iterdir():
            path.rename(path.with_stem(f"{path.stem}_motions"))
        group = {"class": "t2m", "input": ["Show me <Caption_Placeholder>"], "output": ["<Motion_Placeholder>"]}
        write_json(here / "template_instructions.json", {"Text-to-Motion": {"caption": group}})
        skeleton = replace(HUMANML3D, name="mine")
        (here / "my_skeleton.json").write_text(skeleton.to_json(), encoding="utf-8")
        shutil.copytree(here / "data/mine/new_joints", here / "my_joints/raw_joints")
        shutil.copytree(here / "data/mine/texts", here / "my_joints/texts")
        for path in (here / "data/mine").glob("t*.txt"):
            shutil.copy(path, here / "my_joints")


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


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS)
def test_the_page_does_what_it_says(project, tiny, script, tmp_path, monkeypatch):
    for name in ("WORK_DIR", "DATA_JSON_PATH", "VQVAE_CHECKPOINT", "HF_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    make_world(tmp_path, tiny, script, project)
    section = Section(script, monkeypatch)
    for block in SECTIONS[project]:
        for kind, piece in pieces(*block):
            try:
                getattr(section, kind)(piece)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{project}, {kind}: {piece}\n{error}") from error


def test_nothing_is_skipped():
    """Every section and piece is counted, and nothing of the projects is left without an answer."""
    assert tuple(SECTIONS) == (SETTINGS, *PROJECTS)
    found = [kind for blocks in SECTIONS.values() for block in blocks for kind, _ in pieces(*block)]
    assert {kind: found.count(kind) for kind in KINDS} == KINDS and len(found) == sum(KINDS.values())
    there = {name: sum(block.count("# there: ") for _, block in blocks) for name, blocks in SECTIONS.items()}
    assert there == THERE | {SETTINGS: 0}


def test_the_settings_are_read_and_the_table_is_that_of_the_code(tmp_path):
    for kind, piece in (found for block in SECTIONS[SETTINGS] for found in pieces(*block)):
        assert kind == "settings"
        (tmp_path / "c.json").write_text(piece)
        file = read_config_file(str(tmp_path / "c.json"))
        assert {"data", "backbone"} <= set(file.flags) and file.stages["1"] == {"epochs": 3} and not file.no_effect
    text = PAGE.read_text(encoding="utf-8").partition(f"## {SETTINGS}")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    named = {name for left, _ in rows for name in re.findall(r"`(\w+)`", left)}
    later = {f"S{n}_{rest}" for n in (2, 3) for rest in ("EPOCHS", "LR", "BATCH_SIZE")} | {"EPOCHS_S2", "EPOCHS_S3"}
    assert named | later == {*ANCESTOR_NAMES, *ANCESTOR_FOLDERS}
    ours = {name.rpartition(".")[2] for name in ANCESTOR_NAMES.values()}
    flags = {flag[2:].replace("-", "_") for _, right in rows for flag in re.findall(r"--[\w-]+", right)}
    assert flags == ours


def test_every_there_has_an_answer():
    """After `# there:` comes a command or a file, before the next one or a blank line."""
    shell = "\n\n".join(block for blocks in SECTIONS.values() for language, block in blocks if language == "bash")
    answers = re.split(r"^# there: .*\n", shell, flags=re.M)[1:]
    assert len(answers) == sum(THERE.values()) - 1  # one is in Python
    assert [answer for answer in answers if not shell_pieces(answer.partition("\n\n")[0] + "\n")] == []


def test_a_wrong_line_would_be_seen(tiny, script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = Section(script, monkeypatch)
    with pytest.raises(AssertionError, match="unrecognized arguments: --txt"):
        section.command(f"python scripts/sample.py --run {tiny.run} --txt walk")
    with pytest.raises(FileNotFoundError):
        section.file("outputs/none.json")
    with pytest.raises(ValueError, match="not a motion token"):
        section.tokens('{"text_query": "a person walks", "motion_tokens": "<pose_42>"}')
    with pytest.raises(ValueError, match="nothing here runs this line: pip install x"):
        shell_pieces("pip install x\n")
    with pytest.raises(ValueError, match="nothing here runs a block of yaml"):
        pieces("yaml", "a: 1")
