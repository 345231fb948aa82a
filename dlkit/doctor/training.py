"""Training beside a loop in bare torch: what benchmarks of images and of text share.

dlkit's time is that of its own loop, data included; the twin has its data on the device. Data is random but for texts:
how fast a step is does not depend on what is learned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dlkit.assemble import assemble_training
from dlkit.doctor.bench import Bench
from dlkit.doctor.clock import Work
from dlkit.recipe import Recipe
from dlkit.train.events import StepDone
from dlkit.train.loop import fit
from dlkit.train.precision import AUTOCAST, reduced_precision
from dlkit.train.training import Training

ENDLESS = 10**6  # steps: more than are ever taken
GOAL = 0.95  # of the twin's speed


def stepper(bench: Bench, recipe: Recipe, data: Any, steps: int) -> Callable[[], Work]:
    """dlkit's own loop, so many steps a call."""

    def make() -> Work:
        run: Training = assemble_training(recipe, bench.device, dataset=data).training
        run.evaluations, run.monitored = {}, None
        events = fit(run)

        def work() -> None:
            left = steps
            while left:
                left -= isinstance(next(events), StepDone)

        return work

    return make


def repeated(make: Callable[[], Work], times: int) -> Callable[[], Work]:
    """So many of the steps that `make` builds a call."""

    def built() -> Work:
        step = make()

        def work() -> None:
            for _ in range(times):
                step()

        return work

    return built


def quiet() -> list[str]:
    """No step is logged, so that none waits."""
    return [f"train.log_every={ENDLESS}"]


def reduced(bench: Bench) -> str:
    """The precision of benchmarks: 16 bits on a GPU."""
    return reduced_precision(bench.device) or "fp32" if bench.on_gpu else "fp32"


def dtype(bench: Bench) -> torch.dtype | None:
    """The same as torch calls it; None for float32."""
    return AUTOCAST.get(reduced(bench))


def rounds(bench: Bench) -> int:
    """How often each is timed."""
    return 3 if bench.quick else bench.sized(gpu=7, cpu=5)
