"""Binary input and output: a file or a standard stream. An output file is complete or absent."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, cast

from dlkit.errors import DlkitError, RequestError
from dlkit.storage.atomic_file import atomic_file


def require_output(path: Path | None, overwrite: bool) -> None:
    """Raise RequestError if the output (None for standard output) cannot be written."""
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
def binary_output(path: Path | None) -> Generator[BinaryIO]:
    """A binary file to write and read back; at the end it gets its name, or is copied to standard output.

    After an error, an interrupt or a signal nothing is left behind.
    """
    try:
        if path is not None:
            with atomic_file(path) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.seek(0)
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DlkitError(f"cannot write standard output: {error.strerror or error}", "is the disk full?") from error


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
