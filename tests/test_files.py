"""Files: written whole or not at all, read with an error that names them."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from cases import for_each

from motiongpt.files import lock as lock_module
from motiongpt.files.hashes import file_hash
from motiongpt.files.leftovers import remove_leftovers, this_host
from motiongpt.files.lock import _lock, hold
from motiongpt.files.store import naming, read_json, read_tensors, write_atomic, write_json, write_tensors

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("place", ["file", "file/deeper"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"{place}/x.json cannot be written .(Not a directory|File exists)"):
        write_json(tmp_path / place / "x.json", {})
    with pytest.raises(OSError, match=f"{place} cannot be written .(Not a directory|File exists)"):
        hold(tmp_path / place, "written").__enter__()


def test_a_failing_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_atomic(path, lambda temporary: temporary.write_text("first"))

    def half(temporary):
        temporary.write_text("sec")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="deep/file.txt cannot be written .no space left"):
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


@for_each(
    "content, message",
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


@for_each("value", [[], 3, "x", None, {}])
def test_json_of_another_kind_is_named(tmp_path, value):
    write_json(tmp_path / "a.json", value)
    for kind, wanted in ((dict, "object"), (list, "list")):
        if isinstance(value, kind):
            assert read_json(tmp_path / "a.json", kind) == value
        else:
            with pytest.raises(ValueError, match=f"a.json: expected a JSON {wanted}, got {type(value).__name__}"):
                read_json(tmp_path / "a.json", kind)
    assert read_json(tmp_path / "a.json", object) == value


def test_tensors_round_trip(tmp_path):
    table = torch.randn(4, 3)
    tensors = {"t": table.T, "half": table.half(), "count": torch.tensor(3), "flag": torch.tensor(True)}
    tensors |= {"empty": torch.zeros(0, 3), "grad": table.clone().requires_grad_()}
    write_tensors(tmp_path / "a.safetensors", tensors)
    back = read_tensors(tmp_path / "a.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype and not back[name].requires_grad


@for_each("damage", ["cut", "empty", "noise", "pickle"])
def test_damaged_tensors_are_named(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.randn(100)})
    content = path.read_bytes()
    changed = {"cut": content[:-9], "empty": b"", "noise": b"\xff" * 50, "pickle": pickle.dumps({"a": [1.0]})}
    path.write_bytes(changed[damage])
    with pytest.raises(ValueError, match="model.safetensors is damaged or cut short"):
        read_tensors(path)


def no_room(monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            return save(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    save = safetensors.torch.save_file
    monkeypatch.setattr("safetensors.torch.save_file", full)


def no_folder(monkeypatch) -> None:
    save = safetensors.torch.save_file
    monkeypatch.setattr("safetensors.torch.save_file", lambda *args: shutil.rmtree(args[1].parent) or save(*args))


@pytest.mark.parametrize("trouble", [no_room, no_folder])
def test_tensors_that_cannot_be_written_are_named(tmp_path, monkeypatch, trouble):
    trouble(monkeypatch)
    with pytest.raises(OSError, match="deep/model.safetensors cannot be written"):
        write_tensors(tmp_path / "deep" / "model.safetensors", {"a": torch.randn(1000)})
    assert not list(tmp_path.rglob("*.safetensors"))


def test_missing_files_are_named(tmp_path):
    for read in (read_json, read_tensors):
        with pytest.raises(FileNotFoundError, match="gone does not exist"):
            read(tmp_path / "gone")
        with pytest.raises(FileNotFoundError, match="does not exist"):
            read(tmp_path)  # a folder is not a file


def test_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea"  # SHA-256 of "abc", FIPS 180-2's own example


# ---- one process per folder -------------------------------------------------------------------------------------

HOLDER = "import sys; from pathlib import Path; from motiongpt.files.lock import hold\n"
HOLDER += "with hold(Path(sys.argv[1]), 'trained'): "
HOLDER += "print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path / "run"."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill -9", "its own"])
def test_a_folder_is_held_by_one_process_until_that_ends(tmp_path, holder, end):
    message = rf"run is being trained by another process \(PID {holder.pid}\); wait for it or give another --out"
    for _ in range(2):  # a refused one leaves the lock where it is
        with pytest.raises(BlockingIOError, match=message), hold(tmp_path / "run", "trained"):
            pass
    holder.kill() if end == "kill -9" else holder.stdin.close()
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists() == (end == "kill -9")
    with hold(tmp_path / "run", "trained"):
        assert (tmp_path / "run" / ".lock").read_text() == str(os.getpid())
    assert not list((tmp_path / "run").iterdir())


def test_a_lock_whose_file_was_taken_away_is_none(tmp_path, monkeypatch):
    """Between opening and locking, the former holder ends and a third process takes the lock."""
    lock = _lock

    def late(file):
        os.rename(tmp_path / ".lock", tmp_path / "old")
        (tmp_path / "old").unlink()
        return lock(file)

    monkeypatch.setattr(lock_module, "_lock", late)
    with pytest.raises(BlockingIOError, match="is being written by another process;"), hold(tmp_path, "written"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_nobody_is_kept_out(tmp_path, monkeypatch, number):
    def none(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock_module, "fcntl", SimpleNamespace(flock=none, LOCK_EX=0, LOCK_NB=0))
    with hold(tmp_path, "trained"), hold(tmp_path, "trained"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_removed_meanwhile_is_no_error(tmp_path):
    with hold(tmp_path / "run", "trained"):
        shutil.rmtree(tmp_path / "run")


def test_locks_of_windows(tmp_path, monkeypatch):
    """There is no Windows here: a stand-in for its locking() that does what is documented, EACCES on a locked byte."""
    held = set()

    def locking(descriptor, mode, count):
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        assert (mode, count) == ("non-blocking", 1) and place > 100  # the PID before it stays readable
        if place in held:
            raise PermissionError(errno.EACCES, "Permission denied")
        held.add(place)

    monkeypatch.setattr(lock_module, "fcntl", None)
    monkeypatch.setattr(lock_module, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK="non-blocking"), raising=False)
    with hold(tmp_path, "trained"):
        with pytest.raises(BlockingIOError, match=rf"\(PID {os.getpid()}\)"), hold(tmp_path, "trained"):
            pass
        assert (tmp_path / ".lock").stat().st_size < 20
    assert not list(tmp_path.iterdir())


def fails(error: OSError):
    def write(*_args):
        raise error

    return write


@for_each(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
        OSError("4096 requested and 1000 written"),  # NumPy, on a disk that is full
    ],
)
def test_a_full_disk_is_called_one_and_names_the_file(tmp_path, monkeypatch, error):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=0))
    path = tmp_path / "a.npy"
    with pytest.raises(OSError, match=f"^{path} cannot be written .no space left on the disk.$"):
        write_atomic(path, fails(error))
    with pytest.raises(OSError, match=f"^{path} cannot be written .no space left on the disk.$"):
        with naming(tmp_path), naming(path):  # the inner file counts
            raise error


def test_other_errors_of_a_write_are_not_called_a_full_disk(tmp_path):
    for error, reason in ((OSError(errno.EIO, "Input/output error"), "Input/output error"), (OSError("odd"), "odd")):
        with pytest.raises(OSError, match=f"b cannot be written .{reason}"):
            with naming(tmp_path / "b"):
                raise error


# ---- what killed processes leave -------------------------------------------------------------------------------------


def dead_pid() -> int:
    """The number of a process that has just ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("through", ["hold", "write_json", "itself"])
