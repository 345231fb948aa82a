"""The run directory: recipe, environment, metrics, checkpoints and summary of a run, locked for one process."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError, shell_word
from dlkit.storage.atomic_file import atomic_file, unfinished_files, write_text
from dlkit.storage.lock import lock_folder
from dlkit.storage.run_files import (
    BEST,
    CHECKPOINTS,
    DAMAGED,
    DIVERGED,
    FILES,
    LAST,
    TENSORBOARD,
    clear_run,
    prune_checkpoints,
    require_new_run,
    steps_in,
)
from dlkit.storage.run_reference import (
    CODE,
    METRICS,
    RECIPE,
    SUMMARY,
    checkpoint_name,
    require_inside,
    step_folders,
)
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file
from dlkit.training import checkpoint as checkpoints
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.events import Evaluated, Event, StepDone


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
        self._lock = lock_folder(path, "`run_dir`")
        for name in FILES:
            for part in unfinished_files(path / name):
                part.unlink(missing_ok=True)
        self._metrics: Any = None
        self._recorded = hashlib.sha256()  # of what metrics.jsonl holds
        self._best_step: int | None = None
        self._left_out: set[str] = set()  # lines of damaged.txt

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

    def write_code(self, name: str, content: bytes) -> None:
        """Write a copy of a file of the user's own code, whole or not at all."""
        (self.path / CODE).mkdir(exist_ok=True)
        with atomic_file(self.path / CODE / name) as file:
            file.write(content)

    def open_metrics(self, latest: Checkpoint | None = None) -> None:
        """Open metrics.jsonl to append behind what it held at a checkpoint; what a killed run wrote later is dropped.

        Raises DlkitError, before anything is changed, if what it held then has changed since.
        """
        path = self.path / METRICS
        length = latest.state["metrics_bytes"] if latest else 0
        try:
            held = ordinary_file(path).read_bytes()[:length] if length else b""
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from error
        self._recorded.update(held)
        if len(held) < length:
            raise self._damaged(f"is shorter ({len(held)} bytes) than when the checkpoint was taken ({length} bytes)")
        if latest and latest.state.get("metrics_sha256", self._recorded.hexdigest()) != self._recorded.hexdigest():
            raise self._damaged(f"is not as it was when the checkpoint of step {latest.step} was taken")
        for number, line in enumerate(held.splitlines(), start=1):  # earlier versions saved no hash
            if not _is_record(line):
                raise self._damaged(f"line {number} is not a record: {line[:60]!r}")
        if latest and (noted := self.path / DAMAGED).exists():
            self._left_out.update(noted.read_text(encoding="utf-8").split("\n")[:-1])
        self._metrics = path.open("ab")
        self._metrics.truncate(length)
        (self.path / DIVERGED).unlink(missing_ok=True)  # it goes on

    def _damaged(self, why: str) -> DlkitError:
        again = f"restore it from a copy, or train anew: dlkit train {shell_word(self.path / RECIPE)}"
        return DlkitError(f"damaged: {self.path / METRICS} {why}", again)

    def record(self, event: Event) -> None:
        """Append a logged step or an evaluation to metrics.jsonl."""
        if isinstance(event, StepDone) and event.metrics is not None:
            self._append({"step": event.step, "epoch": event.epoch, "lr": event.lr, **event.metrics})
        elif isinstance(event, Evaluated):
            self._append({"step": event.step, "epoch": event.epoch, **event.metrics})

    def _append(self, record: dict[str, Any]) -> None:
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        line = json.dumps(finite).encode() + b"\n"
        self._recorded.update(line)
        try:
            self._metrics.write(line)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> DlkitError:
        reason = "no space left on the disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        return DlkitError(f"cannot write {self.path / METRICS}: {reason}", "free some space, then use `resume`")

    def _require_there(self) -> None:
        """Raise DlkitError if the directory was moved or deleted meanwhile: the run would go on in two places."""
        opened, path = os.fstat(self._metrics.fileno()), self.path / METRICS
        if not path.exists() or not os.path.samestat(opened, path.stat()):
            raise DlkitError(
                f"{path} was moved, replaced or deleted while the run was writing it",
                f"put {self.path} back where it was, then go on: dlkit train {shell_word(self.path)} --resume",
            )

    def note_damaged(self, found: Mapping[str, str]) -> int:
        """Add images that were left out, name -> why, to damaged.txt; returns how many it lists since the run began.

        A resumed run does not read again what it has passed.
        """
        lines = {
            f"{name}: {why}".encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")
            for name, why in found.items()
        }
        if not lines <= self._left_out:
            self._left_out |= lines
            self.write(DAMAGED, "".join(f"{line}\n" for line in sorted(self._left_out)))
        return len(self._left_out)

    def note_diverged(self, message: str) -> None:
        """Write down why training ended; `open_metrics` takes it back when the run goes on."""
        self.write(DIVERGED, json.dumps({"error": message}) + "\n")

    # ------------------------------------------------------------------ checkpoints

    def save(self, checkpoint: Checkpoint, best: bool) -> Path:
        """Save a checkpoint and move the pointers; those that no pointer names are deleted, unless all are kept."""
        self._require_there()
        try:
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
        except OSError as error:
            raise self._full(error) from error
        if best:
            self._best_step = checkpoint.step
        checkpoint.state["metrics_bytes"] = self._metrics.tell()
        checkpoint.state["metrics_sha256"] = self._recorded.hexdigest()
        checkpoint.state["best_step"] = self._best_step
        path = checkpoints.save_checkpoint(self.checkpoints, checkpoint)
        self._point(checkpoint.step)
        return path

    def _point(self, step: int) -> None:
        kept = {step}
        try:
            checkpoints.set_pointer(self.checkpoints, LAST, step)
            if self._best_step is not None:
                # a pointer to one that was deleted would dangle; `eval` reports that it is missing
                if self._best_step in steps_in(self.checkpoints):
                    checkpoints.set_pointer(self.checkpoints, BEST, self._best_step)
                kept.add(self._best_step)
            prune_checkpoints(self.checkpoints, set(steps_in(self.checkpoints)) if self.keep_all else kept)
        except OSError as error:
            raise DlkitError(f"cannot write in {self.checkpoints}: {error.strerror}", "then use `resume`") from error

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, verified, or None if there is none yet; the pointers are moved to it.

        Raises:
            DlkitError: it is damaged or has been deleted, some file of the run is a link that leads out of the
                directory, or the pointers cannot be written.
        """
        for part in (*FILES, TENSORBOARD, CODE, CHECKPOINTS, f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}"):
            require_inside(self.path, self.path / part)
        checkpoints.restore_replaced(self.checkpoints)
        folders = step_folders(self.checkpoints)
        steps = [step for step, whole in folders.items() if whole]
        self._require_whole(folders, steps)
        if not steps:
            return None
        latest = checkpoints.load_checkpoint(self.checkpoints / checkpoint_name(steps[-1]))
        self._best_step = latest.state["best_step"]
        self._point(latest.step)  # a kill right after the checkpoint was saved may have prevented that
        return latest

    def _require_whole(self, folders: dict[int, bool], steps: list[int]) -> None:
        """Raise DlkitError if a checkpoint has been deleted or lost: starting over would lose the run's records too."""
        over = f"dlkit train {shell_word(self.path / RECIPE)} --run-dir {shell_word(self.path)} --overwrite"
        anew = f"restore it from a copy, or start over: {over}"
        newest = max(folders, default=None)
        if newest is not None and not folders[newest]:  # no kill leaves that: the manifest is written before the rename
            damaged = self.checkpoints / checkpoint_name(newest)
            back = f"restore it, or go back to step {steps[-1]}: rm -r {shell_word(damaged)}" if steps else anew
            raise DlkitError(f"damaged checkpoint: {damaged} has no {checkpoints.MANIFEST}", back)
        last = self.checkpoints / LAST
        if not steps and (os.path.lexists(last) or (self.path / SUMMARY).exists()):
            name = last.readlink() if last.is_symlink() else LAST
            raise DlkitError(f"{self.path} has lost its checkpoint {name}", anew)


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def create_run_directory(path: Path | None, name: str, overwrite: bool = False) -> Path:
    """Make the directory of a new run.

    Args:
        path: where, or None for the next free `runs/<name>-<n>`.
        name: of the recipe.
        overwrite: delete an earlier run in `path` first.

    Raises:
        RequestError: see `require_new_run`.
        DlkitError: it cannot be made.
    """
    require_new_run(path, overwrite)
    try:
        if path is None:
            return _next_free(Path("runs"), name)
        if (path / RECIPE).exists():
            _clear(path)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DlkitError(f"cannot make {path or 'runs'}: {error.strerror}", "choose another `run_dir`") from error
    return path


def _clear(path: Path) -> None:
    """Delete an earlier run's files, and only those that a run makes."""
    with RunDirectory(path):
        clear_run(path)


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
