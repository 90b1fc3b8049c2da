"""What a foreign pickle may name, and what stands for it while `unpickle.py` reads it.

A pickle calls whatever it names, so it is given no function of numpy, torch, scipy or chumpy. Every entry of `ALLOWED`
is a stand-in written here that checks its arguments. At the end `to_plain` turns them into plain values: arrays,
tensors, containers, numbers and text.

Training frameworks put settings beside the weights: configuration nodes, callbacks, type hints. Whatever is named from
`INERT_MODULES` becomes an `Inert`, which records what the file gives it and runs nothing. None of those packages is
imported. Anything else is refused.
"""

import math
import re
from collections import OrderedDict

import numpy as np
import torch

from motiongpt.files.limits import check_declared

DENSE_COPIES = 2  # a sparse matrix made dense may be turned; the joint regressor of SMPL-X has 576,125 numbers
MAX_REPEATED_NUMBERS = 1 << 24  # in a tensor that repeats a smaller storage
MAX_NESTING = 100  # containers in containers; an optimizer's state has about 6
MAX_INERT_CLASSES = 1000  # per file; a Lightning checkpoint has about 20
INERT_MODULES = ("omegaconf", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities",
                 "torch.optim", "typing", "argparse", "pathlib")  # fmt: skip


class Refused(Exception):
    """A file names something it is not allowed to: MODULE.NAME, or a kind of data that is not read."""


# 1) Stand-ins that become plain values.
#
# A pickle makes an object and then sets its state (opcode BUILD). It may try BUILD on the class itself, to change what
# all later objects do. Each class here defines __setstate__, so that this fails.


class Function:
    """A function that a pickle can call and do nothing else with."""

    __slots__ = ("call", "name")

    def __init__(self, call, name="function"):
        self.call = call
        self.name = name

    def __call__(self, *args):
        return self.call(*args)

    def __setstate__(self, state):
        raise TypeError("a function has no state")


class _DType:
    """numpy.dtype: a code such as f4, and a byte order that comes with its state."""

    def __init__(self, code="", *_flags):
        self.code = code
        self.order = "|"

    def __setstate__(self, state):
        if len(state) > 4 and (state[2] is not None or state[3] is not None):
            raise Refused("a structured numpy dtype")
        self.order = _text(state[1])

    def dtype(self) -> np.dtype:
        # a short list of codes: numpy would also parse structured types and subarrays
        if not re.fullmatch(r"\|?[biufcSUOV?]\d{0,9}|[mM]8", _text(self.code)) or self.order not in "<>=|":
            raise Refused(f"numpy dtype {self.code!r}")
        return np.dtype(_text(self.code)).newbyteorder(self.order)


class _Array:
    """numpy.ndarray: made empty, then filled by its state (version, shape, dtype, Fortran order, bytes or list)."""

    def __setstate__(self, state):
        self.shape, dtype, self.fortran, self.raw = state[-4:]
        if len(state) not in (4, 5) or not isinstance(dtype, _DType):
            raise ValueError("the state of an array is not as numpy writes it")
        self.type = dtype.dtype()
        if not self.type.hasobject:
            self.raw = _array(self.raw, dtype, self.shape, "F" if self.fortran else "C")


class _Stateful:
    """An object that is its state, a dict of attributes."""

    def __init__(self, *_args):
        self.state = {}

    def __setstate__(self, state):
        self.state = dict(state)


class _Csc(_Stateful):
    """scipy.sparse.csc_matrix."""


class _Csr(_Stateful):
    """scipy.sparse.csr_matrix."""


class _Chumpy(_Stateful):
    """chumpy.Ch."""


class Storage:
    """The numbers in a row that tensors are views of."""

    def __init__(self, numbers: torch.Tensor):
        self.numbers = numbers

    def __setstate__(self, state):
        raise TypeError("a storage has no state")


def _never_called(*_args):
    """Stands for builtin types, which files name as what a defaultdict makes and in type hints."""
    raise ValueError("a builtin type is called")


def _text(value) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def to_bytes(value="", encoding="latin1") -> bytes:
    """Bytes from bytes or from text, as Python 2 wrote them."""
    if not isinstance(value, str | bytes | bytearray) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes must come from bytes or latin1 text")  # bytearray(10 ** 12) would be a bomb
    return value.encode("latin1") if isinstance(value, str) else bytes(value)


def _array(raw, dtype: _DType, shape, order="C") -> np.ndarray:
    """An array from its bytes, which must be as many as the shape claims."""
    kind = dtype.dtype()
    data = to_bytes(raw)
    if kind.hasobject or math.prod(shape) * kind.itemsize != len(data) or min(shape, default=0) < 0:
        raise ValueError(f"an array of {tuple(shape)} {kind} does not fit {len(data)} bytes")
    if not data:
        return np.empty(tuple(shape), kind)
    return np.frombuffer(bytearray(data), kind).reshape(tuple(shape), order=order)


