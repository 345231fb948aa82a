"""The user's own rows: numeric columns and a label, from CSV, JSON Lines or Parquet."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.annotations import Rate
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.known import Known
from dlkit.data.labels import class_indices, class_names, read_label_column
from dlkit.data.splits import split_three_ways
from dlkit.data.tables.columns import column_values, feature_columns, feature_values, remarks_on_kinds, require_range
from dlkit.data.tables.table_file import CSV, JSONL, PARQUET, Format, join_names, read_table


def table_dataset(
    format: Format,
    known: Known | None = None,
    /,
    *,
    path: Path,
    label: str,
    columns: tuple[str, ...] | None = None,
    test_path: Path | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> Dataset:
    """Rows of a file: features (N, F) float64 and the classes of the label, sorted.

    A label is text, an integer, a boolean or a whole number, stripped of surrounding spaces. Boolean features become 0
    and 1. For a known model, columns are read by its names and labels by its classes. What was taken of the file and
    what was left out is recorded in the sources.

    Args:
        path: the file, relative to the current directory.
        label: the column that holds the class; of JSON Lines the key.
        columns: the feature columns, all numeric; by default all but the label and an index written by pandas.
        test_path: a second file with the rows of "test".
        test: share of the rows that is held out as "test", where there is no test_path.
        validation: share of the training rows that is held out as "val".

    Raises:
        RequestError: a column is missing, duplicated, unnamed, or of the wrong type.
        DlkitError: a file is missing, empty or damaged; a value is missing or infinite; there is a single class, or a
            class that is only in the test file or too small to be split.
    """
    rows, tested = read_table(format, Path(path), (label,)), None
    features, left_out = feature_columns(rows, label, columns, known.columns if known else None)
    found = read_label_column(rows, label, known.classes if known else None)
    classes = known.classes if known else class_names(rows, found)
    labels = class_indices(rows, found, classes)
    for name in features:
        column_values(rows, name)  # errors in values are reported before errors in their number
    rows_of = split_three_ways(labels, classes, test=0.0 if test_path else test, validation=validation)
    inputs = feature_values(rows, features, rows_of)
    splits = {name: _split(inputs[name], labels[chosen]) for name, chosen in rows_of.items()}
    sources: dict[str, Any] = {"path": str(rows.file.resolve()), "label": label, "columns": list(features)}
    files, remarks = [(rows, rows_of)], list(found.remarks)
    if known and known.columns:
        remarks += remarks_on_kinds(rows, features, known.columns)
    if test_path:
        tested = read_table(format, Path(test_path), (label,))
        kinds, more = feature_columns(tested, label, None, features)
        found, left_out = read_label_column(tested, label, classes), left_out | more
        every = {"test": np.arange(tested.rows.num_rows)}
        values = feature_values(tested, features, every)["test"]
        splits["test"] = _split(values, class_indices(tested, found, classes))
        sources["test_path"] = str(tested.file.resolve())
        files.append((tested, every))
        more_remarks = (*found.remarks, *remarks_on_kinds(tested, kinds, features))
        remarks += [remark for remark in more_remarks if remark not in remarks]
    shown = [repr(name) + (f" ({why})" if why else "") for name, why in left_out.items()]
    sources |= {
        "left_out": list(left_out),
        "taken": f"{rows.file}: {rows.rows.num_rows} rows of {join_names(features)}; label {label}: "
        f"{join_names(classes)}"
        + (f"; test: {tested.rows.num_rows} rows of {tested.file}" if tested else "")
        + (f"; left out: {join_names(shown)}" if shown else ""),
        "remarks": remarks,
    }
    names = {
        split: functools.partial(_row_name, source.file, chosen)
        for source, there in files
        for split, chosen in there.items()
    }
    dataset = replace(make_dataset(rows.file.stem, splits, classes, **sources), columns=features, names=names)
    if known and known.mean is not None and known.std is not None:
        dataset = replace(dataset, mean=known.mean, std=known.std)
    for source, there in files:
        for split, chosen in there.items():
            require_range(
                source, features, splits[split].inputs.numpy(), chosen, dataset.mean.numpy(), dataset.std.numpy()
            )
    return dataset


# The first line of CSV has the column names; JSON Lines has one object per line.
csv = functools.partial(table_dataset, CSV)
jsonl = functools.partial(table_dataset, JSONL)
parquet = functools.partial(table_dataset, PARQUET)


def _split(inputs: NDArray[np.float64], labels: NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(inputs), torch.from_numpy(labels))


def _row_name(file: Path, rows: NDArray[np.int64], row: int) -> str:
    """What the user calls a row, counted from 1."""
    return f"{file.name}, row {int(rows[row]) + 1}"
