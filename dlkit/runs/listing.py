"""The runs and races in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.progress import stage
from dlkit.runs.listed_run import ListedRun, read_race, read_run
from dlkit.storage.run_files import CHECKPOINTS, RUN_FILES
from dlkit.storage.run_reference import ENVIRONMENT, METRICS, RECIPE, RUNS
from dlkit.storage.sweep_files import SWEEP_FILES


def list_runs(folder: Path, unread: Callable[[OSError], None] | None = None) -> list[ListedRun]:
    """The runs and races in a folder and in the folders in it; by name, 2 before 10.

    Links are not followed. A folder that is deleted meanwhile is none.

    Args:
        folder: where to look.
        unread: is told of each folder below that cannot be read; without it, that is an error.

    Raises:
        DlkitError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise DlkitError(f"no such folder: {folder}", "`dlkit train RECIPE` makes a run, in runs/")
    try:
        with stage(f"folders of {folder} looked through") as advance:
            found = [*_found_in(folder, unread, advance)]
    except OSError as error:
        raise DlkitError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    return sorted(found, key=lambda run: _natural(str(run.path)))


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return {entry.name: entry for entry in entries}


def _found_in(
    top: Path, unread: Callable[[OSError], None] | None, advance: Callable[[int], None]
) -> Iterator[ListedRun]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = _entries(folder)
        except OSError as error:
            if folder != top and isinstance(error, FileNotFoundError):
                continue
            if folder == top or unread is None:
                raise
            unread(error)
            continue
        advance(1)
        own: Sequence[str] = ()
        if RUNS in entries and CHECKPOINTS not in entries:
            yield read_race(folder)
            own = SWEEP_FILES
        elif RECIPE in entries or (CHECKPOINTS in entries and (METRICS in entries or ENVIRONMENT in entries)):
            yield read_run(folder)
            own = RUN_FILES
        waiting += [folder / name for name, entry in entries.items() if name not in own and _is_visible_folder(entry)]


def _is_visible_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
    except OSError:  # it was deleted meanwhile
        return False
