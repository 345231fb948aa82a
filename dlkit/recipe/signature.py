"""JSON Schema of a constructor's keyword parameters, from their annotations, defaults and docstring. Needs pydantic."""

from __future__ import annotations

import functools
import inspect
import json
import re
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from dlkit.annotations import is_mapping
from dlkit.catalog import import_object


def component_schema(target: str, help_text: str, *also: str, supplied: int | None = None) -> dict[str, Any]:
    """The mapping that sets the keyword-only parameters of one or more constructors.

    Args:
        target: the component's constructor.
        help_text: one line about it.
        also: constructors whose keys it shares.
        supplied: of a component of the user's own, how many positional arguments come from dlkit; all parameters behind
            them are keys, annotated or not, and described or not.
    """
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in (target, *also):
        constructor: Any = import_object(part)
        partial = isinstance(constructor, functools.partial)
        function, bound = (constructor.func, constructor.keywords) if partial else (constructor, {})
        hints = _hints(function.__init__ if inspect.isclass(function) else function, lenient=supplied is not None)
        texts = argument_texts(inspect.getdoc(function) or "")
        if supplied is not None and part == target:
            properties, required = _own_keys(constructor, supplied, hints, texts)
            continue
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


def _hints(function: Any, lenient: bool) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # a name that only a type checker sees
        if not lenient:
            raise
        return {}


def _own_keys(
    constructor: Any, supplied: int, hints: dict[str, Any], texts: dict[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """The properties that a constructor of the user's own gives a recipe, and those of them without a default."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for p in inspect.signature(constructor).parameters.values() if p.kind is not p.VAR_KEYWORD]
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY][:supplied]
    for parameter in parameters:
        if parameter in positional or parameter.kind not in kinds or parameter.name == "name":
            continue
        default = parameter.default
        try:
            described = {} if default is parameter.empty else {"default": json.loads(json.dumps(default))}
        except (TypeError, ValueError):  # a default that no recipe can hold: the parameter is no key
            continue
        usual = type(default) if isinstance(default, (bool, int, float, str)) else Any
        kind = hints.get(parameter.name, usual)
        try:
            schema = simplified(TypeAdapter(kind).json_schema())
        except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema):  # such as float | Tensor
            schema = simplified(TypeAdapter(usual).json_schema())
        text = texts.get(parameter.name, "")
        properties[parameter.name] = {**schema, **({"description": text} if text else {}), **described}
        if default is parameter.empty:
            required.append(parameter.name)
    return properties, required


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
