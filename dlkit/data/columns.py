"""From the columns of a table to arrays: numeric features and the classes of a label, with every value checked."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.errors import DlkitError, RequestError

_TEXT = (pa.types.is_string, pa.types.is_large_string)


def feature_columns(table: pa.Table, file: Path, label: str, columns: tuple[str, ...] | None) -> list[str]:
    """Names of the feature columns, all of them numeric."""
    for name in (label, *(columns or ())):
        require_column(name, table, file)
    if columns is not None:
        if label in columns:
            raise RequestError(f"columns: {label!r} is the label, which cannot be a feature too")
        if len(set(columns)) < len(columns):
            raise RequestError(f"columns: a name is given twice: {', '.join(columns)}")
    names = [name for name in table.column_names if name != label] if columns is None else list(columns)
    usable = dict.fromkeys(name for name in names if _is_numeric(table.schema.field(name).type))
    for place, name in enumerate(names if columns is None else []):
        if not name or re.fullmatch(r"__index_level_\d+__", name):
            what = f"column {place + 1} has no name" if not name else f"{name!r} is pandas' row index"
            raise RequestError(f"{file}: {what}, hence is hardly a feature", "name the features with `columns`")
    for name in names:
        if name not in usable:
            kind = table.schema.field(name).type
            hint = f"columns: [{', '.join(usable)}]" if columns is None and usable else None
            raise RequestError(f"{file}: column {name!r} is not numeric but {kind}", hint)
    if not names:
        raise RequestError(f"{file} has no column for a feature beside the label {label!r}")
    return names


def require_column(name: str, table: pa.Table, file: Path) -> None:
    """Raise RequestError where the table has no such column."""
    if name in table.column_names:
        return
    close = get_close_matches(name, table.column_names, n=1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    listed = ", ".join(table.column_names)
    raise RequestError(f"{file} has no column {name!r}{guess}", f"columns: {listed[:500]}")


def _is_numeric(kind: pa.DataType) -> bool:
    # pyarrow gives a column without any value the type null; its missing values are reported later
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)


def feature_values(table: pa.Table, file: Path, names: list[str]) -> NDArray[np.float32]:
    """The feature columns, (N, F), all finite."""
    features = np.empty((table.num_rows, len(names)), dtype=np.float32)
    for place, name in enumerate(names):
        column = table[name]
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.uint8())
        values = column.cast(pa.float64(), safe=False).to_numpy()  # a missing value becomes NaN
        with np.errstate(over="ignore"):
            features[:, place] = values
        _refuse(np.isnan(values), "a missing value (NaN)", name, file)
        _refuse(np.isinf(values), "an infinite value", name, file)
        _refuse(np.isinf(features[:, place]), "a value that is too large for float32", name, file)
    return features


def _refuse(bad: NDArray[np.bool_], what: str, name: str, file: Path) -> None:
    if bad.any():
        row = int(bad.argmax()) + 1
        raise DlkitError(f"{file}: {what} in column {name!r}, row {row}", f"{bad.sum()} such rows; the first row is 1")


def label_values(table: pa.Table, file: Path, label: str) -> tuple[list[str] | list[int], NDArray[np.int64]]:
    """The distinct labels, text or integers, and the place of each row's label among them, (N,)."""
    column = table[label]
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = pa.chunked_array([_whole(column, file, label)])
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.string())  # "false" and "true"
    elif not any(test(kind) for test in (pa.types.is_integer, *_TEXT, pa.types.is_null)):
        raise RequestError(f"{file}: label {label!r} is {kind}; text, integers or booleans are needed")
    encoded = column.combine_chunks().dictionary_encode()
    places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    try:
        values = encoded.dictionary.to_pylist()
    except UnicodeDecodeError as error:
        raise DlkitError(f"{file}: label {label!r} holds text that is not UTF-8") from error
    empty = [place for place, value in enumerate(values) if value in ("", None)]
    _refuse(np.isin(places, [-1, *empty]), "a missing value", label, file)
    return values, places


def _whole(column: pa.ChunkedArray, file: Path, label: str) -> pa.Array:
    """Labels that are written as floating-point numbers, as integers."""
    values = column.cast(pa.float64(), safe=False).to_numpy()
    _refuse(np.isnan(values), "a missing value (NaN)", label, file)
    fractional = (values != np.floor(values)) | (np.abs(values) >= 2**53)
    if fractional.any():
        row = int(fractional.argmax())
        raise DlkitError(
            f"{file}: label {label!r} is {values[row]} in row {row + 1}, but a class is a whole number or text",
            "regression, the prediction of a number, is not supported",
        )
    return pa.array(values.astype(np.int64))


def class_names(values: list[str] | list[int], file: Path, label: str) -> tuple[str, ...]:
    """The names of the classes, sorted as numbers or as text."""
    if len(values) == 1:
        raise DlkitError(f"{file}: only one class, {values[0]!r}, in the label {label!r}")
    return tuple(str(value) for value in sorted(values))


def class_places(
    values: list[str] | list[int], places: NDArray[np.int64], classes: tuple[str, ...], file: Path
) -> NDArray[np.int64]:
    """The class of every row, (N,), as its place in `classes`."""
    order = {name: place for place, name in enumerate(classes)}
    of_value = np.array([order.get(str(value), -1) for value in values], dtype=np.int64)
    targets = of_value[places]
    if (targets < 0).any():
        row = int((targets < 0).argmax())
        raise DlkitError(
            f"{file}: class {str(values[places[row]])!r}, row {row + 1}, is not in the training rows' file"
        )
    return targets
