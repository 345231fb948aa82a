"""Files that are there whole or not at all: written beside their final name, synced, then renamed."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from dlkit.errors import DlkitError, RequestError


@contextlib.contextmanager
def atomic_file(path: Path) -> Generator[BinaryIO]:
    """A binary file, to write and to read again, that takes its name at the end of the block. A link is followed.

    After an error or an interrupt, whatever had that name is as it was.

    Raises:
        DlkitError: it cannot be written, or the name is that of something else than an ordinary file.
    """
    target = Path(os.path.realpath(path))  # Path.resolve raises an error of its own for links in a circle
    if target.exists() and not target.is_file():
        raise DlkitError(f"{path} is no ordinary file", "give the output a name of its own")
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
    """Raise where the file that an option asks for could not be written: before the work is done, and not after.

    Args:
        option: in whose words the errors are.
        path: of the file.
        suffixes: one of which it must end in.

    Raises:
        RequestError: another suffix, a folder, or a place in a folder that is not there.
        DlkitError: the folder or the file cannot be written.
    """
    if path.is_dir():
        raise RequestError(f"{option} {path} is a folder", f"give a file in it: {option} {path / f'file{suffixes[0]}'}")
    if path.suffix.lower() not in suffixes:
        wanted = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
        raise RequestError(
            f"{option} {path} does not end in {wanted}",
            f"give {option} {shlex.quote(str(path.with_suffix(suffixes[0])))}",
        )
    if not path.parent.is_dir():
        raise RequestError(
            f"{option} {path}: there is no folder {path.parent}",
            f"make it first: mkdir -p {shlex.quote(str(path.parent))}",
        )
    if path.exists() and not os.access(path, os.W_OK):
        raise DlkitError(f"{option} {path} cannot be written", "check its permissions")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DlkitError(f"{option} {path}: cannot write into {path.parent}: {error.strerror}") from error


def unfinished_files(path: Path) -> list[Path]:
    """What processes that were killed while they wrote `path` left beside it."""
    return list(path.parent.glob(f".{path.name}.*.tmp"))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8; what is no text, as a byte in a file's name may be, is spelled out.

    Raises:
        DlkitError: as `atomic_file`.
    """
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
