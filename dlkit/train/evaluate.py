"""Run a model over a split and measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from dlkit.progress import stage
from dlkit.train.interfaces import BatchSource, Meter, Task

M = TypeVar("M", bound=Meter)


def with_progress(batches: BatchSource) -> Iterator[Any]:
    """All batches, as a `stage` that a person may follow."""
    with stage("evaluating batches", len(batches)) as advance:
        for batch in batches.epoch(0):
            yield batch
            advance(1)


def evaluate_model(
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


def evaluation_loss(
    model: nn.Module, task: Task, batch: Any, autocast: Callable[[], AbstractContextManager[Any]]
) -> float:
    """The loss of a training batch in evaluation mode: nothing is learned or drawn. Waits for the device."""
    model.eval()
    with torch.inference_mode(), autocast():
        loss, _ = task.forward(model, batch)
    model.train()
    return loss.item()
