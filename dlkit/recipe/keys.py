"""What can be overridden in a recipe, for completion and for help."""

from __future__ import annotations

from typing import Any

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError
from dlkit.recipe.load import definition, load, schema


def _names(source: str) -> dict[str, str]:
    """Section -> the component that the recipe uses there; and the task."""
    try:
        values = load(source, unchecked_code=True).values
    except DlkitError:
        return {}
    named = {key: value.get("name", "") for key, value in values.items() if is_mapping(value)}
    return {**named, "task": values["task"]}


def _section(section: str, names: dict[str, str]) -> dict[str, Any]:
    return definition(section, names.get(section), names.get("task")) or {}


def override_keys(source: str) -> list[tuple[str, str]]:
    """Each dotted key that can be set in this recipe, with its description."""
    names, keys = _names(source), list[tuple[str, str]]()
    for key, described in schema()["properties"].items():
        if key in ("task", "seed"):
            keys.append((key, described["description"]))
        elif key != "extends":
            properties = _section(key, names).get("properties", {"name": {}})
            keys += [(f"{key}.{name}", item.get("description", f"which {key}")) for name, item in properties.items()]
    return keys


def override_values(source: str, key: str) -> list[str]:
    """The values that a dotted key chooses from: names, enumerations, booleans. Empty where it is free."""
    section, _, name = key.partition(".")
    described: dict[str, Any] = schema()["properties"].get(section, {})
    if name == "name":
        described = described.get("properties", {}).get("name", {})
    elif name:
        described = _section(section, _names(source)).get("properties", {}).get(name, {})
    return _choices(described)


def _choices(described: dict[str, Any]) -> list[str]:
    if described.get("type") == "boolean":
        return ["true", "false"]
    choices = [str(choice) for choice in described.get("enum", ())]
    if "const" in described:
        choices.append(str(described["const"]))
    for option in described.get("anyOf", ()):
        choices += ["null"] if option.get("type") == "null" else _choices(option)
    return choices
