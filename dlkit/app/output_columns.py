"""Columns of a table that is written beside the user's own. Free of torch."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Container, Sequence
from typing import Any

from dlkit.data.class_spelling import is_number
from dlkit.errors import DlkitError

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_PADDED = re.compile(r"[+-]?0[0-9].*")  # a code such as 007, which is not a number
_EXACT = 15  # digits of a whole number that float64 holds for certain


def free_name(name: str, taken: Container[str]) -> str:
    """`name`, or predicted_`name` where the user has such a column, or predicted_predicted_`name`, ..."""
    while name in taken:
        name = f"predicted_{name}"
    return name


def typed_column(name: str, values: Sequence[Any]) -> Any:
    """A column for Parquet. If all values are text that spells numbers, as from CSV, it is numeric unless digits would
    be lost.

    Raises DlkitError if the values have no common type.
    """
    import pyarrow as pa

    try:
        large = any(type(value) is int and value >= 2**63 for value in values)
        array = pa.array(values, pa.uint64() if large else None)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
        raise DlkitError(f"column {name!r} does not fit into Parquet: {error}", "`out` FILE.jsonl takes it") from error
    if pa.types.is_null(array.type):
        return pa.array(values, pa.string())
    texts: list[str] = [value for value in values if value is not None] if pa.types.is_string(array.type) else []
    if texts and all(map(_WHOLE.fullmatch, texts)):
        with contextlib.suppress(pa.ArrowInvalid):  # too large
            return array.cast(pa.int64())
    elif texts and all(map(_is_float, texts)):
        return pa.array([None if value is None else float(value) for value in values])
    return array


def _is_float(text: str) -> bool:
    if _PADDED.fullmatch(text) or (_WHOLE.fullmatch(text.removeprefix("+")) and len(text) > _EXACT):
        return False
    return is_number(text)
