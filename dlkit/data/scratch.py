"""Room on disk for what is too large for memory: arrays in files that are mapped and vanish with their last user.

What is written to a file stays in memory until the disk has it, and counts towards the limit of a control group, which
may end a process before that is done. Hence whoever writes much to a file settles it bit by bit.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError
from dlkit.memory import free_memory, size_text

_SHARE = 4  # the rows of a table are in memory up to four times: as read, as numbers, by split, standardised


def is_large(size: int) -> bool:
    """Whether so many bytes are more than a fourth of the memory that is free."""
    room = free_memory()
    return room is not None and size > room / _SHARE


def empty_array(shape: tuple[int, ...], kind: type[np.generic], order: str = "C") -> NDArray[Any]:
    """An array whose contents are yet to be written; where it is large, in an unlinked file of TMPDIR.

    Raises DlkitError where the disk has no room for it.
    """
    size = math.prod(shape) * np.dtype(kind).itemsize
    if size == 0 or not is_large(size):
        return np.empty(shape, kind, order="F" if order == "F" else "C")
    with room_on_disk(size), tempfile.TemporaryFile(prefix="dlkit-") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk would otherwise kill the process as it writes
        return np.memmap(file, kind, "r+" if hasattr(os, "posix_fallocate") else "w+", 0, shape, order)  # pyright: ignore


def settle(array: NDArray[Any]) -> None:
    """Write what has been put into a part of a mapped array to its file, so that its memory can be taken back."""
    mapped = getattr(array, "_mmap", None)
    if mapped is None or not array.size:
        return
    low, high = np.lib.array_utils.byte_bounds(array)
    first = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    begin = (low - first) // mmap.PAGESIZE * mmap.PAGESIZE
    mapped.flush(begin, high - first - begin)
    if hasattr(mmap, "MADV_DONTNEED"):  # of a file: what is read again comes from it
        mapped.madvise(mmap.MADV_DONTNEED, begin, high - first - begin)


@contextlib.contextmanager
def room_on_disk(size: int) -> Generator[None]:
    """Raise DlkitError, on a full disk, that says how many bytes are needed and where."""
    try:
        yield
    except OSError as error:
        # pyarrow keeps only the message of the error, not its number
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and "No space left" not in str(error):
            raise
        raise no_room(size) from error


def no_room(size: int) -> DlkitError:
    """The error of a disk that has no room for so many bytes."""
    folder = Path(tempfile.gettempdir())
    return DlkitError(
        f"no room in {folder} for {size_text(size)} of a table that is larger than memory",
        "name a folder on a larger disk: TMPDIR=FOLDER dlkit ...",
    )
