"""Generate the recipe's JSON Schema from the signatures of the catalog: `python -m dlkit.recipe.generate`.

A development tool: it imports every component and needs pydantic, which turns annotations into JSON Schema.
The result is shipped as `schema.json`, so that checking a recipe imports neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlkit import contracts, user_code
from dlkit.annotations import LARGEST_SEED
from dlkit.catalog import ACTIVATIONS, NORMS, SECTIONS, TASKS, Entry
from dlkit.recipe.citation import paper_of
from dlkit.recipe.signature import component_schema

SCHEMA_FILE = Path(__file__).with_name("schema.json")
REQUIRED = ("task", "data", "model", "optimizer")
DEFAULTS: dict[str, Any] = {
    "seed": 0,
    "tokenizer": {"name": "auto"},
    "loss": {"name": "cross_entropy"},
    "schedule": {"name": "constant"},
    "train": {},
}


def generate_schema() -> dict[str, Any]:
    """The whole schema as plain data."""
    definitions = {"train": component_schema("dlkit.training.settings:TrainSettings", "how to train")}
    for section, entries in SECTIONS.items():
        for name, entry in entries.items():
            for key, own in definitions_of(f"{section}.{name}", entry).items():
                definition = component_schema(own.target, own.help, *own.also)
                definition["properties"] = {"name": {"const": name}, **definition["properties"]}
                definition["required"] = ["name", *definition["required"]]
                definitions[key] = definition | _paper(own, name)
    for kind, entries in (("activation", ACTIVATIONS), ("norm", NORMS)):
        for name, entry in entries.items():
            definitions[f"{kind}.{name}"] = {"const": name, "description": entry.help} | _paper(entry, name)
    properties = {
        "extends": {"type": "string", "description": "a recipe that this one changes: a file beside it, or a name"},
        "task": {"enum": list(TASKS), "description": "what is learned"},
        "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED, "description": "of everything random"},
        **{section: _choice(section, entries) for section, entries in SECTIONS.items()},
        "train": {"$ref": "#/$defs/train"},
    }
    for key, default in DEFAULTS.items():
        properties[key] = {**properties[key], "default": default}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dlkit recipe",
        "description": "What to train, on what and how. See `dlkit recipes show digits-resnet20`.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "anyOf": [{"required": ["extends"]}, {"required": list(REQUIRED)}],
        "allOf": [
            _of_task(section, name, task)
            for section, entries in SECTIONS.items()
            for name, entry in entries.items()
            for task in entry.by_task
        ],
        "$defs": definitions,
    }


def definitions_of(key: str, entry: Entry) -> dict[str, Entry]:
    """What the schema defines of an entry: the entry itself, or what it is in each task."""
    return {f"{key}.{task}": own for task, own in entry.by_task.items()} or {key: entry}


def _of_task(section: str, name: str, task: str) -> dict[str, Any]:
    """The keys of a component that depend on the task."""
    named = {"required": ["name"], "properties": {"name": {"const": name}}}
    return {
        "if": {"required": ["task", section], "properties": {"task": {"const": task}, section: named}},
        "then": {"properties": {section: {"$ref": f"#/$defs/{section}.{name}.{task}"}}},
    }


def _paper(entry: Entry, name: str) -> dict[str, str]:
    paper = paper_of(entry.target, name)
    return {"paper": paper} if paper else {}


def _name(section: str, names: list[str]) -> dict[str, Any]:
    """A name from the catalog, or FILE.py:NAME where a component may be the user's own."""
    if section not in contracts.SECTIONS:
        return {"enum": names}
    own = {"type": "string", "pattern": user_code.PATTERN, "examples": [contracts.CONTRACTS[section].example]}
    return {"anyOf": [{"enum": names}, own]}


def _choice(section: str, entries: Mapping[str, Entry]) -> dict[str, Any]:
    def case(name: str) -> dict[str, Any]:
        named = {"required": ["name"], "properties": {"name": {"const": name}}}
        return {"if": named, "then": {"$ref": f"#/$defs/{section}.{name}"}}

    return {
        "type": "object",
        "description": f"the {section}: a name from the catalog, and its options",
        "properties": {"name": _name(section, list(entries))},
        "allOf": [case(name) for name, entry in entries.items() if not entry.by_task],
    }


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(generate_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
