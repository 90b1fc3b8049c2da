"""H5 files of other people: their text, links out of the file, bombs, and a probe that counts work, not time."""

import json
import resource
import zlib
from pathlib import Path

import numpy as np
import pytest
from test_reader_myoskeleton import body, make

from motiongpt.data.readers import h5_files, h5_probe, myoskeleton
from motiongpt.files import limits
from motiongpt.motion_files import Reading, read_joints

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long

h5py = pytest.importorskip("h5py")
MB = 1 << 20


def read(path):
    """(clips that were read, messages about the others)"""
    bad = []
    return dict(myoskeleton.read_all(path, on_bad=lambda _, message: bad.append(message))), bad


# 1) Text.


def test_text_that_is_not_utf8_is_named_and_the_rest_is_read(tmp_path):
    texts = np.array([b"a person walks", "he sits in a caf\xe9".encode("latin1"), "a caf\u00e9".encode()])
    clips, bad = read(make(tmp_path / "a.h5", text=texts))
    assert [clip.captions for clip in clips.values()] == [("a person walks",), ("a caf\u00e9",)]
    assert len(bad) == 1 and "a.h5, clip 1 (a_00001)" in bad[0] and r"caf\xe9' (unexpected end of data)" in bad[0]
    path = make(tmp_path / "b.h5")
    with h5py.File(path, "a") as file:
        file.attrs["layout"] = np.bytes_(b"m\xe8tres, z up")
    with pytest.raises(ValueError, match=r"b.h5: text that is not UTF-8 near 'm\\xe8tres"):
        read(path)


@pytest.mark.parametrize("write", [json.dumps, str])
def test_a_list_in_one_text_is_several_captions(tmp_path, write):
    texts = [write(["he walks", "a  man\nwalks"]), write(["she's up"]), "[sic] he sits"]
    clips, bad = read(make(tmp_path / "a.h5", text=texts))
    assert [clip.captions for clip in clips.values()] == [
        ("he walks", "a man walks"),
        ("she's up",),
        ("[sic] he sits",),
    ]
    assert not bad


def test_texts_are_texts(tmp_path):
    with pytest.raises(ValueError, match="a.h5: text must be texts, got int64"):
        read(make(tmp_path / "a.h5", text=np.arange(3)))


@pytest.mark.parametrize("padding", [0, np.nan])
def test_without_lengths_trailing_padding_is_cut(tmp_path, padding):
    motion = body()
    motion[0, 9:] = padding
    motion[1, 4:] = padding
    motion[2, 3, 5] = np.nan  # one joint of one frame is no padding
    clips, bad = read(make(tmp_path / "a.h5", motion, drop=("lengths",)))
    assert [len(clip.joints) for clip in clips.values()] == [9, 4]
    np.testing.assert_array_equal(clips["a_00000"].joints, motion[0, :9])
    assert len(bad) == 1 and "frame 3" in bad[0]


# 2) Links.


LINKS = {
    "external": lambda file, key: file.__setitem__(key, h5py.ExternalLink("other.h5", key)),
    "soft to external": lambda file, key: (
        file.__setitem__("out", h5py.ExternalLink("other.h5", "/")),
        file.__setitem__(key, h5py.SoftLink(f"/out/{key}")),
    ),
    "soft to soft to external": lambda file, key: (
        file.__setitem__("out", h5py.ExternalLink("other.h5", key)),
        file.__setitem__("between", h5py.SoftLink("out")),
        file.__setitem__(key, h5py.SoftLink("./between")),
    ),
    "a soft link to itself": lambda file, key: file.__setitem__(key, h5py.SoftLink(key)),
    "virtual": lambda file, key: file.create_virtual_dataset(key, layout_of(file, key)),
    "external storage": lambda file, key: file.create_dataset(
        key, (3, 12, 84), "f4", external=[("numbers.bin", 0, 3 * 12 * 84 * 4)]
    ),
}


def layout_of(file, key):
    with h5py.File(Path(file.filename).parent / "other.h5") as other:
        source = h5py.VirtualSource(other[key])
    layout = h5py.VirtualLayout(source.shape, source.dtype)
    layout[...] = source
    return layout


@pytest.mark.parametrize("key", ["motion", "text", "lengths"])
@pytest.mark.parametrize("kind", LINKS)
def test_every_object_lies_in_the_file_that_was_named(tmp_path, monkeypatch, kind, key):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "other.h5", text=np.array(["somebody else's text"] * 3, "S40"))
    (tmp_path / "numbers.bin").write_bytes(bytes(3 * 12 * 84 * 4))
    path = make(tmp_path / "a.h5", drop=(key,))
    with h5py.File(path, "a") as file:
        LINKS[kind](file, key)
    with pytest.raises(ValueError, match=f"a.h5: {key} (is no data set of this file|has its numbers in another)"):
        read(path)
    lines = "\n".join(myoskeleton.explain(path))
    assert "not read" in lines and "broken" in lines


