"""The stacked engine: many runs of one architecture trained at once, as one batched computation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence

from dlkit import memory
from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.engines.stack_checkpoints import StackCheckpoints
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.events import StackHalved, StackNotRecorded, SweepEvent, TrialsAdvanced
from dlkit.sweep.trials import Trial, TrialResult
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.settings import steps_between
from dlkit.vectorized import stackable
from dlkit.vectorized.events import StackEvaluated, StackLogged, StackStepped
from dlkit.vectorized.stacked_runs import StackedRuns


def run_stacked(
    trials: Sequence[Trial], build: BuildTrial, checkpoints: StackCheckpoints | None = None, size: int | None = None
) -> Iterator[SweepEvent]:
    """Train the trials in stacks of `size` runs, or of as many as fit into memory. A stack's results come together.

    Resumes the stack saved in `checkpoints`. If a stack turns out not to fit into memory, its runs restart in stacks of
    half the size.

    Args:
        trials: the runs.
        build: makes the training of a trial.
        checkpoints: where stacks are saved on the way; by default nowhere.
        size: runs per stack.
    """
    checkpoints = checkpoints or StackCheckpoints()
    left = list(trials)
    saved = checkpoints.load()
    if saved is not None:
        resumed = [TrialResult.of_record(json.loads(record)) for record in saved.state["outcomes"]]
        stacked = {result.trial for result in resumed}
        wanted, left = stacked & set(left), [trial for trial in left if trial not in stacked]
        if wanted:
            # the whole stack as it was, so that the numbers are those of an uninterrupted run
            for event in _one_stack([result.trial for result in resumed], build, checkpoints, saved, resumed):
                if not isinstance(event, TrialResult) or event.trial in wanted:
                    yield event
    if not left or checkpoints.should_stop():
        return
    size = size or stackable.runs_at_once(build(left[0]))
    while left:
        together, failure = left[:size], None
        try:
            yield from _one_stack(together, build, checkpoints)
        except (RuntimeError, MemoryError) as error:
            if len(together) == 1 or not memory.is_out_of_memory(error):
                raise
            failure = str(error)
        if failure is None:
            left = left[len(together) :]
            if checkpoints.should_stop():
                return
            continue
        size = len(together) // 2  # outside the handler, whose traceback keeps the stack alive
        memory.release_memory()
        checkpoints.clear()
        yield StackHalved(len(together), size)


def _one_stack(
    trials: Sequence[Trial],
    build: BuildTrial,
    checkpoints: StackCheckpoints,
    saved: Checkpoint | None = None,
    resumed: Sequence[TrialResult] = (),
) -> Iterator[SweepEvent]:
    members = stack_members(trials, build)
    first = members.of_seeds[0]
    total = first.total_steps
    results = list(resumed) or [TrialResult.begin(trial, total) for trial in trials]
    stack = StackedRuns(members)
    before = 0.0
    if saved is not None:
        stack.restore(saved)
        before = saved.state["seconds"]
    started = time.perf_counter()
    every = steps_between(first.settings.eval_every, first.steps_per_epoch) or total
    for event in stack.run(every):
        if isinstance(event, StackStepped):
            yield TrialsAdvanced(event.step, results)
            if event.step < total and checkpoints.due():
                state = stack.capture()
                state.state |= {
                    # as text, since a checkpoint sorts keys, and metrics have an order of their own
                    "outcomes": [json.dumps(result.record(), allow_nan=False) for result in results],
                    "seconds": before + time.perf_counter() - started,
                }
                checkpoints.save(state)
            if event.step < total and checkpoints.should_stop():
                return
        else:
            _update(results, event)
    if (why := stack.stepped.obstacle or stack.evaluation.added.obstacle) is not None:
        yield StackNotRecorded(why)
    share = (before + time.perf_counter() - started) / len(trials)
    for result in results:
        result.seconds_share = share
        if result.diverged:
            result.loss, result.metrics = math.nan, {}
    yield from results
    checkpoints.clear()


def _update(results: Sequence[TrialResult], event: StackLogged | StackEvaluated) -> None:
    """Take the losses or metrics of all runs of a stack into their results."""
    if isinstance(event, StackLogged):
        for result, loss, finite in zip(results, event.losses, event.finite, strict=True):
            if not finite and not result.diverged:
                result.diverged, result.steps = True, event.step
            result.loss = loss
    elif event.step == 0:
        for result, metrics in zip(results, event.metrics, strict=True):
            result.start = metrics
    else:
        for result, metrics in zip(results, event.metrics, strict=True):
            if not result.diverged and not all(map(math.isfinite, metrics.values())):
                result.diverged, result.steps = True, event.step  # in the step after its last finite loss
            if not result.diverged:
                result.curve.append((event.step, metrics))
                result.metrics = metrics
