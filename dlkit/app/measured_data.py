"""Which data an evaluation measures: a run's own test split, or all of the other data that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dlkit.recipe import Recipe

# Keys of `data` that name what is read.
_SOURCES = ("name", "config", "split", "of", "path", "test_path", "validation_path")
# Keys that hold some of it out, or leave some of it away, and how they are set to take all.
_ALL = {"test": 0.0, "validation": 0.0, "per_class": None, "test_path": None, "validation_path": None}


def changed_sources(recipe: Recipe, own: Recipe) -> list[str]:
    """Keys of `data` by which a recipe reads other data than its run did."""
    data, before = recipe.values["data"], own.values["data"]
    return [key for key in _SOURCES if _resolved(data.get(key)) != _resolved(before.get(key))]


def measured(recipe: Recipe, own: Recipe, split: str | None) -> tuple[Recipe, str | None, bool]:
    """What an evaluation measures: the recipe that reads it, the split, and whether the data is taken whole.

    Data that a run was not trained on is measured whole, whatever shares the recipe holds out of its own.

    Args:
        recipe: of the run with the changes that the user asks for.
        own: the run's own.
        split: as the user asks for it.
    """
    data, other = recipe.values["data"], changed_sources(recipe, own)
    if split not in (None, "all") or (split is None and not other):
        return recipe, split, False
    if split is None and other == ["validation_path"]:
        return recipe, "val", False
    if split is None and set(other) <= {"test_path", "validation_path"}:
        return recipe, None, False  # the rows of the other file are the test split
    kept = set(other) if split is None else set[str]()
    every = {key: value for key, value in _ALL.items() if key in data and key not in kept}
    return Recipe(recipe.name, recipe.path, {**recipe.values, "data": {**data, **every}}), split, True


def _resolved(value: Any) -> Any:
    """A path, however it is spelled, as the file that it leads to."""
    return Path(value).resolve() if isinstance(value, str) and value else value
