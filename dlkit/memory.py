"""Free memory, checked before it is allocated, and recognition of out-of-memory errors."""

from __future__ import annotations

import errno
import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError

_GROUPS = Path("/sys/fs/cgroup")
# Out-of-memory messages of torch, its allocators, the dynamic loader and the C++ library.
_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "cannot allocate memory",
    "bad_alloc",
    "unable to allocate",
    "failed to map segment",
    "can't start new thread",
    "storage size calculation overflowed",
)


def size_text(size: float) -> str:
    """Bytes in decimal units: `4300000000000` as `4.3 TB`."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} EB"


def free_memory(device: str = "cpu") -> int | None:
    """Bytes that this process can still allocate; None if the system does not say."""
    if device.startswith("cuda"):
        cuda: Any = sys.modules["torch"].cuda
        # memory that torch has reserved without using it is available, too
        return cuda.mem_get_info(device)[0] + cuda.memory_reserved(device) - cuda.memory_allocated(device)
    if device != "cpu":
        return None
    return min(_limits(), default=None)


def release_memory() -> None:
    """Collect garbage, and return torch's unused cache to the GPU."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def require_memory(size: int, what: str, hint: str, device: str = "cpu") -> None:
    """Raise DlkitError if `what` needs more bytes than are free."""
    room = free_memory(device)
    if room is not None and size > room:
        raise DlkitError(f"{what} needs about {size_text(size)} of memory, {size_text(max(0, room))} are free", hint)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory is exhausted, whoever raised it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, (RuntimeError, ImportError, ValueError)) and any(sign in text for sign in _SIGNS)


def allocation_remark(text: str) -> str:
    """The size in an allocator's message, as ` (4.3 TB wanted)`, or an empty string."""
    match = re.search(r"tried to allocate (\d+) bytes", text)
    return f" ({size_text(int(match[1]))} wanted)" if match else ""


def _limits() -> Iterator[int]:
    """Bytes left under each limit that applies: physical memory, control groups, address space."""
    values = _numbers(Path("/proc/meminfo"), ":")
    if "MemAvailable" in values:
        yield values["MemAvailable"] * 1024
    yield from _group_limits()
    if (most := address_space_limit()) is not None:
        pages = next(iter(_lines(Path("/proc/self/statm"))), "0").split()[0]
        yield most - int(pages) * os.sysconf("SC_PAGE_SIZE")


def address_space_limit() -> int | None:
    """The limit in bytes that `ulimit -v` sets; None if there is none, as on Windows, which has no such limits."""
    try:
        import resource
    except ImportError:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if most == resource.RLIM_INFINITY else most


def _group_limits() -> Iterator[int]:
    """Bytes left under the limits of this process's control groups, as a container has them, at every level."""
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, name = line.split(":", 2)
        if not controllers:  # version 2: one hierarchy for all
            top, (limit, usage, reclaimed) = _GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):  # version 1: memory has a hierarchy of its own
            top = _GROUPS / "memory"
            limit, usage, reclaimed = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            most, used = _number(folder / limit), _number(folder / usage)
            if most is not None and used is not None:
                # inactive pages of the file cache are reclaimed on demand
                yield most - used + _numbers(folder / "memory.stat", " ").get(reclaimed, 0)
            if folder == top:
                break


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def _number(path: Path) -> int | None:
    text = "".join(_lines(path))
    return int(text) if text.isdecimal() else None  # `max` is no limit


def _numbers(path: Path, separator: str) -> dict[str, int]:
    pairs = (line.partition(separator) for line in _lines(path))
    return {name: int(rest.split()[0]) for name, _, rest in pairs if rest.split()[:1] and rest.split()[0].isdecimal()}
