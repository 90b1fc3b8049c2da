"""Foreign pickles: what torch, numpy and scipy themselves write comes back equal; what could run code is refused."""

import collections
import os
import pickle
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from cases import at_most, for_each
from mutations import check_mutations

from motiongpt.files.stand_ins import Inert
from motiongpt.files.unpickle import load_pickle

pytestmark = pytest.mark.slow  # many small cases: together they take long


def save(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


class Calls:
    """Pickles as a call of any function: what a malicious file does."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


# 1) What is read.


@for_each("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_containers_arrays_and_scalars(tmp_path, protocol):
    value = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3), "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"), "empty": np.zeros((0, 3)), "bool": np.array([True, False]),
        "text": np.array(["walk", "run"]), "objects": np.array([{"x": 1}, None], dtype=object),
        "scalar": np.float64(0.5), "tuple": (1, "ü", b"\x00\xff", 1.5, None, True, 1 << 70), "set": {1, 2},
        "frozen": frozenset({3}), "complex": 1j, "ordered": collections.OrderedDict(b=1, a=2), "bytes": bytearray(b"x"),
        "default": collections.defaultdict(list, k=[1]), "dtype": np.dtype("f4"),
    }  # fmt: skip
    found = load_pickle(save(tmp_path / "a.pkl", value, protocol))
    assert list(found) == list(value)
    for key, expected in value.items():
        if isinstance(expected, np.ndarray):
            assert type(found[key]) is np.ndarray and found[key].dtype == expected.dtype
            np.testing.assert_array_equal(found[key], expected)
        else:
            assert found[key] == expected
    found["a"][0, 0] = 7  # writable
    assert type(found["ordered"]) is dict and list(found["ordered"]) == ["b", "a"]


def test_shared_and_cyclic_values_stay_so(tmp_path):
    array, loop = np.ones(3), []
    loop.append(loop)
    found = load_pickle(save(tmp_path / "a.pkl", [array, array, loop]))
    assert found[0] is found[1] and found[2][0] is found[2]


def test_old_and_new_numpy_paths_and_python_2(tmp_path):
    data = pickle.dumps({"x": np.arange(3.0)}, protocol=2)
    old = data.replace(b"numpy._core", b"numpy.core")
    assert data != old or b"numpy.core" in data
    (tmp_path / "old.pkl").write_bytes(old)
    np.testing.assert_array_equal(load_pickle(tmp_path / "old.pkl")["x"], np.arange(3.0))
    # an int16 array [1, -2] as Python 2 wrote it: the raw bytes are a str (opcode U)
    python2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\n"
        b"dtype\nU\x02i2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x00\xfe\xfftb."
    )
    (tmp_path / "two.pkl").write_bytes(python2)
    np.testing.assert_array_equal(load_pickle(tmp_path / "two.pkl"), np.array([1, -2], np.int16))


def test_python_2_text_of_protocol_0(tmp_path):
    (tmp_path / "zero.pkl").write_bytes(b"(dp0\nS'name'\np1\nS'\\xe9\\xff'\np2\ns.")
    assert load_pickle(tmp_path / "zero.pkl") == {"name": "\xe9\xff"}


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_equal_torch_load(tmp_path, legacy):
    layer = torch.nn.Linear(3, 2)
    base = torch.arange(12.0)
    value = {
        "net": layer.state_dict(), "parameter": layer.weight, "view": base[2:8].view(2, 3).t(), "base": base,
        "half": torch.ones(2, dtype=torch.bfloat16), "long": torch.tensor([1, 2]), "bool": torch.tensor([True]),
        "scalar": torch.tensor(3.0), "empty": torch.zeros(0, 4), "mean": np.arange(4.0), "epoch": 3,
        "size": torch.Size([1, 2]), "dtype": torch.float16, "device": torch.device("cpu"), "one": np.float32(2),
    }  # fmt: skip
    path = tmp_path / "model.pth"
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    found = load_pickle(path)
    for key, tensor in {**value["net"], **{k: v for k, v in value.items() if isinstance(v, torch.Tensor)}}.items():
        other = found["net"][key] if key in value["net"] else found[key]
        assert other.dtype == tensor.dtype and torch.equal(other, tensor.detach()), key
    assert found["view"].untyped_storage().data_ptr() == found["base"].untyped_storage().data_ptr()
    np.testing.assert_array_equal(found["mean"], value["mean"])
    assert (found["epoch"], found["size"], found["dtype"], found["one"]) == (3, (1, 2), torch.float16, 2)


def test_a_tensor_in_a_plain_pickle(tmp_path):
    found = load_pickle(save(tmp_path / "a.pkl", {"pose": torch.arange(6.0).view(2, 3)}))
    assert torch.equal(found["pose"], torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix"])
def test_sparse_matrices_come_dense(tmp_path, kind):
    sparse = pytest.importorskip("scipy.sparse")
    matrix = getattr(sparse, kind)(np.array([[0, 1.5, 0], [2, 0, 3]]))
    np.testing.assert_array_equal(load_pickle(save(tmp_path / "J.pkl", {"J": matrix}))["J"], matrix.toarray())


def test_chumpy_gives_its_array_without_chumpy(tmp_path, monkeypatch):
    module = types.ModuleType("chumpy.ch")
    module.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    value = module.Ch()
    value.x = np.arange(3.0)
    for protocol in (0, 2):
        np.testing.assert_array_equal(load_pickle(save(tmp_path / "s.pkl", value, protocol)), np.arange(3.0))


# What training frameworks leave beside the weights. Another process makes up the packages and writes the file, so that
# the modules it names do not exist when it is read.
WRITER = """
import collections, pickle, sys, types, typing, argparse, pathlib
import torch

def module(name, **classes):
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    for key, kind in classes.items():
        kind.__module__, kind.__qualname__ = name, key
        setattr(sys.modules[name], key, kind)

class Node: pass
class Metadata(Node): pass
class DictConfig(Node): pass
class ListConfig(list): pass
class AnyNode(Node):
    def __init__(self, value): self.value = value
    def __reduce__(self): return AnyNode, (self.value,)
class AttributeDict(dict): pass
class ModelCheckpoint: pass
module("omegaconf.dictconfig", DictConfig=DictConfig)
module("omegaconf.listconfig", ListConfig=ListConfig)
module("omegaconf.base", Metadata=Metadata)
module("omegaconf.nodes", AnyNode=AnyNode)
module("pytorch_lightning.utilities.parsing", AttributeDict=AttributeDict)
module("pytorch_lightning.callbacks.model_checkpoint", ModelCheckpoint=ModelCheckpoint)

meta = Metadata()
meta.ref_type, meta.element_type, meta.none_type = typing.Any, typing.Dict[str, int], type(None)
config = DictConfig()
config._metadata, config._parent, config._content = meta, None, {"lr": AnyNode(2e-4), "loss": ListConfig([1, 2])}
config._content["lr"].parent = config
linear = torch.nn.Linear(3, 2)
optimizer = torch.optim.AdamW(linear.parameters())
linear(torch.ones(1, 3)).sum().backward()
optimizer.step()
value = {
    "state_dict": collections.OrderedDict((f"vae.{k}", v) for k, v in linear.state_dict().items()),
    "optimizer_states": [optimizer.state_dict()], "hyper_parameters": AttributeDict(cfg=config, width=512),
    "callbacks": {ModelCheckpoint: {"best": pathlib.PurePosixPath("a/b.ckpt")}}, "args": argparse.Namespace(seed=3),
    "pytorch-lightning_version": "1.9.4",
}
torch.save(value, sys.argv[1] + "/torch.ckpt")
for protocol in (2, 4):
    pickle.dump(value, open(f"{sys.argv[1]}/{protocol}.ckpt", "wb"), protocol=protocol)
"""


@pytest.fixture(scope="module")
def framework_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frameworks")
    subprocess.run([sys.executable, "-c", WRITER, str(folder)], check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "2", "4"])
def test_what_training_frameworks_leave_is_recorded_and_does_nothing(framework_files, name):
    path = framework_files / f"{name}.ckpt"
    before = set(sys.modules)
    found = load_pickle(path)
    assert not {m.split(".")[0] for m in set(sys.modules) - before} & {"omegaconf", "pytorch_lightning"}
    assert found["state_dict"]["vae.weight"].shape == (2, 3)
    state = found["optimizer_states"][0]["state"][0]
    assert float(state["step"]) == 1 and state["exp_avg"].shape == (2, 3)
    assert found["hyper_parameters"]["width"] == 512
    config = found["hyper_parameters"]["cfg"]
    assert isinstance(config, Inert) and config.name == "omegaconf.dictconfig.DictConfig"
    rate, loss = config.state["_content"]["lr"], config.state["_content"]["loss"]
    assert rate.args == (2e-4,) and loss.values == [1, 2]
    metadata = config.state["_metadata"].state
    assert (metadata["ref_type"], metadata["none_type"]) == ("typing.Any", "NoneType")
    assert metadata["element_type"].name == "typing.Dict"
    assert list(found["callbacks"]) == ["pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"]
    assert found["args"].state == {"seed": 3}
    assert repr(found["args"]) == "<argparse.Namespace, not loaded>"


def call(module: str, name: str, *args) -> bytes:
    """A pickle that calls MODULE.NAME."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + pickle.dumps(args, protocol=2)[2:-1] + b"R."


def test_real_functions_of_the_admitted_modules_are_not_called(tmp_path):
    """Whatever a file names there becomes a record, even a function that exists and would act."""
    path = tmp_path / "a.pkl"
    path.write_bytes(call("pathlib", "Path", str(tmp_path / "HACKED")))
    assert load_pickle(path).args == (str(tmp_path / "HACKED"),)
    path.write_bytes(call("typing", "get_type_hints", "x"))
    assert load_pickle(path).name == "typing.get_type_hints"
    assert [p.name for p in tmp_path.iterdir()] == ["a.pkl"]


# 2) What is refused.


@for_each(
    "module, name",
    [
        ("omegaconfx", "DictConfig"), ("torch", "load"), ("torch.optimizer", "SGD"), ("torch.nn", "Module"),
        ("lightning_evil", "X"), ("mGPT.config", "get_obj"), ("operator", "attrgetter"), ("os", "system"),
        ("pathlib", "os.system"), ("typing", "sys.modules"), ("typing", "Any.__class__"), ("omegaconf", "__import__"),
    ],
)  # fmt: skip
def test_only_the_listed_modules_have_stand_ins(tmp_path, module, name):
    (tmp_path / "bad.pkl").write_bytes(call(module, name, "x"))
    if module in ("pathlib", "typing") and "__" not in name:  # a name with dots is a name, nothing is looked up
        assert load_pickle(tmp_path / "bad.pkl").name == f"{module}.{name}"
        return
    with pytest.raises(ValueError, match=rf"refuses to load {module}.{name} \(a pickle may run code\)"):
        load_pickle(tmp_path / "bad.pkl")


@for_each(
    "data, message",
    [
        (call("operator", "getitem", [1], 0), "refuses to load operator.getitem"),
        (call("builtins", "type", 1), "refuses to load builtins.type"),
        (call("builtins", "type", "X", (), {}), "damaged"),
        (b"\x80\x02comegaconf\nX\n}U\x01aK\x01sb.", "damaged"),  # a state for the class itself
        (b"\x80\x02comegaconf\nX\nU\x01aK\x01s.", "damaged"),
        (b"\x80\x02comegaconf\nX\nK\x01a.", "damaged"),
        (b"\x80\x02" + b"".join(b"comegaconf\nX%d\n0" % i for i in range(2000)) + b"N.", "more than 1000 classes"),
    ],
)
def test_stand_ins_cannot_be_misused(tmp_path, data, message):
    (tmp_path / "bad.pkl").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        load_pickle(tmp_path / "bad.pkl")
    assert not hasattr(Inert, "a")


@for_each("protocol", [0, 2, 4])
@for_each(
    "function, args, name",
    [
        (os.system, ("touch HACKED",), "system"),
        (eval, ("open('HACKED', 'w')",), "eval"),
        (getattr, ("x", "y"), "getattr"),
        (np.save, ("HACKED.npy", 1), "save"),
        (np.fromfile, ("/etc/hostname",), "fromfile"),
        (np.loadtxt, ("/etc/hostname",), "loadtxt"),
        (subprocess.Popen, (["touch", "HACKED"],), "Popen"),
        (torch.load, ("HACKED",), "load"),
        (np.zeros, (10**9,), "zeros"),
        (collections.Counter, ("aab",), "Counter"),
        (types.SimpleNamespace, (), "SimpleNamespace"),
    ],
)
def test_code_is_named_and_refused(tmp_path, monkeypatch, function, args, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "bad.pkl", {"x": Calls(function, *args)}, protocol)
    with pytest.raises(ValueError, match=rf"bad.pkl: refuses to load \S*{name} \(a pickle may run code\); convert"):
        load_pickle(path)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pkl"]


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_torch_files_is_refused(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save({"net": Calls(os.system, "touch HACKED")}, "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="refuses to load posix.system|refuses to load nt.system"):
        load_pickle("bad.pth")
    assert not (tmp_path / "HACKED").exists()


def test_attributes_are_not_reached_through_dots(tmp_path):
    for line in (b"numpy\nndarray.tofile", b"collections\nOrderedDict.__class__", b"builtins\nobject.__subclasses__"):
        (tmp_path / "bad.pkl").write_bytes(b"\x80\x04c" + line + b"\n.")
        with pytest.raises(ValueError, match="refuses to load"):
            load_pickle(tmp_path / "bad.pkl")


def test_the_table_cannot_be_changed_by_a_file(tmp_path):
    """BUILD on a class or function of the table would set its attributes, for every later file too."""
    names = (b"numpy\nndarray", b"numpy\ndtype", b"chumpy.ch\nCh", b"numpy.core.multiarray\nscalar",
             b"collections\nOrderedDict", b"builtins\nset")  # fmt: skip
    for name in names:
        state = pickle.dumps((None, {"__setstate__": 1, "call": 1, "x": 1}), protocol=2)[2:-1]
        (tmp_path / "bad.pkl").write_bytes(b"\x80\x02c" + name + b"\n" + state + b"b.")
        with pytest.raises(ValueError, match="damaged"):
            load_pickle(tmp_path / "bad.pkl")
    assert not hasattr(collections.OrderedDict, "x")
    test_old_and_new_numpy_paths_and_python_2(tmp_path)


def test_an_unknown_class_in_a_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match="refuses to load tests?.*Calls|refuses to load .*test_unpickle.Calls"):
        load_pickle(save(tmp_path / "a.ckpt", {"callbacks": {Calls: 1}}))


# 3) What is damaged, or too large for its bytes.


@for_each(
    "data",
    [
        b"", b"hello", b"PK\x03\x04nothing", b"<!DOCTYPE html><html>", b"\x80\x02",
        b"\x80\x02]r\xff\xff\xff\x7f.",  # memo index 2 ** 31 - 1: 32 GiB of memo
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of 2 ** 63
        b"\x80\x05\x96\x00\x00\x00\x00\xff\x00\x00\x00.",  # bytearray of 2 ** 40
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R.",  # bytearray(2 ** 40)
        b"\x80\x02cnumpy._core.numeric\n_frombuffer\n(U\x04abcdcnumpy\ndtype\nU\x02f4\x85RJ\xff\xff\xff\x7f\x85U\x01CtR.",
    ],
)  # fmt: skip
def test_damage_and_bombs(tmp_path, data):
    (tmp_path / "bad.pkl").write_bytes(data)
    with at_most(seconds=5), pytest.raises(ValueError, match="bad.pkl is damaged, cut short or no pickle"):
        load_pickle(tmp_path / "bad.pkl")


def test_a_sparse_bomb(tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="100000 x 100000 claims 80,000,000,000 bytes unpacked"):
        load_pickle(save(tmp_path / "a.pkl", sparse.csc_matrix((100_000, 100_000))))


def test_a_tensor_larger_than_its_storage(tmp_path):
    small = torch.zeros(1).expand(10**10)  # 4 bytes on disk, 40 GB once somebody copies it
    torch.save(small, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="does not fit its storage of 1"):
        load_pickle(tmp_path / "a.pt")


def test_a_compressed_zip_is_no_torch_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02]." + b"\x00" * 10**6)
    with pytest.raises(ValueError, match="compressed"):
        load_pickle(tmp_path / "a.pt")


def test_deep_nesting(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(ValueError, match="nested more than"):
        load_pickle(tmp_path / "a.pkl")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pkl"):
        load_pickle(tmp_path / "nowhere.pkl")


@pytest.mark.parametrize("kind", ["plain", "zip", "legacy"])
def test_a_hundred_mutations_are_read_or_refused(tmp_path, kind):
    value = {"x": np.arange(8.0), "t": torch.arange(4.0), "o": np.array([1, None], object), "l": [1.5, "a", (2, b"z")]}
    path = tmp_path / "a.pkl"
    if kind == "plain":
        save(path, value)
    else:
        torch.save(value, path, _use_new_zipfile_serialization=kind == "zip")
    check_mutations(path, lambda: load_pickle(path))
