"""Your own rows: numeric columns and a label, from CSV, JSON Lines or Parquet."""

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
from dlkit.data.splits import three_way
from dlkit.data.tables.columns import column_values, feature_columns, feature_values, remarks_on_kinds, require_range
from dlkit.data.tables.table_file import CSV, JSONL, PARQUET, Format, read_table, shortened


def table(
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

    A label is text, an integer, a boolean or a whole number, without the spaces around it. Booleans among the features
    become 0 and 1. A model that is known reads its own columns, by their names, and its own classes. What was taken of
    the file and what was left out is among the sources.

    Args:
        path: the file, relative to the current directory.
        label: the column that holds the class; of JSON Lines the key.
        columns: the feature columns; by default all but the label and an index that pandas wrote; all are numeric.
        test_path: a second file with the rows of "test".
        test: share of the rows that is held out as "test", where there is no test_path.
        validation: share of the training rows that is held out as "val".

    Raises:
        RequestError: a column that is not there, is there twice, has no name, or is not of the type that is needed.
        DlkitError: a missing, empty or damaged file, missing or infinite values, a single class, a class that is
            only in the test file or too small to be split.
    """
    rows, tested = read_table(format, Path(path), (label,)), None
    features, left_out = feature_columns(rows, label, columns, known.columns if known else None)
    found = read_label_column(rows, label, known.classes if known else None)
    classes = known.classes if known else class_names(rows, found)
    labels = class_indices(rows, found, classes)
    for name in features:
        column_values(rows, name)  # what is wrong with a value is said before what is wrong with their number
    parts = three_way(labels, classes, test=0.0 if test_path else test, validation=validation)
    inputs = feature_values(rows, features, parts)
    splits = {name: _split(inputs[name], labels[chosen]) for name, chosen in parts.items()}
    sources: dict[str, Any] = {"path": str(rows.file.resolve()), "label": label, "columns": list(features)}
    files, remarks = [(rows, parts)], list(found.remarks)
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
        "taken": f"{rows.file}: {rows.rows.num_rows} rows of {shortened(features)}; label {label}: "
        f"{shortened(classes)}"
        + (f"; test: {tested.rows.num_rows} rows of {tested.file}" if tested else "")
        + (f"; left out: {shortened(shown)}" if shown else ""),
        "remarks": remarks,
    }
    dataset = replace(make_dataset(rows.file.stem, splits, classes, **sources), columns=features)
    if known and known.mean is not None and known.std is not None:
        dataset = replace(dataset, mean=known.mean, std=known.std)
    for source, there in files:
        for part, chosen in there.items():
            require_range(
                source, features, splits[part].inputs.numpy(), chosen, dataset.mean.numpy(), dataset.std.numpy()
            )
    return dataset


# The first line of CSV names the columns; JSON Lines has an object a line.
csv = functools.partial(table, CSV)
jsonl = functools.partial(table, JSONL)
parquet = functools.partial(table, PARQUET)


def _split(inputs: NDArray[np.float64], labels: NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(inputs), torch.from_numpy(labels))
