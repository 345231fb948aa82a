"""Predictions as a table beside their inputs: `dlkit predict --out`. Free of torch."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

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
def scored_file(path: Path) -> Generator[ScoredFile]:
    """A table of predictions, a row each: the columns of the input, then label and probability, or value, and error.

    A column of the input keeps its name; the model's is then called predicted_label, and so on. The file is there at
    the end of the block, whole.

    Args:
        path: ends in .csv, .jsonl (with `top` too) or .parquet.

    Raises:
        DlkitError: it cannot be written, or a row has columns that the first one lacks.
    """
    kinds = {".csv": _CSVFile, ".jsonl": _JSONLinesFile, ".parquet": _ParquetFile}
    with atomic_file(path) as file:
        scored = kinds[path.suffix](file)
        yield scored
        scored.finish()


def _row(prediction: Prediction) -> dict[str, Any]:
    given = prediction.input if isinstance(prediction.input, Mapping) else {"input": prediction.input}
    answer = {name: value for name, value in prediction.answer().items() if name != "top"}
    return {**given, **{f"predicted_{name}" if name in given else name: value for name, value in answer.items()}}


class _JSONLinesFile:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, prediction: Prediction) -> None:
        row = _row(prediction)
        if prediction.value is None:
            row["predicted_top" if "top" in row else "top"] = prediction.answer()["top"]
        self._file.write(json_text(row).encode("utf-8", "backslashreplace") + b"\n")

    def finish(self) -> None:
        pass


class _Columns:
    """The columns of the first row, which every row has; of an input that could not be read they are empty."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def values(self, prediction: Prediction) -> list[Any]:
        row = _row(prediction)
        if not self.names:
            self.names = list(row)
        strange = [name for name in row if name not in self.names]
        if strange and not (prediction.error is not None and strange == ["input"]):
            raise DlkitError(
                f"a row has the column {strange[0]!r}, which the first has not", "rows of any kind fit `out` FILE.jsonl"
            )
        return [row.get(name) for name in self.names]


class _CSVFile:
    def __init__(self, file: BinaryIO) -> None:
        self._columns = _Columns()
        self._text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._text)

    def add(self, prediction: Prediction) -> None:
        new = not self._columns.names
        values = self._columns.values(prediction)
        if new:
            self._writer.writerow(self._columns.names)
        self._writer.writerow(["" if value is None else value for value in values])

    def finish(self) -> None:
        self._text.detach()


class _ParquetFile:
    """Kept in memory, column by column: the type of one that comes from CSV is known when all of it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._columns = file, _Columns()
        self._values: list[list[Any]] = []

    def add(self, prediction: Prediction) -> None:
        values = self._columns.values(prediction)
        self._values = self._values or [[] for _ in values]
        for column, value in zip(self._values, values, strict=True):
            column.append(value)

    def finish(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            arrays = [_typed(values) for values in self._values]
        except (pa.ArrowException, UnicodeEncodeError) as error:
            raise DlkitError(f"these rows are no table of Parquet: {error}", "`out` FILE.jsonl takes them") from error
        parquet.write_table(pa.table(arrays, names=self._columns.names), self._file)


def _typed(values: list[Any]) -> Any:
    """The values of a column; text that is a number throughout, as CSV has it, as numbers."""
    import pyarrow as pa

    array = pa.array(values)
    if pa.types.is_string(array.type):
        for kind in (pa.int64(), pa.float64()):
            with contextlib.suppress(pa.ArrowInvalid):
                return array.cast(kind)
    return pa.array(values, pa.string()) if pa.types.is_null(array.type) else array
