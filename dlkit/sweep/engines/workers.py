"""The workers engine: single-threaded processes, each of which trains one run at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from dlkit.sweep.trials import SweepEvent, Trial, TrialResult

POLL_SECONDS = 0.2  # how often the parent checks whether it should stop


def run_in_workers(
    trials: Sequence[Trial],
    task: Callable[[Trial], TrialResult | None],
    prepare: Callable[..., None],
    count: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[SweepEvent]:
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
            pool.shutdown(cancel_futures=True)  # copes with workers that the same signal has ended, unlike cancel()
