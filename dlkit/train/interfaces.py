"""What training asks of a task, of its meter and of a source of batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Meter(Protocol):
    """Accumulates what an evaluation needs."""

    @property
    def samples(self) -> int: ...
    def update(self, model: nn.Module, batch: Any) -> None: ...
    def metrics(self) -> dict[str, float]: ...
    def confusion_matrix(self) -> Tensor | None: ...


class BatchSource(Protocol):
    """Training or evaluation data. `epoch(n, start)` is a pure function of its arguments, so runs resume anywhere.

    Data that may leave batches out says in `passed` behind which batch of the epoch the last one was that it yielded.
    """

    samples: int
    batch_size: int

    def __len__(self) -> int: ...
    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


class Task(Protocol):
    """What is learned: a loss to train on, and a meter to evaluate with.

    A batch begins with its inputs, one row each, and its targets, one a prediction: `unit` says of what. One that is
    filled up with targets that do not count says in `predictions` how many do. `forward` returns the mean loss over
    the predictions and, where it is cheap to know, how many of them are right.
    """

    @property
    def unit(self) -> str: ...
    @property
    def main_metric(self) -> str: ...
    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]: ...
    def meter(self, device: torch.device) -> Meter: ...