def test_links_inside_the_file_are_followed(tmp_path):
    path = make(tmp_path / "a.h5", drop=("motion",))
    with h5py.File(path, "a") as file:
        file.create_group("data/parts")["joints"] = body()
        file["data/alias"] = h5py.SoftLink("parts")  # relative to its group
        file["motion"] = h5py.SoftLink("/data/alias/joints")
    clips, bad = read(path)
    assert not bad and len(clips) == 3
    np.testing.assert_array_equal(clips["a_00000"].joints, body()[0])


# 3) Bombs.


def test_what_a_file_declares_is_capped(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 8 * MB)
    path = make(tmp_path / "row.h5", drop=("motion",))
    with h5py.File(path, "a") as file:
        file.create_dataset("motion", (3, 1000, 84), "f4", chunks=(1, 100, 84), compression="gzip")[:] = 1
    with pytest.raises(ValueError, match="row.h5: one entry of motion claims 336,000 bytes unpacked, at most 262,144"):
        read(path)
    path = make(tmp_path / "chunk.h5", drop=("motion",))
    with h5py.File(path, "a") as file:
        shape = {"chunks": (2000, 12, 84), "maxshape": (None, 12, 84), "compression": "gzip"}
        file.create_dataset("motion", data=body().reshape(3, 12, 84), **shape)
    with pytest.raises(ValueError, match="chunk.h5: one chunk of motion claims 8,064,000 bytes unpacked"):
        read(path)
    path = make(tmp_path / "all.h5", np.zeros((2, 12, 84), "f4"), drop=("motion", "text", "lengths"))
    with h5py.File(path, "a") as file:
        motion = file.create_dataset("motion", (20_000, 60, 84), "f4", chunks=(100, 60, 84), compression="gzip")
        for i in range(0, 20_000, 100):
            motion[i : i + 100] = 1.0
    with pytest.raises(ValueError, match="all.h5: motion claims 403,200,000 bytes unpacked, at most"):
        list(myoskeleton.read_all(path, allow_no_text=True))


def test_a_chunk_that_unpacks_to_more_than_it_declares_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 64 * MB)
    path = make(tmp_path / "a.h5", drop=("motion",))
    pack = zlib.compressobj(1)
    bomb = b"".join(pack.compress(bytes(MB)) for _ in range(600)) + pack.flush()
    with h5py.File(path, "a") as file:
        motion = file.create_dataset("motion", (3, 12, 84), "f4", chunks=(3, 12, 84), compression="gzip")
        motion.id.write_direct_chunk((0, 0, 0), bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="a.h5 unpacks to more than 67,108,864 bytes at once"):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5 * 64 * 1024  # in kB


# 4) The probe.


