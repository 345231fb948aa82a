"""The state of a stack that is underway, on the disk: what a kill takes from a race is bounded."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from dlkit.storage.run_reference import checkpoint_name
from dlkit.sweep.sweep_folder import STACK
from dlkit.train import checkpoint
from dlkit.train.checkpoint import Checkpoint

# A kill loses no more than so much of a stack's work; where saving is slow, than so many times what a save takes.
SECONDS, SAVES = 15.0, 20.0


class StackCheckpoints:
    """Saves checkpoints of a stack in a folder, every now and then and whenever the race is asked to stop.

    Args:
        folder: of the race; None keeps nothing.
        should_stop: whether the race is asked to stop.
    """

    def __init__(self, folder: Path | None = None, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.folder = folder / STACK if folder is not None else None
        self.should_stop = should_stop
        self._saved, self._cost = time.monotonic(), 0.0

    def load(self) -> Checkpoint | None:
        """The last checkpoint. Raises DlkitError if it is damaged."""
        steps = checkpoint.steps_in(self.folder) if self.folder is not None else []
        if self.folder is None or not steps:
            return None
        return checkpoint.load(self.folder / checkpoint_name(steps[-1]))

    def due(self) -> bool:
        waited = time.monotonic() - self._saved
        return self.folder is not None and (waited >= max(SECONDS, SAVES * self._cost) or self.should_stop())

    def save(self, state: Checkpoint) -> None:
        """Save in place of the checkpoint before. Raises DlkitError if the disk refuses."""
        assert self.folder is not None
        started = time.monotonic()
        checkpoint.save(self.folder, state)
        checkpoint.prune(self.folder, {state.step})
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def clear(self) -> None:
        """The stack has finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
