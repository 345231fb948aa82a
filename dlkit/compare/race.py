"""Run the whole grid of a race by one of three engines: stacked, workers or loop. Results come as they finish."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

import torch

from dlkit.compare.runs import Contender, Outcome
from dlkit.errors import DivergedError
from dlkit.train import stacked
from dlkit.train.events import Evaluated, StepDone
from dlkit.train.loop import Training, fit
from dlkit.train.settings import steps_between

# Steps by which engines are timed, behind two that warm up.
TIMED_STEPS = 4

Build = Callable[[Contender], Training]


def run_one(training: Training, contender: Contender) -> Outcome:
    """One run on its own."""
    curve: list[tuple[int, dict[str, float]]] = []
    loss, step, started = math.nan, 0, time.perf_counter()
    try:
        for event in fit(training):
            if isinstance(event, StepDone):
                step = event.step
                if event.metrics:
                    loss = event.metrics["train/loss"]
            elif isinstance(event, Evaluated):
                curve.append((event.step, event.metrics))
    except DivergedError:
        return Outcome(contender, step, math.nan, {}, curve, True, time.perf_counter() - started)
    metrics = curve[-1][1] if curve else {}
    diverged = not math.isfinite(loss)
    return Outcome(contender, step, loss, metrics, curve, diverged, time.perf_counter() - started)


def loop(contenders: Sequence[Contender], build: Build) -> Iterator[Outcome]:
    """One after the other, in this process."""
    for contender in contenders:
        yield run_one(build(contender), contender)


def workers(
    contenders: Sequence[Contender], task: Callable[[Contender], Outcome], prepare: Callable[[], None], count: int
) -> Iterator[Outcome]:
    """One run at a time in each of `count` processes of one thread.

    Args:
        contenders: the runs.
        task: runs one of them; it must pickle.
        prepare: called once in each process.
        count: of processes.
    """
    with ProcessPoolExecutor(count, get_context("spawn"), prepare) as pool:
        pending: set[Future[Outcome]] = {pool.submit(task, contender) for contender in contenders}
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in pending:
                future.cancel()


def stack(contenders: Sequence[Contender], build: Build) -> Iterator[Outcome]:
    """As many at once as memory allows; a stack's outcomes come together."""
    size = stacked.runs_at_once(build(contenders[0]))
    for start in range(0, len(contenders), size):
        yield from _one_stack(contenders[start : start + size], build)


def _one_stack(contenders: Sequence[Contender], build: Build) -> Iterator[Outcome]:
    members = members_of(contenders, build)
    total = members.training[0].total_steps
    outcomes = [Outcome(contender, total, math.nan, {}) for contender in contenders]
    started = time.perf_counter()
    first = members.training[0]
    every = steps_between(first.settings.eval_every, first.steps_per_epoch) or total
    for event in stacked.fit_stacked(members, every):
        if isinstance(event, stacked.StackLogged):
            for outcome, loss, finite in zip(outcomes, event.losses, event.finite, strict=True):
                if not finite and not outcome.diverged:
                    outcome.diverged, outcome.steps = True, event.step
                outcome.loss = loss
        elif event.step:
            for outcome, metrics in zip(outcomes, event.metrics, strict=True):
                if not outcome.diverged:
                    outcome.curve.append((event.step, metrics))
                    outcome.metrics = metrics
    share = (time.perf_counter() - started) / len(contenders)
    for outcome in outcomes:
        outcome.seconds_share = share
        if outcome.diverged:
            outcome.loss, outcome.metrics = math.nan, {}
    yield from outcomes


def members_of(contenders: Sequence[Contender], build: Build) -> stacked.Members:
    """The trainings of contenders that stand sorted by optimizer and learning rate."""
    seeds = list(dict.fromkeys(contender.seed for contender in contenders))
    groups: list[tuple[int, int]] = []
    for index, contender in enumerate(contenders):
        before = contenders[index - 1] if index else None
        if before is not None and (before.optimizer, before.lr) == (contender.optimizer, contender.lr):
            groups[-1] = (groups[-1][0], index + 1)
        else:
            groups.append((index, index + 1))
    trainings = [build(contender) for contender in contenders]
    return stacked.Members(trainings, [seeds.index(c.seed) for c in contenders], groups)


def fastest(contenders: Sequence[Contender], build: Build, processes: int) -> tuple[str, dict[str, float]]:
    """Time a few steps of each engine; returns the fastest, and the seconds that each would take for everything.

    Workers take the time of the loop with one thread, shared by the processes, and two seconds to start.
    """
    training = build(contenders[0])
    total, runs = training.total_steps, len(contenders)
    threads = torch.get_num_threads()
    estimates = {"loop": _seconds_a_step(training) * total * runs}
    if processes > 1:
        torch.set_num_threads(1)
        try:
            # two at once slow each other down: memory and caches are shared
            alone = _seconds_a_step(build(contenders[0]))
        finally:
            torch.set_num_threads(threads)
        estimates["workers"] = 4.0 + 1.15 * alone * total * runs / processes
    if stacked.unsupported(training) is None:
        size = min(runs, stacked.runs_at_once(training))
        estimates["stacked"] = stacked.seconds_a_step(members_of(contenders[:size], build)) * total * runs / size
    return min(estimates, key=lambda name: estimates[name]), estimates


def _seconds_a_step(training: Training) -> float:
    marks: list[float] = []
    for event in fit(training):
        if isinstance(event, StepDone):
            marks.append(time.perf_counter())
            if len(marks) > 2 + TIMED_STEPS:
                break
    spans = sorted(b - a for a, b in itertools.pairwise(marks[1:])) or [0.0]
    return spans[len(spans) // 2]