def _scalar(dtype: _DType, raw=""):
    return _array(raw, dtype, (1,))[0]


def _tensor(storage: Storage, offset: int, size, stride, *_more) -> torch.Tensor:
    """A view of a storage that stays inside it: torch itself does not check."""
    numbers = storage.numbers
    size = tuple(size)
    stride = tuple(stride)
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0 or offset > len(numbers):
        raise ValueError(f"a tensor has offset {offset}, size {size}, stride {stride}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # strides of 0 repeat numbers without storing them: a few bytes could claim a huge tensor
    if math.prod(size) and (last >= len(numbers) or math.prod(size) > max(len(numbers), MAX_REPEATED_NUMBERS)):
        raise ValueError(f"a tensor of {size} does not fit its storage of {len(numbers)} numbers")
    return torch.as_strided(numbers, size, stride, offset)


def _reconstruct(kind, *_args):
    """numpy's `_reconstruct` and Python 2's `_reconstructor`: an empty stand-in, which its state will fill."""
    if kind not in (_Array, _Csc, _Csr, _Chumpy):
        raise ValueError("only arrays, sparse matrices and chumpy objects are rebuilt")
    return kind()


_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_DTYPES = {str(kind).split(".")[1]: kind for kind in _STORAGES.values()}


ALLOWED = {
    **{f"{m}.multiarray._reconstruct": Function(_reconstruct) for m in ("numpy.core", "numpy._core")},
    **{f"{m}.multiarray.scalar": Function(_scalar) for m in ("numpy.core", "numpy._core")},
    **{f"{m}.numeric._frombuffer": Function(_array) for m in ("numpy.core", "numpy._core")},
    "numpy.ndarray": _Array,
    "numpy.dtype": _DType,
    "_codecs.encode": Function(to_bytes),
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": Function(lambda *_factory: {}),
    "torch._utils._rebuild_tensor_v2": Function(_tensor),
    "torch._utils._rebuild_tensor": Function(_tensor),
    "torch._utils._rebuild_parameter": Function(lambda tensor, *_more: tensor),
    "torch.Size": Function(tuple),
    "torch.device": Function(lambda *parts: ":".join(map(str, parts))),
    **{f"torch.{name}": kind for name, kind in (_STORAGES | _DTYPES).items()},
    **{f"scipy.sparse.{m}.csc_matrix": _Csc for m in ("csc", "_csc")},
    **{f"scipy.sparse.{m}.csr_matrix": _Csr for m in ("csr", "_csr")},
    "chumpy.ch.Ch": _Chumpy,
    "chumpy.Ch": _Chumpy,
    **{f"{m}._reconstructor": Function(_reconstruct) for m in ("copy_reg", "copyreg")},
}
_BUILTINS = {
    "object": object, "set": set, "frozenset": frozenset, "complex": complex,
    "bytes": Function(to_bytes), "bytearray": Function(lambda *args: bytearray(to_bytes(*args))),
}  # fmt: skip
_TYPES = ("list", "dict", "tuple", "int", "float", "str", "bool", "unicode", "long")
_BUILTINS |= {name: Function(_never_called, name) for name in _TYPES}
ALLOWED |= {f"{m}.{name}": kind for m in ("builtins", "__builtin__") for name, kind in _BUILTINS.items()}


# 2) Stand-ins that stay: what training frameworks name.


class Inert:
    """An object of a class that is not imported. `name` says which class; the rest is what the file gave the object.

    args, kwargs: what it was made from. state: what it was set to. values, items: what was added, as to a list or dict.
    """

    name = ""

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.args = args
        self.kwargs = kwargs
        self.state = None
        self.values = []
        self.items = {}
        return self

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        self.items[key] = value

    def append(self, value):
        self.values.append(value)

    def extend(self, values):
        self.values.extend(values)

    def __repr__(self):
        return f"<{self.name}, not loaded>"


def inert(module: str, name: str, known: dict) -> type | None:
    """The class that stands for MODULE.NAME, or None if the module is not among `INERT_MODULES`.

    `known` keeps the classes of one file, so that a class named twice is one class.
    """
    full = f"{module}.{name}"
    if not any(module == start or module.startswith(start + ".") for start in INERT_MODULES):
        return None
    if not all(part.isidentifier() and not part.startswith("__") for part in full.split(".")):
        return None
    if name == "AttributeDict":  # Lightning's hyper-parameters: a dict whose keys are attributes too
        return OrderedDict
    if full not in known:
        if len(known) >= MAX_INERT_CLASSES:
            raise ValueError(f"more than {MAX_INERT_CLASSES} classes are named")
        known[full] = type("Inert", (Inert,), {"name": full})
    return known[full]


def _hint(kind, parameters) -> Inert:
    """typing.Dict[str, int], which Python writes as operator.getitem(typing.Dict, (str, int))."""
    if not (isinstance(kind, type) and issubclass(kind, Inert) and kind.name.startswith("typing.")):
        raise Refused("operator.getitem")
    return kind(parameters)


def _type_of(value) -> str:
    if value is not None:
        raise Refused("builtins.type")
    return "NoneType"


ALLOWED |= {f"{m}.getitem": Function(_hint) for m in ("operator", "_operator")}
ALLOWED |= {f"{m}.type": Function(_type_of) for m in ("builtins", "__builtin__")}


# 3) From stand-ins to plain values.


class Seen(dict):
    """id -> plain value of what is done already, and how many bytes the file's sparse matrices have become."""

    dense_bytes = 0


def to_plain(value, seen: Seen, depth: int):
    """Arrays, tensors and builtins instead of stand-ins, also inside containers; a shared object stays shared.

    An `Inert` stays one, with plain contents; its class becomes the name of what it stands for.
    """
    if depth > MAX_NESTING:
        raise ValueError(f"containers are nested more than {MAX_NESTING} deep")
    if id(value) in seen:
        return seen[id(value)]
    # containers are remembered before they are filled: they may hold themselves
    if isinstance(value, dict):
        made = seen[id(value)] = {}
        for key, item in dict.items(value):
            made[to_plain(key, seen, depth + 1)] = to_plain(item, seen, depth + 1)
    elif type(value) is list:
        made = seen[id(value)] = []
        made.extend(to_plain(item, seen, depth + 1) for item in value)
    elif type(value) in (tuple, set, frozenset):
        made = type(value)(to_plain(item, seen, depth + 1) for item in value)
    elif isinstance(value, Inert):
        made = seen[id(value)] = value
        for part in ("args", "kwargs", "state", "values", "items"):
            setattr(value, part, to_plain(getattr(value, part), seen, depth + 1))
    elif isinstance(value, Function) or (isinstance(value, type) and issubclass(value, Inert)):
        made = value.name
    elif isinstance(value, _Array):
        made = _object_array(value, seen, depth) if value.type.hasobject else value.raw
    elif isinstance(value, _Csc | _Csr):
        made = _dense(value, seen)
    elif isinstance(value, _Chumpy):
        made = np.asarray(to_plain(value.state["x"], seen, depth + 1))
    elif isinstance(value, Storage):
        made = value.numbers
    elif isinstance(value, _DType):
        made = value.dtype()
    else:
        made = value
    seen[id(value)] = made
    return made


def _object_array(value: _Array, seen: Seen, depth: int) -> np.ndarray:
    """An array of objects, such as the strings or ragged lists of a GloVe table."""
    if len(value.raw) != math.prod(value.shape):
        raise ValueError(f"an array of {value.shape} objects has {len(value.raw)}")
    made = np.empty(len(value.raw), object)
    for i, item in enumerate(value.raw):  # one by one: numpy would stack equal arrays
        made[i] = to_plain(item, seen, depth + 1)
    return made.reshape(value.shape, order="F" if value.fortran else "C")


def _dense(matrix: _Csc | _Csr, seen: Seen) -> np.ndarray:
    """A sparse matrix as an array, after its parts were checked against each other."""
    data, indices, ends = (to_plain(matrix.state[key], Seen(), 0) for key in ("data", "indices", "indptr"))
    indices = indices.astype(np.int64)
    counts = np.diff(ends.astype(np.int64))  # entries per line
    rows, columns = (int(n) for n in matrix.state.get("_shape", matrix.state.get("shape")))
    lines, across = (rows, columns) if isinstance(matrix, _Csr) else (columns, rows)
    if min(rows, columns) < 0 or len(ends) != lines + 1 or data.dtype.hasobject:
        raise ValueError(f"the parts of a sparse matrix of {rows} x {columns} do not fit together")
    # a few bytes may claim a huge matrix, and a file may hold many of them
    seen.dense_bytes += rows * columns * data.dtype.itemsize
    check_declared(seen.dense_bytes, f"a sparse matrix of {rows} x {columns}", DENSE_COPIES)
    if (counts < 0).any() or counts.sum() != len(indices) or len(data) != len(indices):
        raise ValueError("the parts of a sparse matrix do not fit together")
    if len(indices) and not (0 <= indices.min() and indices.max() < across):
        raise ValueError("an index of a sparse matrix is outside it")
    dense = np.zeros((lines, across), data.dtype)
    np.add.at(dense, (np.repeat(np.arange(lines), counts), indices), data)  # an entry may be given in parts
    return dense if isinstance(matrix, _Csr) else dense.T.copy()
