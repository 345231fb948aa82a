"""Texts or pairs of texts with an answer: a class, a number, or the index of the right candidate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.annotations import Rate
from dlkit.data.known import Known
from dlkit.data.labels import class_indices, class_names, read_label_column
from dlkit.data.new_rows import table_suffix
from dlkit.data.splits import split_three_ways
from dlkit.data.tables.columns import require_column
from dlkit.data.tables.table_file import FORMATS, Table, join_names, read_table
from dlkit.errors import DlkitError, RequestError

Answer = Literal["class", "number", "candidate"]


@dataclass(frozen=True)
class Examples:
    """N examples in R rows: an example has one row, or one row for each of its candidates.

    Args:
        first: the texts, (R,).
        second: the second texts of pairs, (R,), or None.
        targets: class indices or indices of the right candidate, (N,) int64, or numbers, (N,) float32.
        counts: the number of rows of each example, (N,), or None for one each.
        groups: the question that each example belongs to, (N,) int64, for metrics of whole questions; or None.
        credit: the F1 and exact match of each candidate, if several may be right, (R, 2) float32; or None.
    """

    first: list[str]
    second: list[str] | None
    targets: NDArray[Any]
    counts: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None
    credit: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class LabelledTexts:
    """A data set of texts in splits. `metrics` names its metrics, the main one first."""

    name: str
    splits: dict[str, Examples]
    classes: tuple[str, ...]
    answer: Answer
    metrics: tuple[str, ...]
    sources: dict[str, Any]


def make_labelled_texts(
    name: str,
    splits: dict[str, Examples],
    classes: tuple[str, ...],
    *,
    answer: Answer = "class",
    metrics: tuple[str, ...] = ("accuracy",),
    sources: dict[str, Any],
) -> LabelledTexts:
    """A data set whose sources include the number of rows of each split and a sha256 of them all."""
    rows = {split: len(examples.targets) for split, examples in splits.items()}
    digest = hashlib.sha256(repr(classes).encode())
    for split, examples in splits.items():
        digest.update(f"{split} {len(examples.first)}".encode())
        for texts in (examples.first, examples.second or []):
            for text in texts:
                digest.update(text.encode() + b"\0")
        digest.update(np.ascontiguousarray(examples.targets).data)
    return LabelledTexts(
        name, splits, classes, answer, metrics, {**sources, "rows": rows, "sha256": digest.hexdigest()}
    )


def labelled_texts(
    known: Known | None = None,
    /,
    *,
    path: Path,
    text: str,
    label: str,
    pair: str | None = None,
    validation_path: Path | None = None,
    test_path: Path | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> LabelledTexts:
    """Texts, or pairs of texts, and their classes, from a CSV, JSON Lines or Parquet file.

    A class is a label without surrounding spaces. A trained model maps labels to its own classes by name.

    Args:
        path: a .csv, .jsonl or .parquet file; the first two may be compressed (.csv.gz).
        text: the column of the text.
        label: the column of the class: text, integers or booleans.
        pair: the column of a second text; null for single texts.
        validation_path: a file with the rows of "val".
        test_path: a file with the rows of "test".
        test: share of the rows held out as "test", unless there is a test_path.
        validation: share of the other rows held out as "val", unless there is a validation_path.

    Raises:
        RequestError: a column that is not there or not of the type that is needed, a file of another kind.
        DlkitError: a missing, empty or damaged file, missing values, a single class, one that the training rows lack
            or that is too small to be split.
    """
    table = _table(Path(path), text, pair, label)
    found = read_label_column(table, label, known.classes if known else None)
    classes = known.classes if known else class_names(table, found)
    targets = class_indices(table, found, classes)
    split_rows = split_three_ways(
        targets, classes, test=0.0 if test_path else test, validation=0.0 if validation_path else validation
    )
    first, second = text_values(table, text), text_values(table, pair) if pair else None
    splits = {
        name: Examples([first[i] for i in rows], [second[i] for i in rows] if second else None, targets[rows])
        for name, rows in split_rows.items()
    }
    sources: dict[str, Any] = {"path": str(table.file.resolve())}
    remarks = list(found.remarks)
    for name, key, other in (("val", "validation_path", validation_path), ("test", "test_path", test_path)):
        if other is not None:
            held = _table(Path(other), text, pair, label)
            found = read_label_column(held, label, classes)
            right = class_indices(held, found, classes)
            splits[name] = Examples(text_values(held, text), text_values(held, pair) if pair else None, right)
            sources[key] = str(held.file.resolve())
            remarks += [remark for remark in found.remarks if remark not in remarks]
    others = [name for name in table.rows.column_names if name not in (text, pair, label)]
    sources |= {
        "left_out": others,
        "taken": f"{table.named()}: {table.rows.num_rows} rows of {text}{f' and {pair}' if pair else ''}; "
        f"label {label}: {join_names(classes)}" + (f"; left out: {join_names(map(repr, others))}" if others else ""),
        "remarks": remarks,
    }
    return make_labelled_texts(table.file.stem, splits, classes, sources=sources)


def _table(file: Path, text: str, pair: str | None, label: str) -> Table:
    kind = table_suffix(file)
    if kind is None:
        raise RequestError(
            f"{file}: not a table of a known kind", f"its name must end in {', '.join(FORMATS)} or .csv.gz"
        )
    names = (text, label, *([pair] if pair else []))
    table = read_table(FORMATS[kind], file, names)
    for name in names:
        require_column(name, table)
    return table


def text_values(table: Table, name: str) -> list[str]:
    """The texts of a column. Raises RequestError if it is not text, DlkitError if one is missing or not UTF-8."""
    column = table.rows[name]
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise RequestError(f"{table.file}: column {name!r} is not text but {column.type}")
    table.refuse(column.is_null().to_numpy(), "a missing text", name)
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        raise DlkitError(f"{table.file}: column {name!r} holds text that is not UTF-8") from error
