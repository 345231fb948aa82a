"""What the training benchmarks of images and of text share.

dlkit is timed with its own loop and loader; the twin has its data on the device. Images are random: the speed of a step
does not depend on what is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dlkit.assemble import assemble_training
from dlkit.doctor.bench import Bench
from dlkit.doctor.benchmarks.timing import Work
from dlkit.recipe import Recipe
from dlkit.training.events import StepDone
from dlkit.training.loop import fit
from dlkit.training.precision import AUTOCAST, reduced_precision
from dlkit.training.training import Training

ENDLESS = 10**6  # more steps than are ever taken
GOAL = 0.95  # of the twin's speed


def dlkit_steps(bench: Bench, recipe: Recipe, data: Any, steps: int) -> Callable[[], Work]:
    """A builder of work: `steps` steps of dlkit's training loop per call."""

    def make() -> Work:
        training: Training = assemble_training(recipe, bench.device, dataset=data).training
        training.evaluations, training.monitored = {}, None
        events = fit(training)

        def work() -> None:
            left = steps
            while left:
                left -= isinstance(next(events), StepDone)

        return work

    return make


def repeat_step(make: Callable[[], Work], times: int) -> Callable[[], Work]:
    """A builder of work: `times` of the steps that `make` builds per call."""

    def built() -> Work:
        step = make()

        def work() -> None:
            for _ in range(times):
                step()

        return work

    return built


def quiet_logging() -> list[str]:
    """Overrides by which no step is logged, so that none waits for the device."""
    return [f"train.log_every={ENDLESS}"]


def benchmark_precision(bench: Bench) -> str:
    """The precision of the benchmarks: 16 bits on a GPU, float32 on a CPU."""
    return reduced_precision(bench.device) or "fp32" if bench.on_gpu else "fp32"


def benchmark_dtype(bench: Bench) -> torch.dtype | None:
    """The dtype of that precision for autocast; None for float32."""
    return AUTOCAST.get(benchmark_precision(bench))


def timing_rounds(bench: Bench) -> int:
    """Timed rounds per program."""
    return 3 if bench.quick else bench.sized(gpu=7, cpu=5)
