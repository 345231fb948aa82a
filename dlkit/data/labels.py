"""The label column of a table: the names of the classes, and the class of every row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.class_spelling import is_number, quoted_name, remarks_on, visible
from dlkit.data.label_values import coded_values, whole_labels
from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import DlkitError, RequestError

_TEXT = (pa.types.is_string, pa.types.is_large_string)
_BOOLEAN = {"true": "true", "True": "true", "TRUE": "true", "false": "false", "False": "false", "FALSE": "false"}
_TRUTH = {"false": "0", "true": "1"}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_PADDED = re.compile(r"[+-]?0[0-9].*")  # a code such as 007, which is no number
_WHOLE = re.compile(r"(-?(0|[1-9][0-9]*))\.0*")

Name = str | int


@dataclass(frozen=True)
class LabelColumn:
    """The labels of a table's rows, as distinct values and a code for each row.

    Args:
        column: its name.
        written: the distinct values as the file has them, without spaces around them.
        names: the class that each of them names: text, or a whole number.
        codes: (N,) the index of each row's value.
        remarks: for the user, about classes that are spelled in several ways.
    """

    column: str
    written: list[str]
    names: Sequence[Name]
    codes: NDArray[np.int32]
    remarks: tuple[str, ...]


def read_label_column(table: Table, label: str, known: Sequence[str] | None = None) -> LabelColumn:
    """The label of every row.

    Args:
        table: the rows.
        label: the column.
        known: the classes that a model tells apart; false and true are 0 and 1 to it where those are its classes.

    Raises:
        RequestError: the column is not of a type that can be a class.
        DlkitError: missing values, fractions, text that is not UTF-8.
    """
    column = table.rows[label]
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy()
        table.refuse(np.isnan(values), "a missing value (NaN)", label)
        column = pa.chunked_array([pa.array(_whole(table, label, values))])
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.string())  # "false" and "true"
    elif not any(test(kind) for test in (pa.types.is_integer, *_TEXT, pa.types.is_null)):
        raise _not_a_class(table, label, kind, column[0])
    distinct, codes = coded_values(column)
    try:
        values = distinct.to_pylist()
    except UnicodeDecodeError as error:
        raise DlkitError(f"{table.file}: label {label!r} holds text that is not UTF-8") from error
    written = ["" if value is None else str(value).strip() for value in values]
    names: Sequence[Name] = values
    if label in table.written:
        names = _parsed(table, label, written, codes)
    elif any(isinstance(value, str) for value in values):
        names = written
    empty = [index for index, value in enumerate(written) if not visible(value)]
    table.refuse(np.isin(codes, [-1, *empty]), "a missing value", label)
    spaced = [index for index, value in enumerate(values) if isinstance(value, str) and value != written[index]]
    remarks = (*_spaces(label, values, codes, spaced), *_merged(label, names, values))
    found = LabelColumn(label, written, names, codes, remarks)
    return found if known is None else _in_terms_of(known, found)


def _not_a_class(table: Table, label: str, kind: pa.DataType, example: object) -> RequestError:
    text = f"{table.file}: label {label!r} is {kind}, as in {str(example)[:40]}; text, integers or booleans are needed"
    return RequestError(text, "name another column, data.label=COLUMN, or write names of classes into this one")


def _in_terms_of(known: Sequence[str], labels: LabelColumn) -> LabelColumn:
    """Booleans as 0 and 1 where a model knows these as its classes, and the reverse."""
    ours = {_normal_form(name): name for name in known}
    written = [_normal_form(value) for value in labels.written]
    for same in (_TRUTH, {number: word for word, number in _TRUTH.items()}):
        if ours.keys() == set(same.values()) and same.keys() >= set(written):
            names = [ours[same[value]] for value in written]
            pairs = ", ".join(f"{value} is {name}" for value, name in sorted({*zip(written, names, strict=True)}))
            remark = f"label {labels.column!r}: {pairs}, as the classes were called in training"
            return replace(labels, written=names, names=names, remarks=(*labels.remarks, remark))
    return labels


def _parsed(table: Table, label: str, written: list[str], codes: NDArray[np.int32]) -> Sequence[Name]:
    """The values of a file without types: whole numbers, booleans, or text as it is."""
    from pyarrow.csv import ConvertOptions

    missing = {"", *ConvertOptions().null_values}
    present = [value for value in written if value not in missing]
    numbers = all(is_number(value) and not _PADDED.fullmatch(value) for value in present)
    if present and not numbers and not all(value in _BOOLEAN for value in present):
        kind = _inferred(present)
        if pa.types.is_temporal(kind):
            raise _not_a_class(table, label, kind, present[0])
        return written
    gone = [index for index, value in enumerate(written) if value in missing]
    table.refuse(np.isin(codes, gone), "a missing value", label)
    if not numbers:
        return [_BOOLEAN[value] for value in written]
    if not all(_INTEGER.fullmatch(value) for value in written):
        values = np.array([float(value) for value in written])
        _whole(table, label, values[codes])
        return [int(value) for value in values]
    return [int(value) for value in written]


def _inferred(values: list[str]) -> pa.DataType:
    """The type that pyarrow infers for values of CSV."""
    from pyarrow import csv

    lines = ("label", *('"' + value.replace('"', '""') + '"' for value in values))
    options = csv.ParseOptions(newlines_in_values=True)
    return csv.read_csv(pa.py_buffer("\n".join(lines).encode()), parse_options=options).schema.field(0).type


def _whole(table: Table, label: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Labels that are written as floating-point numbers, as integers, (N,)."""
    return whole_labels(values, lambda row: f"{table.file}: label {label!r} is {values[row]} in {table.place(row)}")


