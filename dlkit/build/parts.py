"""The constructors that a section of a recipe names, with the keys that each takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dlkit.catalog import SECTIONS, resolve

Part = tuple[Callable[..., Any], dict[str, Any]]


def parts(section: str, values: dict[str, Any]) -> tuple[Part, list[Part]]:
    """The constructors of a section's component, each with those of the section's keys that it takes."""
    entry = SECTIONS[section][values["name"]]
    found: list[Part] = []
    for target in (entry.target, *entry.also):
        constructor = resolve(target)
        names = inspect.signature(constructor).parameters
        found.append((constructor, {key: _argument(value) for key, value in values.items() if key in names}))
    return found[0], found[1:]


def _argument(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
