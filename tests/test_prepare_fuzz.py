"""prepare.py on broken sources: one line and exit code 1 or 2, or a data set without a gap.

Also real BVH through prepare.py, compared with joints of the same clips from another program.
"""

import json
import os
import random
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import test_reader_asfamc
from cases import at_most
from test_chains import CHAINS, caption_folder, moving_joints, write_captions
from test_readme import load_script

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.cli.prepare_flags import source_options
from motiongpt.data.motions import SPLITS, MotionDataset
from motiongpt.data.prepare.records import records
from motiongpt.features.humanml3d import canonicalise

MUTATIONS = 16  # of each source
LIMIT = 5.0  # seconds of work of one run
LISTS = {".txt", ".csv", ".json"}  # they name clips and captions, so a change there may name fewer


def many_joints(place: Path) -> list:
    """24 clips: a single bad one is under the limit of 5 %, so it is skipped and the others become a data set."""
    clips = moving_joints()
    return many(place, "raw_joints", [clips[i % 5][i % 5 : i % 5 + 20] for i in range(24)])


def many_features(place: Path) -> list:
    rng = np.random.default_rng(0)
    return many(place, "new_joint_vecs", [rng.normal(size=(20, 263)).astype(np.float32) / 10 for _ in range(24)])


def many(place: Path, name: str, arrays: list[np.ndarray]) -> list:
    (place / name).mkdir(parents=True)
    for i, array in enumerate(arrays):
        np.save(place / name / f"{i}.npy", array)
    caption_folder(place, [str(i) for i in range(len(arrays))])
    return []


def make_amc(place: Path) -> list:
    ids = [f"07_{i:02}" for i in range(5)]
    for i, name in enumerate(ids):
        test_reader_asfamc.write_walk(place / f"{name}.amc", frames=150 + 12 * i, seed=i)
    return ["--captions", write_captions(place, ids)]


# source -> (maker, number of clips, clips in one file)
SOURCES = {
    "bvh": (CHAINS["bvh"][0], 5, 1),
    "asfamc": (make_amc, 5, 1),
    "kit-xml": (CHAINS["kit-xml"][0], 5, 1),
    "myoskeleton": (CHAINS["myoskeleton"][0], 9, 3),
    "smplx": (CHAINS["smplx"][0], 5, 1),
    "joints": (many_joints, 24, 1),
    "humanml3d": (many_features, 24, 1),
}

# Their clips are known by their files only, not by lists or folders.
ONE_FILE = ("bvh", "asfamc", "kit-xml", "myoskeleton")


# 1) The mutations. Each takes a file and a random.Random, and changes the file.


def truncate(path, rng):
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def flip(path, rng):
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def flip_the_head(path, rng):
    """The first 128 bytes describe the rest."""
    data = bytearray(path.read_bytes())
    for _ in range(4):
        data[rng.randrange(min(128, len(data)))] = rng.randrange(256)
    path.write_bytes(bytes(data))


def remove(path, rng):
    path.unlink()


def empty(path, rng):
    path.write_bytes(b"")


def folder_instead(path, rng):
    path.unlink()
    path.mkdir()


def drop_a_line(path, rng):
    """In text a key, an element or a frame; in binary anything between two line ends."""
    lines = path.read_bytes().split(b"\n")
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"\n".join(lines))


def huge_count(path, rng):
    """A number becomes 19 digits: an array's shape, the frames of a BVH, a length, a time."""
    data = path.read_bytes()
    found = [match.span() for match in re.finditer(rb"\d+", data[:2000])] or [(0, 0)]
    start, end = rng.choice(found)
    path.write_bytes(data[:start] + b"9" * 19 + data[end:])


def not_a_number(path, rng):
    data = path.read_bytes()
    found = [match.span() for match in re.finditer(rb"-?\d+\.\d+", data)] or [(0, 0)]
    start, end = rng.choice(found)
    path.write_bytes(data[:start] + rng.choice((b"nan", b"inf", b"1e999", b"zero")) + data[end:])


