"""Files that belong together: all of them appear in a directory, or none."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.storage.atomic_file import sync_folder


def write_together(
    directory: Path, write: Callable[[Path], None], last: tuple[str, ...], replaced: Iterable[str] = ()
) -> dict[str, int]:
    """Move what `write` puts into an empty folder to `directory`; returns the size of each file in bytes.

    After an error or an interrupt, `directory` contains none of the files, and does not exist if it is new.

    Args:
        directory: an existing one, or a new one.
        write: called with a temporary folder beside the final location.
        last: files that identify the directory's kind, which appear after all others.
        replaced: files that are removed before the new ones appear.

    Raises:
        DlkitError: the directory cannot be written.
    """
    is_new, moved, name = not directory.exists(), list[Path](), ""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as folder:
            write(Path(folder))
            found = {path.name: path for path in Path(folder).iterdir()}
            for name in found:
                _sync_file(found[name])
            for name in replaced:
                (directory / name).unlink(missing_ok=True)
            for name in sorted(found, key=lambda file: (last.index(file) if file in last else -1, file)):
                found[name].replace(directory / name)
                moved.append(directory / name)
                sync_folder(directory)
        return {path.name: path.stat().st_size for path in moved}
    except BaseException as error:
        for path in moved:
            path.unlink(missing_ok=True)
        if is_new:
            with contextlib.suppress(OSError):  # another program may be writing there, or has removed it
                directory.rmdir()
        if isinstance(error, OSError):
            raise DlkitError(
                f"cannot write {directory / name}: {error.strerror or error}", "choose another directory"
            ) from error
        raise


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
