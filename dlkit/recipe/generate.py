"""Generate the recipe's JSON Schema from the signatures of the catalog: `python -m dlkit.recipe.generate`.

A development tool: it imports every component and needs pydantic, which turns annotations into JSON Schema.
The result is shipped as `schema.json`, so that checking a recipe imports neither.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from dlkit.annotations import LARGEST_SEED, is_mapping
from dlkit.catalog import SECTIONS, TASKS, import_object

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
    definitions = {"train": component("dlkit.train.settings:TrainSettings", "how to train")}
    for section, entries in SECTIONS.items():
        for name, entry in entries.items():
            definition = component(entry.target, entry.help, *entry.also)
            definition["properties"] = {"name": {"const": name}, **definition["properties"]}
            definition["required"] = ["name", *definition["required"]]
            definitions[f"{section}.{name}"] = definition
    properties = {
        "extends": {"type": "string", "description": "a recipe that this one changes: a file beside it, or a name"},
        "task": {"enum": list(TASKS), "description": "what is learned"},
        "seed": {"type": "integer", "minimum": 0, "maximum": LARGEST_SEED, "description": "of everything random"},
        **{section: _choice(section, list(entries)) for section, entries in SECTIONS.items()},
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
        "$defs": definitions,
    }


def _choice(section: str, names: list[str]) -> dict[str, Any]:
    def case(name: str) -> dict[str, Any]:
        named = {"required": ["name"], "properties": {"name": {"const": name}}}
        return {"if": named, "then": {"$ref": f"#/$defs/{section}.{name}"}}

    return {
        "type": "object",
        "description": f"the {section}: a name from the catalog, and its options",
        "properties": {"name": {"enum": names}},
        "allOf": [case(name) for name in names],
    }


def component(target: str, help_text: str, *also: str) -> dict[str, Any]:
    """The mapping that sets the keyword-only parameters of one or more constructors."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in (target, *also):
        constructor: Any = import_object(part)
        partial = isinstance(constructor, functools.partial)
        function, bound = (constructor.func, constructor.keywords) if partial else (constructor, {})
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
        texts = argument_texts(inspect.getdoc(function) or "")
        for parameter in inspect.signature(constructor).parameters.values():
            if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in bound:
                continue
            if parameter.name not in texts:
                raise ValueError(f"{target}: no description of {parameter.name!r} in the Args of its docstring")
            properties[parameter.name] = {
                **simplified(TypeAdapter(hints[parameter.name]).json_schema()),
                "description": texts[parameter.name],
            }
            if parameter.default is parameter.empty:
                required.append(parameter.name)
            else:
                properties[parameter.name]["default"] = json.loads(json.dumps(parameter.default))
    return {
        "type": "object",
        "description": help_text,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def simplified(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema without what says nothing here: titles, and the type beside a list of choices."""
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" or (key == "type" and ("enum" in schema or "const" in schema)):
            continue
        if key == "items" and is_mapping(value):
            result[key] = simplified(value)
        elif key in ("anyOf", "prefixItems"):
            result[key] = [simplified(item) for item in value]
        else:
            result[key] = value
    return result


def argument_texts(docstring: str) -> dict[str, str]:
    """The `Args:` block of a docstring: parameter name -> its text on one line."""
    texts: dict[str, str] = {}
    name, inside = "", False
    for line in docstring.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and re.match(r"\S", line):
            inside = False
        elif inside and (match := re.match(r" {4}(\w+): (.*)", line)):
            name = match[1]
            texts[name] = match[2].strip()
        elif inside and name and line.strip():
            texts[name] += " " + line.strip()
    return texts


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(generate_schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
