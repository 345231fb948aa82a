"""Output that is there whole or not at all: a temporary file beside its final name, synced, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, cast

from dlkit.errors import DlkitError, RequestError


def refuse(path: Path | None, overwrite: bool) -> None:
    """Raise RequestError where the output, None for standard output, cannot go."""
    if path is None:
        if sys.stdout.isatty():
            raise RequestError("bytes do not go to a terminal", "give -o FILE, or pipe them on")
        return
    if path.is_dir() or not path.parent.is_dir():
        raise RequestError(
            f"cannot write {path}: " + ("it is a folder" if path.is_dir() else "its folder is not there"),
            "give -o a file in a folder that is there",
        )
    if path.exists() and not overwrite:
        raise RequestError(f"{path} is there already", "use --overwrite, or another name")


@contextlib.contextmanager
def whole_file(path: Path | None) -> Generator[BinaryIO]:
    """A binary file to write and to read again, which takes its name, or goes to standard output, at the end.

    After an error, an interrupt or SIGTERM, which becomes exit code 143, nothing is left behind.
    """
    previous = signal.signal(signal.SIGTERM, _terminate)
    temporary = ""
    try:
        if path is None:
            with tempfile.TemporaryFile() as file:
                yield cast(BinaryIO, file)
                file.seek(0)
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.flush()
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(descriptor, "w+b") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's own is for one user only # noqa: PTH101
        Path(temporary).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = path or "standard output"
        raise DlkitError(f"cannot write {where}: {error.strerror or error}", "is the disk full?") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        signal.signal(signal.SIGTERM, previous)


def _terminate(number: int, frame: FrameType | None) -> Any:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def binary_input(path: Path | None) -> Generator[BinaryIO]:
    """A file to read, or standard input for None.

    Raises:
        RequestError: standard input is a terminal.
        DlkitError: the file cannot be opened.
    """
    if path is None:
        if sys.stdin.isatty():
            raise RequestError("nothing on standard input", "give a FILE, or pipe something in")
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise DlkitError(f"cannot read {path}: {error.strerror}") from error
    with file:
        yield file
