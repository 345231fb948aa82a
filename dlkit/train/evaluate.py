"""Run a model over a split and measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from dlkit.stages import stage


class Meter(Protocol):
    """Accumulates what an evaluation needs."""

    @property
    def samples(self) -> int: ...
    def update(self, model: nn.Module, batch: Any) -> None: ...
    def metrics(self) -> dict[str, float]: ...
    def confusion_matrix(self) -> Tensor | None: ...


class Batches(Protocol):
    """Training or evaluation data. `epoch(n, start)` is a pure function of its arguments, so runs resume anywhere."""

    samples: int
    batch_size: int

    def __len__(self) -> int: ...
    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


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
