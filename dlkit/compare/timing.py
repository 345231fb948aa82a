"""Which engine is the fastest here: a few steps of each, in turns, so that whatever else runs slows them all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dlkit.compare.race import Build, members_of
from dlkit.compare.runs import Contender
from dlkit.train import stackable
from dlkit.train.events import StepDone
from dlkit.train.loop import fit
from dlkit.train.stacked import Members, Stack

# Each engine warms up, and is then timed by the best of some rounds of a few steps each.
WARM_UP, ROUNDS, STEPS = 2, 5, {"loop": 4, "workers": 4, "stacked": 1}
# Timing ends early where it has taken this share of what the whole race would take by the fastest engine so far.
SHARE = 0.04
# Stacks of fewer runs are not tried where more fit.
SMALLEST_STACK = 8
# A race that the loop runs in so many seconds is not worth timing.
SHORTEST = 2.0
# Seconds until a worker process has imported torch; and two runs at once slow each other, since they share memory.
WORKERS_START, WORKERS_SLOWER = 4.0, 1.15


@dataclass(frozen=True)
class Choice:
    """The fastest engine, how many runs its stacks have, and the seconds that each engine would take for everything."""

    engine: str
    size: int | None
    estimates: dict[str, float]


def fastest(contenders: Sequence[Contender], build: Build, processes: int, shortest: float = SHORTEST) -> Choice:
    """Time a few steps of each engine.

    Args:
        contenders: the runs; one in their middle stands for all where runs are timed alone.
        build: makes a run of a contender.
        processes: of the engine `workers`, which is timed as the loop with one thread.
        shortest: seconds below which the loop is taken without a look at the others.
    """
    example = contenders[len(contenders) // 2]
    training = build(example)
    total = training.total_steps * len(contenders)
    ways: dict[tuple[str, int], Iterator[float]] = {("loop", 1): _alone(build, example, torch.get_num_threads())}
    best = _best({}, ways, WARM_UP, 1)
    if best["loop", 1] * total < shortest:
        return Choice("loop", None, {"loop": best["loop", 1] * total})
    if processes > 1:
        ways["workers", 1] = _alone(build, example, 1)
    if stackable.unsupported(training) is None:
        ways |= {("stacked", size): steps for size, steps in _stacks(contenders, build).items()}
    best = _rounds(ways, total)
    estimates: dict[str, float] = {}
    sizes = sorted((seconds, size) for (name, size), seconds in best.items() if name == "stacked")
    for name, _ in ways:
        estimates[name] = min(seconds for (other, _), seconds in best.items() if other == name) * total
    if "workers" in estimates:
        estimates["workers"] = WORKERS_START + WORKERS_SLOWER * estimates["workers"] / processes
    engine = min(estimates, key=lambda name: estimates[name])
    return Choice(engine, sizes[0][1] if sizes else None, estimates)


def best_size(contenders: Sequence[Contender], build: Build) -> int:
    """How many runs a stack should have.

    Small models want large stacks, whose kernels then have enough to do; those of larger ones outgrow the caches.
    """
    ways = {("stacked", size): steps for size, steps in _stacks(contenders, build).items()}
    if len(ways) == 1:
        return next(iter(ways))[1]
    best = _rounds(ways, build(contenders[0]).total_steps * len(contenders))
    return min(best, key=lambda way: best[way])[1]


def _rounds(ways: dict[tuple[str, int], Iterator[float]], total: int) -> dict[tuple[str, int], float]:
    """The least seconds a step and run of each way, which take turns."""
    started = time.perf_counter()
    best: dict[tuple[str, int], float] = {}
    for number in range(ROUNDS):
        best = _best(best, ways, WARM_UP if number == 0 else 0, 0)
        if time.perf_counter() - started > SHARE * total * min(best.values()):
            break
    return best


def _best(
    before: dict[tuple[str, int], float], ways: dict[tuple[str, int], Iterator[float]], warm_up: int, steps: int
) -> dict[tuple[str, int], float]:
    """One round: the least seconds a step and run of each way, those of earlier rounds among them."""
    result = dict(before)
    for (name, size), taken in ways.items():
        for _ in range(warm_up):
            next(taken)
        # what else runs on this machine only ever adds to a time, so the least is the truest
        seconds = min(next(taken) for _ in range(steps or STEPS[name])) / size
        result[name, size] = min(seconds, result.get((name, size), seconds))
    return result


def _stacks(contenders: Sequence[Contender], build: Build) -> dict[int, Iterator[float]]:
    """Stacks of several sizes: as many runs as memory allows, a third of them, and so on."""
    size = min(len(contenders), stackable.runs_at_once(build(contenders[0])))
    members = members_of(contenders[:size], build)
    ways: dict[int, Iterator[float]] = {}
    while size >= SMALLEST_STACK or not ways:
        ways[size] = stack_steps(members.first(size))
        size //= 3
    return ways


def stack_steps(members: Members) -> Iterator[float]:
    """Wall time of one step of all these runs after the other, without end; changes none of the trainings."""
    while True:
        stack = Stack(members)
        for step, batch in stack.batches():
            started = time.perf_counter()
            stack.take_step(step, batch)[0].item()
            yield time.perf_counter() - started


def _alone(build: Build, contender: Contender, threads: int) -> Iterator[float]:
    """Wall time of one step of a lone run after the other, without end, with so many threads."""
    usual = torch.get_num_threads()
    while True:
        events = fit(build(contender))
        while True:
            torch.set_num_threads(threads)
            started = time.perf_counter()
            event = next(events, None)
            seconds = time.perf_counter() - started
            torch.set_num_threads(usual)
            if event is None:
                break
            if isinstance(event, StepDone):
                yield seconds
