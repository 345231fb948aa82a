"""Fetched Parquet files: row counts and batches of rows, with errors that name the file. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.parquet import ParquetFile

from dlkit.data.registry import DatasetInfo
from dlkit.errors import DlkitError, error_line

BATCH_ROWS = 2048


def count_rows(dataset: DatasetInfo, files: list[tuple[str, Path]]) -> dict[str, int]:
    """Rows of each split, from pairs (split, file).

    Raises:
        DlkitError: a file is not Parquet, or lacks a column.
    """
    rows = dict.fromkeys(dataset.rows, 0)
    for split, path in files:
        with _open(path) as file:
            names = file.schema_arrow.names
            for column in dataset.columns:
                if column not in names:
                    raise DlkitError(
                        f"{path.name} has no column {column!r}; its columns are {', '.join(names)}",
                        "this is another data set than it claims to be: try another `mirror`",
                    )
            rows[split] += file.metadata.num_rows
    return rows


def _open(path: Path) -> ParquetFile:
    try:
        return ParquetFile(path, page_checksum_verification=True, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise DlkitError(f"{path.name} is not a Parquet file: {error_line(error)}", "try another `mirror`") from error


def read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Batches of `BATCH_ROWS` rows of a Parquet file. Raises DlkitError if it is damaged."""
    with _open(path) as file:
        try:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DlkitError(f"{path.name} is damaged: {error_line(error)}", "try another `mirror`") from error


def check_classes(labels: NDArray[Any], classes: tuple[str, ...], name: str, source: Path) -> None:
    """Raise DlkitError unless labels are class indices; -1 stands for a hidden label."""
    if labels.dtype.kind != "i" or labels.min(initial=0) < -1 or labels.max(initial=0) >= len(classes):
        raise DlkitError(f"{source.name}: the column {name!r} has values outside its {len(classes)} classes")
