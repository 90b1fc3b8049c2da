"""The tables of benchmarks/task_table.py and planned_length.py: what they count, on motions made for it."""

import importlib.util
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from motiongpt.body.rotations import rotate_y
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.protocol import ProtocolConfig
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.procedural.clips import clip_name, generate_clip

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str):
    spec, before = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py"), sys.path[:]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture(scope="module")
def planned():
    return load("planned_length")


@pytest.fixture(scope="module")
def tasks():
    return load("task_table")


def walker(speed: np.ndarray, turn: np.ndarray | None = None) -> np.ndarray:
    """(F, 22, 3): a rigid body whose pelvis goes along z at `speed` (F - 1,) m/s and turns by `turn` (F,) radians."""
    pose = np.zeros((22, 3))
    for joint, parent in enumerate(HUMANML3D.parents[1:], 1):
        pose[joint] = pose[parent] + HUMANML3D.offsets[joint]
    z = np.concatenate(([0.0], np.cumsum(speed) / 20))
    joints = np.repeat(pose[None], len(z), axis=0)
    if turn is not None:
        joints = rotate_y(torch.from_numpy(joints), torch.from_numpy(turn)[:, None]).numpy()
    return joints + z[:, None, None] * [0.0, 0.0, 1.0]


def test_end_speed_and_turn(planned):
    speed = np.concatenate((np.full(40, 1.3), np.full(5, 0.7)))
    ending = planned.measure(walker(speed))
    assert ending.frames == 46 and ending.end_speed == pytest.approx(0.7)  # 0.25 s are the last five steps
    assert ending.restarts == 0 and ending.turned == pytest.approx(0.0, abs=1e-6)
    # a whole turn to the left, seen from the means of four frames at either end
    circle = planned.measure(walker(np.ones(100), np.linspace(0, 2 * math.pi, 101)))
    assert circle.turned == pytest.approx(360 * 97 / 100)


@pytest.mark.parametrize(
    "parts, wanted",
    [
        ([(40, 1.2)], 0),
        ([(10, 0.0), (40, 1.2), (10, 0.0)], 0),  # a rest at the ends is no restart
        ([(40, 1.2), (20, 0.0), (40, 1.2)], 1),
        ([(40, 1.2), (6, 0.0), (40, 1.2)], 0),  # 0.3 s are too short
        ([(40, 1.2), (20, 0.3), (40, 1.2)], 0),  # slower, but never standing
        ([(40, 1.2), (20, 0.0), (40, 0.3)], 0),  # does not go again
        ([(30, 1.2), (20, 0.0), (30, 1.2), (20, 0.0), (30, 1.2)], 2),
    ],
)
def test_restarts(planned, parts, wanted):
    speed = np.concatenate([np.full(frames, value) for frames, value in parts])
    assert planned.restarts(speed) == wanted


def test_a_line_of_the_table(planned):
    left, right = "a person walks in a circle to the left", "a person walks in a circle to the right"
    turn = np.linspace(0, 2.0, 41)
    motions = [(left, walker(np.ones(40), turn)), (right, walker(np.ones(40), -turn))]
    motions += [("a person jumps", walker(np.zeros(48)))] * 2
    cells = planned.row("x", 2.0, motions, 40)
    turned = math.degrees(2.0) * 37 / 40
    assert cells == ["x", "2", "0.50", "50 %", "0 %", f"{turned:.0f}", "50 %", "4"]  # 41 frames are near 40, 49 are not


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> MotionDataset:
    """Five clips of the embedded data, and one that is not."""
    folder = tmp_path_factory.mktemp("embedded") / "data"
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    names = []
    for index in range(6):
        clip = generate_clip(index, 3)
        names.append(clip_name(index, 3) if index < 5 else "other")
        np.save(folder / "new_joint_vecs" / f"{names[-1]}.npy", joints_to_features(clip.joints, HUMANML3D))
        (folder / "texts" / f"{names[-1]}.txt").write_text(f"{clip.captions[0]}#a/DET#0.0#0.0\n")
    np.save(folder / "Mean.npy", np.zeros(263, np.float32))
    np.save(folder / "Std.npy", np.full(263, 0.2, np.float32))
    for split in ("train", "test"):
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    return MotionDataset(folder)


