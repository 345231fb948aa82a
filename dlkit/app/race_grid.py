"""Who races: every optimizer with every learning rate, or with random trials of its options, from every seed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit import recipe as recipes
from dlkit import user_code
from dlkit.catalog import OPTIMIZERS, find_entry, import_object
from dlkit.errors import RequestError
from dlkit.recipe.check import check_value
from dlkit.recipe.own_component import own_schema, require_kind
from dlkit.sweep import search
from dlkit.sweep.trials import Trial, parse_learning_rates, trial_grid

MOST_RUNS = 1_000_000  # more than any machine trains; the list of them would not fit into memory


def parse_target(text: str) -> tuple[str, float]:
    """The metric and the value of `loss=0.2`. Raises RequestError where it has no number."""
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RequestError(f"`target` {text}: no number", "write `target` loss=0.2")
    return name, value


def parse_optimizers(text: str) -> dict[str, str]:
    """The optimizers of `sgd,mine.py:SignDescent`: what each is called in a race -> how a recipe names it.

    Raises:
        RequestError: there is no such optimizer, one appears twice, or one is code of the user's own that is not
            trusted or not an optimizer.
    """
    found: dict[str, str] = {}
    for given in text.split(","):
        name = named = given.strip()
        if user_code.is_reference(named):
            if not user_code.is_trusted():
                raise user_code.refusal(named)
            path, name = user_code.split_reference(named)
            named = f"{path.expanduser().absolute()}:{name}"
            require_kind("optimizer", named)
        elif name not in OPTIMIZERS:
            known = f"there are {', '.join(OPTIMIZERS)}, or FILE.py:NAME of your own"
            raise RequestError(f"no optimizer {name!r}{recipes.closest(name, OPTIMIZERS)}", known)
        if name in found:
            raise RequestError(f"`optimizers` {text}: one appears twice", "name each once")
        found[name] = named
    return found


def own_files(optimizers: Mapping[str, str]) -> list[Path]:
    """The files of those that are code of the user's own."""
    return [user_code.split_reference(named)[0] for named in optimizers.values() if user_code.is_reference(named)]


def kept_optimizers(optimizers: Mapping[str, str], folder: Path) -> list[str]:
    """The same as the repeating command names them: code of the user's own by its copy in the folder of the race."""
    return [
        f"{folder / Path(named.rpartition(':')[0]).name}:{name}" if user_code.is_reference(named) else name
        for name, named in optimizers.items()
    ]


def requested_trials(
    optimizers: Mapping[str, str],
    lr: str,
    seeds: int,
    trials: int | None,
    searched: Sequence[str],
    seed: int,
    layers: bool = True,
) -> list[Trial]:
    """The runs that the options ask for. Raises RequestError for a range that an optimizer cannot take.

    Args:
        optimizers: as `parse_optimizers` has them.
        lr: learning rates as they were given.
        seeds: runs of each setting.
        trials: settings of each optimizer; None for the grid.
        searched: ranges as they were given.
        seed: of the trials.
        layers: whether what is trained has layers, which may learn at rates of their own; a surface has none.
    """
    lrs = parse_learning_rates(lr)
    runs = len(optimizers) * (trials or len(lrs)) * seeds
    if runs > MOST_RUNS:
        raise RequestError(f"{runs:,} runs are more than {MOST_RUNS:,}", "lower `seeds`, `trials` or the count in `lr`")
    if trials is None:
        if searched:
            raise RequestError(f"`search` {searched[0]} needs a budget", "add `trials` N")
        return trial_grid(list(optimizers), lrs, seeds)
    ranges = search.ranges_by_optimizer(
        [search.parse_search_range(text) for text in searched],
        {name: _numbers(named, layers) for name, named in optimizers.items()},
    )
    for name, own in ranges.items():
        for given in own:
            for value in given.ends():
                _require_in_range(name, optimizers[name], given, value)
    whole = search.LogUniform("lr", lrs[0], lrs[-1]) if len(lrs) > 1 else lrs[0]
    return search.random_trials(ranges, whole, trials, seed, seeds)


def _properties(optimizer: str) -> dict[str, Any]:
    """Option -> what the recipe schema says of it, with betas as beta1 and beta2."""
    own = user_code.is_reference(optimizer)
    found = own_schema("optimizer", optimizer, "") if own else recipes.schema()["$defs"][f"optimizer.{optimizer}"]
    properties = dict(found["properties"])
    betas = properties.get("betas")
    if betas is not None:
        properties["beta1"], properties["beta2"] = betas["prefixItems"]
    return properties


def _numbers(optimizer: str, layers: bool) -> list[str]:
    """The options of an optimizer that are numbers; without layers those of its constructor alone."""
    numbers = [name for name, schema in _properties(optimizer).items() if schema.get("type") == "number"]
    if layers:
        return numbers
    own = [*inspect.signature(import_object(find_entry("optimizer", optimizer).target)).parameters, "beta1", "beta2"]
    return [name for name in numbers if name in own]


def _require_in_range(name: str, optimizer: str, given: search.LogUniform, value: float) -> None:
    problems: list[str] = []
    check_value(value, _properties(optimizer)[given.name], (), lambda _, message: problems.append(message))
    if problems:
        raise RequestError(
            f"`search` {given.name}: {name}'s {given.name} {problems[0]}", "narrow the range to what it can be"
        )
