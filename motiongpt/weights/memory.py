"""Whether a model fits into memory, asked before it is loaded: an out-of-memory kill explains nothing.

Free memory is what the system says a new process may take, within the limit of a container. Where the system does not
say, no model is refused.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

NOTE_BYTES = 4e9  # from this size on, a line says what the model needs
TIGHT = 0.8  # above this share of the free memory, the line says that little is left
SHORT_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}
CGROUPS = (  # of a container: (folder, its limit, what it uses, the part of that which gives way)
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def check_memory(numbers: int, dtype: torch.dtype, device: torch.device | str, what: object) -> None:
    """ValueError if a model of so many numbers cannot fit; a line on stderr if it is large.

    The line is like "needs 28.0 GB in fp32, 14.0 GB in bf16; this machine has 16.0 GB free".
    """
    needed = numbers * dtype.itemsize
    sizes = [dtype, *(other for other in (torch.float32, torch.bfloat16) if other != dtype)]
    parts = [f"{numbers * other.itemsize / 1e9:.1f} GB in {SHORT_NAMES[other]}" for other in sizes]
    check_fits(needed, device, f"{what} needs {', '.join(parts)}")


def check_fits(needed: int, device: torch.device | str, line: str) -> None:
    """ValueError beginning with `line` if so many bytes are not free; `line` on stderr if they are many."""
    device = torch.device(device)
    free = free_memory(device)
    place = "this machine" if device.type == "cpu" else f"device {device}"
    if free is not None:
        line = f"{line}; {place} has {free / 1e9:.1f} GB free"
        if needed > free:
            raise ValueError(f"{line}: close other programs, or take a smaller model or a larger machine")
    if needed >= NOTE_BYTES:
        tight = free is not None and needed > TIGHT * free
        print(f"note: {line}{' (little is left to work with)' if tight else ''}", file=sys.stderr)


def free_memory(device: torch.device) -> int | None:
    """Bytes that a new tensor may take on a device; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [_of_machine(), *(_of_container(*names) for names in CGROUPS)]
    return min((size for size in found if size is not None), default=None)


def _of_machine() -> int | None:
    """Memory without swapping, plus free swap; where the system does not say (macOS), all there is."""
    with suppress(OSError, ValueError, KeyError):
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * sum(int(lines[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    with suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container(folder: str, limit: str, used: str, cached: str) -> int | None:
    """What a container may still take; None outside one."""
    root = Path(folder)
    with suppress(OSError, ValueError, KeyError):
        most = int((root / limit).read_text())  # "max" without a limit: a ValueError
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        return max(0, most - int((root / used).read_text()) + int(stat[cached]))
    return None
