"""Short lives of scripts, killed at their n-th write, rename or remove, and then run again. A program of its own:

    PYTHONPATH=. python tests/kill_points.py FOLDER

It prints JSON: life -> how many points were tried, and what went wrong where.

A life is killed in a fork, so imports are paid for once. `os._exit` stands for kill -9: no `finally` block runs.
"""

import importlib.util
import io
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import torch

from motiongpt import loops
from motiongpt.cli.parser import run_script
from motiongpt.data.tokens import read_tokens_meta
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import write_atomic
from motiongpt.stages.model import StageModel, new_backbone
from motiongpt.vocab import MotionVocab

ROOT = Path(__file__).resolve().parents[1]
POINTS = ((os, "fsync"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree"))
KILLED, FINISHED = 137, ("is finished", "exists already")
TINY = "--width 8 --code-dim 8 --codes 8 --depth 1 --window 16 --batch-size 2 --max-steps 3 --eval-every 2"
TINY += " --save-every 1"
SHORT = "--max-steps 2 --eval-every 1 --save-every 1 --batch-size 4 --lora-r 2 --lora-alpha 2 --backbone backbone"
LIVES = {
    "tokenize again": ["tokenize_motions --data data --vqvae new --out t.json"],
    "tokenize a folder": ["tokenize_motions --data data --vqvae new --out t --format npy"],
    "train_vqvae": [f"train_vqvae --data data --out vq --log-every 2 {TINY}"],
    "finetune": [f"finetune --stage {n} --data tokens.json --vqvae new --out run {SHORT}" for n in (1, 2)],
}
MADE = {
    "tokenize again": ["t.json", "t.meta.json"], "tokenize a folder": ["t"], "train_vqvae": ["vq"], "finetune": ["run"],
}  # fmt: skip
MOST = {"train_vqvae": 40, "finetune": 55}  # points of a life that are tried, evenly spaced; all of the others


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


def live(commands: list[str], kill_at: int | None, counted: Path) -> None:
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

    for module, name in POINTS:
        setattr(module, name, dying(getattr(module, name)))
    for command in commands:
        code, err = script(command)
        if code and not any(word in err for word in FINISHED):
            raise AssertionError(f"{command}: {code} {err}")
    counted.write_text(str(seen))


def content(folder: Path, names: list[str]) -> dict[str, object]:
    """What a life has made: bytes by name, without speeds; of the states only the newest."""
    found = {}
    for name in names:
        place = folder / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
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


def leftovers(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return [name for name in names if name.rpartition("/")[2].startswith(".") or "damaged" in name]


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


def try_life(name: str, world: Path, place: Path) -> dict:
    """Kill a life at its points, run it again, and compare with the uninterrupted one."""
    counted = place / "counted"
    whole = shutil.copytree(world, place / "whole")
    os.chdir(whole)
    assert in_a_fork(partial(live, LIVES[name], None, counted)) == 0
    points = int(counted.read_text())
    expected = content(whole, MADE[name])
    hashes = {file_hash(folder / "t.json"): file_hash(world / vqvae / "model.safetensors")
              for folder, vqvae in ((world, "old"), (whole, "new"))}  # fmt: skip
    tried = np.unique(np.linspace(1, points, min(points, MOST.get(name, points))).astype(int)).tolist()
    wrong = [f"uninterrupted: {leftovers(whole)}"] if leftovers(whole) else []
    for point in tried:
        folder = shutil.copytree(world, place / "killed")
        os.chdir(folder)
        assert in_a_fork(partial(live, LIVES[name], point, counted)) == KILLED
        problems = [mixed(folder, hashes)] if name == "tokenize again" else []
        if in_a_fork(partial(live, LIVES[name], None, counted)):
            problems.append("the second run failed")
        again = content(folder, MADE[name])
        problems += [f"{key} differs" for key in expected.keys() | again if expected.get(key) != again.get(key)]
        problems += [f"{key} is left" for key in leftovers(folder)]
        wrong += [f"{name}, point {point} of {points}: {problem}" for problem in problems if problem]
        os.chdir(place)
        shutil.rmtree(folder)
    return {"points": len(tried), "wrong": wrong}


def main(place: Path) -> None:
    torch.set_num_threads(1)
    loops.plot_losses = lambda _metrics, path: write_atomic(path, lambda temporary: temporary.write_bytes(b"png"))
    world = place / "world"
    make_world(world)
    for command in LIVES["finetune"]:  # here and not in a fork: whatever is imported late is imported once
        assert script(command.replace("--out run", f"--out {place / 'warm'}"))[0] == 0
    report = {}
    for name in LIVES:
        (place / name).mkdir()
        report[name] = try_life(name, world, place / name)
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
