"""The interval of `checkpoint_every: auto` against closed forms, and against a simulated job of 1,000 devices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import lambertw

from dlkit.training.checkpoint_interval import HOURS_BETWEEN_FAILURES, CheckpointCadence, CheckpointInterval

RANKS = 1_000
WRITE, RESTART, WORK = 300.0, 600.0, 30 * 86_400.0  # seconds: of a checkpoint, of starting again, of a whole job


def expected_seconds(interval: float, write: float, failures: float, restart: float = 0.0) -> float:
    """Daly 2006, equation 20, for a second of work: M e^(R/M) (e^((tau + delta) / M) - 1) / tau."""
    return failures * math.exp(restart / failures) * math.expm1((interval + write) / failures) / interval


def best_interval(write: float, failures: float) -> float:
    """Where the derivative of that is 0: tau = M (1 + W(-e^(-delta/M - 1)))."""
    return failures * (1 + float(lambertw(-math.exp(-write / failures - 1)).real))


def daly(write: float, failures: float) -> float:
    """Daly's equation 37."""
    ratio = write / (2 * failures)
    return math.sqrt(2 * write * failures) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - write


@pytest.mark.parametrize("share", [1e-7, 1e-5, 1e-3, 0.01, 0.05])
def test_the_interval_is_as_good_as_the_exact_one(share: float) -> None:
    interval = CheckpointInterval(share * HOURS_BETWEEN_FAILURES * 3600 / RANKS, RANKS)
    write, failures = interval.write_seconds, interval.failure_seconds
    assert failures == pytest.approx(180_000)
    best, higher = best_interval(write, failures), daly(write, failures)
    assert higher == pytest.approx(best, rel=2e-4)
    assert interval.seconds == pytest.approx(higher, rel=0.5 * math.sqrt(share) + 1e-12)
    least = expected_seconds(best, write, failures)
    assert expected_seconds(interval.seconds, write, failures) < 1.001 * least


def test_writing_takes_no_more_than_half_of_the_time() -> None:
    hopeless = CheckpointInterval(write_seconds=9e7)
    assert hopeless.failure_seconds == 1.8e8
    assert hopeless.seconds == pytest.approx(9e7)
    assert CheckpointInterval(write_seconds=1e9).seconds == 1e9


def finished_after(interval: float, write: float, failing: np.ndarray) -> float:
    """When a job is done whose devices fail at these times: it goes on from the last whole checkpoint.

    Args:
        interval: seconds of work between two checkpoints.
        write: seconds of a checkpoint.
        failing: (F,) ascending.
    """
    segments, begins = math.ceil(WORK / interval), 0.0
    for fails in failing:
        if fails < begins:  # while it was starting again
            begins = fails + RESTART
            continue
        done = int((fails - begins) // (interval + write))
        if done >= segments:
            break
        segments -= done
        begins = fails + RESTART
    return begins + segments * (interval + write)


def mean_seconds(interval: float, runs: int = 300) -> float:
    """Over simulated jobs of a month on 1,000 devices, each of which fails by itself, once in 50,000 hours."""
    generator, horizon = np.random.default_rng(0), 3 * WORK
    total = 0.0
    for _ in range(runs):
        counts = generator.poisson(horizon / (HOURS_BETWEEN_FAILURES * 3600), RANKS)  # failures of each device
        total += finished_after(interval, WRITE, np.sort(generator.uniform(0, horizon, counts.sum())))
    return total / runs


def test_a_simulated_job_of_a_thousand_devices_is_done_soonest() -> None:
    interval = CheckpointInterval(WRITE, RANKS)
    tau = interval.seconds
    assert tau == pytest.approx(math.sqrt(2 * 300 * 180_000) - 300)  # 10,092 s, less than three hours
    simulated = {factor: mean_seconds(tau * factor) for factor in (0.1, 0.25, 1, 4, 10)}
    assert min(simulated, key=lambda factor: simulated[factor]) == 1
    for factor, seconds in simulated.items():
        # Daly's restart may fail itself, as it does here
        closed = WORK * expected_seconds(tau * factor, WRITE, interval.failure_seconds, RESTART)
        assert seconds == pytest.approx(closed, rel=0.02), factor
    # what a month loses: 6 % with it, 31 % with ten checkpoints where it has one, 37 % with one where it has ten
    lost = {factor: seconds / WORK - 1 for factor, seconds in simulated.items()}
    assert lost[1] < 0.07 < 0.3 < min(lost[0.1], lost[10])


def test_stragglers_make_steps_longer_and_leave_the_interval_as_it_is() -> None:
    generator, jitter = np.random.default_rng(0), 0.5
    # a step waits for the slowest: of n exponential delays the mean of the greatest is their mean times 1 + ... + 1/n
    waits = generator.exponential(jitter, (2_000, RANKS)).max(1)
    harmonic = float(np.sum(1 / np.arange(1, RANKS + 1)))
    assert waits.mean() == pytest.approx(jitter * harmonic, rel=0.02)  # 7.49 times 0.5 s on top of a second
    step = 1 + waits.mean()
    tau = CheckpointInterval(WRITE, RANKS).seconds
    # counted in the steps of a device alone, the interval would be 4.7 times too long
    assert mean_seconds(tau * step) > 1.04 * mean_seconds(tau)


def test_auto_saves_once_to_measure_and_then_by_the_clock() -> None:
    cadence = CheckpointCadence("auto", steps_per_epoch=7, devices=4)
    assert not cadence.due(1, False, 0.5)
    assert cadence.due(10, True, 5.0)
    decided = cadence.saved(7.0, 2.0)
    assert decided == CheckpointInterval(2.0, 4)
    # sqrt(2 * 2 s * 45,000,000 s) - 2 s
    assert decided.seconds == pytest.approx(13_414.4, rel=1e-4)
    assert not cadence.due(20, True, 7.0 + decided.seconds - 1)
    assert cadence.due(30, True, 7.0 + decided.seconds)
    assert not cadence.due(31, False, 7.0 + 2 * decided.seconds)
    assert cadence.saved(7.0 + decided.seconds, 2.5) is None
    assert not cadence.due(40, True, 7.0 + 1.5 * decided.seconds)


def test_what_a_recipe_counts_is_counted() -> None:
    epochs, steps, never = (CheckpointCadence(every, 7) for every in ("2 epochs", "5 steps", "never"))
    taken = range(1, 29)
    assert [step for step in taken if epochs.due(step, False, 0.0)] == [14, 28]
    assert [step for step in taken if steps.due(step, True, 0.0)] == [5, 10, 15, 20, 25]
    assert not any(never.due(step, True, 1e9) for step in taken)
    assert steps.saved(1.0, 0.1) is None
