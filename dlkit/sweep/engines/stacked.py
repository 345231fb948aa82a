"""Run the whole grid of a race by one of three engines: stacked, workers or loop. Results come as they finish."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from dlkit import memory
from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.trials import StackHalved, StackNotRecorded, SweepEvent, Trial, TrialResult, TrialsAdvanced
from dlkit.train.checkpoint import Checkpoint
from dlkit.train.settings import steps_between
from dlkit.vectorized import stackable
from dlkit.vectorized.stacked_runs import StackedRuns, StackEvaluated, StackLogged, StackStepped


def run_stacked(
    trials: Sequence[Trial], build: BuildTrial, keep: StackCheckpoints | None = None, size: int | None = None
) -> Iterator[SweepEvent]:
    """`size` runs at once, or as many as memory allows; a stack's outcomes come together.

    Goes on with the stack that `keep` holds. Where a stack turns out not to fit into memory, its runs begin again in
    stacks of half the size.
    """
    keep = keep or StackCheckpoints()
    left = list(trials)
    saved = keep.load()
    if saved is not None:
        begun = [TrialResult.of_record(record) for record in saved.state["outcomes"]]
        held = {outcome.trial for outcome in begun}
        wanted, left = held & set(left), [trial for trial in left if trial not in held]
        if wanted:
            # the whole stack as it was, so that its numbers come out as they would have
            for told in _one_stack([outcome.trial for outcome in begun], build, keep, saved, begun):
                if not isinstance(told, TrialResult) or told.trial in wanted:
                    yield told
    if not left or keep.should_stop():
        return
    size = size or stackable.runs_at_once(build(left[0]))
    while left:
        together, failure = left[:size], None
        try:
            yield from _one_stack(together, build, keep)
        except (RuntimeError, MemoryError) as error:
            if len(together) == 1 or not memory.is_out_of_memory(error):
                raise
            failure = str(error)
        if failure is None:
            left = left[len(together) :]
            if keep.should_stop():
                return
            continue
        size = len(together) // 2  # outside of the handler, whose traceback holds the stack
        memory.release_memory()
        keep.clear()
        yield StackHalved(len(together), size)


def _one_stack(
    trials: Sequence[Trial],
    build: BuildTrial,
    keep: StackCheckpoints,
    saved: Checkpoint | None = None,
    begun: Sequence[TrialResult] = (),
) -> Iterator[SweepEvent]:
    members = stack_members(trials, build)
    first = members.of_seeds[0]
    total = first.total_steps
    outcomes = list(begun) or [TrialResult.begin(trial, total) for trial in trials]
    underway = StackedRuns(members)
    before = 0.0
    if saved is not None:
        underway.restore(saved)
        before = saved.state["seconds"]
    started = time.perf_counter()
    every = steps_between(first.settings.eval_every, first.steps_per_epoch) or total
    for event in underway.run(every):
        if isinstance(event, StackStepped):
            yield TrialsAdvanced(event.step, outcomes)
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
        yield StackNotRecorded(why)
    share = (before + time.perf_counter() - started) / len(trials)
    for outcome in outcomes:
        outcome.seconds_share = share
        if outcome.diverged:
            outcome.loss, outcome.metrics = math.nan, {}
    yield from outcomes
    keep.clear()


def _note(outcomes: Sequence[TrialResult], event: StackLogged | StackEvaluated) -> None:
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
