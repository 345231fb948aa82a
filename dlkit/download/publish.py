"""Publish a prepared data set: it appears in the data directory at once and whole, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from dlkit.download import failures


def publish(work: Path, done: Path, folder: Path) -> None:
    """Move `work`/new to its place, and delete the rest of `work`.

    The rename of `work` to `done` marks it as complete: if the command is killed after that, the next one finishes.
    """
    try:
        work.rename(done)
    except OSError as error:
        raise failures.disk_error(error, done) from error
    finish_publishing(done, folder)


def finish_publishing(done: Path, folder: Path) -> None:
    """Finish publishing from whatever point it was left at; does nothing if `done` does not exist."""
    new, old = done / "new", done / "old"
    try:
        if new.exists():
            if folder.exists():
                folder.rename(old)
            folder.parent.mkdir(parents=True, exist_ok=True)
            new.rename(folder)
    except OSError as error:
        raise failures.disk_error(error, folder) from error
    shutil.rmtree(done, ignore_errors=True)
