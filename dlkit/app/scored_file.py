"""Predictions as a table beside their inputs: `dlkit predict --out`. Free of torch."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dlkit.app.output_columns import free_name, typed_column
from dlkit.app.prediction import Prediction
from dlkit.errors import DlkitError
from dlkit.storage.atomic_file import atomic_file
from dlkit.strict_json import json_text

SUFFIXES = (".csv", ".jsonl", ".parquet")


class ScoredFile(Protocol):
    """A table that is being written."""

    def add(self, prediction: Prediction) -> None: ...
    def finish(self) -> None: ...


@contextlib.contextmanager
def scored_file(path: Path, without_rows: Sequence[str] = ()) -> Generator[ScoredFile]:
    """A table of predictions, a row each: the columns of the input, then label and probability, or value, and error.

    A column of the input keeps its name; the model's is then called predicted_label, and so on. The file is there at
    the end of the block, whole.

    Args:
        path: ends in .csv, .jsonl (with `top` too) or .parquet.
        without_rows: the columns where there is no row; JSON Lines, whose rows name their own, then have no line.

    Raises:
        DlkitError: it cannot be written, or a row has columns that the first one lacks.
    """
    kinds: dict[str, Callable[[BinaryIO], ScoredFile]] = {
        ".csv": lambda file: _CSVFile(file, _Columns(without_rows)),
        ".jsonl": _JSONLinesFile,
        ".parquet": lambda file: _ParquetFile(file, _Columns(without_rows)),
    }
    with atomic_file(path) as file:
        scored = kinds[path.suffix.lower()](file)
        yield scored
        scored.finish()


def _row(prediction: Prediction) -> dict[str, Any]:
    given = prediction.input if isinstance(prediction.input, Mapping) else {"input": prediction.input}
    answer = {name: value for name, value in prediction.answer().items() if name != "top"}
    return {**given, **{free_name(name, given): value for name, value in answer.items()}}


class _JSONLinesFile:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, prediction: Prediction) -> None:
        row = _row(prediction)
        if prediction.value is None:
            row[free_name("top", row)] = prediction.answer()["top"]
        self._file.write(json_text(row).encode("utf-8", "backslashreplace") + b"\n")

    def finish(self) -> None:
        pass


class _Columns:
    """The columns of the first row, which every row has; of an input that could not be read they are empty.

    Such inputs wait until there is a first row.
    """

    def __init__(self, without_rows: Sequence[str]) -> None:
        self.names: list[str] = []
        self.without_rows = list(without_rows)
        self._waiting: list[dict[str, Any]] = []

    def rows(self, prediction: Prediction) -> list[list[Any]]:
        """The values of the rows that can be written now."""
        self._waiting.append(_row(prediction))
        if not self.names and prediction.error is not None and not isinstance(prediction.input, Mapping):
            return []
        return self.rest()

    def rest(self) -> list[list[Any]]:
        """The values of all rows that waited."""
        waiting, self._waiting = self._waiting, []
        if waiting and not self.names:
            self.names = list(waiting[-1])
        return [self._values(row) for row in waiting]

    def _values(self, row: dict[str, Any]) -> list[Any]:
        strange = [name for name in row if name not in self.names]
        if strange and not (row.get("error") is not None and strange == ["input"]):
            raise DlkitError(
                f"a row has the column {strange[0]!r}, which the first does not have",
                "rows of any kind fit `out` FILE.jsonl",
            )
        return [row.get(name) for name in self.names]


class _CSVFile:
    def __init__(self, file: BinaryIO, columns: _Columns) -> None:
        self._columns = columns
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._text)

    def add(self, prediction: Prediction) -> None:
        self._write(not self._columns.names, self._columns.rows(prediction))

    def _write(self, new: bool, rows: list[list[Any]]) -> None:
        if new and rows:
            self._writer.writerow(self._columns.names)
        self._writer.writerows([_cell(value) for value in row] for row in rows)

    def finish(self) -> None:
        self._write(not self._columns.names, self._columns.rest())
        if not self._columns.names:
            self._writer.writerow(self._columns.without_rows)
        self._text.detach()


def _cell(value: Any) -> Any:
    return "" if value is None else json_text(value) if isinstance(value, (dict, list)) else value


class _ParquetFile:
    """Kept in memory, column by column: the type of one that comes from CSV is known when all of it is."""

    def __init__(self, file: BinaryIO, columns: _Columns) -> None:
        self._file, self._columns = file, columns
        self._values: list[list[Any]] = []

    def add(self, prediction: Prediction) -> None:
        self._keep(self._columns.rows(prediction))

    def _keep(self, rows: list[list[Any]]) -> None:
        self._values = self._values or [[] for _ in self._columns.names]
        for row in rows:
            for column, value in zip(self._values, row, strict=True):
                column.append(value)

    def finish(self) -> None:
        self._keep(self._columns.rest())
        import pyarrow as pa
        from pyarrow import parquet

        names = self._columns.names
        if not names:
            numbers = ("probability", "predicted_probability", "value", "predicted_value")
            kinds = [(name, pa.float64() if name in numbers else pa.string()) for name in self._columns.without_rows]
            parquet.write_table(pa.schema(kinds).empty_table(), self._file)
            return
        arrays = [typed_column(name, values) for name, values in zip(names, self._values, strict=True)]
        parquet.write_table(pa.table(arrays, names=names), self._file)
