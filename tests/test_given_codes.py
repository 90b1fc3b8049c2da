"""evaluate.py --what predict and inbetween: the numbers are those of what the model writes around the given codes."""

import json

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.completion import (
    completion_errors,
    fit_ground,
    given_frames,
    hold_last_pose,
    interpolate_poses,
)
from motiongpt.evaluation.given_codes import GivenOptions, Writer, asked_rows, evaluate_given, give_part
from motiongpt.evaluation.markdown import protocol_line
from motiongpt.evaluation.protocol import ProtocolConfig, draw_captions
from motiongpt.evaluation.report_markdown import given_markdown
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.files.store import read_json

NAMES = ("c0", "c1", "c2", "c3")
SENTENCES = ("a person walks forward", "someone waves", "he sits down", "she turns left")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> MotionDataset:
    """Four clips of 40 to 55 frames that walk and turn, a shorter one and one without a caption."""
    folder = tmp_path_factory.mktemp("given") / "data"
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    pose = np.zeros((22, 3))
    for joint, parent in enumerate(HUMANML3D.parents[1:], 1):
        pose[joint] = pose[parent] + HUMANML3D.offsets[joint]
    for i, frames in enumerate((40, 46, 48, 55, 30, 44)):
        walk = np.linspace(0, 1, frames + 1)[:, None, None] * [0, 0, 0.5 * (i + 1)]
        joints = pose + walk + 0.01 * rng.normal(size=(frames + 1, 22, 3)).cumsum(0)
        features = joints_to_features(joints, HUMANML3D, retargeted=True).astype(np.float32)
        np.save(folder / "new_joint_vecs" / f"c{i}.npy", features)
        lines = [f"{SENTENCES[i % 4]}#a/DET#0.0#0.0", "a person jumps twice#a/DET#0.0#0.0"]
        (folder / "texts" / f"c{i}.txt").write_text("\n".join(lines) if i != 5 else "")
    np.save(folder / "Mean.npy", np.zeros(263, np.float32))
    np.save(folder / "Std.npy", np.full(263, 0.2, np.float32))
    (folder / "train.txt").write_text("c0\n")
    (folder / "test.txt").write_text("\n".join(f"c{i}" for i in range(6)) + "\n")
    return MotionDataset(folder)


def measure(data, generator, task="predict", repeats=1, seed=0, **options):
    options = {"best_of": 1} | options
    return evaluate_given(data, generator, GivenOptions(task, **options), ProtocolConfig(repeats=repeats, seed=seed))


