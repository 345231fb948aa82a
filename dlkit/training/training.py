"""The objects that a training run consists of, and its forward pass."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from dlkit.data.batch import Batch
from dlkit.distributed.process_group import World
from dlkit.training import forward_backward, precision
from dlkit.training.forward_backward import Forward, Pass
from dlkit.training.interfaces import BatchSource, Task
from dlkit.training.settings import TrainSettings


@dataclass
class Training:
    """A run that is ready to begin: its objects, on their device. `settings` has no `auto` left in it."""

    model: nn.Module
    task: Task
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int, int], float]
    batches: BatchSource
    evaluations: dict[str, BatchSource]
    settings: TrainSettings
    device: torch.device
    should_stop: Callable[[], bool] = lambda: False
    monitored: str | None = None  # the split by which patience and the best checkpoint are decided; never a test split
    description: dict[str, Any] = field(default_factory=dict[str, Any])  # of the data, saved with each checkpoint
    world: World = field(default_factory=World)  # whose ranks share each batch
    leaves_out: bool = False  # whether a pass may leave some of the parameters out

    def forward(self, batch: Batch) -> Pass:
        """The loss of a training batch and its correct predictions, computed at the precision of the run."""
        with self.autocast():
            return self.task.forward(self.model, batch)

    @functools.cached_property
    def compiled(self) -> Forward:
        """`forward` for full batches, compiled if the run compiles."""
        return forward_backward.compile_forward(self.forward) if self.settings.compile == "on" else self.forward

    @property
    def judged(self) -> str:
        """The split that says how good the run is: the monitored one, or else the first that is evaluated."""
        return self.monitored or next(iter(self.evaluations))

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.batches) / self.settings.accumulate)

    @property
    def total_steps(self) -> int:
        settings = self.settings
        return settings.steps or (settings.epochs or 0) * self.steps_per_epoch

    def autocast(self) -> AbstractContextManager[Any]:
        """A context with the precision of the forward pass."""
        return precision.autocast(self.settings.precision, self.device)
