"""What recipes are made of: every component of the catalog with its options. No torch: all of it is in the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlkit import recipe as recipes
from dlkit.catalog import ACTIVATIONS, NORMS, SECTIONS, TASKS, Entry
from dlkit.errors import RequestError
from dlkit.recipe.check import describe_schema

# In the order in which a recipe is written.
_KINDS: dict[str, Mapping[str, Any]] = {
    "task": TASKS,
    "data": SECTIONS["data"],
    "tokenizer": SECTIONS["tokenizer"],
    "model": SECTIONS["model"],
    "activation": ACTIVATIONS,
    "norm": NORMS,
    "loss": SECTIONS["loss"],
    "optimizer": SECTIONS["optimizer"],
    "schedule": SECTIONS["schedule"],
    "train": {"train": Entry("dlkit.training.settings:TrainSettings", "length, cadence, precision of training")},
}


def list_components(name: str | None = None) -> list[dict[str, Any]]:
    """The components of a kind, those of a name, or all of them, each as the record that `dlkit components` prints.

    `options` maps each key that a recipe may set to its `help`, its `values` in words, its `schema`, and its `default`,
    or `required`.

    Args:
        name: a kind such as `optimizer`, a name such as `adamw`, or both, `optimizer.adamw`; None for everything.

    Raises:
        RequestError: there is no such component.
    """
    every = [(kind, own) for kind, entries in _KINDS.items() for own in entries]
    if name is None or name in _KINDS:
        found = [(kind, own) for kind, own in every if name in (None, kind)]
    else:
        found = [(kind, own) for kind, own in every if name in (own, f"{kind}.{own}")]
    if not found:
        near = recipes.closest(name or "", [*_KINDS, *(own for _, own in every)])
        raise RequestError(f"no component {name!r}{near}", f"kinds: {', '.join(_KINDS)}; `dlkit components` lists all")
    return [record for kind, own in found for record in _components(kind, own)]


def _components(kind: str, name: str) -> list[dict[str, Any]]:
    """The record of a component; of one with other keys in each task, a record for each that has its own."""
    entry = _KINDS[kind][name]
    if not isinstance(entry, Entry) or not entry.by_task:
        return [_component(kind, name, entry, "")]
    own = {variant.target: (task, variant) for task, variant in entry.by_task.items()}
    return [_component(kind, name, variant, task) for task, variant in own.values()]


def _component(kind: str, name: str, entry: Any, task: str) -> dict[str, Any]:
    described: dict[str, Any] = recipes.definition(kind, name, task) or {}
    record: dict[str, Any] = {"kind": kind, "name": name, "help": entry.help, "paper": described.get("paper")}
    if isinstance(entry, Entry):
        record["tasks"] = list(entry.tasks) or list(TASKS)
        record["needs"] = f"dlkit download {entry.download}" if entry.download else None
    else:
        record["inputs"] = entry.inputs
    required = described.get("required", ())
    properties: dict[str, Any] = described.get("properties", {})
    record["options"] = {
        key: _option(item, key in required) for key, item in properties.items() if key != "name" or kind == "train"
    }
    return record


def _option(item: dict[str, Any], required: bool) -> dict[str, Any]:
    schema = {key: value for key, value in item.items() if key not in ("description", "default")}
    default = {"required": True} if required else {"default": item.get("default")}
    return {"help": item["description"], "values": describe_schema(schema), **default, "schema": schema}
