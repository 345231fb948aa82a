"""The state of a stack that is underway, on the disk: what a kill takes from a race is bounded."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.finite import require_finite_weights
from dlkit.sweep import race_folder
from dlkit.train import checkpoint
from dlkit.train.checkpoint import Checkpoint

# A kill loses no more than so much of a stack's work; where saving is slow, than so many times what a save takes.
SECONDS, SAVES = 15.0, 20.0


class Keep:
    """Saves checkpoints of a stack in a folder, every now and then and whenever the race is asked to stop.

    Args:
        folder: of the race; None keeps nothing.
        should_stop: whether the race is asked to stop.
    """

    def __init__(self, folder: Path | None = None, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.folder = folder / race_folder.STACK if folder is not None else None
        self.should_stop = should_stop
        self._saved, self._cost = time.monotonic(), 0.0

    def load(self) -> Checkpoint | None:
        """The last checkpoint.

        Raises:
            DlkitError: it is damaged, no checkpoint of a stack, or that of another race.
            NotFiniteError: weights of a run that had not diverged are NaN or infinite.
        """
        steps = checkpoint.steps_in(self.folder) if self.folder is not None else []
        if self.folder is None or not steps:
            return None
        path = self.folder / checkpoint.directory_name(steps[-1])
        saved = checkpoint.load_checkpoint(path)
        again = f"rm -r {self.folder}: the runs in it begin again"
        if not {"parameters", "buffers", "optimizers", "sums"} <= saved.tensors.keys():
            raise DlkitError(f"{path} is no checkpoint of a stack", again)
        race = race_folder.identity(self.folder.parent)
        if saved.state.get("race", race) != race:  # an earlier dlkit did not say
            raise DlkitError(f"{path} is of another race", again)
        going_on = saved.tensors["sums"]["finite"]  # (R,)
        weights = {**saved.tensors["parameters"], **saved.tensors["buffers"]}  # (R, ...)
        require_finite_weights({name: value[going_on] for name, value in weights.items()}, path)
        return saved

    def due(self) -> bool:
        waited = time.monotonic() - self._saved
        return self.folder is not None and (waited >= max(SECONDS, SAVES * self._cost) or self.should_stop())

    def save(self, state: Checkpoint) -> None:
        """Save in place of the checkpoint before. Raises DlkitError if the disk refuses."""
        assert self.folder is not None
        started = time.monotonic()
        state.state["race"] = race_folder.identity(self.folder.parent)
        checkpoint.save_checkpoint(self.folder, state)
        checkpoint.prune_checkpoints(self.folder, {state.step})
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def clear(self) -> None:
        """The stack has finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
