"""Files: written whole or not at all, read with an error that names them."""

import json
import pickle

import pytest
import torch

from motiongpt.files import file_hash, read_json, read_tensors, write_atomic, write_json, write_tensors


def test_a_failing_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_atomic(path, lambda temporary: temporary.write_text("first"))

    def half(temporary):
        temporary.write_text("sec")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, half)
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]
    write_atomic(path, lambda temporary: temporary.write_text("second"))
    assert path.read_text() == "second" and list(path.parent.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("first")

    def write(temporary):
        temporary.write_text("sec")
        assert path.read_text() == "first" and temporary.parent == tmp_path  # one file system: the rename is atomic
        temporary.write_text("second")

    write_atomic(path, write)
    assert path.read_text() == "second"


def test_json_round_trip(tmp_path):
    value = {"text": "größer 🕺 يمشي", "numbers": [1, 2.5, 0.1 + 0.2], "none": None}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "größer 🕺 يمشي" in (tmp_path / "a.json").read_bytes().decode("utf-8")  # readable, whatever the locale


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n"b": }', "line 2: not valid JSON"),
        (b'{"a": 1, // no\n "b": 2}', "line 1: not valid JSON"),
        (b"", "line 1: not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
    ],
)
def test_bad_json_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.json.*{message}") as error:
        read_json(path)
    assert not isinstance(error.value, json.JSONDecodeError)


def test_tensors_round_trip(tmp_path):
    table = torch.randn(4, 3)
    tensors = {"t": table.T, "half": table.half(), "count": torch.tensor(3), "flag": torch.tensor(True)}
    tensors |= {"empty": torch.zeros(0, 3), "grad": table.clone().requires_grad_()}
    write_tensors(tmp_path / "a.safetensors", tensors)
    back = read_tensors(tmp_path / "a.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype and not back[name].requires_grad


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "pickle"])
def test_damaged_tensors_are_named(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.randn(100)})
    content = path.read_bytes()
    changed = {"cut": content[:-9], "empty": b"", "noise": b"\xff" * 50, "pickle": pickle.dumps({"a": [1.0]})}
    path.write_bytes(changed[damage])
    with pytest.raises(ValueError, match="model.safetensors is damaged or cut short"):
        read_tensors(path)


def test_missing_files_are_named(tmp_path):
    for read in (read_json, read_tensors):
        with pytest.raises(FileNotFoundError, match="gone does not exist"):
            read(tmp_path / "gone")
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read(tmp_path)  # a folder is not a file


def test_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea"  # SHA-256 of "abc", FIPS 180-2's own example
