"""Which columns of a table are features, and of what kind: numbers, booleans or categories."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from dlkit.data.tables.column_values import category_values
from dlkit.data.tables.dialect import has_decimal_comma
from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import RequestError

_TEXT = (pa.types.is_string, pa.types.is_large_string)
_NAMELESS = re.compile(r"|Unnamed: \d+[._a-z\d]*")  # in CSV; the second is pandas' name for it
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})*")
_INDEX = re.compile(r"__index_level_\d+__")  # pandas' name for an index in Parquet
_ROW_INDEX = "pandas' row index"


def feature_columns(
    table: Table,
    label: str,
    columns: tuple[str, ...] | None,
    known: Mapping[str, str] | None = None,
    categorical: tuple[str, ...] = (),
    aside: Mapping[str, str] | None = None,
) -> tuple[dict[str, str], dict[str, str]]:
    """The feature columns with their kinds ("number", "boolean", "category"), and those left out, with the reason.

    Args:
        table: the rows.
        label: the label column.
        columns: the features as named by the recipe; None for all others.
        known: the features that a model was trained on, with their kinds, which are taken by name in this order.
        categorical: features that are categories though they may be numbers; text always is.
        aside: columns that are no features unless `columns` names them -> the reason.

    Raises:
        RequestError: a column is missing, given twice, unnamed, or of the wrong type.
    """
    for name in (label, *(columns or ()), *(() if known else categorical)):
        require_column(name, table)
    aside = aside or {}
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
        left_out = [name for name in others if name in index or name in aside]
        names = [name for name in others if name not in left_out]
    strange = [name for name in categorical if name not in names]
    if known is None and strange:
        raise RequestError(f"categorical: {strange[0]!r} is not among the features {join_names(names)}")
    kinds = {name: (known or {}).get(name) or _kind(table, name, name in categorical) for name in names}
    if columns is None and known is None:
        _require_usable(table, kinds)
    for name, kind in kinds.items():
        if not kind:
            raise _no_feature(table, name, f"not numeric but {table.rows.schema.field(name).type}", kinds, columns)
    if not names:
        raise RequestError(f"{table.file} has no column for a feature beside the label {label!r}")
    return kinds, {name: _ROW_INDEX if name in index else aside.get(name, "") for name in left_out}


def _require_usable(table: Table, kinds: dict[str, str]) -> None:
    """Raise RequestError for a column that nobody named: without a name, or of text that differs from row to row."""
    texts: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if _NAMELESS.fullmatch(name):
            place, shown = table.rows.column_names.index(name) + 1, f" but {name!r}" if name else ""
            named = [other for other, kind in kinds.items() if kind and not _NAMELESS.fullmatch(other)]
            raise RequestError(
                f"{table.file}: column {place} has no name{shown}",
                "name it, or take the others" if named else "name it",
                only_columns(named) if named else None,
            )
        found = category_values(table, name)[0] if kind == "category" and name not in table.written else []
        if len(found) > table.rows.num_rows / 2:
            texts[name] = found
    for name, found in texts.items():
        what = f"not numeric: {len(found)} texts in {table.rows.num_rows} rows, such as {found[0][:40]!r}"
        if table.dialect.separator == "," and all(map(_THOUSANDS.fullmatch, found)):
            hint = "write numbers without separators of thousands"  # a decimal comma would make 1 of 1,000
            raise RequestError(f"{table.file}: column {name!r} is {what}", hint)
        if all(map(has_decimal_comma, found)):
            raise RequestError(f"{table.file}: column {name!r} is {what}", "data.decimal=comma", "data.decimal=comma")
        raise _no_feature(table, name, what, {**kinds, **dict.fromkeys(texts, "")}, None)


def _no_feature(
    table: Table, name: str, what: str, kinds: dict[str, str], columns: tuple[str, ...] | None
) -> RequestError:
    usable = [other for other, kind in kinds.items() if kind and other != name]
    message = f"{table.file}: column {name!r} is {what}"
    if columns is not None or not usable:
        return RequestError(message)
    return RequestError(message, "data.columns takes the others", only_columns(usable))


def only_columns(names: Sequence[str]) -> str:
    """The KEY=VALUE that makes columns of these names the features, whichever characters they have."""
    return f"data.columns={json.dumps([*names], ensure_ascii=False)}"


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
    """Whether a column can stand for one of a kind in training: true is 1, 1 is true, and any of them a category."""
    if kind == "category":
        return bool(_kind(table, name, categorical=True))
    given = _kind(table, name)
    if (given, kind) != ("number", "boolean"):
        return given == kind or (given, kind) == ("boolean", "number")
    values = table.rows[name].cast(pa.float64(), safe=False).to_numpy()
    return bool((np.isin(values, (0, 1)) | np.isnan(values)).all())  # what is missing is reported later


def remarks_on_kinds(table: Table, kinds: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """A line for the user for each column whose booleans stand for numbers, or the reverse."""
    lines: list[str] = []
    for name in kinds:
        kind = _kind(table, name)
        if known[name] != "category" and kind not in (known[name], ""):
            here, there = ("false and true", "numbers") if kind == "boolean" else ("0 and 1", "false and true")
            lines.append(
                f"{table.file}: column {name!r} has {here}, and had {there} in training: false is 0, true is 1"
            )
    return lines


def _kind(table: Table, name: str, categorical: bool = False) -> str:
    """ "number", "boolean", "category", or an empty string for what cannot be a feature."""
    kind = table.rows.schema.field(name).type
    if pa.types.is_boolean(kind):
        return "category" if categorical else "boolean"
    if any(test(kind) for test in _TEXT):
        return "category"
    # a column without values has the type null in pyarrow; its missing values are reported later
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(test(kind) for test in tests):
        return ""
    return "category" if categorical else "number"
