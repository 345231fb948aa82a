"""Where a check is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from dlkit import recipe as recipes
from dlkit.recipe import Recipe

T = TypeVar("T")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Bench:
    """A device, and a folder for the files that a check needs.

    Args:
        device: what is examined.
        folder: empty at first; it is removed behind the last check.
        quick: fewer cases and shorter measurements.
    """

    device: torch.device
    folder: Path
    quick: bool = False

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def small(self) -> str:
        """A word before the names of models that are smaller on a CPU."""
        return self.sized(gpu="", cpu="small ")

    def sized(self, *, gpu: T, cpu: T) -> T:
        """Large models and batches for a GPU, small ones for a CPU."""
        return gpu if self.on_gpu else cpu


# A run that is over after its last step: nothing is evaluated or saved, and every step is logged.
_BARE = ("train.log_every=1", "train.eval_every=never", "train.checkpoint_every=never", "schedule.name=constant")


def bench_recipe(name: str, overrides: Sequence[str], *, steps: int, precision: str = "fp32") -> Recipe:
    """A shipped recipe for so many plain steps, changed by overrides."""
    usual = [f"train.steps={steps}", f"train.precision={precision}", "train.compile=off", *_BARE]
    return recipes.load(name, [*usual, *overrides])
