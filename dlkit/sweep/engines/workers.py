"""The workers engine: single-threaded processes, each of which trains one run at a time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context

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
    if should_stop():
        return
    context = get_context("spawn")
    stop = context.Event()
    others = active_children()
    with ProcessPoolExecutor(count, context, prepare, (stop,)) as pool:
        with _signals_blocked():  # in the processes too, which take seconds to begin and would print a traceback each
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
            if pending:  # no run underway counts, and processes that are still beginning would not look at the event
                for process in active_children():
                    if process not in others:
                        process.kill()
            pool.shutdown(cancel_futures=True)  # unlike cancel(), survives workers killed by the same signal


@contextmanager
def _signals_blocked() -> Generator[None]:
    """Within the block the signals by which a program is stopped wait; processes that it starts never see them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    stopping = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
