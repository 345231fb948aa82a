"""The workers engine: single-threaded processes, each of which trains one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from dlkit.sweep.events import SweepEvent
from dlkit.sweep.trials import Trial, TrialResult

POLL_SECONDS = 0.2  # how often the parent checks whether it should stop


def run_in_workers(
    trials: Sequence[Trial],
    task: Callable[[Trial], TrialResult | None],
    prepare: Callable[..., None],
    count: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[SweepEvent]:
    """Train the trials in `count` processes of one thread each.

    Args:
        trials: the runs.
        task: trains one trial, and returns None if it was stopped; must be picklable.
        prepare: called once in each process, with an event that is set when runs are to stop.
        count: number of processes.
        should_stop: whether the sweep was asked to stop.
    """
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(count, context, prepare, (stop,)) as pool:
        pending: set[Future[TrialResult | None]] = {pool.submit(task, trial) for trial in trials}
        try:
            while pending and not should_stop():
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    if should_stop() and isinstance(future.exception(), BrokenProcessPool):
                        return
                    outcome = future.result()
                    if outcome is not None:
                        yield outcome
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)  # unlike cancel(), survives workers killed by the same signal