@pytest.mark.slow
def test_task_rows_of_a_run_that_learnt_little(tasks, embedded, generator):
    rows = list(tasks.task_rows(generator, embedded, ProtocolConfig(clips=6, repeats=1), 8))
    by_task = {}
    for row in rows:
        assert len(row) == len(tasks.HEAD)
        by_task.setdefault(row[0], []).append(row[1:])
    for task in ("predict", "inbetween"):
        assert ["given codes kept (share)", "1", "-", "-"] in [row[:4] for row in by_task[task]]
    for task in ("init", "last", "keys"):
        assert by_task[task][0] == ["given codes kept (share)", "100 %", "-", "-", "5"]  # the sixth is not known
    for task in ("m2t", "t2d", "m2d", "edit"):
        assert by_task[task][0][0].startswith("skipped: "), by_task[task]


def test_data_that_nobody_knows_has_no_such_rows(tasks, embedded, generator, monkeypatch):
    monkeypatch.setattr(tasks, "action_names", lambda clip: None)
    monkeypatch.setattr(tasks, "part_rows", lambda *args: iter(()))
    rows = list(tasks.task_rows(generator, embedded, ProtocolConfig(clips=2, repeats=1), 8))
    assert [row[1] for row in rows[:-1]] == [f"skipped: {tasks.NOT_EMBEDDED}"] * 6


def test_lengths_that_are_said(tasks):
    """20 fps and 4 frames per code: 2 s are 10 codes. One answer of three is none."""
    answers = iter([2.0, None, 3.0])
    config = SimpleNamespace(seconds_per_code=0.2)
    model = SimpleNamespace(
        run=SimpleNamespace(config=config),
        learnt=lambda task: task == "t2d",
        expected_seconds=lambda caption: next(answers),
        seconds_of=None,
    )
    known = tasks.Known(["a", "b", "c"], [[0] * 12, [0] * 10, [0] * 15], [], [])
    rows = list(tasks.length_rows(model, known))
    assert rows[0][:3] == ["t2d", "names a length", "67 %"]
    assert rows[1][2:] == ["1", f"{5 / 3:.4g}", "-", "2"]  # |10 - 12| and |15 - 15|; the median of all is 12
    assert rows[2][1] == "skipped: this stage never learnt it"


def test_edits_are_counted_by_what_the_target_does(tasks, tmp_path):
    """A model that writes every target passes as often as the targets; the unchanged sources pass less often."""
    from motiongpt.data.edits import Edit, write_edits
    from motiongpt.procedural.edits import make_pair
    from motiongpt.procedural.recipes import make_recipe_clip

    pairs, joints = [], []
    for index in range(60):
        pair = make_pair(index, 11)
        if pair.kind in ("faster", "other side") and sum(p.kind == pair.kind for p in pairs) < 2:
            pairs.append(pair)
            joints += [make_recipe_clip(recipe).joints for recipe in (pair.source, pair.target)]
    names = [recipe.id for pair in pairs for recipe in (pair.source, pair.target)]
    write_edits(tmp_path, [Edit(p.source.id, p.target.id, p.texts, p.kind) for p in pairs], set(names))
    data = SimpleNamespace(folder=tmp_path, ids=lambda split: names, features=names.index)
    # features, and the code of a motion, are the number of the clip
    tokenizer = SimpleNamespace(
        encode=lambda rows: [[i] * (len(joints[i]) // 4) for i in rows],
        decode=lambda rows: [joints[r[0]] for r in rows],
    )
    asked = []

    def edit(codes, sentence, seed):
        asked.append(sentence)
        target = codes[0] + 1
        return SimpleNamespace(joints=joints[target], tokens=[target] * (len(joints[target]) // 4))

    rows = list(tasks.edit_rows(SimpleNamespace(motion_tokenizer=tokenizer, edit=edit), data, "test", None, 0))
    assert asked == [pair.texts[0] for pair in pairs] and len(pairs) == 4
    table = {row[1]: row[2:] for row in rows}
    assert table["does it, all"] == ["100 %", "50 %", "100 %", "4"]
    assert table["does it, faster"] == ["100 %", "100 %", "100 %", "2"]  # the same actions
    assert table["does it, other side"] == ["100 %", "0 %", "100 %", "2"]
    model, without, target, count = table["length over that of the source, faster (median)"]
    assert model == target and float(target) < 0.95 and without == "1.00" and count == "2"


def test_edits_need_pairs_of_the_embedded_data(tasks, tmp_path):
    data = SimpleNamespace(folder=tmp_path, ids=lambda split: [])
    (row,) = tasks.edit_rows(None, data, "test", None, 0)
    assert row[1].startswith("skipped: ") and "edits.json has no pair" in row[1]
