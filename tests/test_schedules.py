"""Schedules against torch's schedulers, step by step, and against their own definition at the ends."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from dlkit.errors import RequestError
from dlkit.schedules import constant, cosine, linear

TOTAL = 60


def torch_factors(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], total: int = TOTAL) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors: list[float] = []
    for _ in range(total):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def factors(schedule: Callable[[int, int], float], total: int = TOTAL) -> list[float]:
    return [schedule(step, total) for step in range(total)]


def test_constant() -> None:
    assert factors(constant) == [1.0] * TOTAL


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_linear_against_torch(final: float) -> None:
    twin = torch_factors(lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=final, total_iters=TOTAL))
    assert factors(functools.partial(linear, final=final)) == pytest.approx(twin, abs=1e-12)


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_cosine_against_torch(final: float) -> None:
    twin = torch_factors(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL, eta_min=final))
    assert factors(functools.partial(cosine, final=final)) == pytest.approx(twin, abs=1e-12)


@pytest.mark.parametrize("schedule", [constant, linear, cosine])
def test_warmup_then_decay_against_torch(schedule: Callable[..., float]) -> None:
    """Ten steps of warm-up: torch reaches 1 on step 10 from 1/10, then decays over what is left."""

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        rest: lr_scheduler.LRScheduler
        if schedule is linear:
            rest = lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=TOTAL - 10)
        elif schedule is cosine:
            rest = lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL - 10)
        else:
            rest = lr_scheduler.ConstantLR(optimizer, factor=1.0)
        return rest

    decay = torch_factors(make, TOTAL - 10)
    expected = [(step + 1) / 10 for step in range(10)] + decay
    assert factors(functools.partial(schedule, warmup=10)) == pytest.approx(expected, abs=1e-12)


def test_cosine_goes_from_0_to_pi() -> None:
    assert cosine(0, TOTAL) == 1.0
    assert cosine(TOTAL // 2, TOTAL) == pytest.approx(0.5, abs=1e-12)
    assert cosine(TOTAL - 1, TOTAL) == pytest.approx((1 + math.cos(math.pi * (TOTAL - 1) / TOTAL)) / 2)


@pytest.mark.parametrize("schedule", [constant, linear, cosine])
def test_warmup_as_a_share_and_as_steps(schedule: Callable[..., float]) -> None:
    share = factors(functools.partial(schedule, warmup=0.25))
    assert share == factors(functools.partial(schedule, warmup=15))
    assert share[0] == pytest.approx(1 / 15)
    assert share[14] == 1.0


@given(
    schedule=st.sampled_from([constant, linear, cosine]),
    total=st.integers(1, 500),
    share=st.floats(0, 0.99),
)
def test_factors_are_positive_and_never_above_one(schedule: Callable[..., float], total: int, share: float) -> None:
    values = factors(functools.partial(schedule, warmup=share), total)
    assert all(0 < value <= 1 for value in values)
    peak = values.index(max(values))
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize("schedule", [constant, linear, cosine])
@pytest.mark.parametrize("warmup", [61, -0.5])
def test_warmup_that_does_not_fit(schedule: Callable[..., float], warmup: float) -> None:
    with pytest.raises(RequestError, match="does not fit into 60 steps"):
        schedule(0, TOTAL, warmup=warmup)