def cut(data, name: str) -> np.ndarray:
    """The frames of a clip that are measured: a multiple of four."""
    features = data.features(name)
    return features[: len(features) // 4 * 4]


def by_hand(data, generator, task: str, name: str, row: list[int]) -> dict[str, float]:
    """The errors of one motion from the tokenizer's own calls, a clip at a time."""
    tokenizer = generator.motion_tokenizer
    target = tokenizer.joints(torch.from_numpy(cut(data, name)))
    S = len(target) // 4
    head = max(1, S // 5) if task == "predict" else S // 4
    given = list(range(head)) + (list(range(int(0.75 * S), S)) if task == "inbetween" else [])
    mask = given_frames(given, S, 4)
    (joints,) = tokenizer.decode([row])
    return completion_errors(fit_ground(torch.from_numpy(joints), target, mask), target, mask)


@for_each("task", ["predict", "inbetween"])
def test_the_numbers_are_those_of_what_is_written(data, generator, task):
    report = measure(data, generator, task).report
    assert list(report["clips"]) == list(NAMES)
    assert report["dropped"] == {"c4": "30 frames, not 40 to 199", "c5": "no caption"}
    captions = [caption.text for caption in draw_captions([_item(data, name) for name in NAMES], 0, 0)]
    codes = generator.motion_tokenizer.encode([cut(data, name) for name in NAMES])
    for i, (name, real) in enumerate(zip(NAMES, codes, strict=True)):
        clip, S = report["clips"][name], len(real)
        positions = [p for p in range(S) if p < max(1, S // (5 if task == "predict" else 4))]
        positions += [p for p in range(int(0.75 * S), S)] if task == "inbetween" else []
        given = {p: real[p] for p in positions}
        seconds = S * 4 / 20
        motion = generator.generate(captions[i], task=task, given=given, seed=i, seconds=seconds, exact_length=True)
        assert clip["written"] == str(motion.tokens) and clip["asked"] == captions[i]
        assert (clip["frames"], clip["given_frames"]) == (4 * S, 4 * len(positions))
        assert clip["given_kept"] == 1.0
        for metric, value in by_hand(data, generator, task, name, list(motion.tokens)).items():
            # rounded to 6 digits; a padded batch and a clip alone differ in float32
            assert clip[metric] == pytest.approx(value, rel=1e-4), metric
    row = report["rows"]["model"]
    assert row["ade"]["mean"] == pytest.approx(np.mean([clip["ade"] for clip in report["clips"].values()]), rel=1e-5)
    assert row["ade"]["interval"] is None and report["lengths"]["real"] == report["lengths"]["model"]


def _item(data, name):
    from motiongpt.evaluation.clips import Item

    return Item(name, data.features(name), tuple(data.captions(name)))


def test_rows_without_a_model(data, generator):
    """Through the tokenizer, and the two baselines, from their functions alone."""
    tokenizer = generator.motion_tokenizer
    for task, name, baseline in (
        ("predict", "hold last pose", hold_last_pose),
        ("inbetween", "interpolation", interpolate_poses),
    ):
        rows = measure(data, generator, task).report["rows"]
        assert list(rows) == ["reconstruction", name, "model", "model, greedy"]
        held, rebuilt = [], []
        for clip in NAMES:
            features = cut(data, clip)
            (codes,) = tokenizer.encode([features])
            part = give_part(task, features, codes, tokenizer)
            held.append(completion_errors(baseline(part.joints, part.mask), part.joints, part.mask)["ade"])
            rebuilt.append(by_hand(data, generator, task, clip, codes)["ade"])
        # the fit of exact frames is the identity but for float32
        assert rows[name]["ade"]["mean"] == pytest.approx(np.mean(held), rel=1e-4)
        assert rows["reconstruction"]["ade"]["mean"] == pytest.approx(np.mean(rebuilt), rel=1e-4)


def test_a_model_that_writes_the_truth_scores_like_the_tokenizer(data, generator, monkeypatch):
    def truth(self, texts, first_seed, sampling):
        codes = [clip.codes for clip in self.clips]
        return codes, [self.motion_tokenizer.joints(x) for x in self.motion_tokenizer.decode_features(codes)]

    monkeypatch.setattr(Writer, "write", truth)
    rows = measure(data, generator, "inbetween").report["rows"]
    for metric, value in rows["reconstruction"].items():
        assert rows["model"][metric]["mean"] == pytest.approx(value["mean"], rel=1e-6), metric
    assert rows["model"]["given_kept"]["mean"] == 1.0


def test_lost_codes_are_noticed(data, generator, monkeypatch):
    def one_wrong(self, texts, first_seed, sampling):
        codes = [list(clip.codes) for clip in self.clips]
        codes[0][0] = (codes[0][0] + 1) % 32
        codes[1] = []  # ended before the given codes
        return codes, [clip.joints for clip in self.clips]

    monkeypatch.setattr(Writer, "write", one_wrong)
    report = measure(data, generator).report
    assert [report["clips"][name]["given_kept"] for name in NAMES] == [0, 0, 1, 1]


def test_best_of_and_repeats(data, generator):
    report = measure(data, generator, best_of=3, repeats=2, seed=5).report
    rows = report["rows"]
    assert list(rows) == ["reconstruction", "hold last pose", "model", "model, best of 3", "model, greedy"]
    for metric in ("ade", "fde", "mpjpe_mm"):
        assert rows["model, best of 3"][metric]["mean"] < rows["model"][metric]["mean"]
        assert rows["model"][metric]["interval"] is not None
        assert rows["hold last pose"][metric]["interval"] == 0
    # the same bytes again, whatever the batch; and other motions in the second repeat
    assert report == measure(data, generator, best_of=3, repeats=2, seed=5, batch_size=1).report
    single = measure(data, generator, seed=5).report
    assert single["clips"]["c0"]["written"] == report["clips"]["c0"]["written"]
    assert single["rows"]["model"]["ade"] != rows["model"]["ade"]


def test_no_two_motions_share_a_seed(data, generator, monkeypatch):
    """Motion i of sample j of repeat r has the seed first + (r k + j) N + i; greedy motions have none to share."""
    drawn, greedy = [], []

    def note(self, texts, first_seed, sampling):
        (drawn if sampling.temperature else greedy).append(first_seed)
        return [clip.codes for clip in self.clips], [clip.joints for clip in self.clips]

    monkeypatch.setattr(Writer, "write", note)
    measure(data, generator, best_of=3, repeats=2, seed=7)
    assert drawn == [7 + 4 * step for step in range(6)] and len(greedy) == 2


def test_own_length(data, generator):
    """A motion that ends early holds its last pose: every row counts the same frames."""
    report = measure(data, generator, length_policy="own").report
    real, model = report["lengths"]["real"], report["lengths"]["model"]
    assert real != model and report["protocol"]["length_policy"] == "own"
    (name, ours) = next((n, m) for n, m, r in zip(NAMES, model, real, strict=True) if m != r)
    assert len(report["clips"][name]["written"].split()) == ours
    gt = measure(data, generator).report
    assert report["rows"]["hold last pose"] == gt["rows"]["hold last pose"]


class Learnt:
    """A generator that says it learnt everything, and writes without a caption as with one."""

    def __init__(self, generator):
        self.generator = generator

    def __getattr__(self, name):
        return getattr(self.generator, name)

    def learnt(self, task):
        return True

    def generate(self, prompts, *args, **options):
        self.asked = prompts
        return self.generator.generate([text or "someone waves" for text in prompts], *args, **options)


def test_rows_without_a_caption_need_a_stage_that_learnt_the_task(data, generator):
    able = Learnt(generator)
    rows = measure(data, able, best_of=2).report["rows"]
    assert list(rows)[2:] == [
        "model", "model, best of 2", "model, greedy", "model, no caption", "model, no caption, best of 2",
        "model, no caption, greedy",
    ]  # fmt: skip
    assert able.asked == [None] * 4
    alone = measure(data, able, captions="without").report
    assert list(alone["rows"])[2:] == ["model", "model, greedy"] and alone["protocol"]["captions"] == "without"
    assert "asked" not in alone["clips"]["c0"]
    assert asked_rows(generator, GivenOptions("predict")) == {"model": True}
    with pytest.raises(ValueError, match="never learnt predict, so it needs captions"):
        asked_rows(generator, GivenOptions("predict", captions="without"))


@for_each(
    "options, message",
    [
        ({"task": "keys"}, "the task is one of predict, inbetween, got 'keys'"),
        ({"task": "predict", "length_policy": "cut"}, "--length-policy of predict is gt or own; got cut"),
        ({"task": "inbetween", "length_policy": "own"}, "--length-policy of inbetween is gt"),
        ({"task": "predict", "captions": "some"}, "--captions is one of both, with, without"),
        ({"task": "predict", "best_of": 0}, "--best-of must be at least 1, got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        GivenOptions(**options)


@pytest.mark.slow  # six GIFs
def test_the_report_and_a_comparison(script, tiny, data, tmp_path):
    base = ("--what", "predict", "--data", data.folder, "--run", tiny.run, "--device", "cpu", "--best-of", 2)
    for name, seed in (("a", 0), ("b", 1)):
        done = script("evaluate", *base, "--out", tmp_path / name, "--seed", seed, "--repeats", 1)
        assert done.code == 0 and "| hold last pose |" in done.out, done.err
        assert "protocol: predict, the first 20 % given" in done.out and "N = 4 (2 dropped" in done.out
    report = read_json(tmp_path / "a" / "report.json")
    text = (tmp_path / "a" / "report.md").read_text()
    assert text == given_markdown(report) and f"Protocol: {protocol_line(report['protocol'])}." in text
    assert "never learnt predict" in text and "Warning: 1 of 4 measured clips" in text
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"report.json", "report.md", "lengths.png", "best.gif", "median.gif", "worst.gif"}
    assert str(tmp_path) not in json.dumps(report)
    ranked = sorted(report["clips"], key=lambda clip: report["clips"][clip]["ade"])
    assert [report["shown"][rank]["clip"] for rank in ("best", "median", "worst")] == [ranked[0], ranked[2], ranked[3]]
    done = script("evaluate", "--compare", tmp_path / "a", tmp_path / "b")
    assert done.code == 0 and "| ADE (m) |" in done.out and "| seed | 0 | 1 |" in done.out, done.err
    # with a report of something else
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "report.json").write_text(
        json.dumps({"what": "vqvae", "protocol": {}, "metrics": {}, "clips": {}})
    )
    done = script("evaluate", "--compare", tmp_path / "a", tmp_path / "c")
    assert done.code == 2 and done.err.count("\n") == 1, done.err


def test_mistakes_end_in_one_line(script, tiny, data, tmp_path):
    base = ("--data", data.folder, "--run", tiny.run, "--out", tmp_path / "out", "--device", "cpu")
    for args, message in [
        (("--what", "predict", "--run", tiny.run), "--what predict needs --data"),
        (("--what", "predict", *base, "--evaluator", tmp_path), "--evaluator has no meaning for --what predict"),
        (("--what", "inbetween", *base, "--multimodality", 3), "--multimodality has no meaning for --what inbetween"),
        (("--what", "inbetween", *base, "--length-policy", "own"), "--length-policy of inbetween is gt"),
        (("--what", "predict", *base, "--captions", "without"), "this stage never learnt predict"),
        (("--what", "predict", *base, "--best-of", 0), "--best-of must be at least 1, got 0"),
        (("--what", "t2m", *base, "--best-of", 2), "--best-of has no meaning for --what t2m"),
        (("--what", "predict", *base, "--split", "dev"), "dev.txt is missing"),
    ]:
        done = script("evaluate", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, (args, done.err)
    assert not (tmp_path / "out").exists()
