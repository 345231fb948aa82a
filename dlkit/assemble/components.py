"""The constructors that a section of a recipe names, with the keys that each takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from dlkit.catalog import SECTIONS, import_object
from dlkit.data.known import Known
from dlkit.errors import DlkitError
from dlkit.recipe import Recipe

Part = tuple[Callable[..., Any], dict[str, Any]]


def parts(section: str, values: dict[str, Any]) -> tuple[Part, list[Part]]:
    """The constructors of a section's component, each with those of the section's keys that it takes."""
    entry = SECTIONS[section][values["name"]]
    found: list[Part] = []
    for target in (entry.target, *entry.also):
        constructor = import_object(target)
        names = inspect.signature(constructor).parameters
        found.append((constructor, {key: _argument(value) for key, value in values.items() if key in names}))
    return found[0], found[1:]


def read_data(recipe: Recipe, saved: dict[str, Any] | None) -> Any:
    """The data of a recipe; what a checkpoint's description names, if given, is met by name: columns and classes.

    Raises:
        DlkitError: what the readers of data raise; the description does not name the columns.
    """
    (constructor, keys), _ = parts("data", recipe.values["data"])
    if saved is None or "known" not in inspect.signature(constructor).parameters:
        return constructor(**keys)
    columns: dict[str, str] = {entry["name"]: entry["type"] for entry in saved.get("columns", ())}
    if "mean" not in saved or recipe.values["task"] == "image-classification":
        return constructor(Known(tuple(saved["classes"])), **keys)
    if not columns:
        # an earlier dlkit did not write them, and a place in a file says nothing about another file
        columns = dict.fromkeys(keys["columns"] or (), "number")
        if len(columns) != saved["input_shape"][0]:
            raise DlkitError(
                "the checkpoint does not say which columns it was trained on: an earlier dlkit wrote it",
                "name them in the order of the training file: data.columns='[NAME, NAME, ...]'",
            )
    mean, std = (torch.tensor(saved[key], dtype=torch.float64) for key in ("mean", "std"))
    return constructor(Known(tuple(saved["classes"]), columns, mean, std), **keys)


def _argument(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
