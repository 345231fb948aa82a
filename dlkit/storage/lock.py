"""Locking of a folder, so that one process at a time works in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.errors import DlkitError

if TYPE_CHECKING:
    from filelock import FileLock

LOCK = ".lock"
_PATIENCE = 0.05  # seconds: `is_locked` in another process holds a lock for an instant


def lock_folder(folder: Path, option: str) -> FileLock:
    """Lock a folder until the lock is released or the process ends.

    Args:
        folder: an existing folder.
        option: the command-line option that chooses another one.

    Raises:
        DlkitError: another process holds the lock, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=_PATIENCE / 5)
    except Timeout:
        raise DlkitError(f"{folder} is in use by another dlkit", f"wait for it, or choose another {option}") from None
    except OSError as error:
        raise DlkitError(f"cannot write in {folder}: {error.strerror}", f"choose another {option}") from error
    return lock


def is_locked(folder: Path) -> bool:
    """Whether another process, or another part of this one, holds the lock of a folder. Makes no file."""
    if not (folder / LOCK).is_file() or not os.access(folder / LOCK, os.W_OK):
        return False
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