def test_leftovers_of_killed_processes_go_and_no_others(tmp_path, through):
    folder = tmp_path / "run"
    (folder / "sub").mkdir(parents=True)
    dead, own = dead_pid(), os.getpid()
    gone = [
        f".model.safetensors.{dead}.tmp",
        f".tokens.{dead}.tmp/codes",
        f"..lock.{dead}.tmp",
        f".old.{own}.tmp",
        f".e.{this_host()}-{dead}.tmp",
    ]
    kept = [f".a.json.{own}.tmp", f".b.json.{os.getppid()}.tmp", f"c.{dead}.tmp", f".c.{dead}.txt", ".hidden",
            f"sub/.d.{dead}.tmp", f".f.{this_host()}-{own}.tmp", f".g.0123abcd-{dead}.tmp"]  # fmt: skip
    for name in (*gone, *kept):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    before = time.time() - 3600  # by a process that had our number earlier, as in containers
    os.utime(folder / f".old.{own}.tmp", (before, before))
    if through == "hold":
        with hold(folder, "written"):
            pass
    elif through == "write_json":
        write_json(folder / "new.json", {})
        (folder / "new.json").unlink()
    else:
        remove_leftovers(folder)
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == sorted(kept)
    remove_leftovers(tmp_path / "no such folder")