def test_a_slow_start_is_no_damage(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(h5_files, "PATIENCE", 0.5)  # 1.5 s, once h5py is loaded
    monkeypatch.setattr(h5_probe, "SECONDS", 3)
    clips, bad = read(make(tmp_path / "a.h5"))
    assert len(clips) == 3 and not bad


@pytest.mark.parametrize("work, patience", [("while True: pass", 20), ("import time; time.sleep(100)", 0.3)])
def test_a_probe_without_end_is_ended(tmp_path, monkeypatch, work, patience):
    source = Path(h5_probe.__file__).read_text().replace("SECONDS, BYTES", "SECONDS = 1\n_, BYTES")
    script = tmp_path / "probe.py"
    script.write_text(source.replace("    start, most =", f"    {work}\n    start, most ="))
    monkeypatch.setattr(h5_probe, "__file__", str(script))
    monkeypatch.setattr(h5_files, "PATIENCE", patience)
    with pytest.raises(ValueError, match="a.h5 is damaged .the H5 library hangs on it"):
        read(make(tmp_path / "a.h5"))


def test_a_set_in_one_chunk_is_read_once(tmp_path):
    """Reading clip by clip would unpack the chunk for each of them."""
    rng = np.random.default_rng(0)
    motion = np.tile(body(1)[0], (1500, 4, 1, 1)).reshape(1500, 48, 84) + rng.normal(size=(1500, 1, 1))
    path = make(tmp_path / "a.h5", drop=("motion", "text", "lengths"))
    with h5py.File(path, "a") as file:
        file.create_dataset("motion", data=motion, dtype="f4", chunks=motion.shape, compression="gzip")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert myoskeleton.read_schema(path, allow_no_text=True).clips == 1500
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 3


# 5) Several sets.


def joined(script, tmp_path, *flags):
    done = script("prepare", "--from", "myoskeleton", *flags, "--out", tmp_path / "out", "--workers", 1)
    return done, tmp_path / "out"


def test_a_second_set_joins_the_first_with_its_ids_apart(script, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "train.h5", body(seed=1 if name == "one" else 2), ids=["a", "b", "c"])
    make(tmp_path / "own.h5", body(clips=2))
    both = ("--input", tmp_path / "one", tmp_path / "two", "--input", tmp_path / "own.h5")
    done, out = joined(script, tmp_path, *both)
    assert done.code == 0, done.err
    ids = {path.stem for path in (out / "texts").iterdir()}
    assert ids == {f"{name}_{i}" for name in ("one", "two") for i in "abc"} | {"own_00000", "own_00001"}
    alone = tmp_path / "alone"
    done = script("prepare", "--from", "myoskeleton", "--input", tmp_path / "two", "--out", alone, "--workers", 1)
    assert done.code == 0, done.err
    for name in "abc":
        theirs = np.load(alone / "new_joint_vecs" / f"{name}.npy")
        np.testing.assert_array_equal(np.load(out / "new_joint_vecs" / f"two_{name}.npy"), theirs)
    assert json.loads((out / "dataset.json").read_text())["source"] == "myoskeleton one + two + own.h5"


def test_sets_of_other_joints_or_of_one_name_do_not_join(script, tmp_path):
    for folder in ("a/x", "b/x", "c/b"):
        (tmp_path / folder).mkdir(parents=True)
        make(tmp_path / folder / "train.h5")
    five = [f"joint{i}" for i in range(5)]
    make(tmp_path / "five.h5", body()[:, :, :5], {"joint_names": five, "unit": "m", "up": "y", "fps": 20})
    done, out = joined(script, tmp_path, "--input", tmp_path / "a", tmp_path / "five.h5")
    assert done.code == 2 and done.err.count("\n") == 1 and not out.exists()
    assert "five.h5 has 15 columns of joints joint0, joint1" in done.err and "train.h5 has 84 of pelvis" in done.err
    done, _ = joined(script, tmp_path, "--input", tmp_path / "a", tmp_path / "a")
    assert done.code == 2 and "another one has this name too" in done.err
    done, _ = joined(script, tmp_path, "--input", tmp_path / "a" / "x", tmp_path / "b" / "x")
    assert done.code == 0
    done = script("prepare", "--from", "bvh", "--input", tmp_path, tmp_path / "a", "--out", tmp_path / "bvh")
    assert done.code == 2 and "--input takes several files or folders for --from myoskeleton" in done.err


# 6) Pictures.


def test_one_clip_of_a_file_is_drawn(script, tmp_path):
    path = make(tmp_path / "train.h5", body())
    done = script("render", "--input", path, "--index", 1, "--size", 64)
    assert done.code == 0, done.err
    assert f"{path}: clip 1 of 3, train_00001\n" in done.out and (tmp_path / "train-1.gif").is_file()
    done = script("render", "--input", path, "--output", tmp_path / "a.png", "--size", 128)
    assert done.code == 0 and "clip 0 of 3, train_00000; --index takes another" in done.out
    done = script("render", "--input", path, "--index", 3)
    assert done.code == 2 and "train.h5 has the clips 0 to 2, got 3" in done.err
    np.save(tmp_path / "a.npy", body()[0])
    done = script("render", "--input", tmp_path / "a.npy", "--index", 1)
    assert done.code == 2 and "--index is for a .h5, which has many clips; got" in done.err


def test_a_clip_is_read_as_it_is(tmp_path):
    path = make(tmp_path / "a.h5", body() * 100, {"joint_names": list(myoskeleton.MYOSKELETON.joints), "fps": 30})
    said = []
    motion = read_joints(path, Reading(unit=0.01, up="y", index=2, say=said.append))
    np.testing.assert_allclose(motion.joints, body()[2, :8], rtol=0, atol=1e-6)
    assert (motion.fps, motion.text, motion.skeleton.name) == (30.0, "he sits", "myoskeleton-28")
    assert said[0] == f"{path}: clip 2 of 3, a_00002"
    with pytest.raises(ValueError, match="a.h5: the unit of a .h5 is one of m, cm, mm, inch, got 0.5 metres"):
        read_joints(path, Reading(unit=0.5))
