"""Run the whole grid of a race by one of three engines: stacked, workers or loop. Results come as they finish."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from torch import Tensor

from dlkit import memory
from dlkit.errors import DivergedError
from dlkit.sweep.saved_stack import Keep
from dlkit.sweep.trials import Outcome, RaceEvent, Smaller, Trial, Underway, Unrecorded
from dlkit.train import rng
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.events import Evaluated, Finished, StepDone
from dlkit.train.loop import fit
from dlkit.train.settings import steps_between
from dlkit.train.training import Training
from dlkit.vectorized import stackable
from dlkit.vectorized.stacked_runs import StackedRuns, StackEvaluated, StackLogged, StackMembers, StackStepped

# How often it is looked whether workers shall stop.
LOOK_SECONDS = 0.2

Build = Callable[[Trial], Training]


def run_one(training: Training, trial: Trial) -> Iterator[RaceEvent]:
    """One run on its own; its outcome comes last, unless it is asked to stop."""
    outcome, started = Outcome.begin(trial, 0), time.perf_counter()
    try:
        for event in fit(training):
            if isinstance(event, StepDone):
                outcome.steps = event.step
                if event.metrics:
                    outcome.loss = event.metrics["train/loss"]
                yield Underway(event.step, [outcome])
            elif isinstance(event, Evaluated):
                outcome.curve.append((event.step, event.metrics))
                outcome.metrics = event.metrics
            elif isinstance(event, Finished) and event.reason == "stopped":
                return
    except DivergedError:
        outcome.loss = math.nan
    outcome.diverged = not all(map(math.isfinite, (outcome.loss, *outcome.metrics.values())))
    if outcome.diverged:
        outcome.loss, outcome.metrics = math.nan, {}
    outcome.seconds_share = time.perf_counter() - started
    yield outcome


def loop(trials: Sequence[Trial], build: Build) -> Iterator[RaceEvent]:
    """One after the other, in this process."""
    for trial in trials:
        told: RaceEvent | None = None
        for told in run_one(build(trial), trial):
            yield told
        if not isinstance(told, Outcome):  # asked to stop
            return


def workers(
    trials: Sequence[Trial],
    task: Callable[[Trial], Outcome | None],
    prepare: Callable[..., None],
    count: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[RaceEvent]:
    """One run at a time in each of `count` processes of one thread.

    Args:
        trials: the runs.
        task: runs one of them, to nothing if it is stopped; it must pickle.
        prepare: called once in each process with an event that is set when runs shall stop.
        count: of processes.
        should_stop: whether the race is asked to stop.
    """
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(count, context, prepare, (stop,)) as pool:
        pending: set[Future[Outcome | None]] = {pool.submit(task, trial) for trial in trials}
        try:
            while pending and not should_stop():
                done, pending = wait(pending, LOOK_SECONDS, FIRST_COMPLETED)
                for future in done:
                    if should_stop() and isinstance(future.exception(), BrokenProcessPool):
                        return
                    outcome = future.result()
                    if outcome is not None:
                        yield outcome
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)  # copes with workers that the same signal has ended, unlike cancel()


def stack(
    trials: Sequence[Trial], build: Build, keep: Keep | None = None, size: int | None = None
) -> Iterator[RaceEvent]:
    """`size` runs at once, or as many as memory allows; a stack's outcomes come together.

    Goes on with the stack that `keep` holds. Where a stack turns out not to fit into memory, its runs begin again in
    stacks of half the size.
    """
    keep = keep or Keep()
    left = list(trials)
    saved = keep.load()
    if saved is not None:
        begun = [Outcome.of_record(record) for record in saved.state["outcomes"]]
        held = {outcome.trial for outcome in begun}
        wanted, left = held & set(left), [trial for trial in left if trial not in held]
        if wanted:
            # the whole stack as it was, so that its numbers come out as they would have
            for told in _one_stack([outcome.trial for outcome in begun], build, keep, saved, begun):
                if not isinstance(told, Outcome) or told.trial in wanted:
                    yield told
    if not left or keep.should_stop():
        return
    size = size or stackable.runs_at_once(build(left[0]))
    while left:
        together, failure = left[:size], None
        try:
            yield from _one_stack(together, build, keep)
        except (RuntimeError, MemoryError) as error:
            if len(together) == 1 or not memory.exhausted(error):
                raise
            failure = str(error)
        if failure is None:
            left = left[len(together) :]
            if keep.should_stop():
                return
            continue
        size = len(together) // 2  # outside of the handler, whose traceback holds the stack
        memory.give_back()
        keep.clear()
        yield Smaller(len(together), size)


def _one_stack(
    trials: Sequence[Trial],
    build: Build,
    keep: Keep,
    saved: Checkpoint | None = None,
    begun: Sequence[Outcome] = (),
) -> Iterator[RaceEvent]:
    members = members_of(trials, build)
    first = members.of_seeds[0]
    total = first.total_steps
    outcomes = list(begun) or [Outcome.begin(trial, total) for trial in trials]
    underway = StackedRuns(members)
    before = 0.0
    if saved is not None:
        underway.restore(saved)
        before = saved.state["seconds"]
    started = time.perf_counter()
    every = steps_between(first.settings.eval_every, first.steps_per_epoch) or total
    for event in underway.run(every):
        if isinstance(event, StackStepped):
            yield Underway(event.step, outcomes)
            if event.step < total and keep.due():
                state = underway.capture()
                state.state |= {
                    "outcomes": [outcome.record() for outcome in outcomes],
                    "seconds": before + time.perf_counter() - started,
                }
                keep.save(state)
            if event.step < total and keep.should_stop():
                return
        else:
            _note(outcomes, event)
    if (why := underway.stepped.obstacle or underway.evaluation.added.obstacle) is not None:
        yield Unrecorded(why)
    share = (before + time.perf_counter() - started) / len(trials)
    for outcome in outcomes:
        outcome.seconds_share = share
        if outcome.diverged:
            outcome.loss, outcome.metrics = math.nan, {}
    yield from outcomes
    keep.clear()


def _note(outcomes: Sequence[Outcome], event: StackLogged | StackEvaluated) -> None:
    """Write into the outcomes where the runs of a stack stand."""
    if isinstance(event, StackLogged):
        for outcome, loss, finite in zip(outcomes, event.losses, event.finite, strict=True):
            if not finite and not outcome.diverged:
                outcome.diverged, outcome.steps = True, event.step
            outcome.loss = loss
    elif event.step:
        for outcome, metrics in zip(outcomes, event.metrics, strict=True):
            if not outcome.diverged and not all(map(math.isfinite, metrics.values())):
                outcome.diverged, outcome.steps = True, event.step  # by the step behind its last loss
            if not outcome.diverged:
                outcome.curve.append((event.step, metrics))
                outcome.metrics = metrics


def members_of(trials: Sequence[Trial], build: Build) -> StackMembers:
    """The runs of a stack; those of one optimizer and setting stand side by side.

    Runs of one seed begin with the same weights and batches, those of one setting with the same optimizer: one of each
    is built, not every run.
    """
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    groups: list[tuple[int, int]] = []
    of_groups: list[Training] = []
    of_seeds: dict[int, Training] = {}
    generators: dict[int, Tensor] = {}
    for index, trial in enumerate(trials):
        before = trials[index - 1] if index else None
        known = before is not None and (before.optimizer, before.setting) == (trial.optimizer, trial.setting)
        if known:
            groups[-1] = (groups[-1][0], index + 1)
            if trial.seed in of_seeds:
                continue
        training = build(trial)
        # a lone run would start now, with the generator in this state
        generators.setdefault(trial.seed, rng.device_state(training.device))
        first = of_seeds.setdefault(trial.seed, training)
        training.batches, training.evaluations = first.batches, first.evaluations  # one copy of the data a seed
        if not known:
            groups.append((index, index + 1))
            of_groups.append(training)
    return StackMembers(
        [seeds.index(c.seed) for c in trials],
        groups,
        [of_seeds[seed] for seed in seeds],
        of_groups,
        [generators[seed] for seed in seeds],
    )
