"""How long single steps take: of a lone run, and of a stack of runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from dlkit.errors import DivergedError
from dlkit.sweep.engines.loop import BuildTrial
from dlkit.sweep.engines.stack_members import stack_members
from dlkit.sweep.trials import Trial
from dlkit.training.events import StepDone
from dlkit.training.loop import fit
from dlkit.vectorized.stacked_runs import StackedRuns


def stacked_step_times(trials: Sequence[Trial], build: BuildTrial) -> Iterator[float]:
    """Wall time of each step of a stack of these runs, endlessly; the stack restarts when it is finished."""
    members = stack_members(trials, build)
    while True:
        stack = StackedRuns(members)
        batches = stack.batches()
        while True:
            started = time.perf_counter()
            following = next(batches, None)
            if following is None:
                break
            stack.take_step(*following)[0].item()  # waits for the device
            yield time.perf_counter() - started


def lone_step_times(build: BuildTrial, trial: Trial, threads: int) -> Iterator[float]:
    """Wall time of each step of a lone run on `threads` threads, endlessly.

    The run restarts when it is finished, or when it diverges, as an optimizer of the user's own may at any rate.
    """
    usual = torch.get_num_threads()
    while True:
        training = build(trial)
        events = fit(training)
        while True:
            torch.set_num_threads(threads)
            started = time.perf_counter()
            try:
                event, diverged = next(events, None), False
            except DivergedError:
                event, diverged = None, True
            if training.device.type == "cuda":
                torch.cuda.synchronize(training.device)  # the step has only been launched
            seconds = time.perf_counter() - started
            torch.set_num_threads(usual)
            if isinstance(event, StepDone) or diverged:
                yield seconds
            if event is None:
                break
