"""Small files that unpack to much: every reader refuses them by one cap, names it, and takes no more memory than that.

The cap is 4 MB here, so that the bombs are small; memory is measured by tracemalloc, which NumPy reports to.
"""

import gzip
import io
import json
import pickle
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from motiongpt.body.body_model import load_body_model
from motiongpt.data.prepare.caption_texts import read_caption_texts
from motiongpt.data.readers import amass, smplx
from motiongpt.data.tokens import load_tokens
from motiongpt.files import limits
from motiongpt.files.archives import unpack_archive
from motiongpt.files.arrays import load_array, names_in_npz, read_npz
from motiongpt.files.store import read_json
from motiongpt.files.unpickle import load_pickle
from motiongpt.motion import Motion

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long

CAP = 4 << 20
BOMB = 64 << 20


@pytest.fixture(autouse=True)
def small_cap(monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", CAP)


def refused(read, path, message="at most .* are read|unpacks to more than"):
    """`read(path)` raises a ValueError of one line that names file and cap; packed the file is a hundredth of BOMB."""
    assert not path.is_file() or path.stat().st_size < BOMB / 100
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert peak < 1.5 * CAP, f"{peak:,} bytes"


def npz(path, packing=zipfile.ZIP_DEFLATED, **arrays):
    """An .npz of array -> bytes of its .npy, or the array itself."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, value in arrays.items():
            if isinstance(value, np.ndarray):
                stream = io.BytesIO()
                np.save(stream, value)
                value = stream.getvalue()
            archive.writestr(f"{name}.npy", value)
    return path


NPZ = {
    "amass": (amass.read, "poses"),
    "smplx": (smplx.read, "body_pose"),
    "a saved motion": (Motion.load, "joints"),
    "a body model": (lambda path: load_body_model(path, "smpl"), "shapedirs"),
    "any": (read_npz, "x"),
}


@pytest.mark.parametrize("name", NPZ)
def test_an_npz_that_declares_too_much(tmp_path, name):
    read, key = NPZ[name]
    refused(read, npz(tmp_path / "a.npz", **{key: np.zeros(BOMB // 8)}), "claims 67,108,864 bytes unpacked, at most")
    # arrays that are small each, and together are not
    some = {"J_regressor": 0, "v_template": 0, "kintree_table": 0} if name == "a body model" else {}
    some |= {"trans": 0, "betas": 0, "root_orient": 0, "pose_body": 0} if name == "amass" else {"a": 0, "b": 0, "c": 0}
    refused(read, npz(tmp_path / "b.npz", **{key: np.zeros(60_000)}, **{k: np.zeros(60_000) for k in some}))


def test_an_npz_whose_header_is_the_bomb(tmp_path):
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", BOMB) + b" " * BOMB
    refused(read_npz, npz(tmp_path / "a.npz", x=header), "header of x.npy unpacks to more than 65,536 bytes")
    refused(read_npz, npz(tmp_path / "b.npz", zipfile.ZIP_BZIP2, x=np.zeros(BOMB // 8)), "not packed with deflate")
    assert names_in_npz(tmp_path / "a.npz") == {"x"} and names_in_npz(tmp_path / "none.npz") == set()


def test_an_npy_with_a_hole(tmp_path):
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (BOMB // 12, 1, 3)}
        )
        file.truncate(BOMB + 200)
    for read in (lambda path: load_array(path, 3), Motion.load, smplx.read):
        tracemalloc.start()
        with pytest.raises(ValueError, match="a.npy .*claims 67,108,8.. bytes unpacked, at most 4,194,304"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 1.5 * CAP
        tracemalloc.stop()


def packed(path, content):
    path.write_bytes(gzip.compress(content))
    return path


def test_a_gz_that_unpacks_to_too_much(tmp_path):
    for read in (load_tokens, lambda path: read_json(path, object)):
        refused(
            read, packed(tmp_path / "spaces.json.gz", b"[" + b" " * BOMB + b"]"), "unpacks to more than 524,288 bytes"
        )
        # small as text, large as Python objects
        lists = packed(tmp_path / "lists.json.gz", b"[" + b"[]," * 100_000 + b"[]]")
        refused(read, lists, "its list of values claims 10,400,128 bytes")
    with open(tmp_path / "two.json.gz", "ab") as file:  # several streams, the last of which declares little
        for content in (b"[" + b" " * BOMB, b"]"):
            file.write(gzip.compress(content))
    refused(load_tokens, tmp_path / "two.json.gz")
    entry = {"text_query": "he walks", "motion_tokens": "1 2 3"}
    assert len(load_tokens(packed(tmp_path / "good.json.gz", json.dumps([entry] * 1000).encode()))) == 1000


def test_sparse_matrices_of_a_pickle(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    for name, value in {
        "one": sparse.csc_matrix(([1.0], ([0], [0])), shape=(3000, 3000)),
        "many": [sparse.csr_matrix(([1.0], ([0], [0])), shape=(200, 200)) for _ in range(50)],
    }.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps(value))
        refused(load_pickle, path, "a sparse matrix of .* claims .* bytes unpacked, at most 2,097,152 are read")


def test_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "size.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"{i}.txt", bytes(BOMB))
    with zipfile.ZipFile(tmp_path / "bzip2.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("1.txt", bytes(BOMB))
    name = tarfile.TarInfo("x")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, BOMB
    with tarfile.open(tmp_path / "name.tar.gz", "w:gz") as archive:
        archive.addfile(name, io.BytesIO(b"x" * BOMB))
    for file, message in (
        ("size.zip", "unpacks to more than"),
        ("bzip2.zip", "'1.txt' is not packed with deflate"),
        ("name.tar.gz", "a member's name claims 67,108,864 bytes, at most 65,536 are read"),
    ):
        refused(lambda path: unpack_archive(path, tmp_path / "out"), tmp_path / file, message)
        assert not (tmp_path / "out").exists()
    refused(read_caption_texts, tmp_path / "size.zip")
    refused(read_caption_texts, tmp_path / "bzip2.zip")


def test_a_stream_gives_no_more_than_its_limit():
    stream = limits.Capped(io.BytesIO(bytes(10)), "x", 10)
    assert stream.read_all() == bytes(10)
    stream = limits.Capped(io.BytesIO(bytes(11)), "x", 10)
    assert stream.read(4) == bytes(4)
    with pytest.raises(limits.TooLarge, match="x unpacks to more than 10 bytes"):
        stream.read(10**12)
