"""Ranges that constructor arguments state in their annotations (the recipe schema comes from them), and type guards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard


class _Bound:
    """A bound of a number. pydantic asks for it when the recipe's schema is generated."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(source), type(self).__name__.lower(): self.value}


class Ge(_Bound):
    """At least."""


class Gt(_Bound):
    """Above."""


class Le(_Bound):
    """At most."""


class Lt(_Bound):
    """Below."""


@dataclass(frozen=True)
class Pattern:
    """Text that must match a regular expression, with examples for the message."""

    expression: str
    examples: tuple[str, ...]

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(core), "pattern": self.expression, "examples": list(self.examples)}


@dataclass(frozen=True)
class TextFormat:
    """Text of a format that the recipe's schema names."""

    name: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(core), "format": self.name}


@dataclass(frozen=True)
class NameOr:
    """One of some names, which a table such as the catalog lists; or text of a pattern, such as FILE.py:NAME."""

    names: tuple[str, ...]
    other: Pattern

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(self.names)}, self.other.__get_pydantic_json_schema__(core, handler)]}


# What a 32-bit integer holds, and a float32 without becoming infinite: no bound that an honest value could meet.
LARGEST_COUNT, LARGEST_NUMBER = 2**31 - 1, 1e38
LARGEST_SEED = 2**63 - 1
Count = Annotated[int, Ge(1), Le(LARGEST_COUNT)]
Natural = Annotated[int, Ge(0), Le(LARGEST_COUNT)]
# Layers in a row: each costs time before memory, and no network that was ever trained has more.
Depth = Annotated[int, Ge(1), Le(10_000)]
# The side of a kernel or of a patch, and that of an image that is resized, in pixels.
Kernel = Annotated[int, Ge(1), Le(127)]
Side = Annotated[int, Ge(1), Le(16_384)]
# Processes that read files, and what a vocabulary may hold: the largest in use has a million tokens.
Workers = Annotated[int, Ge(0), Le(1024)]
MOST_TOKENS = 2**21
Positive = Annotated[float, Gt(0), Le(LARGEST_NUMBER)]
NonNegative = Annotated[float, Ge(0), Le(LARGEST_NUMBER)]
# A rate of drop-out, decay or momentum: 1 would erase everything or never forget.
Rate = Annotated[float, Ge(0), Lt(1)]
Fraction = Annotated[float, Ge(0), Le(1)]
# A folder, or a repository on the Hugging Face Hub.
HubPath = Annotated[str, TextFormat("hub-path")]
# How often: `1 epoch`, `500 steps`, or `never`.
_OFTEN, _EXAMPLES = "[1-9][0-9]{0,11} (epochs?|steps?)|never", ("1 epoch", "500 steps", "never")
Interval = Annotated[str, Pattern(f"^({_OFTEN})$", _EXAMPLES)]
IntervalOrAuto = Annotated[str, Pattern(f"^({_OFTEN}|auto)$", (*_EXAMPLES, "auto"))]


def is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value from YAML or JSON is a mapping."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value from YAML or JSON is a list."""
    return isinstance(value, (list, tuple))
