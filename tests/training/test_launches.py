"""What a step does beside the passes and the optimizer is a few operations, however many tensors a model has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dlkit.doctor.kernel_launches import RecordedOperators
from dlkit.finite import all_finite
from dlkit.losses import _Penalty
from dlkit.training.ema import ExponentialMovingAverage
from dlkit.training.running_metrics import RunningMetrics
from dlkit.training.snapshot import Snapshot


def network(layers: int) -> nn.Module:
    """Weights, biases and both kinds of buffers."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(layers)))


def penalty(model: nn.Module) -> Callable[[], Any]:
    parameters = [p.detach().requires_grad_() for p in model.parameters()]
    return lambda: torch.autograd.grad(_Penalty.apply(0.1, *parameters), parameters)  # pyright: ignore[reportArgumentType]


def sums(model: nn.Module) -> Callable[[], Any]:
    kept, loss, right = RunningMetrics(torch.device("cpu")), torch.ones(()), torch.ones((), dtype=torch.int64)

    def step() -> None:
        kept.add(loss, right, 3)
        kept.end_step()

    return step


WORK: dict[str, tuple[Callable[[nn.Module], Callable[[], Any]], int]] = {  # and at most how many operations
    "average": (lambda model: ExponentialMovingAverage(model, 0.9).update, 1),
    "all finite": (lambda model: lambda: all_finite(list(model.parameters())), 2),
    "a copy of the buffers": (lambda model: Snapshot(list(model.buffers())).take, 2),
    "L2 penalty": (penalty, 8),
    "sums": (sums, 0),
}


@pytest.mark.parametrize("name", WORK)
def test_operations_do_not_grow_with_the_tensors(name: str) -> None:
    made, most = WORK[name]
    counts: list[int] = []
    for layers in (2, 20):
        work = made(network(layers))
        work()
        with RecordedOperators() as operators:
            work()
        called = [name for name, _ in operators.called if not name.startswith(("profiler.", "aten._local_scalar"))]
        counts.append(len(called))
    assert counts[0] == counts[1] <= most, called


def test_a_snapshot_is_put_back() -> None:
    model = network(2)
    snapshot, before = Snapshot(list(model.buffers())), [buffer.clone() for buffer in model.buffers()]
    snapshot.take()
    model(torch.randn(8, 3))
    assert not torch.equal(before[0], next(model.buffers()))
    snapshot.put_back()
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))


def test_sums_are_those_of_the_losses_one_by_one() -> None:
    """Also over more steps than are kept apart, with batches of different size."""
    kept, generator = RunningMetrics(torch.device("cpu")), torch.Generator().manual_seed(0)
    expected, right, samples = 0.0, 0, 0
    for step in range(700):
        loss, count = torch.rand((), generator=generator), 1 + step % 5
        kept.add(loss, torch.tensor(count // 2), count)
        kept.end_step()
        expected, right, samples = expected + count * loss.item(), right + count // 2, samples + count
    assert kept.first_bad() is None
    assert kept.metrics() == {"train/loss": expected / samples, "train/accuracy": right / samples}
    for value in (1.0, float("nan"), 1.0):
        kept.add(torch.tensor(value), None, 2)
        kept.end_step()
    assert kept.first_bad() == 702
