"""Atomic files: written under a temporary name, synced, then renamed, so that they are complete or absent."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from dlkit.errors import DlkitError, RequestError, shell_word


@contextlib.contextmanager
def atomic_file(path: Path) -> Generator[BinaryIO]:
    """A binary file, open for writing and reading, that replaces `path` at the end of the block. Links are followed.

    After an error or an interrupt, `path` is unchanged.

    Raises:
        DlkitError: it cannot be written, or `path` is not an ordinary file.
    """
    target = Path(os.path.realpath(path))  # Path.resolve raises for circular links
    if target.exists() and not target.is_file():
        raise DlkitError(f"{path} is not an ordinary file", "give the output a name of its own")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise DlkitError(f"cannot write {path}: {reason}", "is there such a folder, and room in it?") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_target(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Check, before the work, that the output file of an option can be written after it.

    Args:
        option: named in the errors.
        path: of the file.
        suffixes: those allowed.

    Raises:
        RequestError: it has another suffix, is a folder, or its folder does not exist.
        DlkitError: the folder or the file cannot be written.
    """
    if path.is_dir():
        raise RequestError(f"{option} {path} is a folder", f"give a file in it: {option} {path / f'file{suffixes[0]}'}")
    if path.suffix.lower() not in suffixes:
        wanted = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
        raise RequestError(
            f"{option} {path} does not end in {wanted}",
            f"give {option} {shell_word(path.with_suffix(suffixes[0]))}",
        )
    if not path.parent.is_dir():
        raise RequestError(
            f"{option} {path}: there is no folder {path.parent}",
            f"make it first: mkdir -p {shell_word(path.parent)}",
        )
    if path.exists() and not os.access(path, os.W_OK):
        raise DlkitError(f"{option} {path} cannot be written", "check its permissions")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DlkitError(f"{option} {path}: cannot write into {path.parent}: {error.strerror}") from error


def unfinished_files(path: Path) -> list[Path]:
    """Temporary files left by processes that were killed while they wrote `path`."""
    return list(path.parent.glob(f".{path.name}.*.tmp"))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8; surrogates, such as undecodable bytes of file names, are escaped.

    Raises:
        DlkitError: as `atomic_file`.
    """
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries to the disk; nothing on Windows, which opens no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
