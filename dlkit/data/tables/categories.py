"""Columns of categories as numbers, and what is done about a category that no training row has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.data.class_spelling import quoted_name
from dlkit.data.tables.column_values import category_values
from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import DlkitError

Unknown = Literal["error", "ignore"]
IGNORE_UNKNOWN = "data.unknown=ignore takes them as none of the categories that are known"


def training_categories(table: Table, kinds: Mapping[str, str], rows: NDArray[np.int64]) -> dict[str, tuple[str, ...]]:
    """The categories that training rows, (n,), have in each column of them, sorted as text."""
    found: dict[str, tuple[str, ...]] = {}
    for name, kind in kinds.items():
        if kind == "category":
            texts, codes = category_values(table, name)
            here = codes[rows]
            found[name] = tuple(texts[code] for code in np.unique(here[here >= 0]))
    return found


def category_numbers(
    table: Table, name: str, categories: tuple[str, ...], unknown: Unknown, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], list[str]]:
    """The number of each row's category in the order of `categories`, from 1; 0 for none. (N,) float64, and remarks.

    Args:
        table: the rows.
        name: the column.
        categories: those that are known.
        unknown: whether others are an error or none of the known ones.
        rows: those that count, (n,).

    Raises:
        DlkitError: a row that counts has a category that is not known, and that is an error.
    """
    texts, codes = category_values(table, name)
    number = {category: index for index, category in enumerate(categories, 1)}
    of_text = np.array([*(number.get(text, -1) for text in texts), 0])  # the last is for a missing value
    numbers = of_text[codes]
    strange = rows[numbers[rows] < 0]
    if not len(strange):
        return np.maximum(numbers, 0).astype(np.float64), []
    others = join_names((quoted_name(texts[code]) for code in np.unique(codes[strange])), 4)
    count = f"{len(strange)} row{'s' if len(strange) > 1 else ''}"
    what = f"{table.file}: column {name!r} has categories in {count} that no training row has: {others}"
    if unknown == "error":
        raise DlkitError(f"{what}; the first in {table.place(int(strange[0]))}", IGNORE_UNKNOWN, "data.unknown=ignore")
    return np.maximum(numbers, 0).astype(np.float64), [f"{what}; taken as none"]