def wrong_content(path, rng):
    """A readable file with a key gone, another type, a NaN, or one dimension less."""
    change = rng.choice(
        (
            lambda x: np.asarray(x, np.complex64),
            lambda x: np.asarray(x).astype(str),
            lambda x: np.array([{"a": 1}]),
            lambda x: np.asarray(x)[..., 0],
            lambda x: np.asarray(x) * np.nan,
            lambda x: np.asarray(x)[:0],
            None,
        )
    )
    try:
        if path.suffix == ".npy":
            np.save(path, (change or (lambda x: np.int8(3)))(np.load(path, allow_pickle=False)))
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                content = dict(file)
            edit(content, change, rng)
            np.savez(path, **content)
        elif path.suffix == ".h5":
            edit_h5(path, change, rng)
        else:
            path.write_text(rng.choice(("[]", "{}", "null", "<a/>", "HIERARCHY", "\x00")))
    except (TypeError, ValueError, IndexError):  # the change does not apply to this content
        empty(path, rng)


def edit(content, change, rng):
    key = rng.choice(sorted(content))
    value = content.pop(key)
    if change:
        content[key] = change(value)


def edit_h5(path, change, rng):
    import h5py

    with h5py.File(path, "r+") as file:
        key = rng.choice(sorted(file))
        value = file[key][()]
        del file[key]
        if key == "lengths" and change:
            file[key] = np.full(value.shape, 2**62)
        elif change:
            file[key] = change(value)


KINDS = (truncate, flip, flip_the_head, remove, empty, folder_instead, drop_a_line, huge_count, not_a_number,
         wrong_content, wrong_content)  # fmt: skip


# 2) What must hold.


def check_whole(out: Path, clips: int | None) -> None:
    """Every clip that a split lists is there, finite, with text and joints. The report counts the lost ones."""
    data = MotionDataset(out)
    listed = [clip for split in SPLITS for clip in data.ids(split)]
    assert len(set(listed)) == len(listed) and set(listed) == {p.stem for p in out.glob("new_joint_vecs/*.npy")}
    for split in SPLITS:
        assert data.load_split(split)[1] == {}
    assert np.isfinite(data.normalizer.mean).all() and np.isfinite(data.normalizer.std).all()
    for clip in listed:
        assert data.captions(clip)
        if data.representation.has_joints:
            joints = np.load(out / "new_joints" / f"{clip}.npy", allow_pickle=False)
            assert len(joints) == len(data.features(clip)) and np.isfinite(joints).all()
    assert data.info["counts"]["clips"] == len(listed)
    skipped = json.loads((out / "report.json").read_text())["skipped"]
    assert clips is None or len(listed) + skipped == clips


