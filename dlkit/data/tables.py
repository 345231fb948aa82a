"""Your own rows: numeric columns and a label, from CSV, JSON Lines or Parquet."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from dlkit.annotations import Rate
from dlkit.data.columns import class_names, class_places, feature_columns, feature_values, label_values
from dlkit.data.dataset import Dataset, Split, assemble
from dlkit.data.splits import three_way
from dlkit.errors import DlkitError, RequestError

Reader = Callable[[Path], pa.Table]


def _read_csv(file: Path) -> pa.Table:
    from pyarrow import csv as reader

    # On one thread, errors name the row.
    return reader.read_csv(file, read_options=reader.ReadOptions(use_threads=False))


def _read_jsonl(file: Path) -> pa.Table:
    from pyarrow import json as reader

    block = min(file.stat().st_size + 1, 2**31 - 1)  # the whole file: errors name the row within the block
    return reader.read_json(file, read_options=reader.ReadOptions(use_threads=False, block_size=block))


def _read_parquet(file: Path) -> pa.Table:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file, page_checksum_verification=True) as reader:
        return reader.read()


# The ending of a file's name -> how to read it.
READERS: dict[str, Reader] = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def table(
    reader: Reader,
    /,
    *,
    path: Path,
    label: str,
    columns: tuple[str, ...] | None = None,
    test_path: Path | None = None,
    test: Rate = 0.2,
    validation: Rate = 0.0,
) -> Dataset:
    """Rows of a file: features (N, F) float32 and the classes of the label, sorted.

    A label is text, an integer, a boolean or a whole number. Booleans among the features become 0 and 1.

    Args:
        path: the file, relative to the current directory.
        label: the column that holds the class; of JSON Lines the key.
        columns: the feature columns; by default all but the label, which must then be numeric.
        test_path: a second file with the rows of "test".
        test: share of the rows that is held out as "test", where there is no test_path.
        validation: share of the training rows that is held out as "val".

    Raises:
        RequestError: a column that is not there, is there twice, has no name, or is not of the type that is needed.
        DlkitError: a missing, empty or damaged file, missing or infinite values, a single class, a class that is
            only in the test file or too small to be split.
    """
    file = Path(path)
    rows = read_table(reader, file)
    features = feature_columns(rows, file, label, columns)
    values, places = label_values(rows, file, label)
    classes = class_names(values, file, label)
    labels = class_places(values, places, classes, file)
    inputs = feature_values(rows, file, features)
    parts = three_way(labels, classes, test=0.0 if test_path else test, validation=validation)
    splits = {name: _split(inputs, labels, chosen) for name, chosen in parts.items()}
    sources = {"path": str(file.resolve()), "label": label, "columns": features}
    if test_path:
        test_file = Path(test_path)
        rows = read_table(reader, test_file)
        feature_columns(rows, test_file, label, tuple(features))
        labels = class_places(*label_values(rows, test_file, label), classes, test_file)
        splits["test"] = _split(feature_values(rows, test_file, features), labels, np.arange(len(labels)))
        sources["test_path"] = str(test_file.resolve())
    return assemble(file.stem, splits, classes, **sources)


# The first line of CSV names the columns; JSON Lines has an object a line.
csv = functools.partial(table, _read_csv)
jsonl = functools.partial(table, _read_jsonl)
parquet = functools.partial(table, _read_parquet)


def _split(inputs: NDArray[np.float32], labels: NDArray[np.int64], rows: NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(inputs[rows]), torch.from_numpy(labels[rows]))


def read_table(reader: Reader, file: Path) -> pa.Table:
    """The rows of a file. Raises DlkitError where it is missing, empty or damaged."""
    if not file.is_file():
        raise DlkitError(f"not a file: {file}" if file.exists() else f"no such file: {file}")
    try:
        if file.stat().st_size == 0:
            raise DlkitError(f"the file is empty: {file}")
        table = reader(file)
        names = table.column_names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = re.sub(r"\bin row (\d+)$", lambda row: f"in row {int(row[1]) + 1}", " ".join(str(error).split()))
        raise DlkitError(f"cannot read {file}: {reason[:300]}") from error
    if table.num_rows == 0:
        raise DlkitError(f"no rows in {file}")
    for name, count in Counter(names).items():
        if count > 1:
            raise RequestError(f"{file} has two columns named {name!r}", "rename or remove one of them")
    return table
