"""Check plain values against the part of JSON Schema that dlkit's schema uses, in words a person can act on.

A general validator would do, but importing one takes a third of the time that a wrong recipe may cost, takes
`1.0` for an integer, and cannot tell an unquoted `no` from a string. A test holds this one against `jsonschema`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from dlkit.annotations import LARGEST_COUNT, LARGEST_NUMBER, is_list, is_mapping
from dlkit.recipe.strict_yaml import AmbiguousWord, KeyPath

Report = Callable[[KeyPath, str], None]
Schema = dict[str, Any]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": is_mapping,
    "array": is_list,
    "string": lambda value: isinstance(value, str) and not isinstance(value, AmbiguousWord),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": (">=", lambda value, bound: value >= bound),
    "exclusiveMinimum": (">", lambda value, bound: value > bound),
    "maximum": ("<=", lambda value, bound: value <= bound),
    "exclusiveMaximum": ("<", lambda value, bound: value < bound),
}


def closest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean ...?)`, or nothing where no choice is near."""
    near = difflib.get_close_matches(word, [str(choice) for choice in choices], n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def quoted(value: Any, limit: int = 60) -> str:
    """A value as a message quotes it: YAML-like, on one line, cut."""
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, str) else repr(str(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _bound(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def describe_schema(schema: Schema) -> str:
    """What the schema wants, in words: `a number > 0`, `one of a, b`, `a list of whole numbers >= 1`."""
    if "anyOf" in schema:
        return " or ".join(describe_schema(option) for option in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(str(choice) for choice in schema["enum"])
    words = _WORDS[schema["type"]]
    if "items" in schema and is_mapping(schema["items"]):
        words += f", each {describe_schema(schema['items'])}"
    if "prefixItems" in schema:
        words += " (" + ", ".join(describe_schema(item) for item in schema["prefixItems"]) + ")"
    if "pattern" in schema and schema.get("examples"):
        words += " such as " + ", ".join(quoted(example) for example in schema["examples"])
    bounds = [
        f"{sign} {_bound(schema[key])}"
        for key, (sign, _) in _BOUNDS.items()
        if key in schema and schema[key] not in (LARGEST_COUNT, LARGEST_NUMBER)  # which nobody needs to be told
    ]
    return " ".join((words, " and ".join(bounds))).strip()


def check_value(value: Any, schema: Schema, path: KeyPath, report: Report) -> None:
    """Report every way in which `value` does not fit `schema`. Raises KeyError on a schema keyword it does not know."""
    message = _mismatch(value, schema)
    if message is not None:
        report(path, message)
        return
    if is_list(value) and "anyOf" not in schema:
        _check_list(value, schema, path, report)
    if is_mapping(value) and "properties" in schema:
        _check_mapping(value, schema, path, report)


def _mismatch(value: Any, schema: Schema) -> str | None:
    """Why the value itself is wrong (what lies inside it apart), or None."""
    if isinstance(value, AmbiguousWord) and not _lists(schema, value):
        return f"an unquoted {str(value)!r} is a boolean to some and text to others: write true, false or quotes"
    if "anyOf" in schema:
        if any(_fits(value, option) for option in schema["anyOf"]):
            return None
        too_large = [_mismatch(value, option) for option in schema["anyOf"] if _untold(value, option)]
        return too_large[0] if too_large else _expected(value, schema)
    if "const" in schema:
        return None if value == schema["const"] else _expected(value, schema)
    if "enum" in schema:
        fits = any(value == choice and type(value) is type(choice) for choice in schema["enum"])
        fits = fits or (isinstance(value, str) and str(value) in schema["enum"])
        near = closest(value, schema["enum"]) if isinstance(value, str) else ""
        return None if fits else _expected(value, schema) + near
    if not _TYPES[schema["type"]](value):
        return _expected(value, schema)
    for key, (sign, holds) in _BOUNDS.items():
        if key in schema and not holds(value, schema[key]):
            return f"must be {sign} {_bound(schema[key])}, got {quoted(value)}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return _expected(value, schema)
    return None


def _untold(value: Any, schema: Schema) -> bool:
    """Whether the value is only too large, by a bound that `describe` leaves out."""
    bound = schema.get("maximum")
    return bound in (LARGEST_COUNT, LARGEST_NUMBER) and _TYPES[schema["type"]](value) and value > bound


def _expected(value: Any, schema: Schema) -> str:
    return f"expected {describe_schema(schema)}, got {quoted(value)}"


def _lists(schema: Schema, word: str) -> bool:
    return word in schema.get("enum", ()) or any(_lists(option, word) for option in schema.get("anyOf", ()))


def _fits(value: Any, schema: Schema) -> bool:
    found: list[str] = []
    check_value(value, schema, (), lambda _, message: found.append(message))
    return not found


def _check_list(values: list[Any], schema: Schema, path: KeyPath, report: Report) -> None:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(values) < least or (most is not None and len(values) > most):
        count = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        report(path, f"expected {count} values, got {len(values)}")
        return
    schemas = schema.get("prefixItems") or [schema["items"]] * len(values)
    for index, (item, item_schema) in enumerate(zip(values, schemas, strict=True)):
        check_value(item, item_schema, (*path, index), report)


def _check_mapping(values: dict[str, Any], schema: Schema, path: KeyPath, report: Report) -> None:
    properties: dict[str, Schema] = schema["properties"]
    for key, value in values.items():
        if key in properties:
            check_value(value, properties[key], (*path, key), report)
        else:
            near = closest(key, properties)
            report((*path, key), f"unknown key{near or '; known: ' + ', '.join(properties)}")
    for key in schema.get("required", ()):
        if key not in values:
            report((*path, key), f"missing: {describe_schema(properties[key])}")
