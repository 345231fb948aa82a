"""Rows and texts without labels, one by one: of CSV, JSON Lines and Parquet files, or from a pipe. Free of torch.

A row that cannot be read does not end the others: it comes as `UnreadInput`. A pause of a pipe comes as None.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError, RequestError
from dlkit.lines import lines_as_they_come
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file

TABLES = (".csv", ".jsonl", ".parquet")
_GIVE = "give a file, or - for standard input"
_AT_ONCE = 4096  # rows of a Parquet file
_LARGEST_CELL = 2**31 - 1  # characters

Row = dict[str, Any]  # column -> text, number, boolean or None


@dataclass(frozen=True)
class UnreadInput:
    """An input without a prediction: what is shown of it, and why."""

    shown: str
    error: str


def rows_of_file(path: Path) -> Iterator[Row | UnreadInput]:
    """The rows of a table.

    Raises:
        RequestError: the file is of another kind.
        DlkitError: it is missing, empty or damaged.
    """
    if not path.exists():
        raise DlkitError(f"no such file: {path}", _GIVE)
    if path.suffix not in TABLES:
        raise RequestError(f"{path}: not a table of a known kind", f"its name must end in {', '.join(TABLES)}")
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    lines = _lines_of(path)
    return _present(_csv_rows(lines, str(path)) if path.suffix == ".csv" else map(_json_row, lines))


def rows_of_pipe(stream: BinaryIO) -> Iterator[Row | UnreadInput | None]:
    """The rows of CSV or JSON Lines, told apart by the first character, which is { in the latter.

    Raises RequestError where there are none.
    """
    lines = lines_as_they_come(stream)
    first = next((line for line in lines if line and line.strip()), None)
    if first is None:
        raise RequestError("no rows on standard input", "pipe CSV with a header, or JSON Lines")
    every = _chain(first, lines)
    if first.lstrip().startswith(b"{"):
        return map(_json_row, (line for line in every if line is None or line.strip()))
    return _csv_rows(every, "standard input")


def texts_of_file(path: Path) -> Iterator[str | UnreadInput]:
    """The lines of a file that are not empty. Raises DlkitError if it is missing or cannot be read."""
    return _present(_texts(_lines_of(path)))


def texts_of_pipe(stream: BinaryIO) -> Iterator[str | UnreadInput | None]:
    """The lines of a stream that are not empty."""
    return _texts(lines_as_they_come(stream))


def _texts(lines: Iterable[bytes | None]) -> Iterator[str | UnreadInput | None]:
    for line in lines:
        if line is None or line.strip():
            yield None if line is None else _decoded(line)


def _decoded(line: bytes) -> str | UnreadInput:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        return UnreadInput(line.decode(errors="replace"), f"not UTF-8: byte 0x{line[error.start]:02x}")


def _lines_of(path: Path) -> Iterator[bytes | None]:
    try:
        stream = ordinary_file(path).open("rb")
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot read: {error.strerror}"
        raise DlkitError(f"{what}: {path}", _GIVE) from error

    def lines() -> Iterator[bytes | None]:
        with stream:
            yield from lines_as_they_come(stream)

    return lines()


def _chain(first: bytes, lines: Iterator[bytes | None]) -> Iterator[bytes | None]:
    yield first
    yield from lines


def _present(items: Iterable[Any]) -> Iterator[Any]:
    """Without pauses, of which a file has none."""
    return (item for item in items if item is not None)


def _json_row(line: bytes | None) -> Row | UnreadInput | None:
    if line is None:
        return None
    text = _decoded(line)
    if isinstance(text, UnreadInput):
        return text
    try:
        row = parse_json(text)
    except ValueError as error:
        return UnreadInput(text, f"not JSON: {error}")
    return row if is_mapping(row) else UnreadInput(text, "not a JSON object")


def _csv_rows(lines: Iterable[bytes | None], name: str) -> Iterator[Row | UnreadInput | None]:
    """The first line names the columns; a quoted value may span several lines."""
    csv.field_size_limit(_LARGEST_CELL)
    columns: list[str] = []
    held = ""  # of a row whose quotation mark is still open
    for line in lines:
        if line is None:
            yield None
            continue
        text = _decoded(line)
        if isinstance(text, UnreadInput):
            if not columns:
                raise DlkitError(f"{name}: the first line is {text.error}", "convert it, for example with iconv")
            held = ""
            yield text
            continue
        text = f"{held}\n{text}" if held else text
        if text.count('"') % 2:
            held = text
            continue
        held = ""
        if text:
            row = _csv_row(text, columns)
            if row is not None:
                yield row
    if held:
        yield UnreadInput(held, "a quotation mark is not closed")
    if not columns:
        raise DlkitError(f"{name} is empty", "the first line of CSV names the columns")


def _csv_row(text: str, columns: list[str]) -> Row | UnreadInput | None:
    """A row, or None for the header, which fills `columns`."""
    try:
        cells = next(csv.reader([text], strict=True))
    except csv.Error as error:
        return UnreadInput(text, f"not CSV: {error}")
    if not columns:
        double = next((cell for cell in cells if cells.count(cell) > 1), None)
        if double is not None:
            raise RequestError(f"two columns are named {double!r}", "rename or remove one of them")
        columns += cells
        return None
    if len(cells) != len(columns):
        return UnreadInput(text, f"{len(cells)} values for {len(columns)} columns")
    return dict(zip(columns, cells, strict=True))


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(ordinary_file(path), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DlkitError(f"cannot read {path}: {' '.join(str(error).split())[:300]}") from error

    def rows() -> Iterator[Row]:
        with file:
            try:
                for batch in file.iter_batches(_AT_ONCE):
                    yield from batch.to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise DlkitError(f"cannot read {path}: {' '.join(str(error).split())[:300]}") from error

    return rows()
