"""The bench on which a check runs: a device, a scratch folder, and the recipes that it runs there."""

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
    """A device, and a scratch folder.

    Args:
        device: the device under examination.
        folder: for files of the checks; empty at first, and removed after the last check.
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
        """`small `, to prefix the names of models that are smaller on a CPU; empty on a GPU."""
        return self.sized(gpu="", cpu="small ")

    def sized(self, *, gpu: T, cpu: T) -> T:
        """One of two sizes of a model or batch: large for a GPU, small for a CPU."""
        return gpu if self.on_gpu else cpu


# A bare run: no evaluation, no checkpoint, every step logged.
_BARE = ("train.log_every=1", "train.eval_every=never", "train.checkpoint_every=never", "schedule.name=constant")


def bench_recipe(name: str, overrides: Sequence[str], *, steps: int, precision: str = "fp32") -> Recipe:
    """A shipped recipe for `steps` steps of a bare run, with overrides."""
    usual = [f"train.steps={steps}", f"train.precision={precision}", "train.compile=off", *_BARE]
    return recipes.load(name, [*usual, *overrides])
