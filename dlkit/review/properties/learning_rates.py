"""Learning rate schedules: linear decay, and cosine annealing (Loshchilov & Hutter 2016, arXiv:1608.03983)."""

from __future__ import annotations

import math
from collections.abc import Callable

from dlkit import schedules
from dlkit.review.deviation import Deviation, largest

STEPS = 50
Schedule = Callable[[int, int], float]


def linear_schedule_falls_evenly(schedule: Schedule = schedules.linear) -> Deviation:
    """Every step takes the same amount off, down to 0 at the end."""
    rates = [schedule(step, STEPS) for step in range(STEPS)]
    worst = largest(
        *(abs((before - after) - 1 / STEPS) for before, after in zip(rates, [*rates[1:], 0.0], strict=True))
    )
    return Deviation(worst, {"first": rates[0], "last": rates[-1]})


def cosine_schedule_is_half_wave(schedule: Schedule = schedules.cosine) -> Deviation:
    """The rate is (1 + cos(pi t / T)) / 2: flat at both ends, steepest in the middle, and half as high there."""
    rates = [schedule(step, STEPS) for step in range(STEPS)]
    worst = largest(*(abs(rate - (1 + math.cos(math.pi * step / STEPS)) / 2) for step, rate in enumerate(rates)))
    return Deviation(worst, {"first": rates[0], "middle": rates[STEPS // 2], "last": rates[-1]})
