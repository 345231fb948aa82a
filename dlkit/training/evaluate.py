"""Evaluate a model on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn

from dlkit.data.batch import Batch
from dlkit.distributed.joint_flag import JointFlag
from dlkit.distributed.process_group import World
from dlkit.distributed.tensor_parts import is_model_divided
from dlkit.progress import stage
from dlkit.training.interfaces import BatchSource, Meter, Task

M = TypeVar("M", bound=Meter)


class EvaluationStoppedError(Exception):
    """An evaluation was asked to stop, and was broken off before the next batch; it has no result."""


def _never() -> bool:
    return False


def evaluate_split(
    model: nn.Module,
    batches: Any,
    meter: M,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    world: World | None = None,
    should_stop: Callable[[], bool] = _never,
) -> M:
    """Evaluate a model on all batches of a source, which the ranks of a world share out.

    Batches stay whole and none is read twice, so that every count, and every number in a sum, is the one of a single
    process: only the order in which sums add up is another.

    Raises EvaluationStoppedError, on every rank, before the next batch once `should_stop` is true on one of them.
    """
    if world is None or world.size == 1:
        return evaluate_model(model, _until(should_stop, with_progress(batches)), meter, autocast)
    batches.deal(world)
    own = with_progress(batches, world.size)
    if should_stop is not _never:
        own = _until_one_stops(should_stop, own, batches, world)
    evaluate_model(model, _in_step(own, batches, world) if is_model_divided(model) else own, meter, autocast)
    batches.collect(world)
    meter.collect(world)
    return meter


def _until(should_stop: Callable[[], bool], batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        if should_stop():
            raise EvaluationStoppedError
        yield batch


def _until_one_stops(
    should_stop: Callable[[], bool], own: Iterator[Batch], batches: Any, world: World
) -> Iterator[Batch]:
    """A rank's own batches. Ranks that have fewer go on asking, so that all of them stop at the same question."""
    flag = JointFlag(world)
    questions = iter(range(-(-len(batches) // world.size)))
    for batch in own:
        next(questions, None)
        _ask(flag, should_stop)
        yield batch
    for _ in questions:
        _ask(flag, should_stop)
    flag.settle()


def _ask(flag: JointFlag, should_stop: Callable[[], bool]) -> None:
    if flag.ask(should_stop()):
        flag.settle()
        raise EvaluationStoppedError


def _in_step(own: Iterator[Batch], batches: Any, world: World) -> Iterator[Batch]:
    """A rank's own batches, and empty ones behind them until every rank has had as many."""
    some: Batch | None = None
    done = 0
    for done, some in enumerate(own, 1):  # noqa: B007
        yield some
    for _ in range(done, -(-len(batches) // world.size)):
        if some is None:  # fewer batches than ranks
            batches.deal(World())
            some = next(iter(batches.epoch(0)))
            batches.deal(world)
        yield some.map(lambda values: values[:0] if values.dim() else values)


def with_progress(batches: BatchSource, ranks: int = 1) -> Iterator[Any]:
    """The batches of an evaluation, one for each of so many ranks at a time; they report progress as a `stage`."""
    with stage("evaluating batches", len(batches)) as advance:
        for batch in batches.epoch(0):
            yield batch
            advance(ranks)


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
