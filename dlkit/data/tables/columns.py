"""Feature columns of a table, as numeric values that are all checked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import DlkitError, RequestError

_WHOLE = 2**53  # above, float64 cannot represent every integer
_NAMELESS = re.compile(r"|Unnamed: \d+[._a-z\d]*")  # in CSV; the second is pandas' name for it
_INDEX = re.compile(r"__index_level_\d+__")  # pandas' name for an index in Parquet
_ROW_INDEX = "pandas' row index"


def feature_columns(
    table: Table, label: str, columns: tuple[str, ...] | None, known: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """The feature columns with their kinds ("number" or "boolean"), and the columns left out, with the reason.

    Args:
        table: the rows.
        label: the label column.
        columns: the features as named by the recipe; None for all others.
        known: the features that a model was trained on, with their kinds, which are taken by name in this order.

    Raises:
        RequestError: a column is missing, given twice, unnamed, or of the wrong type.
    """
    for name in (label, *(columns or ())):
        require_column(name, table)
    if columns is not None:
        if label in columns:
            raise RequestError(f"columns: {label!r} is the label, which cannot be a feature too")
        if len(set(columns)) < len(columns):
            raise RequestError(f"columns: a name is given twice: {', '.join(columns)}")
    # pandas writes an unnamed index before the columns
    first = itertools.takewhile(_NAMELESS.fullmatch, table.rows.column_names)
    index = {*first, *filter(_INDEX.fullmatch, table.rows.column_names)}
    if known is not None:
        if columns is not None and set(columns) != set(known):
            raise RequestError(
                f"data.columns is {join_names(columns)}; the model was trained on {join_names(known)}",
                "leave data.columns out: columns are read by the names that the run knows",
            )
        _require(known, table, label)
        names = list(known)
        left_out = [name for name in table.rows.column_names if name not in (*known, label)]
    elif columns is not None:
        names = list(columns)
        left_out = [name for name in table.rows.column_names if name not in (*columns, label)]
    else:
        others = [name for name in table.rows.column_names if name != label]
        left_out = [name for name in others if name in index]
        names = [name for name in others if name not in left_out]
    kinds = {name: _kind(table.rows.schema.field(name).type) for name in names}
    usable = [name for name, kind in kinds.items() if kind]
    for name, kind in kinds.items():
        if columns is None and known is None and _NAMELESS.fullmatch(name):
            place, shown = table.rows.column_names.index(name) + 1, f" but {name!r}" if name else ""
            raise RequestError(f"{table.file}: column {place} has no name{shown}", "name it, or set data.columns")
        if not kind:
            given = table.rows.schema.field(name).type
            hint = f"data.columns='[{', '.join(usable)}]'" if columns is None and usable else None
            raise RequestError(f"{table.file}: column {name!r} is not numeric but {given}", hint)
    if not names:
        raise RequestError(f"{table.file} has no column for a feature beside the label {label!r}")
    return kinds, {name: _ROW_INDEX if name in index else "" for name in left_out}


def require_column(name: str, table: Table) -> None:
    """Raise RequestError if the table lacks a column."""
    names = table.rows.column_names
    if name in names:
        return
    close = get_close_matches(name, names, n=1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    raise RequestError(f"{table.file} has no column {name!r}{guess}", f"columns: {', '.join(names)[:500]}")


def _require(known: Mapping[str, str], table: Table, label: str) -> None:
    """Raise RequestError, naming what is there and what is needed, unless the known columns are as in training."""
    gone = [repr(name) for name in known if name not in table.rows.column_names]
    faults = [f"has no column {join_names(gone, 3)}"] if gone else []
    for name, kind in known.items():
        if name == label:
            faults.append(f"has {name!r} as its label, a feature in training")
        elif name in table.rows.column_names and not _is_like(table, name, kind):
            given = table.rows.schema.field(name).type
            faults.append(f"has column {name!r} as {given}, which was a {kind} in training")
    if faults:
        needed = join_names(f"{name} ({kind})" for name, kind in known.items())
        raise RequestError(
            f"{table.file} {join_names(faults, 3)}; its columns are {table.described()}; those trained on {needed}",
            "columns are read by their names, and must be of the same types as in training",
        )


def _is_like(table: Table, name: str, kind: str) -> bool:
    """Whether a column can stand for one that was a "number" or "boolean" in training: true is 1, and 1 is true."""
    given = _kind(table.rows.schema.field(name).type)
    if (given, kind) != ("number", "boolean"):
        return given == kind or (given, kind) == ("boolean", "number")
    values = table.rows[name].cast(pa.float64(), safe=False).to_numpy()
    return bool((np.isin(values, (0, 1)) | np.isnan(values)).all())  # what is missing is reported later


def remarks_on_kinds(table: Table, kinds: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """A line for the user for each column whose booleans stand for numbers, or the reverse."""
    lines: list[str] = []
    for name, kind in kinds.items():
        if kind != known[name]:
            here, there = ("false and true", "numbers") if kind == "boolean" else ("0 and 1", "false and true")
            lines.append(
                f"{table.file}: column {name!r} has {here}, and had {there} in training: false is 0, true is 1"
            )
    return lines


def _kind(kind: pa.DataType) -> str:
    """ "number", "boolean", or an empty string for what cannot be a feature."""
    if pa.types.is_boolean(kind):
        return "boolean"
    # a column without values has the type null in pyarrow; its missing values are reported later
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return "number" if any(test(kind) for test in tests) else ""


def feature_values(
    table: Table, names: Collection[str], splits: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.float64]]:
    """Feature values of each split, (n, F) float64 in column-major order, all finite.

    They stay float64 until they are centred: float32 would round timestamps such as 1700000000 to multiples of 128.
    """
    features = {split: np.empty((len(rows), len(names)), np.float64, order="F") for split, rows in splits.items()}
    for column, name in enumerate(names):
        values = column_values(table, name)
        for split, rows in splits.items():
            features[split][:, column] = values[rows]
    return features


def column_values(table: Table, name: str) -> NDArray[np.float64]:
    """One column, (N,) float64. Raises DlkitError, with its position in the file, for a value that is not finite."""
    column = table.rows[name]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()  # a missing value becomes NaN
    table.refuse(np.isnan(values), "a missing value (NaN)", name)
    table.refuse(np.isinf(values), "an infinite value", name)
    if pa.types.is_integer(column.type) and np.abs(values).max() >= _WHOLE:
        whole = column.to_numpy()
        _, first, where = np.unique(values, return_index=True, return_inverse=True)
        table.refuse(
            whole != whole[first][where],
            "a whole number above 2^53 that float64 cannot tell from another",
            name,
        )
    return values


def require_range(
    table: Table,
    names: Iterable[str],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
) -> None:
    """Raise DlkitError if a standardised value of `values`, (n, F), would be too large for float32.

    Rows cannot be far from a mean that includes them, but those of another file can.

    Args:
        table: the rows' table.
        names: of the F columns.
        values: (n, F).
        rows: index in the table of each row, (n,).
        mean: of each column, (F,).
        std: of each column, (F,).
    """
    largest = float(np.finfo(np.float32).max)
    for index, name in enumerate(names):
        column = values[:, index]
        # |x - mean| / std <= largest, both sides halved, since the difference itself may overflow
        centre, most = mean[index] / 2, min(largest * float(std[index] / 2), np.finfo(np.float64).max)
        if len(column) and max(column.max() / 2 - centre, centre - column.min() / 2) > most:
            worst = int(np.abs(column / 2 - centre).argmax())
            raise DlkitError(
                f"{table.file}: {column[worst]:g} in column {name!r}, {table.place(int(rows[worst]))}, is too far from "
                f"the training rows' mean for float32",
                f"their mean is {mean[index]:g}, their standard deviation {std[index]:g}",
            )
