"""The values of a table's columns: numbers that are all checked, and the categories of text."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.class_spelling import visible
from dlkit.data.label_values import coded_values
from dlkit.data.tables.dialect import DialectRequest
from dlkit.data.tables.table_file import Table, open_decompressed, read_table
from dlkit.errors import DlkitError, RequestError

_WHOLE = 2**53  # above, float64 cannot represent every integer
_DIGITS = 1e6  # steps of float64 between the least and the greatest number with which nothing is lost that matters
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def number_values(table: Table, name: str) -> NDArray[np.float64]:
    """A column of numbers or booleans, (N,) float64, NaN where a value is missing.

    They stay float64 until they are centred: float32 would round timestamps such as 1700000000 to multiples of 128.

    Raises DlkitError, with the position in the file, for an infinite value and for integers that float64 merges.
    """
    column = table.rows[name]
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values = _as_float64(column)
    most = max(-np.fmin.reduce(values, initial=0), np.fmax.reduce(values, initial=0))  # no copy of what may be large
    if np.isinf(most):
        table.refuse(np.isinf(values), "an infinite value", name)
    large = most >= _WHOLE
    if pa.types.is_integer(column.type) and large:
        merged = _merged(values, column.drop_null().to_numpy())
        table.refuse(merged, "a whole number above 2^53 that float64 cannot tell from another", name)
    if pa.types.is_decimal(column.type) or (table.format.lines and pa.types.is_floating(column.type) and large):
        # whole numbers of a text that int64 does not hold have been read as float64
        written = column if pa.types.is_decimal(column.type) else _as_written(table, name)
        if len(written.unique()) > len(np.unique(values)):
            exact = np.array([Decimal(value) for value in written.drop_null().to_pylist()], dtype=object)
            fine = float(exact.max() - exact.min()) > _DIGITS * float(np.spacing(np.nanmax(np.abs(values))))
            if not fine:  # else what is merged differs by rounding
                table.refuse(_merged(values, exact), "a number that float64 cannot tell from another", name)
    return values


def _as_float64(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """The numbers of a column, (N,), NaN for null."""
    if column.num_chunks == 1:
        return column.chunk(0).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values, begin = np.empty(len(column)), 0
    for chunk in column.chunks:  # one by one, since what Arrow takes for a whole column it does not give back
        values[begin : begin + len(chunk)] = chunk.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        begin += len(chunk)
    return values


def _merged(values: NDArray[np.float64], exact: NDArray[Any]) -> NDArray[np.bool_]:
    """The rows that float64 takes for another's number, (N,), by the exact numbers of those that are not NaN."""
    present = ~np.isnan(values)
    _, first, where = np.unique(values[present], return_index=True, return_inverse=True)
    merged = np.zeros(len(values), dtype=bool)
    merged[np.flatnonzero(present)] = exact != exact[first][where]
    return merged


def _as_written(table: Table, name: str) -> pa.ChunkedArray:
    """The text of a column of numbers in a file of text; null where there is none or another word for it."""
    if not table.format.untyped:
        return _in_json_lines(table, name)
    decimal: Literal["comma", "point"] = "comma" if table.dialect.decimal == "," else "point"
    request = DialectRequest(table.dialect.separator, decimal, table.dialect.encoding)
    column = read_table(table.format, table.file, [name], request).rows[name]
    if table.kept is not None:
        column = column.take(pa.array(table.kept))
    texts = [text.strip() if text else "" for text in column.to_pylist()]
    point = (text.replace(",", ".") if decimal == "comma" else text for text in texts)
    return pa.chunked_array([pa.array([text if _NUMBER.fullmatch(text) else None for text in point], pa.string())])


def _in_json_lines(table: Table, name: str) -> pa.ChunkedArray:
    """What `_as_written` returns, of JSON Lines: pyarrow reads numbers beyond int64 as float64, whatever one asks."""
    texts: list[str | None] = []
    with open_decompressed(table.file) as lines:
        for line in lines:
            if line.strip():
                value = json.loads(line.decode("utf-8-sig"), parse_int=str, parse_float=str).get(name)
                texts.append(value if isinstance(value, str) and _NUMBER.fullmatch(value) else None)
    column = pa.chunked_array([pa.array(texts, pa.string())])
    return column if table.kept is None else column.take(pa.array(table.kept))


def category_values(table: Table, name: str) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts of a column, without spaces around them, and the index of each row's, (N,); -1 where missing.

    true and 1.0 are the texts true and 1, so that a column is the same in every kind of file.

    Raises:
        RequestError: the column holds lists or objects.
        DlkitError: its text is not UTF-8.
    """
    column = table.rows[name]
    if pa.types.is_nested(column.type):
        raise RequestError(f"{table.file}: column {name!r} is {column.type}, not text, numbers or booleans")
    distinct, codes = coded_values(column)
    try:
        texts = [category_text(value) for value in distinct.to_pylist()]
    except UnicodeDecodeError as error:
        raise DlkitError(f"{table.file}: column {name!r} holds text that is not UTF-8") from error
    nothing = missing_texts() if table.format.untyped else frozenset[str]()
    names = sorted({text for text in texts if visible(text) and text not in nothing})
    place = {text: index for index, text in enumerate(names)}
    of_value = np.array([*(place.get(text, -1) for text in texts), -1], dtype=np.int64)  # the last is for code -1
    return names, of_value[codes]


def category_text(value: object) -> str:
    """The category that a value of a table names."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None or value != value else str(value).strip()  # NaN differs from itself


@functools.cache
def missing_texts() -> frozenset[str]:
    """What stands for a missing value in text of a file without types, as it does in its columns of numbers."""
    from pyarrow.csv import ConvertOptions

    return frozenset(ConvertOptions().null_values)


def is_missing(table: Table, name: str, kind: str) -> NDArray[np.bool_]:
    """The rows that have no value in a column of a kind, (N,)."""
    return category_values(table, name)[1] < 0 if kind == "category" else np.isnan(number_values(table, name))


def require_range(
    table: Table,
    names: Iterable[str],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
) -> None:
    """Raise DlkitError if a standardised value of `values`, (n, F), would be too large for float32, or mostly rounding.

    Rows cannot be far from a mean that includes them, but those of another file can. A deviation below the least number
    that float64 has with all its digits is known by a few of them only.

    Args:
        table: the rows' table.
        names: of the F columns.
        values: (n, F).
        rows: index in the table of each row, (n,).
        mean: of each column, (F,).
        std: of each column, (F,).
    """
    largest, least = float(np.finfo(np.float32).max), float(np.finfo(np.float64).tiny)
    for index, name in enumerate(names):
        column = values[:, index]
        if std[index] <= least:  # which `mean_and_deviation` puts in the place of a smaller one
            raise DlkitError(
                f"{table.file}: the numbers of column {name!r} differ by less than float64 can scale: their standard "
                f"deviation is below {least:.1e}",
                "write them in a smaller unit, or leave the column out: data.columns",
            )
        # |x - mean| / std <= largest, both sides halved, since the difference itself may overflow
        centre, most = mean[index] / 2, min(largest * float(std[index] / 2), np.finfo(np.float64).max)
        if len(column) and max(column.max() / 2 - centre, centre - column.min() / 2) > most:
            worst = int(np.abs(column / 2 - centre).argmax())
            raise DlkitError(
                f"{table.file}: {column[worst]:g} in column {name!r}, {table.place(int(rows[worst]))}, is too far from "
                f"the training rows' mean for float32",
                f"their mean is {mean[index]:g}, their standard deviation {std[index]:g}",
            )
