"""What the training loop asks of a source of batches, of a task and of its meter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dlkit.distributed.process_group import World


class BatchSource(Protocol):
    """Training or evaluation data. `epoch(n, start)` is a pure function of its arguments, so that runs resume anywhere.

    A source that may leave batches out has a `passed`: the batches of the epoch up to the last one that it yielded,
    those left out included.
    """

    samples: int
    batch_size: int

    def __len__(self) -> int: ...
    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


class Meter(Protocol):
    """Accumulates the metrics of an evaluation, batch by batch.

    Where batches are dealt out among ranks, `collect` makes each rank's meter what it would be after all of them.
    """

    @property
    def samples(self) -> int: ...
    def update(self, model: nn.Module, batch: Any) -> None: ...
    def collect(self, world: World) -> None: ...
    def metrics(self) -> dict[str, float]: ...
    def confusion_matrix(self) -> Tensor | None: ...


class Task(Protocol):
    """What is learned: the loss to train on, and the meter to evaluate with.

    `unit` names what a prediction is made for: samples or tokens. `forward` returns the mean loss over a batch's
    predictions and, where that is cheap, how many of them are correct. Both stay on the device.
    """

    @property
    def unit(self) -> str: ...
    @property
    def main_metric(self) -> str: ...
    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]: ...
    def meter(self, device: torch.device) -> Meter: ...
