"""Deletion of runs that are no longer wanted: what a run has made, and nothing else, never through a link."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.runs.listed_run import ListedRun, read_run
from dlkit.runs.selection import Condition, select_runs, sort_runs
from dlkit.storage.lock import LOCK, lock_folder
from dlkit.storage.run_files import BEST, CHECKPOINTS, LAST, clear_run


def prunable_runs(
    runs: Sequence[ListedRun], conditions: Sequence[Condition] = (), keep: int | None = None, sort: str | None = None
) -> list[ListedRun]:
    """The runs that would be deleted: never a running one, never a race.

    Args:
        runs: to choose from.
        conditions: all of them hold for a run to delete. Without any, and without `keep`, these are the diverged and
            damaged runs, except those whose checkpoints are kept elsewhere, behind links.
        keep: how many runs of each recipe to keep, the first by `sort`.
        sort: see `sort_runs`.

    Raises:
        RequestError: no run has what is asked for.
    """
    chosen = [run for run in select_runs(runs, conditions) if run.kind == "run" and run.state != "running"]
    if keep is None:
        bad = (run for run in chosen if run.state in ("diverged", "damaged"))
        return chosen if conditions else [run for run in bad if not _keeps_elsewhere(run.path / CHECKPOINTS)]
    ordered = sort_runs(chosen, sort) if sort else chosen
    by_recipe = sorted(ordered, key=lambda run: run.recipe)
    return [run for _, same in itertools.groupby(by_recipe, key=lambda run: run.recipe) for run in [*same][keep:]]


def _keeps_elsewhere(folder: Path) -> bool:
    if folder.is_symlink():
        return True
    return folder.is_dir() and any(entry.is_symlink() and entry.name not in (LAST, BEST) for entry in folder.iterdir())


def remove_run(run: ListedRun) -> list[str]:
    """Delete a run. Returns the names of files in its directory that are not the run's, which stay.

    Raises:
        DlkitError: it is a link by now, runs in another process, has changed since it was listed, or cannot be deleted.
    """
    path = run.path
    if path.is_symlink():
        raise DlkitError(f"{path} is a link, to {path.readlink()}", "give the folder that it leads to")
    lock = lock_folder(path, "run")
    try:
        now = read_run(path)
        if now.changed != run.changed:
            raise DlkitError(f"{path} has changed since it was listed", "list the runs again: dlkit runs")
        clear_run(path)
    except OSError as error:
        raise DlkitError(f"cannot delete {error.filename or path}: {error.strerror}") from error
    finally:
        lock.release()
    left = sorted(entry.name for entry in path.iterdir() if entry.name != LOCK)
    if not left:
        _remove_empty(path)
    return left


def _remove_empty(path: Path) -> None:
    try:
        (path / LOCK).unlink(missing_ok=True)
        path.rmdir()
    except OSError as error:
        raise DlkitError(f"cannot delete {error.filename or path}: {error.strerror}") from error
