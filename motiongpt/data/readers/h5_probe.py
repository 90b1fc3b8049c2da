"""Reads an H5 file to its end, in a process of its own that a crash, a hang or a memory bomb of the H5 library ends.

`h5_files.py` runs the text of this file with `python -c`, so nothing of this project is imported. The limits are on
work, not on time: processor seconds and bytes. A busy machine makes no sound file look damaged.
"""

import math
import os
import sys

READY = "ready"  # printed when h5py is loaded: what comes before is no work on the file
EXIT_MEMORY = 3
SECONDS, BYTES_PER_SECOND, UNPACKED_PER_SECOND = 3, 1e6, 50e6  # of work: always, and for what a file holds
SLAB_BYTES = 1 << 26  # read at once
LEAST_CAP = 1 << 26  # the library itself takes some memory
MAX_LINKS = 16  # soft links on the way to one object


def own_object(file, name: str):
    """The object under `name`. Raises ValueError if it is absent or lies in another file.

    h5py would follow a link to another file, also behind a soft link, so each step is looked at before it is taken.
    """
    import h5py

    node = file
    steps = [part for part in name.split("/") if part]
    links = 0
    while steps:
        step = steps.pop(0)
        if step == ".":
            continue
        if not isinstance(node, h5py.Group) or not node.id.links.exists(step.encode()):
            raise ValueError(f"{name} is not in this file")
        kind = node.id.links.get_info(step.encode()).type
        if kind == h5py.h5l.TYPE_HARD:
            node = node[step]
            continue
        links += 1
        if kind != h5py.h5l.TYPE_SOFT or links > MAX_LINKS:
            raise ValueError(f"{name} is no data set of this file, but a link out of it")
        path = node.id.links.get_val(step.encode()).decode("utf-8", "replace")
        if path.startswith("/"):
            node = file
        steps = [part for part in path.split("/") if part] + steps
    return node


def lies_elsewhere(item) -> bool:
    """Whether a data set has its numbers in other files, or in other data sets."""
    return bool(item.external) or item.is_virtual


def chunk_bytes(item) -> int:
    """How many bytes the H5 library unpacks at once."""
    return math.prod(item.chunks) * item.dtype.itemsize if item.chunks else 0


def cache_bytes(cap: int) -> int:
    """Memory for unpacked chunks: one that is not kept is unpacked again for every clip in it."""
    return cap // 8


def _memory(field: str) -> int:
    """Bytes of this process: VmSize or VmHWM, the peak. 0 if the system does not say."""
    try:
        with open("/proc/self/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(field)), 0)
    except OSError:
        return 0


def _allow(seconds: float) -> None:
    """Let this process work for so many processor seconds, or for so many more. The system counts whole ones."""
    try:
        import resource
    except ImportError:  # Windows: the caller's clock stands in
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    is_first = soft == resource.RLIM_INFINITY
    end = math.ceil(used.ru_utime + used.ru_stime + seconds) if is_first else soft + int(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (end if hard == resource.RLIM_INFINITY else min(end, hard), hard))


def _allow_memory(more: int) -> None:
    size = _memory("VmSize")
    if size:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _read(item, expansion: int, growth: int, cap: int) -> None:
    """Read a data set once, in slabs; one that claims too much is left for the caller, who names it."""
    row = math.prod(item.shape[1:]) * item.dtype.itemsize
    size = row * len(item)
    stored = item.id.get_storage_size()
    if size > min(expansion * (stored + 1000), cap + growth * stored) or max(row, chunk_bytes(item)) > cap:
        return
    _allow(size / UNPACKED_PER_SECOND)
    # rows that share chunks are read together
    step = min(item.chunks[0] if item.chunks else 1, max(1, min(SLAB_BYTES, cap // 16) // max(row, 1)))
    for i in range(0, len(item), step):
        item[i : i + step]


def main(path: str, *arguments: str) -> None:
    import h5py

    expansion, growth, cap = map(int, arguments[:3])
    keys = arguments[3:]

    print(READY, flush=True)
    _allow(SECONDS + os.path.getsize(path) / BYTES_PER_SECOND)
    start, most = _memory("VmHWM"), max(cap, LEAST_CAP) * 5 // 4
    _allow_memory(most)
    try:
        with h5py.File(path, "r", rdcc_nbytes=cache_bytes(cap)) as file:
            dict(file.attrs)
            for name in file:
                try:
                    item = own_object(file, name)
                except ValueError:  # it is named if it is needed
                    continue
                dict(item.attrs)
                if name in keys and isinstance(item, h5py.Dataset) and item.shape and not lies_elsewhere(item):
                    _read(item, expansion, growth, cap)
    except Exception:
        # a packed chunk may become much larger than it claims; then the library runs out of memory at some point
        if _memory("VmHWM") - start > most // 4:
            sys.exit(EXIT_MEMORY)
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
