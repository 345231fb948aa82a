"""The run directory: recipe, environment, metrics, checkpoints and summary of one run, safe against kills and twins."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

from dlkit.claim import LOCK, claim
from dlkit.errors import DlkitError, RequestError
from dlkit.train import checkpoint as checkpoints
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.events import Evaluated, Event, StepDone
from dlkit.whole_file import unfinished, write_text

RECIPE, ENVIRONMENT, METRICS, SUMMARY = "recipe.yaml", "environment.json", "metrics.jsonl", "summary.json"
DAMAGED = "damaged.txt"  # a line for each image that was left out
# in the order in which they are deleted: by the last, a directory is a run
_FILES = (METRICS, ENVIRONMENT, SUMMARY, DAMAGED, "curves.svg", RECIPE)
CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"
LAST, BEST = "last", "best"


class RunDirectory:
    """An open, locked run directory. Use it as a context manager, which releases the lock.

    Args:
        path: of an existing directory.
        keep_all: never delete a checkpoint; else only the last and the best stay.

    Raises:
        DlkitError: another process is using it, or it cannot be written.
    """

    def __init__(self, path: Path, keep_all: bool = False) -> None:
        self.path = path
        self.keep_all = keep_all
        self.checkpoints = path / CHECKPOINTS
        self._lock = claim(path, "--run-dir")
        for name in _FILES:
            for part in unfinished(path / name):
                part.unlink(missing_ok=True)
        self._metrics: Any = None
        self._best_step: int | None = None

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._lock.release()

    # ------------------------------------------------------------------ files

    def write(self, name: str, text: str) -> None:
        """Write a file of the run whole or not at all."""
        write_text(self.path / name, text)

    def open_metrics(self, keep: int = 0) -> None:
        """Open metrics.jsonl behind its first `keep` bytes; what a killed run wrote after its checkpoint is dropped."""
        path = self.path / METRICS
        size = path.stat().st_size if path.exists() else 0
        if size < keep:
            raise DlkitError(f"{path} is shorter ({size} bytes) than when the checkpoint was taken ({keep} bytes)")
        self._metrics = path.open("ab")
        self._metrics.truncate(keep)

    def record(self, event: Event) -> None:
        """Append a logged step or an evaluation to metrics.jsonl."""
        if isinstance(event, StepDone) and event.metrics is not None:
            self._append({"step": event.step, "epoch": event.epoch, "lr": event.lr, **event.metrics})
        elif isinstance(event, Evaluated):
            self._append({"step": event.step, "epoch": event.epoch, **event.metrics})

    def _append(self, record: dict[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        try:
            self._metrics.write(json.dumps(finite).encode() + b"\n")
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> DlkitError:
        reason = "no space left on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        return DlkitError(f"cannot write {self.path / METRICS}: {reason}", "free some space, then use --resume")

    # ------------------------------------------------------------------ checkpoints

    def save(self, checkpoint: Checkpoint, best: bool) -> Path:
        """Save a checkpoint and move the pointers; old ones without one go, unless all are kept."""
        try:
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        except OSError as error:
            raise self._full(error) from error
        if best:
            self._best_step = checkpoint.step
        checkpoint.state["metrics_bytes"] = self._metrics.tell()
        checkpoint.state["best_step"] = self._best_step
        path = checkpoints.save(self.checkpoints, checkpoint)
        self._point(checkpoint.step)
        return path

    def _point(self, step: int) -> None:
        keep = {step}
        try:
            checkpoints.point(self.checkpoints, LAST, step)
            if self._best_step is not None:
                checkpoints.point(self.checkpoints, BEST, self._best_step)
                keep.add(self._best_step)
            checkpoints.prune(self.checkpoints, set(checkpoints.steps_in(self.checkpoints)) if self.keep_all else keep)
        except OSError as error:
            raise DlkitError(f"cannot write in {self.checkpoints}: {error.strerror}", "then use --resume") from error

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint, verified, or None before the first; the pointers name it from then on.

        Raises:
            DlkitError: it is damaged, or the pointers cannot be written.
        """
        steps = checkpoints.steps_in(self.checkpoints)
        if not steps:
            return None
        latest = checkpoints.load(self.checkpoints / checkpoints.directory_name(steps[-1]))
        self._best_step = latest.state["best_step"]
        self._point(latest.step)  # which a kill right after that checkpoint was saved has kept from being done
        return latest


def refuse(path: Path | None, overwrite: bool) -> None:
    """Raise RequestError if a new run may not be made at `path`: a file, another run, or a folder of other things."""
    if path is None or not path.exists():
        return
    if not path.is_dir():
        raise RequestError(f"{path} is a file", "choose another --run-dir")
    if {*path.iterdir()} <= {path / LOCK, *unfinished(path / RECIPE)}:  # nothing, or a run that was killed at its birth
        return
    if not (path / RECIPE).exists():
        raise RequestError(f"{path} is not empty and holds no run", "choose another --run-dir")
    if not overwrite:
        raise RequestError(f"{path} already holds a run", "continue it with --resume, or use --overwrite")


def create(path: Path | None, name: str, overwrite: bool = False) -> Path:
    """Make the directory of a new run.

    Args:
        path: where, or None for the next free `runs/<name>-<n>`.
        name: of the recipe.
        overwrite: delete an earlier run in `path` first.

    Raises:
        RequestError: see `refuse`.
        DlkitError: it cannot be made.
    """
    refuse(path, overwrite)
    try:
        if path is None:
            return _next_free(Path("runs"), name)
        if (path / RECIPE).exists():
            _clear(path)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlkitError(f"cannot make {path or 'runs'}: {error.strerror}", "choose another --run-dir") from error
    return path


def _clear(path: Path) -> None:
    """Delete an earlier run's files, and only those that a run makes."""
    with RunDirectory(path):
        for name in (CHECKPOINTS, TENSORBOARD):
            shutil.rmtree(path / name, ignore_errors=True)
        for name in _FILES:
            (path / name).unlink(missing_ok=True)


def _next_free(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    taken = [re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name) for path in folder.iterdir()]
    number = 1 + max((int(match[1]) for match in taken if match), default=0)
    while True:
        try:
            (folder / f"{name}-{number}").mkdir()
        except FileExistsError:  # another run took it in between
            number += 1
        else:
            return folder / f"{name}-{number}"
