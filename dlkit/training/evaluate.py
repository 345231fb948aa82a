"""Evaluate a model on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from dlkit.data.batch import Batch
from dlkit.distributed.tensor_parts import is_model_divided
from dlkit.progress import stage
from dlkit.training.interfaces import BatchSource, Meter, Task

M = TypeVar("M", bound=Meter)


def with_progress(batches: BatchSource) -> Iterator[Any]:
    """All batches of an evaluation, which report their progress as a `stage`."""
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
    """Update the meter with every batch in evaluation mode, then restore the mode that the model was in."""
    training = model.training
    model.eval()
    try:
        with without_gradient(model), autocast():
            for batch in batches:
                meter.update(model, batch)
    finally:
        model.train(training)
    return meter


def without_gradient(model: nn.Module) -> AbstractContextManager[Any]:
    """Inference mode; of a model that is divided among ranks, whose gathered weights would stay in it, no gradients."""
    return torch.no_grad() if is_model_divided(model) else torch.inference_mode()


def evaluation_loss(
    model: nn.Module, task: Task, batch: Batch, autocast: Callable[[], AbstractContextManager[Any]]
) -> float:
    """The loss of a training batch in evaluation mode, without gradient or dropout. Waits for the device."""
    model.eval()
    with without_gradient(model), autocast():
        loss, _ = task.forward(model, batch)
    model.train()
    return loss.item()
