"""Runs trained at once as a stack end like runs trained one after another."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from dlkit.app.optimizer_comparison import OptimizerComparison
from dlkit.catalog import OPTIMIZERS, import_object
from dlkit.doctor.bench import Bench, bench_recipe
from dlkit.doctor.finding import Finding, judged
from dlkit.recipe import Recipe
from dlkit.sweep.engines.loop import run_in_loop
from dlkit.sweep.engines.stacked import run_stacked
from dlkit.sweep.events import SweepEvent
from dlkit.sweep.trials import Trial, TrialResult, trial_grid

MOST = 2e-3  # relative difference of two losses
# Learning rates as shares of the default: small ones, since many rules begin with steps along the sign of a gradient,
# which rounding may turn.
_SHARES, _SEEDS = [0.1, 0.3], 2
_STEPS = 6


def stackable_optimizers() -> dict[str, Any]:
    """Name -> class of each optimizer in the catalog whose runs can be stacked."""
    kinds = {name: import_object(entry.target) for name, entry in OPTIMIZERS.items()}
    return {name: kind for name, kind in kinds.items() if kind.elementwise}


def check_stacks(bench: Bench) -> Iterator[Finding]:
    """One finding per optimizer whose runs can be stacked."""
    for name, kind in stackable_optimizers().items():
        default = inspect.signature(kind).parameters["lr"].default
        trials = trial_grid([name], [share * default for share in _SHARES], _SEEDS)
        comparison = OptimizerComparison({name: trial_recipe(name)}, bench.device)
        alone = _losses(run_in_loop(trials, comparison.training))
        together = _losses(run_stacked(trials, comparison.training))
        worst = max(abs(together[trial] / alone[trial] - 1) for trial in trials)
        yield judged(
            f"{name}, {len(trials)} runs",
            f"the same losses within {MOST:g}",
            f"{worst:.1e}",
            worst < MOST,
            difference=worst,
            losses=list(together.values()),
            expected_losses=list(alone.values()),
        )


def trial_recipe(optimizer: str, *changes: str, steps: int = _STEPS) -> Recipe:
    """The recipe of a trial, except for learning rate and seed."""
    own = ["data.validation=0.1", f"train.eval_every={steps} steps", "model.hidden=[32]", f"optimizer.name={optimizer}"]
    return bench_recipe("digits-mlp", [*own, *changes], steps=steps)


def _losses(events: Iterator[SweepEvent]) -> dict[Trial, float]:
    """The validation loss of each run."""
    return {event.trial: event.metrics["val/loss"] for event in events if isinstance(event, TrialResult)}
