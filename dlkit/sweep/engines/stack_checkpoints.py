"""Checkpoints of an unfinished stack, so that a killed sweep loses a bounded amount of work."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from dlkit.errors import DlkitError, shell_word
from dlkit.finite import require_finite_weights
from dlkit.storage.run_files import prune_checkpoints, steps_in
from dlkit.storage.run_reference import checkpoint_name
from dlkit.storage.sweep_files import STACK
from dlkit.sweep import sweep_folder
from dlkit.training import checkpoint
from dlkit.training.checkpoint import Checkpoint

# A stack is saved every 15 seconds or, if saving is slow, after 20 times the duration of a save.
SECONDS, SAVES = 15.0, 20.0


class StackCheckpoints:
    """The latest checkpoint of a stack, saved at intervals and when the sweep is asked to stop.

    Args:
        folder: of the sweep; None saves nothing.
        should_stop: whether the sweep was asked to stop.
    """

    def __init__(self, folder: Path | None = None, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.folder = folder / STACK if folder is not None else None
        self.should_stop = should_stop
        self._saved, self._cost = time.monotonic(), 0.0

    def load(self) -> Checkpoint | None:
        """The latest checkpoint, or None.

        Raises:
            DlkitError: it is damaged, not a checkpoint of a stack, or that of another sweep.
            NotFiniteError: weights of a run that had not diverged are NaN or infinite.
        """
        steps = steps_in(self.folder) if self.folder is not None else []
        if self.folder is None or not steps:
            return None
        path = self.folder / checkpoint_name(steps[-1])
        saved = checkpoint.load_checkpoint(path)
        again = f"rm -r {shell_word(self.folder)}: the runs in it begin again"
        if not {"parameters", "buffers", "optimizers", "sums"} <= saved.tensors.keys():
            raise DlkitError(f"{path} is no checkpoint of a stack", again)
        race = sweep_folder.identity(self.folder.parent)
        if saved.state.get("race", race) != race:  # an earlier dlkit did not say
            raise DlkitError(f"{path} is of another race", again)
        going_on = saved.tensors["sums"]["finite"]  # (R,)
        weights = {**saved.tensors["parameters"], **saved.tensors["buffers"]}  # (R, ...)
        require_finite_weights({name: value[going_on] for name, value in weights.items()}, path)
        return saved

    def due(self) -> bool:
        """Whether it is time to save."""
        waited = time.monotonic() - self._saved
        return self.folder is not None and (waited >= max(SECONDS, SAVES * self._cost) or self.should_stop())

    def save(self, state: Checkpoint) -> None:
        """Replace the previous checkpoint. Raises DlkitError if it cannot be written."""
        assert self.folder is not None
        started = time.monotonic()
        state.state["race"] = sweep_folder.identity(self.folder.parent)
        checkpoint.save_checkpoint(self.folder, state)
        prune_checkpoints(self.folder, {state.step})
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def clear(self) -> None:
        """Delete the checkpoint, once the stack has finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