def check_no_data_set(out: Path) -> None:
    assert not (out / "dataset.json").exists()
    if out.exists():
        with pytest.raises((ValueError, FileNotFoundError)):
            MotionDataset(out)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_a_broken_source_never_becomes_a_data_set_that_passes_for_whole(source, script, tmp_path, monkeypatch):
    if source == "myoskeleton":
        pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    make, clips, per_file = SOURCES[source]
    args = make(tmp_path / "sound")
    broken = 0
    for seed in range(MUTATIONS + 1):  # seed 0 leaves the source sound
        place, out = tmp_path / f"in{seed}", tmp_path / f"out{seed}"
        shutil.copytree(tmp_path / "sound", place)
        here = [str(arg).replace(str(tmp_path / "sound"), str(place)) for arg in args]
        rng = random.Random(f"{source} {seed}")
        files = sorted(path for path in place.rglob("*") if path.is_file())
        moving = [path for path in files if path.suffix not in LISTS]
        path = rng.choice(moving if rng.random() < 0.75 else files)
        kind = KINDS[(seed - 1) % len(KINDS)]
        if seed:
            kind(path, rng)
        what = f"{source} mutation {seed}: {kind.__name__} of {path.relative_to(place)}"
        with at_most(LIMIT, what):
            try:
                done = script("prepare", "--from", source, "--input", place, "--out", out, "--workers", 1, *here)
            except Exception as error:
                raise AssertionError(f"{what}: {type(error).__name__} got through: {error}") from error
        assert done.code in ((0, 1, 2) if seed else (0,)), f"{what}: exit {done.code}, {done.err}"
        assert "Traceback" not in done.out + done.err, what
        try:
            if done.code:
                errors = [line for line in done.err.splitlines() if "error:" in line]
                assert len(errors) == 1 and len(errors[0]) < 2000, done.err
                check_no_data_set(out)
            else:
                gone = kind in (remove, folder_instead) and path in moving and source in ONE_FILE
                known = not seed or path in moving
                check_whole(out, (clips - per_file if gone and seed else clips) if known else None)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
        broken += done.code != 0 or " skipped, first " in done.out
        shutil.rmtree(place)
        shutil.rmtree(out, ignore_errors=True)
    assert 2 <= broken < MUTATIONS  # some are refused, some harmless; otherwise they test nothing


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(set(CHAINS) - {"procedural"}))
def test_the_fingerprints_see_every_file(source, tmp_path):
    """So a build that goes on reads mended files again. Nothing else changes a fingerprint."""
    if source == "myoskeleton":
        pytest.importorskip("h5py")
    make = CHAINS[source][0]
    flags = [str(arg) for arg in ["--from", source, "--input", tmp_path / "in", *make(tmp_path / "in")]]
    prepare = load_script("scripts/prepare.py")

    def fingerprints():
        args = prepare.make_parser().parse_args(flags)
        found, _, _ = records(source, args.input, source_options(args))
        return [record.fingerprint() for record in found]

    before = fingerprints()
    assert before == fingerprints()
    lists = ("captions.csv", "texts.zip", "train.txt", "val.txt", "test.txt")  # the contents of these count
    files = [path for path in (tmp_path / "in").rglob("*") if path.is_file() and path.name not in lists]
    for path in [path for path in files if "models" not in path.parts][:30]:
        os.utime(path, ns=(0, 1))
        now = fingerprints()
        assert len(now) == len(before) and now != before, path
        before = now


# 3) Real BVH.


def test_real_bvh_gives_the_joints_of_the_prepared_clips(script, tmp_path, monkeypatch, shared_data):
    """Compared with raw joints of the same takes from another program, which has 11 of the 13 files."""
    monkeypatch.chdir(tmp_path)
    samples, bandai = shared_data / "bvh_samples", shared_data / "bandai"
    done = script("prepare", "--from", "bvh", "--input", samples, "--out", tmp_path / "data", "--workers", 1)
    assert done.code == 0, done.err
    by_file = {row["source"].removesuffix(".bvh"): row["id"] for row in json.loads((bandai / "meta.json").read_text())}
    ids = {by_file[path.stem] for path in samples.glob("*.bvh") if path.stem in by_file}
    monkeypatch.syspath_prepend(str(bandai))
    import unpack

    monkeypatch.delitem(sys.modules, "unpack")
    raw = {clip: joints for clip, joints in unpack.clips() if clip in ids}
    errors = compare(tmp_path / "data", by_file, raw, samples)
    assert len(errors) == 11
    assert max(errors.values()) < 0.01, errors  # metres; measured: 0.63 mm


def compare(data: Path, by_file: dict, raw: dict, samples: Path) -> dict[str, float]:
    """Largest distance of a joint in any frame, after the same retargeting and placement."""
    errors = {}
    for path in sorted(samples.glob("*.bvh")):
        ours = np.load(data / "new_joints" / f"{path.stem}.npy", allow_pickle=False)
        if path.stem not in by_file:
            continue
        want = canonicalise(raw[by_file[path.stem]], HUMANML3D)[:-1]
        assert abs(len(ours) - len(want)) <= 1, path.name
        n = min(len(ours), len(want))
        errors[path.stem] = float(np.linalg.norm(ours[:n] - want[:n], axis=-1).max())
    return errors
