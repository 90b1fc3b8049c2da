"""Short lives of scripts, killed at their n-th write, rename or remove, and then run again. A program of its own:

    PYTHONPATH=. python tests/kill_points.py FOLDER [LIFE ...]

It prints JSON: life -> how many points were tried, and what went wrong where.

A life is killed in a fork, so imports are paid for once. `os._exit` stands for kill -9: no `finally` block runs.
"""

import builtins
import functools
import importlib.util
import io
import json
import os
import shutil
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from motiongpt import loops
from motiongpt.cli.parser import run_script
from motiongpt.data.tokens import read_tokens_meta
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import write_atomic
from motiongpt.render import beside
from motiongpt.stages.model import StageModel, new_backbone
from motiongpt.vocab import MotionVocab

ROOT = Path(__file__).resolve().parents[1]
POINTS = ((os, "fsync"), (os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree"))
OPENERS = ((builtins, "open"), (io, "open"))  # to write: a file that is not there yet, or empty
KILLED, FINISHED = 137, ("is finished", "exists already", "is there already", "is not empty")
TINY = "--width 8 --code-dim 8 --codes 8 --depth 1 --window 16 --batch-size 2 --max-steps 3 --eval-every 2"
TINY += " --save-every 1"
SHORT = "--max-steps 2 --eval-every 1 --save-every 1 --batch-size 4 --lora-r 2 --lora-alpha 2 --backbone backbone"
SAY = "sample --run run --prompt walks --seed 1 --max-new-tokens 8"
EVALUATE = "evaluate --out report --seed 1"


class Life(NamedTuple):
    """Commands, what they make, and how many of their points are tried, evenly spaced (0: all)."""

    commands: list[str]
    made: list[str]
    most: int = 0
    opens: bool = True  # whether opening a file to write is a point, too


LIVES = {
    "tokenize again": Life(
        ["tokenize_motions --data data --vqvae new --out t.json"], ["t.json", "t.meta.json"], opens=False
    ),
    "tokenize a folder": Life(["tokenize_motions --data data --vqvae new --out t --format npy"], ["t"], opens=False),
    "tokenize shards": Life(["tokenize_motions --data data --vqvae new --out t --format shards"], ["t"]),
    "train_vqvae": Life([f"train_vqvae --data data --out vq --log-every 2 {TINY}"], ["vq"], 30, opens=False),
    "finetune": Life(
        [f"finetune --stage {n} --data tokens.json --vqvae new --out run2 {SHORT}" for n in (1, 2)],
        ["run2"],
        40,
        opens=False,
    ),
    "train_evaluator": Life(
        ["train_evaluator --data data --out judge --max-steps 2 --eval-every 1 --save-every 1 --batch-size 2"],
        ["judge"],
        12,
    ),
    "prepare procedural": Life(["prepare --from procedural --count 4 --out set --workers 1"], ["set"], 12),
    "prepare edits": Life(["prepare --from procedural --count 3 --edits 2 --out set --workers 1"], ["set"], 14),
    "prepare joints": Life(["prepare --from joints --input made --out set --mirror --workers 1"], ["set"], 10),
    "sample": Life([f"{SAY} --output a.gif"], ["a.gif"]),
    "sample several": Life([f"{SAY} --output a.npy a.png a.txt a.json folder"], ["a.npy", "a.json", "folder"], 8),
    "sample by default": Life(["sample --run run --seed 1 --max-new-tokens 8 --prompt walks runs"], ["outputs"], 10),
    "describe": Life(["sample --run run --task m2t --input codes.txt --output said.txt"], ["said.txt"]),
    "render": Life(["render --input made/new_joints --output drawn --size 96 --fps 120"], ["drawn"], 8),
    "export a file": Life(["export --format t2m-gpt --vqvae new --out their.pth"], ["their.pth"]),
    "export a folder": Life(["export --format motiongpt --vqvae new --out own"], ["own"], 9),
    "export instructions": Life(["export --format instructions --data tokens.json --out zhang"], ["zhang"], 8),
    "evaluate a tokenizer": Life([f"{EVALUATE} --what vqvae --data data --vqvae new --split val"], ["report"], 10),
    "evaluate tokens": Life([f"{EVALUATE} --what tokens --data tokens.json --run run --split val"], ["report"], 10),
    "ship": Life(["ship --run run --data tokens.json --out shipped"], ["shipped"], 12),
    "assets": Life(
        [f"assets --fetch http://127.0.0.1:PORT/{name} --to {to}" for name, to in (("a.zip", "deps/a"), ("b", "b"))],
        ["deps", "b"],
    ),
}
"""A new format of export.py, or a new script: one row here, and its name in `test_kills.GROUPS`."""


def script(line: str) -> tuple[int, str]:
    """Run a command line in this process; returns its exit code and what it wrote on stderr."""
    name, *words = line.split()
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.argv = [f"{name}.py", *words]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        spec.loader.exec_module(module)
        try:
            run_script(module.main, module.make_parser())
        except SystemExit as end:
            return end.code or 0, err.getvalue()


def in_a_fork(work: Callable[[], object]) -> int:
    """The exit code of `work` in a child process, 0 if it returns."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def live(life: Life, kill_at: int | None, counted: Path) -> None:
    """Run the commands; at point `kill_at` the process ends. Without, `counted` gets the number of points."""
    seen = 0

    def dying(function: Callable) -> Callable:
        def wrapped(*args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == kill_at:
                os._exit(KILLED)
            return function(*args, **kwargs)

        return wrapped

    def opening(function: Callable) -> Callable:
        counting = dying(function)

        @functools.wraps(function)
        def wrapped(file, mode="r", *args, **kwargs):
            writes = set(mode) & set("wxa+") and str(file) != os.devnull
            return (counting if writes else function)(file, mode, *args, **kwargs)

        return wrapped

    for module, name in POINTS:
        setattr(module, name, dying(getattr(module, name)))
    for module, name in OPENERS if life.opens else ():
        setattr(module, name, opening(getattr(module, name)))
    for command in life.commands:
        code, err = script(command)
        if code and not any(word in err for word in FINISHED):
            raise AssertionError(f"{command}: {code} {err}")
    counted.write_text(str(seen))


def content(folder: Path, names: list[str]) -> dict[str, object]:
    """What a life has made: bytes by name, without speeds; of the states only the newest."""
    found = {}
    for name in names:
        place = folder / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place] * place.exists():
            key = path.relative_to(folder).as_posix()
            if path.is_dir() or "/state/previous/" in key:
                continue
            found[key] = path.read_bytes()
            if path.name == "metrics.jsonl":
                found[key] = [without_speeds(json.loads(line)) for line in path.read_text().splitlines()]
            elif path.suffix == ".json" and path.name.startswith(("meta", "state")):
                found[key] = without_speeds(json.loads(path.read_text()))
    return found


def without_speeds(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_speeds(inner) for key, inner in value.items() if not key.endswith("_per_s")}
    return value


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def torn(before: dict, killed: dict, after: dict) -> list[str]:
    """The killed life's files of an earlier life, if there are some of the new one beside them."""
    old = [key for key in killed if killed[key] == before.get(key) != after.get(key)]
    new = [key for key in killed if killed[key] == after.get(key) != before.get(key)]
    return old if new else []


def mixed(folder: Path, hashes: dict[str, str]) -> str:
    """What is wrong with the token file of a killed life: codes of one tokenizer under the name of another."""
    path = folder / "t.json"
    try:
        said = read_tokens_meta(path)["vqvae"]
    except ValueError:
        return ""  # refused: they do not belong together
    truly = hashes[file_hash(path)]
    return "" if said == truly else f"codes of {truly} under {said}"


def make_world(folder: Path) -> None:
    """Six clips, two motion tokenizers, a backbone, and the clips in the tokens of the older tokenizer."""
    rng = np.random.default_rng(0)
    for sub in ("new_joint_vecs", "texts"):
        (folder / "data" / sub).mkdir(parents=True)
    for i in range(6):
        clip = 0.1 * rng.standard_normal((24 + 4 * i, 263))
        np.save(folder / "data" / "new_joint_vecs" / f"c{i}.npy", clip.astype(np.float32))
        (folder / "data" / "texts" / f"c{i}.txt").write_text(f"walks {i}#walk/VERB#0.0#0.0\n")
    (folder / "data" / "train.txt").write_text("c0\nc1\nc2\nc3\n")
    (folder / "data" / "val.txt").write_text("c4\nc5\n")
    np.save(folder / "data" / "Mean.npy", np.zeros(263, np.float32))
    np.save(folder / "data" / "Std.npy", np.ones(263, np.float32))
    os.chdir(folder)
    for seed, name in enumerate(("old", "new"), 1):
        assert script(f"train_vqvae --data data --out {name} {TINY} --seed {seed}")[0] == 0
    for vqvae, out in (("old", "t.json"), ("new", "tokens.json")):
        assert script(f"tokenize_motions --data data --vqvae {vqvae} --out {out}")[0] == 0
    llm, words = new_backbone("tiny", [f"walks {i}" for i in range(6)], 0)
    StageModel(llm, words, MotionVocab(words, 8), None, "full", None).save(folder / "backbone", {})
    (folder / "backbone" / "meta.json").unlink()
    # what the later scripts read, and earlier files that they replace
    (folder / "codes.txt").write_text("1 2 3 4")
    for command in (
        "prepare --from procedural --count 4 --seed 1 --out made --workers 1",
        f"finetune --stage all --data tokens.json --vqvae new --out run {SHORT}",
        f"{EVALUATE} --what tokens --data tokens.json --run run --split train",
        f"{SAY} --prompt walks runs --seed 2",
    ):
        assert script(command)[0] == 0, script(command)


def try_life(name: str, world: Path, place: Path, port: int) -> dict:
    """Kill a life at its points, run it again, and compare with the uninterrupted one."""
    life = LIVES[name]
    life = life._replace(commands=[command.replace("PORT", str(port)) for command in life.commands])
    counted = place / "counted"
    whole = shutil.copytree(world, place / "whole")
    os.chdir(whole)
    assert in_a_fork(partial(live, life, None, counted)) == 0, name
    points = int(counted.read_text())
    expected = content(whole, life.made)
    hashes = {file_hash(folder / "t.json"): file_hash(world / vqvae / "model.safetensors")
              for folder, vqvae in ((world, "old"), (whole, "new"))}  # fmt: skip
    tried = np.unique(np.linspace(1, points, min(points, life.most or points)).astype(int)).tolist()
    hidden = [key for key in names_in(whole) if key.rpartition("/")[2].startswith(".")]
    wrong = [f"{name}, uninterrupted: {key} is left" for key in hidden]
    for point in tried:
        folder = shutil.copytree(world, place / "killed")
        os.chdir(folder)
        assert in_a_fork(partial(live, life, point, counted)) == KILLED
        if name == "tokenize again":
            problems = [mixed(folder, hashes)]
        else:
            old = torn(content(world, life.made), content(folder, life.made), expected)
            problems = [f"{key} is of an earlier life" for key in old]
        if in_a_fork(partial(live, life, None, counted)):
            problems.append("the second run failed")
        again = content(folder, life.made)
        problems += [f"{key} differs" for key in expected.keys() | again if expected.get(key) != again.get(key)]
        problems += [f"{key} is left" for key in names_in(folder) - names_in(whole)]
        wrong += [f"{name}, point {point} of {points}: {problem}" for problem in problems if problem]
        os.chdir(place)
        shutil.rmtree(folder)
    return {"points": len(tried), "wrong": wrong}


def serve(folder: Path) -> int:
    """Serve a file and an archive over http; returns the port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    folder.mkdir()
    (folder / "b").write_bytes(bytes(range(256)))
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("in/one.txt", "one")
        archive.writestr("two.txt", "two")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main(place: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    loops.plot_losses = lambda _metrics, path: write_atomic(path, lambda temporary: temporary.write_bytes(b"png"))
    beside.begin = lambda: None  # pictures are drawn here, where their writes are counted
    world = place / "world"
    make_world(world)
    port = serve(place / "served")
    # here and not in a fork: whatever is imported late is imported once
    os.chdir(shutil.copytree(world, place / "warm"))
    for command in (command for name in names or LIVES for command in LIVES[name].commands):
        code, err = script(command.replace("PORT", str(port)))
        assert not code or any(word in err for word in FINISHED), (command, err)
    report = {}
    for name in names or LIVES:
        (place / name).mkdir()
        report[name] = try_life(name, world, place / name, port)
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
