"""The shipped schema is current, valid, and the checker agrees with an independent validator on it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit import recipe
from dlkit.catalog import SECTIONS, import_object
from dlkit.recipe import check

jsonschema: Any = pytest.importorskip("jsonschema")
pytest.importorskip("pydantic")

from dlkit.recipe.generate import SCHEMA_FILE, generate_schema  # noqa: E402  it needs pydantic
from dlkit.recipe.signature import argument_texts  # noqa: E402

DEFINITIONS = recipe.schema()["$defs"]


def test_the_shipped_schema_is_that_of_the_signatures() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == generate_schema(), "run python -m dlkit.recipe.generate"


def test_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(recipe.schema())


def test_an_editor_accepts_the_shipped_recipes_and_sees_mistakes() -> None:
    validator = jsonschema.Draft202012Validator(recipe.schema())
    for name in recipe.shipped():
        values = copy.deepcopy(recipe.load(name).values)
        assert not list(validator.iter_errors(values))
        values["model"]["nrom"] = 1
        assert list(validator.iter_errors(values))


def test_every_catalog_entry_resolves() -> None:
    for entries in SECTIONS.values():
        for entry in entries.values():
            assert callable(import_object(entry.target))
            assert entry.help[0] == entry.help[0].strip()


def test_defaults_fit_their_own_schema() -> None:
    for name, definition in DEFINITIONS.items():
        for key, described in definition.get("properties", {}).items():
            if "default" in described:
                assert mine(described["default"], described), f"{name}.{key}"


def test_argument_texts_join_continued_lines() -> None:
    text = "Title.\n\nArgs:\n    a: one\n        two.\n    b: three.\n\nRaises:\n    c: no.\n"
    assert argument_texts(text) == {"a": "one two.", "b": "three."}


def mine(value: Any, schema: dict[str, Any]) -> bool:
    found: list[str] = []
    check.check_value(value, schema, (), lambda _, message: found.append(message))
    return not found


NUMBERS = st.integers(-3, 300) | st.floats(-2, 3, allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["batch", "full", "1 epoch", "never", "x", "auto", "A"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
PROPERTIES = [
    (f"{name}.{key}", described)
    for name, definition in DEFINITIONS.items()
    for key, described in definition.get("properties", {}).items()
]


@settings(max_examples=400)
@given(st.sampled_from(PROPERTIES), VALUES)
def test_the_checker_agrees_with_jsonschema(described: tuple[str, dict[str, Any]], value: Any) -> None:
    def whole_floats(item: Any) -> bool:  # 1.0 is an integer to JSON Schema, and not to a recipe
        return any(map(whole_floats, item)) if isinstance(item, list) else isinstance(item, float) and item % 1 == 0

    if not whole_floats(value):
        assert mine(value, described[1]) == jsonschema.Draft202012Validator(described[1]).is_valid(value)
