"""What is to be predicted of each row of a table: a class, or a number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.labels import class_indices, class_names, read_label_column
from dlkit.data.tables.column_values import is_missing, number_values
from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import DlkitError, RequestError


@dataclass(frozen=True)
class Targets:
    """The targets of N rows.

    Args:
        values: (N,) the index of each row's class, int64, or its number, float64.
        classes: their names; of numbers none but "row", so that they are split as one class.
        strata: (N,) the class that a row counts as where rows are held out, as a whole number.
        described: what they are, for the user.
        remarks: for the user, about classes that are spelled in several ways.
    """

    values: NDArray[Any]
    classes: tuple[str, ...]
    strata: NDArray[np.integer[Any]]
    described: str
    remarks: tuple[str, ...] = ()

    def without_rows(self) -> Targets:
        """What they are, without those of the rows, which are as many as the table has."""
        return replace(self, values=self.values[:0].copy(), strata=self.strata[:0].copy())  # slices keep the whole


def read_targets(
    table: Table, label: str, answer: Literal["class", "number"], known: tuple[str, ...] | None = None
) -> Targets:
    """The targets of a table's rows.

    Args:
        table: the rows.
        label: their column.
        answer: what they are.
        known: the classes of a trained model, or of the training rows.

    Raises:
        RequestError: the column is not of a type that can be what is asked for.
        DlkitError: values are missing or infinite; there is a single class, or one that is not known.
    """
    if answer == "number":
        values = _target_numbers(table, label)
        return Targets(values, ("row",), np.zeros(len(values), dtype=np.uint8), "a number")
    found = read_label_column(table, label, known)
    classes = known if known is not None else class_names(table, found)
    indices = class_indices(table, found, classes)
    strata = indices.astype(np.min_scalar_type(len(classes)))  # in as little memory as they need
    return Targets(indices, classes, strata, join_names(classes), found.remarks)


def missing_targets(table: Table, label: str, answer: Literal["class", "number"]) -> NDArray[np.bool_]:
    """The rows without a target, (N,). Raises RequestError as `read_targets` does."""
    if answer == "number":
        _require_numbers(table, label)
    return is_missing(table, label, "category" if answer == "class" else "number")


def _require_numbers(table: Table, label: str) -> None:
    kind = table.rows.schema.field(label).type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    if not any(test(kind) for test in tests):
        raise RequestError(
            f"{table.file}: label {label!r} is {kind}, not numbers",
            "to predict classes: dlkit train csv-mlp data.path=FILE data.label=COLUMN",
        )


def _target_numbers(table: Table, label: str) -> NDArray[np.float64]:
    _require_numbers(table, label)
    values = number_values(table, label)
    table.refuse(np.isnan(values), "a missing value (NaN)", label)
    if len(values) < 2:
        raise DlkitError(f"{table.file} has a single row", "give at least two, to learn from and to measure on")
    return values
