"""A user's own file needs no data set: it gives the same codes as with one, a sentence, a picture."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import test_sources

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.cleanup.joints import clean_joints
from motiongpt.cli.pictures import distinct_names
from motiongpt.data.motions import MotionDataset
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.motion import Motion
from motiongpt.motion_files import (
    Reading,
    cleaning_line,
    decode_motions,
    motion_codes,
    own_features,
    read_codes,
    read_joints,
    read_motion,
)
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.procedural.clips import generate_clips
from motiongpt.weights.vqvae import save_t2m_gpt


@pytest.fixture
def tokenizer(tiny):
    return MotionTokenizer.load(tiny.vqvae)


@pytest.fixture
def walk(tmp_path):
    (tmp_path / "in").mkdir()
    test_sources.write_bvh(tmp_path / "in" / "walk.bvh")
    return tmp_path / "in" / "walk.bvh"


def test_a_file_gives_the_codes_of_the_data_set_made_of_it(script, walk, tokenizer, tmp_path):
    assert script("prepare", "--from", "bvh", "--input", walk.parent, "--out", tmp_path / "d", "--workers", 1).code == 0
    wanted = tokenizer.encode([MotionDataset(tmp_path / "d").features("walk")])[0]
    assert len(wanted) == 7 and read_codes(walk, tokenizer) == wanted
    np.save(tmp_path / "f.npy", MotionDataset(tmp_path / "d").features("walk"))
    assert read_codes(tmp_path / "f.npy", tokenizer) == wanted
    (tmp_path / "t.txt").write_text(" ".join(map(str, wanted)))
    assert read_codes(tmp_path / "t.txt", None) == wanted
    np.save(tmp_path / "c.npy", np.array(wanted))
    assert read_codes(tmp_path / "c.npy", None) == wanted
    assert read_motion(tmp_path / "c.npy", tokenizer).joints.shape == (28, 22, 3)


def test_rate_of_joints(tokenizer, tmp_path):
    joints = np.tile(np.cumsum(HUMANML3D.offsets, 0, dtype=np.float32), (60, 1, 1))
    joints[:, :, 2] += np.linspace(0, 1, 60)[:, None]
    np.save(tmp_path / "j.npy", joints)
    assert len(read_codes(tmp_path / "j.npy", tokenizer)) == 14  # 59 features
    assert len(read_codes(tmp_path / "j.npy", tokenizer, Reading(fps=60.0))) == 4  # 20 frames, 19 features
    assert motion_codes(Motion(joints, 60.0, skeleton=HUMANML3D), tokenizer) == read_codes(
        tmp_path / "j.npy", tokenizer, Reading(fps=60.0)
    )
    Motion(joints, 60.0, skeleton=HUMANML3D).save(tmp_path / "j.npz")
    assert len(read_codes(tmp_path / "j.npz", tokenizer)) == 4


def test_drawn_as_it_is_or_as_the_tokenizer_gives_it_back(walk, tokenizer):
    assert read_motion(walk, tokenizer).joints.shape == (29, 22, 3)
    assert read_motion(walk, tokenizer, reconstruct=True).joints.shape == (28, 22, 3)


def test_unit_and_axis(script, tiny, walk, tokenizer, tmp_path):
    """Joints in centimetres or with z up are reported, and the flags fix them. For a .bvh they override the guess."""
    joints = next(generate_clips(1, seed=2)).joints
    np.save(tmp_path / "m.npy", joints)
    np.save(tmp_path / "cm.npy", 100 * joints[..., [0, 2, 1]] * np.array([1, -1, 1], np.float32))  # and z up
    said = []
    wanted = read_codes(tmp_path / "m.npy", tokenizer, Reading(say=said.append))
    assert said == [] and read_codes(tmp_path / "cm.npy", tokenizer, Reading(say=said.append)) != wanted
    assert len(said) == 2 and "--up z" in said[0] and "--unit" in said[1]
    right = Reading(unit=0.01, up="z", say=said.append)
    assert read_codes(tmp_path / "cm.npy", tokenizer, right) == wanted and len(said) == 2
    np.testing.assert_allclose(read_joints(tmp_path / "cm.npy", right).joints, joints, atol=1e-6)
    text = ("sample", "--run", tiny.run, "--task", "m2t", "--max-new-tokens", 3, "--input")
    done = script(*text, walk, "--unit", "m")
    assert done.code == 0 and "unit: 1 metres (given)" in done.out and "warning: the bodies are" in done.out, done.out
    Motion(joints, 20.0, skeleton=HUMANML3D).save(tmp_path / "m.npz")
    np.save(tmp_path / "f.npy", joints_to_features(joints, HUMANML3D))
    np.save(tmp_path / "c.npy", np.array([1, 2]))
    said.clear()
    assert len(read_joints(tmp_path / "cm.npy", Reading(say=said.append)).joints) == len(joints) and "--up z" in said[0]
    for name, flags, message in (
        ("m.npz", ["--up", "z"], "is in metres, y up"),
        ("f.npy", ["--unit", "cm"], "features"),
        ("m.npy", ["--unit", "ell"], "--unit must be one of"),
        ("c.npy", ["--unit", "cm"], "holds codes"),
    ):
        done = script(*text, tmp_path / name, *flags)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done


def test_scripts_take_the_file(script, tiny, walk, tmp_path):
    text = ("sample", "--run", tiny.run, "--task", "m2t", "--max-new-tokens", 3, "--input")
    assert script(*text, walk).code == 0
    for extra in ([], ["--reconstruct"]):
        done = script(
            "render", "--run", tiny.run, "--input", walk, "--size", 64, "--output", tmp_path / "w.gif", *extra
        )
        assert done.code == 0 and (tmp_path / "w.gif").stat().st_size, done.err
    for args, message in (
        (["--fps", 30], "--fps is for joints in a .npy"),
        (["--fps", -1], "--fps must be positive"),
        (["--stats", tmp_path], "--stats has no meaning without --vqvae FILE"),
        (["--vqvae", tiny.vqvae, "--stats", tmp_path], "is a folder, which has its own"),
    ):
        done = script(*text, walk, *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1


def test_damaged_files_are_one_line(tokenizer, tmp_path):
    for name in ("a.npy", "a.npz", "a.bvh"):
        (tmp_path / name).write_bytes(b"broken")
        with pytest.raises(ValueError, match=name):
            read_codes(tmp_path / name, tokenizer)
    with pytest.raises(FileNotFoundError, match="gone.bvh"):
        read_codes(tmp_path / "gone.bvh", tokenizer)


def test_names_are_distinct(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a/motion.npy", "b/motion.npz", "b/walk.npy")]
    assert distinct_names(paths) == ["a-motion", "b-motion", "walk"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert distinct_names([Path("motion.npy"), Path("../b/motion.npy")]) == ["here-motion", "b-motion"]


def test_render_refuses_two_files_for_one_picture(script, tmp_path):
    joints = np.tile(np.cumsum(HUMANML3D.offsets, 0, dtype=np.float32), (8, 1, 1))
    for end in ("npy", "npz"):
        Motion(joints, 20.0, skeleton=HUMANML3D).save(tmp_path / f"m.{end}")
    both = ("render", "--input", tmp_path / "m.npy", tmp_path / "m.npz", "--size", 64)
    for extra in ((), ("--output", tmp_path / "out")):
        done = script(*both, *extra)
        assert done.code == 2 and "have the same picture's name; draw them one by one" in done.err
        assert done.err.count("\n") == 1
    done = script(*both[:3], *both[2:3], *both[4:], "--output", tmp_path / "out")
    assert done.code == 0 and [path.name for path in (tmp_path / "out").iterdir()] == ["m.gif"], done.err


def test_joints_of_any_name_come_in_by_a_map(script, tiny, walk, tmp_path):
    """A .bvh with joints named j0 ... j21: with its map it gives what the original file gives."""
    text, names = walk.read_text(), HUMANML3D.joints
    for j, name in enumerate(names):
        text = text.replace(f"ROOT {name}\n", f"ROOT j{j}\n").replace(f"JOINT {name}\n", f"JOINT j{j}\n")
    (tmp_path / "my.bvh").write_text(text)
    swapped = [names.index(n.replace("left", "x").replace("right", "left").replace("x", "right")) for n in names]
    for file, order in (("map", range(22)), ("swapped", swapped)):
        content = {name: f"j{j}" for name, j in zip(names, order, strict=True)}
        (tmp_path / f"{file}.json").write_text(json.dumps(content))
    told = ("sample", "--run", tiny.run, "--task", "m2t", "--max-new-tokens", 5, "--temperature", 5, "--input")
    drawn = ("render", "--run", tiny.run, "--size", 64, "--output", tmp_path / "m.gif", "--input")
    results = {}
    for key, *words in (("wanted", walk), ("map", tmp_path / "my.bvh", "--joint-map", tmp_path / "map.json"),
                        ("swapped", tmp_path / "my.bvh", "--joint-map", tmp_path / "swapped.json")):  # fmt: skip
        done = [script(*command, *words) for command in (told, drawn)]
        assert [one.code for one in done] == [0, 0], [one.err for one in done]
        results[key] = (done[0].out, (tmp_path / "m.gif").read_bytes())
    assert results["map"] == results["wanted"] and results["swapped"][1] != results["wanted"][1]
    (tmp_path / "short.json").write_text('{"pelvis": "j0", "left_hip": "hip"}')
    (tmp_path / "list.json").write_text("[]")
    for words, message in (
        (["my.bvh"], "no built-in joint map"),
        (["my.bvh", "--joint-map", tmp_path / "short.json"], "j"),
        (["my.bvh", "--joint-map", tmp_path / "list.json"], "list.json: a joint map is a JSON object"),
        (["my.bvh", "--joint-map", tmp_path / "gone.json"], "gone.json does not exist"),
        (["m.gif", "--joint-map", tmp_path / "map.json"], "m.gif"),
    ):
        for command in (told, drawn):
            done = script(*command, tmp_path / words[0], *words[1:])
            assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err


def test_the_file_of_another_project_through_the_scripts(script, tiny, tokenizer, walk, tmp_path, monkeypatch):
    """A file in T2M-GPT's layout with the evaluators' pair: sentences to motions and back, and pictures."""
    monkeypatch.chdir(tmp_path)
    save_t2m_gpt(tokenizer.vqvae, tmp_path / "net.pth")
    (tmp_path / "pair").mkdir()
    tokenizer.normalizer.with_feature_bias(25.0, tokenizer.representation).save(tmp_path / "pair")
    foreign = MotionTokenizer.load(tmp_path / "net.pth", stats=tmp_path / "pair")
    both = ("--vqvae", tmp_path / "net.pth", "--stats", tmp_path / "pair")
    sample = ("sample", "--run", tiny.run, "--max-new-tokens", 4)

    done = script(
        *sample, "--prompt", "someone waves", "--raw", *both, "--output", tmp_path / "m.npz", tmp_path / "m.txt"
    )
    assert done.code == 0, done.err
    motion = Motion.load(tmp_path / "m.npz")
    (wanted,), (own,) = foreign.decode([motion.tokens]), tokenizer.decode([motion.tokens])
    np.testing.assert_array_equal(motion.joints, wanted)
    assert not np.allclose(motion.joints, own, atol=1e-3)  # in metres: another pair gives other joints

    done = script(*sample, "--task", "m2t", "--input", walk, *both)
    (tmp_path / "t.txt").write_text(" ".join(map(str, read_codes(walk, foreign))))
    other = script(*sample, "--task", "m2t", "--input", tmp_path / "t.txt", *both)
    guessed = [line for line in done.out.splitlines() if line not in other.out.splitlines()]
    assert done.code == 0 and [line.split(":")[0] for line in guessed] == ["unit", "up"]
    assert done.out.splitlines()[-1] == other.out.splitlines()[-1]

    pictures = []
    for words in (("--tokens", str(motion.tokens)), ("--input", tmp_path / "m.txt")):
        done = script("render", *words, *both, "--size", 64, "--output", tmp_path / "p.gif")
        assert done.code == 0, done.err
        pictures.append((tmp_path / "p.gif").read_bytes())
    assert pictures[0] == pictures[1]
    assert script("render", "--prompt", "someone waves", "--run", tiny.run, *both, "--size", 64, "--output",
                  tmp_path / "q.gif").code == 0  # fmt: skip
    Normalizer(np.full(263, 0.5), np.full(263, 0.5)).save(tmp_path)  # feature bias 1: the data set's own pair
    for words, message in ((both[:2], "net.pth has no mean and deviation"), ((*both[:3], tmp_path), "Std.npy is the"),
                           ((*both[:3], tmp_path / "no"), "no Mean.npy in")):  # fmt: skip
        for command in ((*sample, "--prompt", "walk"), ("render", "--tokens", "1 2")):
            done = script(*command, *words)
            assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err


def test_decoded_joints_are_cleaned_unless_raw(tokenizer):
    codes = [[1, 2, 3, 4, 5, 6]]
    (raw,), (clean,) = (decode_motions(tokenizer, codes, ["a walk"], raw) for raw in (True, False))
    np.testing.assert_array_equal(raw.joints, tokenizer.decode(codes)[0])
    wanted, report = clean_joints(raw.joints, raw.fps, raw.skeleton, decoded=True)
    np.testing.assert_array_equal(clean.joints, wanted)
    assert clean.tokens == raw.tokens and clean.text == raw.text == "a walk"
    assert cleaning_line(tokenizer, codes[0]) == report.line()
    # both are known as what this tokenizer wrote
    features = tokenizer.decode_features(codes)[0].numpy()
    for motion in (raw, clean):
        np.testing.assert_array_equal(own_features(motion, tokenizer), features)


def test_raw_and_trace_through_the_scripts(script, tiny, tmp_path):
    sample = ("sample", "--run", tiny.run, "--prompt", "someone waves", "--max-new-tokens", 4, "--trace")
    said = script(*sample, "--output", tmp_path / "clean.npy").out
    assert "cleaned: jerk " in said and "root moved by up to" in said
    assert "cleaned:" not in script(*sample, "--raw", "--output", tmp_path / "raw.npy").out
    raw, clean = np.load(tmp_path / "raw.npy"), np.load(tmp_path / "clean.npy")
    assert raw.shape == clean.shape and np.abs(raw - clean).max() > 1e-3

    codes = re.search(r"^[0-9 ]+$", said, re.MULTILINE)[0]
    for flag, name in (("--raw", "raw"), (None, "clean")):
        place = tmp_path / f"{name}.png"
        assert (
            script("render", "--run", tiny.run, "--tokens", codes, *filter(None, [flag]), "--output", place).code == 0
        )
    assert (tmp_path / "raw.png").read_bytes() != (tmp_path / "clean.png").read_bytes()
