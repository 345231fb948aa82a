"""Trials over the ranks of a job, each of which is a thread here; tests/distributed has them in processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from dlkit.sweep.events import SweepEvent, TrialsAdvanced
from dlkit.sweep.shared_race import SharedRace
from dlkit.sweep.trials import Trial, TrialResult, trial_grid

TRIALS = trial_grid(["sgd", "adam"], [0.1, 0.2, 0.3], 3)


def result(trial: Trial) -> TrialResult:
    return TrialResult(trial, 5, trial.lr, {"val/loss": trial.seed + trial.lr}, [(5, {"val/loss": 1.0})])


def run(trials: Sequence[Trial], should_stop: Callable[[], bool] = lambda: False) -> Iterator[SweepEvent]:
    for trial in trials:
        if should_stop():
            return
        yield TrialsAdvanced(1, [])
        yield result(trial)


def results(events: Iterator[SweepEvent]) -> list[TrialResult]:
    return [event for event in events if isinstance(event, TrialResult)]


def by_trial(found: list[TrialResult]) -> list[TrialResult]:
    return sorted(found, key=lambda one: TRIALS.index(one.trial))


@pytest.fixture
def two(rank: Callable[..., None]) -> list[SharedRace]:
    made: list[SharedRace] = []
    for number in (0, 1):
        rank(number)
        made.append(SharedRace())
    return made


def test_a_race_of_one_process_has_all_trials() -> None:
    alone = SharedRace()
    assert alone.share(TRIALS) == TRIALS
    assert alone.agree(3) == 3
    assert results(alone.joined(run(TRIALS))) == [result(trial) for trial in TRIALS]


def test_every_rank_ends_with_the_results_of_all(two: list[SharedRace]) -> None:
    shares = [race.share(TRIALS) for race in two]
    assert shares == [TRIALS[0::2], TRIALS[1::2]]

    def play(number: int) -> tuple[object, list[TrialResult]]:
        race = two[number]
        agreed = race.agree(("loop", None) if number == 0 else None)
        return agreed, results(race.joined(run(shares[number])))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(play, (0, 1))
    assert first[0] == second[0] == ("loop", None)
    assert by_trial(first[1]) == by_trial(second[1]) == [result(trial) for trial in TRIALS]


def test_a_rank_that_is_asked_to_stop_stops_all(rank: Callable[..., None]) -> None:
    asked = threading.Event()
    rank(0)
    first = SharedRace()
    rank(1)
    second = SharedRace(asked.is_set)
    begun = threading.Event()

    def endless(race: SharedRace) -> Iterator[SweepEvent]:
        yield result(TRIALS[race.rank])
        begun.set()
        while not race.should_stop():
            yield TrialsAdvanced(1, [])

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(lambda race=race: results(race.joined(endless(race)))) for race in (first, second)]
        assert begun.wait(30)
        asked.set()
        found = [by_trial(one.result(timeout=60)) for one in running]
    assert found[0] == found[1] == [result(trial) for trial in TRIALS[:2]]
