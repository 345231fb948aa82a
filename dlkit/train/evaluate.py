"""Run a model over a split and measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from dlkit.progress import stage


class Meter(Protocol):
    """Accumulates what an evaluation needs."""

    @property
    def samples(self) -> int: ...
    def update(self, model: nn.Module, batch: Any) -> None: ...
    def metrics(self) -> dict[str, float]: ...
    def confusion_matrix(self) -> Tensor | None: ...


class Batches(Protocol):
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


M = TypeVar("M", bound=Meter)


def watched(batches: Batches) -> Iterator[Any]:
    """All batches, as a `stage` that a person may follow."""
    with stage("evaluating batches", len(batches)) as advance:
        for batch in batches.epoch(0):
            yield batch
            advance(1)


def evaluate(
    model: nn.Module,
    batches: Iterable[Any],
    meter: M,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> M:
    """Feed every batch to the meter in evaluation mode, then restore the mode that the model was in."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast():
            for batch in batches:
                meter.update(model, batch)
    finally:
        model.train(training)
    return meter


def loss_of(model: nn.Module, task: Task, batch: Any, autocast: Callable[[], AbstractContextManager[Any]]) -> float:
    """The loss of a training batch in evaluation mode: nothing is learned or drawn. Waits for the device."""
    model.eval()
    with torch.inference_mode(), autocast():
        loss, _ = task.forward(model, batch)
    model.train()
    return loss.item()
