"""The constructors that a section of a recipe names, with the keys that each takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dlkit.annotations import is_list
from dlkit.catalog import find_entry, import_object
from dlkit.recipe.own_component import calling

Component = tuple[Callable[..., Any], dict[str, Any]]


def components(section: str, values: dict[str, Any], task: str = "") -> tuple[Component, list[Component]]:
    """The constructor that a section names and those that share its keys, each with the keys that it takes.

    `components("optimizer", {"name": "sgd", "lr": 0.1, "decay_norm": False})` is `SGD` with `lr`, and
    `parameter_groups` with `decay_norm`. The task matters to data, which is batched by it.
    """
    entry = find_entry(section, values["name"], task)
    found: list[Component] = []
    for target in (entry.target, *entry.also):
        constructor = import_object(target)
        own = target == values["name"]
        parameters = inspect.signature(constructor).parameters.values()
        names = {part.name for part in parameters if own or part.kind is part.KEYWORD_ONLY}
        if own:
            constructor = calling(section, target, task, constructor)
        found.append((constructor, {key: _argument(value) for key, value in values.items() if key in names}))
    return found[0], found[1:]


def _argument(value: Any) -> Any:
    return tuple(value) if is_list(value) else value
