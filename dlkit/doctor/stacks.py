"""Runs that are trained at once as a stack end as runs that are trained one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from dlkit.app.contest import Contest
from dlkit.catalog import OPTIMIZERS, import_object
from dlkit.doctor.bench import Bench, loaded
from dlkit.doctor.finding import Finding, judged
from dlkit.recipe import Recipe
from dlkit.sweep import engines
from dlkit.sweep.trials import Outcome, RaceEvent, Trial, grid

MOST = 2e-3  # between two losses, as a share
# Learning rates as shares of the default: small ones, since many rules begin with steps along the sign of a gradient,
# which rounding may turn.
_SHARES, _SEEDS = [0.1, 0.3], 2
_STEPS = 6


def stackable_optimizers() -> dict[str, Any]:
    """Name -> class of each optimizer in the catalog whose runs can be stacked."""
    kinds = {name: import_object(entry.target) for name, entry in OPTIMIZERS.items()}
    return {name: kind for name, kind in kinds.items() if kind.elementwise}


def check(bench: Bench) -> Iterator[Finding]:
    """A finding for each optimizer whose runs can be stacked."""
    for name, kind in stackable_optimizers().items():
        default = inspect.signature(kind).parameters["lr"].default
        trials = grid([name], [share * default for share in _SHARES], _SEEDS)
        contest = Contest({name: recipe_of(name)}, bench.device)
        alone = _losses(engines.loop(trials, contest.training))
        together = _losses(engines.stack(trials, contest.training))
        worst = max(abs(together[who] / alone[who] - 1) for who in trials)
        yield judged(
            f"{name}, {len(trials)} runs",
            f"the same losses within {MOST:g}",
            f"{worst:.1e}",
            worst < MOST,
            difference=worst,
            losses=list(together.values()),
            expected_losses=list(alone.values()),
        )


def recipe_of(optimizer: str, *changes: str, steps: int = _STEPS) -> Recipe:
    """What a trial runs, but for its learning rate and seed."""
    own = ["data.validation=0.1", f"train.eval_every={steps} steps", "model.hidden=[32]", f"optimizer.name={optimizer}"]
    return loaded("digits-mlp", [*own, *changes], steps=steps)


def _losses(told: Iterator[RaceEvent]) -> dict[Trial, float]:
    """The validation loss of each run."""
    return {one.trial: one.metrics["val/loss"] for one in told if isinstance(one, Outcome)}
