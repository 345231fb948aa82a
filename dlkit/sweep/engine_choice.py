"""Which engine is the fastest here: a few steps of each, in turns, so that whatever else runs slows them all."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dlkit import memory
from dlkit.sweep.engines import Build, members_of
from dlkit.sweep.trials import Trial
from dlkit.train.events import StepDone
from dlkit.train.loop import fit
from dlkit.vectorized import graph_replay, stackable
from dlkit.vectorized.stacked_runs import StackedRuns

# Each engine warms up, and is then timed by the best of some rounds of a few steps each.
WARM_UP, ROUNDS, STEPS = 2, 5, {"loop": 4, "workers": 4, "stacked": 1}
# Timing ends where it has taken this share of what the whole race would take by the fastest engine so far, and a larger
# stack is not tried where that alone would take so much.
SHARE = 0.04
# Stacks and processes must be faster than the loop by this factor: they take time to begin, too.
MARGIN = 0.9
# Stacks of fewer runs are not tried where more fit.
SMALLEST_STACK = 8
# Steps of a stack that run as they are before it is recorded, which is done in the last of them.
RECORDED_FROM = graph_replay.WARM_UP
# A learning rate at which no run diverges; a step takes as long at any.
HARMLESS = 1e-9
# A race that the loop runs in so many seconds is not worth timing.
SHORTEST = 2.0
# Seconds until a worker process has imported torch; and two runs at once slow each other, since they share memory.
WORKERS_START, WORKERS_SLOWER = 4.0, 1.15

Way = tuple[str, int]  # an engine, and how many runs it trains at once
Ways = dict[Way, Iterator[float]]  # the seconds of one step after the other


@dataclass(frozen=True)
class Choice:
    """The fastest engine, how many runs its stacks have, and the seconds that each engine would take for everything."""

    engine: str
    size: int | None
    estimates: dict[str, float]


def fastest(trials: Sequence[Trial], build: Build, processes: int, shortest: float = SHORTEST) -> Choice:
    """Time a few steps of each engine.

    Args:
        trials: the runs; one in their middle stands for all where runs are timed alone.
        build: makes a run of a trial.
        processes: of the engine `workers`, which is timed as the loop with one thread.
        shortest: seconds below which the loop is taken without a look at the others.
    """
    example = dataclasses.replace(trials[len(trials) // 2], lr=HARMLESS)
    training = build(example)
    device, total = training.device, training.total_steps * len(trials)
    ways: Ways = {("loop", 1): alone_steps(build, example, torch.get_num_threads())}
    loop = _taken(ways["loop", 1], "loop", 1, WARM_UP)
    if loop * total < shortest:
        return Choice("loop", None, {"loop": loop * total})
    if processes > 1:
        ways["workers", 1] = alone_steps(build, example, 1)
    if obstacle(trials, build) is None:
        ways |= _stacks(trials, build)
    best, begun = _rounds(ways, total, device)
    ways.clear()  # and with them the stacks
    estimates: dict[str, float] = {}
    for (name, size), seconds in best.items():
        estimate = seconds * total
        if device.type == "cuda":  # there what comes before the first steps is a large part of a race
            count = math.ceil(len(trials) / size)
            estimate += count * (begun if name == "stacked" else _building(build, example))
        estimates[name] = min(estimate, estimates.get(name, math.inf))
    if "workers" in estimates:
        estimates["workers"] = WORKERS_START + WORKERS_SLOWER * estimates["workers"] / processes
    engine = min(estimates, key=lambda name: estimates[name] * (MARGIN if name == "loop" else 1))
    if device.type == "cuda":
        memory.give_back()
    return Choice(engine, _size(best), estimates)


def obstacle(trials: Sequence[Trial], build: Build) -> str | None:
    """Why these runs cannot all be stacked, or None: one run of each optimizer is looked at."""
    training = build(trials[0])
    for trial in {trial.optimizer: trial for trial in trials}.values():
        if not getattr(training.optimizer, "elementwise", False):
            break  # the one that cannot; in all else they are alike
        training = build(trial)
    return stackable.why_not_stackable(training)


def best_size(trials: Sequence[Trial], build: Build) -> int:
    """How many runs a stack should have.

    Small models want large stacks, whose kernels then have enough to do; those of larger ones outgrow the caches.
    """
    ways = _stacks(trials, build)
    if len(ways) == 1:
        return next(iter(ways))[1]
    training = build(trials[0])
    size = _size(_rounds(ways, training.total_steps * len(trials), training.device)[0])
    assert size is not None
    return size


def _building(build: Build, trial: Trial) -> float:
    """Seconds until a run is ready to go."""
    started = time.perf_counter()
    build(trial)
    return time.perf_counter() - started


def _size(best: dict[Way, float]) -> int | None:
    stacks = {size: seconds for (name, size), seconds in best.items() if name == "stacked"}
    return min(stacks, key=lambda size: stacks[size]) if stacks else None


def _rounds(ways: Ways, total: int, device: torch.device) -> tuple[dict[Way, float], float]:
    """The least seconds a step and run of each way, which take turns; what else runs here only ever adds to a time.

    Second, the seconds until the last stack was under way: built, warm and recorded. A stack that does not fit into
    memory is left out.
    """
    started, begun = time.perf_counter(), 0.0
    best: dict[Way, float] = {}
    for name, size in ways:
        smaller = [seconds for (other, _), seconds in best.items() if other == "stacked"]
        if name == "stacked" and smaller:
            cost = (WARM_UP + 1) * size * min(smaller)
            if cost > SHARE * total * min(best.values()):
                continue
        unrecorded = RECORDED_FROM if name == "stacked" and device.type == "cuda" else 0
        began = time.perf_counter()
        try:
            best[name, size] = _taken(ways[name, size], name, size, WARM_UP + unrecorded)
        except (RuntimeError, MemoryError) as error:
            if not memory.exhausted(error):
                raise
        if name == "stacked":
            begun = time.perf_counter() - began
    for _ in range(ROUNDS - 1):
        if time.perf_counter() - started > SHARE * total * min(best.values()):
            break
        for (name, size), seconds in best.items():
            best[name, size] = min(seconds, _taken(ways[name, size], name, size))
    return best, begun


def _taken(steps: Iterator[float], name: str, size: int, warm_up: int = 0) -> float:
    """The least seconds a step and run of a few steps."""
    for _ in range(warm_up):
        next(steps)
    return min(next(steps) for _ in range(STEPS[name])) / size


def _stacks(trials: Sequence[Trial], build: Build) -> Ways:
    """Stacks of several sizes, the smallest first: as many runs as memory allows, a third of them, and so on.

    On CUDA only the first: a larger stack has the same number of kernels, and no cache that it could outgrow. Its runs
    are spread evenly.
    """
    training = build(trials[0])
    most, runs = stackable.runs_at_once(training), len(trials)
    if training.device.type == "cuda":
        sizes = [math.ceil(runs / math.ceil(runs / most))]
    else:
        sizes = [min(runs, most)]
        while sizes[-1] // 3 >= SMALLEST_STACK:
            sizes.append(sizes[-1] // 3)
    return {("stacked", size): stack_steps(trials[:size], build) for size in reversed(sizes)}


def stack_steps(trials: Sequence[Trial], build: Build) -> Iterator[float]:
    """Wall time of one step of all these runs after the other, without end."""
    members = members_of(trials, build)
    while True:
        stack = StackedRuns(members)
        batches = stack.batches()
        while True:
            started = time.perf_counter()
            following = next(batches, None)
            if following is None:
                break
            stack.take_step(*following)[0].item()  # which waits for the device, and all that it was given before
            yield time.perf_counter() - started


def alone_steps(build: Build, trial: Trial, threads: int) -> Iterator[float]:
    """Wall time of one step of a lone run after the other, without end, with so many threads."""
    usual = torch.get_num_threads()
    while True:
        training = build(trial)
        events = fit(training)
        while True:
            torch.set_num_threads(threads)
            started = time.perf_counter()
            event = next(events, None)
            if training.device.type == "cuda":
                torch.cuda.synchronize(training.device)  # the step was only launched
            seconds = time.perf_counter() - started
            torch.set_num_threads(usual)
            if event is None:
                break
            if isinstance(event, StepDone):
                yield seconds
