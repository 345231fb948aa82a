"""The first stage of an experiment: runs whose weights its arms start from, each trained when an arm asks for it."""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlkit.recipe import Recipe
from dlkit.storage.run_reference import SUMMARY

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FirstRuns:
    """Runs of one recipe, a seed each, in a folder that several processes may share.

    Args:
        recipe: what they train.
        folder: they are `seed-0`, `seed-1`, ... in it.
    """

    recipe: Recipe
    folder: Path

    def run_of(self, seed: int, device: torch.device, should_stop: Callable[[], bool]) -> Path:
        """The run of a seed, which this process trains if no other has or does.

        Args:
            seed: of the arm.
            device: to train on.
            should_stop: called after each step; a stopped run has a checkpoint, and is trained again from the start.

        Raises DlkitError where training fails: a DivergedError, for one.
        """
        from filelock import FileLock

        path = self.folder / f"seed-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"seed-{seed}.lock"):
            if not (path / SUMMARY).is_file():
                self._train(path, seed, device, should_stop)
        return path

    def _train(self, path: Path, seed: int, device: torch.device, should_stop: Callable[[], bool]) -> None:
        from dlkit.app.train import lead_run
        from dlkit.assemble import assemble_training

        recipe = Recipe(self.recipe.name, self.recipe.path, {**self.recipe.values, "seed": seed})
        built = assemble_training(recipe, device, should_stop)  # by this process alone, even under torchrun
        collections.deque(lead_run(built, path, True, None, path.exists(), lambda: None), maxlen=0)
