"""The moving average in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dlkit.training.ema import ExponentialMovingAverage


def share_of(step: int, steps: int, decay: float) -> float:
    """What the weights after `step` (0 for those of the start) are of the average after `steps`."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, float(step == 0))
    average = ExponentialMovingAverage(model, decay)
    for index in range(1, steps + 1):
        nn.init.constant_(model.weight, float(step == index))
        average.update()
    return average.average["weight"].item()


@pytest.mark.parametrize("steps", [1, 10, 120])
def test_the_weights_of_the_start_are_forgotten(steps: int) -> None:
    # prod_(t < T) (1 + t) / (10 + t) = T! 9! / (T + 9)!, at 120 steps 1.3e-14 where 0.999^120 is 0.89
    expected = math.exp(math.lgamma(steps + 1) + math.lgamma(10) - math.lgamma(steps + 10))
    assert share_of(0, steps, 0.999) == pytest.approx(expected, rel=1e-9)


def test_the_decay_rises_to_its_value_and_stays_there() -> None:
    # (1 + t) / (10 + t) reaches 1/2 at t = 8: from the tenth update on each keeps half of the average
    for step in range(9, 15):
        assert share_of(step, 15, 0.5) == pytest.approx(0.5 * 0.5 ** (15 - step), rel=1e-12)
    # the third update, t = 2, takes 9/12; what is left of it after t = 3, 4, ... follows the ramp
    assert share_of(3, 5, 0.5) == pytest.approx(9 / 12 * 4 / 13 * 5 / 14, rel=1e-12)


def test_going_on_goes_on_with_the_decay() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    whole, resumed = ExponentialMovingAverage(model, 0.9), ExponentialMovingAverage(model, 0.9)
    for update in range(12):
        nn.init.normal_(model.weight)
        if update == 5:
            resumed.load(whole.average, whole.updates)
        for average in (whole, *([resumed] if update >= 5 else [])):
            average.update()
    assert torch.equal(whole.average["weight"], resumed.average["weight"])


def test_of_a_long_run_the_ramp_leaves_the_end_as_it_is() -> None:
    """cifar10-fast takes 882 steps at 0.98, which the ramp reaches at step 441: its result was measured without one."""

    def shares(ramp: bool) -> list[float]:
        shares, left = list[float](), 1.0
        for t in range(881, -1, -1):
            decay = min(0.98, (1 + t) / (10 + t)) if ramp else 0.98
            shares.append(left * (1 - decay))
            left *= decay
        return [*shares, left]

    moved = sum(abs(a - b) for a, b in zip(shares(True), shares(False), strict=True)) / 2
    assert moved < 5e-6


def test_steps_that_only_the_device_knows_of_are_left_out() -> None:
    """Every other step is told to be skipped, by a number here and by a tensor there."""
    models = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    here, there = (ExponentialMovingAverage(model, 0.3) for model in models)
    for step in range(12):
        with torch.no_grad():
            for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
                a.add_(step)
                b.add_(step)
        here.update(torch.tensor(float(step % 2)))
        with torch.no_grad():
            there._update_on_device(torch.tensor(float(step % 2)))
    assert here.updates == 6
    for name, value in here.average.items():
        torch.testing.assert_close(there.average[name], value)
