"""What a run keeps on disk, and how it is deleted: those files and no others, never through a link. Free of torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from dlkit.errors import RequestError
from dlkit.storage.atomic_file import unfinished_files
from dlkit.storage.lock import LOCK
from dlkit.storage.run_reference import CODE, ENVIRONMENT, METRICS, RECIPE, RUNS, SUMMARY, checkpoint_name, step_folders

DAMAGED = "damaged.txt"  # a line for each image that was left out
DIVERGED = "diverged.json"  # why training ended, where a loss or the weights were no longer finite
# in the order of deletion: RECIPE, last, is what makes a directory a run
FILES = (METRICS, ENVIRONMENT, SUMMARY, DAMAGED, DIVERGED, "curves.svg", RECIPE)
CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"
LAST, BEST = "last", "best"
RUN_FILES = (CHECKPOINTS, TENSORBOARD, CODE, *FILES)


def require_new_run(path: Path | None, overwrite: bool) -> None:
    """Raise RequestError if a new run may not be made at `path`: a file, another run, or a folder of other things."""
    if path is None or not path.exists():
        return
    if not path.is_dir():
        raise RequestError(f"{path} is a file", "choose another `run_dir`")
    if {*path.iterdir()} <= {path / LOCK, *unfinished_files(path / RECIPE)}:  # empty, or killed while it was created
        return
    if (path / RUNS).exists() and not (path / CHECKPOINTS).is_dir():
        raise RequestError(f"{path} holds a race of optimizers", "choose another `run_dir`")
    if not (path / RECIPE).exists():
        raise RequestError(f"{path} is not empty and holds no run", "choose another `run_dir`")
    if not overwrite:
        raise RequestError(f"{path} already holds a run", "continue it with `resume`, or use `overwrite`")


def clear_run(path: Path) -> None:
    """Delete what a run makes in its directory, and nothing else. The directory must be locked."""
    clear_checkpoints(path / CHECKPOINTS, (LAST, BEST))
    for name in FILES:
        for part in unfinished_files(path / name):
            remove_path(part)
    for name in (TENSORBOARD, CODE, *FILES):
        remove_path(path / name)


def steps_in(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in a folder, in ascending order. Raises DlkitError if the folder is a link."""
    return [step for step, whole in step_folders(folder).items() if whole]


def prune_checkpoints(folder: Path, kept: set[int]) -> None:
    """Delete the checkpoints of all other steps, and temporary files that a killed run left."""
    for step in set(steps_in(folder)) - kept:
        shutil.rmtree(folder / checkpoint_name(step))
    for path in folder.glob(".*.tmp"):
        remove_path(path)


def clear_checkpoints(folder: Path, pointers: tuple[str, ...]) -> None:
    """Delete the checkpoints and pointers in a folder, and the folder if that leaves it empty; of a link, the link."""
    if folder.is_symlink() or not folder.is_dir():
        remove_path(folder)
        return
    for name in (*pointers, *map(checkpoint_name, step_folders(folder))):
        remove_path(folder / name)
    prune_checkpoints(folder, set())
    if not any(folder.iterdir()):
        folder.rmdir()


def remove_path(path: Path) -> None:
    """Delete a file, a folder or a link, never what a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