def class_names(table: Table, labels: LabelColumn) -> tuple[str, ...]:
    """The names of the classes, sorted as numbers or as text. Raises DlkitError where there is only one."""
    if len(set(labels.names)) == 1:
        raise DlkitError(f"{table.file}: only one class, {labels.names[0]!r}, in the label {labels.column!r}")
    return tuple(str(name) for name in sorted(set(labels.names)))  # pyright: ignore[reportArgumentType]


def class_indices(table: Table, labels: LabelColumn, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The class of every row, (N,), as its index in `classes`, which are matched by name.

    A name matches as it is written, or by its value: 1.0 in one file is 1 in another, True is true.

    Raises:
        DlkitError: a row is of another class.
    """
    exact = {name: index for index, name in enumerate(classes)}
    alike: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        alike.setdefault(_normal_form(name), []).append(index)

    def index_of(written: str, name: Name) -> int:
        for spelling in (written, str(name)):
            if spelling in exact:
                return exact[spelling]
        same = alike.get(_normal_form(written), [])
        return same[0] if len(same) == 1 else -1

    of_value = np.array([index_of(*value) for value in zip(labels.written, labels.names, strict=True)], dtype=np.int64)
    targets = of_value[labels.codes]
    if (targets < 0).any():
        row = int((targets < 0).argmax())
        there = join_names(str(name) for name in sorted(set(labels.written)))
        strange = quoted_name(labels.written[labels.codes[row]])
        raise DlkitError(
            f"{table.file}: class {strange}, {table.place(row)}, is not in the training rows' data, "
            f"which has {join_names(classes)}",
            f"the label {labels.column!r} of {table.file} has {there}; classes are matched by name",
        )
    return targets


def _normal_form(text: str) -> str:
    """A name as every kind of file writes it: "True" is "true", "1.0" is "1"."""
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else _BOOLEAN.get(text, text)


def _spaces(label: str, values: list[object], codes: NDArray[np.int32], spaced: list[int]) -> Iterable[str]:
    if spaced:
        count = int(np.isin(codes, spaced).sum())
        rows = f"{count} row{'s' if count > 1 else ''}"
        yield f"label {label!r}: spaces around a class are left out, as in {values[spaced[0]]!r} ({rows})"


def _merged(label: str, names: Sequence[Name], values: list[object]) -> Iterable[str]:
    """Spellings that became one class, and classes that look like one."""
    spellings: dict[Name, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        spellings.setdefault(name, []).append(str(value).strip())
    for name, written in spellings.items():
        if len(set(written)) > 1:
            yield f"label {label!r}: {_quoted(sorted(set(written)))} are one class, {name}"
    yield from remarks_on(f"label {label!r}", map(str, spellings))


def _quoted(names: list[str]) -> str:
    return join_names(map(quoted_name, names), 4)
