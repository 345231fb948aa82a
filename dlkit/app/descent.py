"""A run of a race on a surface: an optimizer from the catalog walks down a function of two numbers."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from dlkit.catalog import find_entry, import_object
from dlkit.sweep.surfaces import Surface
from dlkit.sweep.trials import Trial, TrialResult


def descend(
    surface: Surface,
    trial: Trial,
    start: tuple[float, float],
    steps: int,
    should_stop: Callable[[], bool] = lambda: False,
    named: str | None = None,
) -> TrialResult | None:
    """Run a trial on a surface; each point of its way is a metric of the curve. None if it is asked to stop.

    `named` is how a recipe names the optimizer; None for the name of the trial's.
    """
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    constructor = import_object(find_entry("optimizer", named or trial.optimizer).target)
    own = {p.name: p.default for p in inspect.signature(constructor).parameters.values() if p.kind is p.KEYWORD_ONLY}
    optimizer = constructor([theta], **trial.applied_to(own))
    began, curve = time.perf_counter(), list[tuple[int, dict[str, float]]]()
    diverged = False
    for step in range(steps + 1):
        if should_stop():
            return None
        value = surface.function(theta[0], theta[1])
        x, y, loss = theta[0].item(), theta[1].item(), value.item()
        diverged = not math.isfinite(loss)
        if diverged:
            break
        curve.append((step, {"loss": loss, "x": x, "y": y, "distance": surface.distance(x, y)}))
        if step < steps:
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    metrics = {} if diverged else curve[-1][1]
    loss = math.nan if diverged else metrics["loss"]
    done, first = (curve[-1][0], curve[0][1]) if curve else (0, {})
    return TrialResult(trial, done, loss, metrics, curve, diverged, time.perf_counter() - began, first)


def descents(
    surface: Surface,
    start: tuple[float, float],
    trials: Sequence[Trial],
    steps: int,
    should_stop: Callable[[], bool],
    optimizers: Mapping[str, str],
) -> Iterator[TrialResult]:
    """The results of trials on a surface, one after another, until it is asked to stop."""
    for trial in trials:
        if should_stop():
            return
        result = descend(surface, trial, start, steps, should_stop, optimizers[trial.optimizer])
        if result is not None:
            yield result
