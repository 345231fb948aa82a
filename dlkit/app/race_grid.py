"""Who races: every optimizer with every learning rate, or with random trials of its options, from every seed."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from dlkit import recipe as recipes
from dlkit.catalog import OPTIMIZERS, import_object
from dlkit.errors import RequestError
from dlkit.recipe.check import check_value
from dlkit.sweep import search
from dlkit.sweep.trials import Trial, grid, rates

MOST_RUNS = 1_000_000  # more than any machine trains, and than fits into its memory as a list


def parse_optimizers(text: str) -> list[str]:
    """The names in `sgd,adam`. Raises RequestError where there is no such optimizer, or one stands twice."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in OPTIMIZERS:
            raise RequestError(
                f"no optimizer {name!r}{recipes.closest(name, OPTIMIZERS)}", f"there are {', '.join(OPTIMIZERS)}"
            )
    if len(set(names)) < len(names):
        raise RequestError(f"--optimizers {text}: one stands twice", "name each once")
    return names


def requested_trials(
    names: Sequence[str],
    lr: str,
    seeds: int,
    trials: int | None,
    searched: Sequence[str],
    seed: int,
    layers: bool = True,
) -> list[Trial]:
    """The runs that the options ask for. Raises RequestError for a range that an optimizer cannot take.

    Args:
        names: of the optimizers.
        lr: learning rates as they were given.
        seeds: runs of each setting.
        trials: settings of each optimizer; None for the grid.
        searched: ranges as they were given.
        seed: of the trials.
        layers: whether what is trained has layers, which may learn at rates of their own; a surface has none.
    """
    lrs = rates(lr)
    runs = len(names) * (trials or len(lrs)) * seeds
    if runs > MOST_RUNS:
        raise RequestError(f"{runs:,} runs are more than {MOST_RUNS:,}", "lower --seeds, --trials or the count in --lr")
    if trials is None:
        if searched:
            raise RequestError(f"--search {searched[0]} needs a budget", "add --trials N")
        return grid(list(names), lrs, seeds)
    ranges = search.assign([search.parse(text) for text in searched], {name: _numbers(name, layers) for name in names})
    for name, own in ranges.items():
        for given in own:
            for value in given.ends():
                _require_in_range(name, given, value)
    whole = search.Range("lr", lrs[0], lrs[-1]) if len(lrs) > 1 else lrs[0]
    return search.random_trials(ranges, whole, trials, seed, seeds)


def _properties(optimizer: str) -> dict[str, Any]:
    """Option -> what the recipe schema says of it, with betas as beta1 and beta2."""
    properties = dict(recipes.schema()["$defs"][f"optimizer.{optimizer}"]["properties"])
    betas = properties.get("betas")
    if betas is not None:
        properties["beta1"], properties["beta2"] = betas["prefixItems"]
    return properties


def _numbers(optimizer: str, layers: bool) -> list[str]:
    """The options of an optimizer that are numbers; without layers those of its constructor alone."""
    numbers = [name for name, schema in _properties(optimizer).items() if schema.get("type") == "number"]
    if layers:
        return numbers
    own = [*inspect.signature(import_object(OPTIMIZERS[optimizer].target)).parameters, "beta1", "beta2"]
    return [name for name in numbers if name in own]


def _require_in_range(optimizer: str, given: search.Range, value: float) -> None:
    problems: list[str] = []
    check_value(value, _properties(optimizer)[given.name], (), lambda _, message: problems.append(message))
    if problems:
        raise RequestError(
            f"--search {given.name}: {optimizer}'s {given.name} {problems[0]}", "narrow the range to what it can be"
        )
