"""The rows of one file with the columns that are features: what is missing in them, and all of them as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.data.scratch import empty_array, settle
from dlkit.data.tables.categories import Unknown, category_numbers
from dlkit.data.tables.column_values import number_values
from dlkit.data.tables.columns import feature_columns
from dlkit.data.tables.dialect import DialectRequest
from dlkit.data.tables.missing import Missing, counted, missing_values, refuse_missing
from dlkit.data.tables.split_column import SplitColumn
from dlkit.data.tables.table_file import Format, Table, join_names, read_table
from dlkit.data.tables.targets import missing_targets
from dlkit.errors import RequestError


@dataclass(frozen=True)
class FeatureRows:
    """The rows of a file.

    Args:
        table: the rows, without those that were left out for their missing values.
        kinds: feature column -> "number", "boolean" or "category".
        left_out: column that is no feature -> the reason.
        missing: column -> how many values it lacks.
        remarks: for the user, about missing values.
    """

    table: Table
    kinds: dict[str, str]
    left_out: dict[str, str]
    missing: dict[str, int]
    remarks: list[str]

    def numbers(
        self, categories: Mapping[str, tuple[str, ...]], unknown: Unknown, rows_of: Mapping[str, NDArray[np.int64]]
    ) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
        """All features of each split, (n, F) float64 in column-major order, NaN where a number is missing; and remarks.

        Args:
            categories: those known of each column of them.
            unknown: what is done about others.
            rows_of: the rows of each split, which are all that count.
        """
        found = {name: empty_array((len(rows), len(self.kinds)), np.float64, "F") for name, rows in rows_of.items()}
        remarks: list[str] = []
        every = np.sort(np.concatenate(list(rows_of.values()))) if "category" in self.kinds.values() else np.arange(0)
        for index, (name, kind) in enumerate(self.kinds.items()):
            if kind == "category":
                values, more = category_numbers(self.table, name, categories[name], unknown, every)
                remarks += more
            else:
                values = number_values(self.table, name)
            for split, rows in rows_of.items():
                # straight into its place: other modes than clip would make a copy first
                np.take(values, rows, out=found[split][:, index], mode="clip")
                settle(found[split][:, index])
        return found, remarks

    def put_in(
        self,
        numbers: Mapping[str, NDArray[np.float64]],
        rows_of: Mapping[str, NDArray[np.int64]],
        stand_ins: Mapping[str, float],
    ) -> None:
        """Put what stands for missing numbers in their places, in the (n, F) of each split.

        Raises RequestError where a model that was trained without missing values does not know it.
        """
        for index, name in enumerate(self.kinds):
            if not self.missing.get(name):
                continue
            gone = {split: np.isnan(values[:, index]) for split, values in numbers.items()}
            first = min(
                (int(rows_of[split][mask.argmax()]) for split, mask in gone.items() if mask.any()), default=None
            )
            if first is not None and name not in stand_ins:
                raise RequestError(
                    f"{self.table.file}: a missing value in column {name!r}, {self.table.place(first)}; the model "
                    "knows nothing to put in its place",
                    "leave such rows out, or train anew with data.missing=mean",
                    "data.missing=drop",
                )
            for split, mask in gone.items():
                if mask.any():
                    numbers[split][mask, index] = stand_ins[name]
                    settle(numbers[split][:, index])

    def taken(self) -> str:
        """What was taken of the file, in one line."""
        names = (name + (" (category)" if kind == "category" else "") for name, kind in self.kinds.items())
        return f"{self.table.named()}: {self.table.rows.num_rows} rows of {join_names(names)}"


def read_feature_rows(
    format: Format,
    file: Path,
    *,
    label: str,
    answer: Literal["class", "number"],
    missing: Missing,
    request: DialectRequest,
    columns: tuple[str, ...] | None = None,
    categorical: tuple[str, ...] = (),
    known: Mapping[str, str] | None = None,
    by: SplitColumn,
) -> FeatureRows:
    """The rows of a file. Arguments as of `table_dataset` and `feature_columns`.

    Raises:
        RequestError: a column is missing, given twice, unnamed, or of the wrong type.
        DlkitError: the file is missing, empty or damaged, or lacks values and that is an error.
    """
    if known is not None:
        categorical = tuple(name for name, kind in known.items() if kind == "category")
    written = (label, *categorical) if answer == "class" else categorical  # a class is what is written
    return feature_rows(
        read_table(format, file, written, request), label=label, answer=answer, missing=missing, columns=columns,
        categorical=categorical, known=known, by=by,
    )  # fmt: skip


def feature_rows(
    table: Table,
    *,
    label: str,
    answer: Literal["class", "number"],
    missing: Missing,
    columns: tuple[str, ...] | None = None,
    categorical: tuple[str, ...] = (),
    known: Mapping[str, str] | None = None,
    by: SplitColumn,
) -> FeatureRows:
    """The rows of a table, as `read_feature_rows` has them of a file."""
    kinds, left_out = feature_columns(table, label, columns, known, categorical, by.aside())
    masks = missing_values(table, kinds)
    if missing == "error":
        refuse_missing(table, masks)
    elif missing == "drop":
        nothing = missing_targets(table, label, answer)
        masks |= {label: nothing} if nothing.any() else {}
    remarks: list[str] = []
    if masks:
        rows = np.any(list(masks.values()), axis=0)
        done = f"{rows.sum()} rows left out" if missing == "drop" else f"the training rows' {missing} stands for them"
        remarks.append(f"{table.file}: missing values: {counted(masks)}; {done}")
        table = table.without(rows) if missing == "drop" else table
    return FeatureRows(table, kinds, left_out, {name: int(mask.sum()) for name, mask in masks.items()}, remarks)
