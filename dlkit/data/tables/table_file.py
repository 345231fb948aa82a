"""Tables in CSV, JSON Lines or Parquet files, whose errors name the line or row in the file."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.scratch import is_large
from dlkit.data.tables.csv_stream import LARGEST_CELL
from dlkit.data.tables.dialect import AUTO, RFC_4180, Dialect, DialectRequest, recognise
from dlkit.data.tables.first_line import require_json_lines
from dlkit.data.tables.table_on_disk import (
    kept_on_disk,
    parquet_size,
    read_large_csv,
    read_large_jsonl,
    read_large_parquet,
)
from dlkit.data.tables.without_dictionaries import without_dictionaries
from dlkit.errors import DlkitError, RequestError, shell_word
from dlkit.text_input import require_utf_8

_LONGEST_HEADER = 1 << 16  # bytes of a first line that is looked at
_COMPRESSION = {".gz": 8, ".bz2": 8, ".zst": 8, ".lz4": 4}  # suffix -> about how much larger the text is


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        read: reads the rows of a file; in untyped formats, the named columns as literal text.
        lines: yields the line at which each row begins, after the header's; None for formats without lines.
        untyped: whether all values are written as text, in a dialect of CSV.
    """

    read: Callable[[Path, Collection[str], Dialect], pa.Table]
    lines: Callable[[Path, Dialect], Iterator[int]] | None
    untyped: bool = False


def _text_size(file: Path) -> int:
    """About how many bytes a file of text has, decompressed."""
    return file.stat().st_size * _COMPRESSION.get(file.suffix, 1)


def _read_csv(file: Path, written: Collection[str], dialect: Dialect) -> pa.Table:
    from pyarrow import csv as reader

    if is_large(_text_size(file)):
        return read_large_csv(file, written, dialect)

    def read(threads: bool, multiline: bool, block: int | None = None) -> pa.Table:
        return reader.read_csv(
            file,
            read_options=reader.ReadOptions(encoding=dialect.encoding, use_threads=threads, block_size=block),
            parse_options=reader.ParseOptions(delimiter=dialect.separator, newlines_in_values=multiline),
            convert_options=reader.ConvertOptions(
                column_types=dict.fromkeys(written, pa.string()), decimal_point=dialect.decimal
            ),
        )

    try:
        # cutting a file into blocks takes twice as long where a value may span several lines
        return read(threads=True, multiline=dialect.multiline)
    except pa.ArrowInvalid:
        # on one thread, errors name the row; in one block, a row may be of any length
        return read(threads=False, multiline=True, block=min(_text_size(file) + 1, 2**31 - 1))


def _read_jsonl(file: Path, written: Collection[str], dialect: Dialect) -> pa.Table:
    from pyarrow import json as reader

    require_json_lines(_first_line(file), str(file))
    if is_large(size := _text_size(file)):
        return read_large_jsonl(lambda: open_decompressed(file), size)
    with open_decompressed(file) as stream:
        content = stream.read()
    block = min(len(content) + 1, 2**31 - 1)  # the whole file: errors name the row within the block
    return reader.read_json(
        pa.BufferReader(content), read_options=reader.ReadOptions(use_threads=False, block_size=block)
    )


def _read_parquet(file: Path, written: Collection[str], dialect: Dialect) -> pa.Table:
    from pyarrow.parquet import ParquetFile

    if is_large(parquet_size(file)):
        return read_large_parquet(file, written, dialect)
    with ParquetFile(file, page_checksum_verification=True) as reader:
        return without_dictionaries(reader.read())


def _first_line(file: Path) -> str:
    """The beginning of the first line of a file of text. Raises RequestError where it is in UTF-16 or UTF-32."""
    with open_decompressed(file) as stream:
        line = stream.readline(_LONGEST_HEADER)
    require_utf_8(line, str(file))
    return line.decode("utf-8-sig", "replace")


def open_decompressed(file: Path) -> BinaryIO:
    """The bytes of a file that may be compressed: pyarrow goes by its suffix, as in rows.csv.gz."""
    return io.BufferedReader(pa.input_stream(file, compression="detect"), 1 << 16)  # pyright: ignore[reportArgumentType]


def _csv_lines(file: Path, dialect: Dialect) -> Iterator[int]:
    """Blank lines are skipped; a quoted value may span several lines."""
    csv.field_size_limit(LARGEST_CELL)
    encoding = "utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding
    with io.TextIOWrapper(open_decompressed(file), encoding=encoding, errors="replace", newline="") as text:
        reader, begin = csv.reader(text, delimiter=dialect.separator), 1
        for cells in reader:
            if cells:
                yield begin
            begin = reader.line_num + 1


def _jsonl_lines(file: Path, dialect: Dialect) -> Iterator[int]:
    yield 0  # there is no header
    with open_decompressed(file) as lines:
        yield from (number for number, line in enumerate(lines, 1) if line.strip())


CSV = Format(_read_csv, _csv_lines, untyped=True)
JSONL = Format(_read_jsonl, _jsonl_lines)
PARQUET = Format(_read_parquet, None)
# Suffix of a file -> its format.
FORMATS = {".csv": CSV, ".jsonl": JSONL, ".parquet": PARQUET}


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Args:
        file: its path.
        rows: its columns; those in `written` hold the literal text of the file.
        format: of the file.
        written: their names.
        dialect: how CSV is written.
        kept: (N,) the index in the file of each row, where some were left out.
    """

    file: Path
    rows: pa.Table
    format: Format
    written: frozenset[str] = frozenset()
    dialect: Dialect = RFC_4180
    kept: NDArray[np.int64] | None = None

    def place(self, row: int) -> str:
        """Position in the file of a row, counted from 0: "line 3" of a text file, "row 2" of Parquet."""
        return _place(self.format, self.file, self.dialect, self.index(row))

    def index(self, row: int) -> int:
        """The index in the file of a row."""
        return row if self.kept is None else int(self.kept[row])

    def without(self, rows: NDArray[np.bool_]) -> Table:
        """The table without some of its rows, (N,). Raises DlkitError if none is left."""
        if rows.all():
            raise DlkitError(
                f"{self.file}: no row has a value in every column",
                "take the mean of a column's training rows for what it lacks",
                "data.missing=mean",
            )
        large = is_large(self.rows.nbytes)
        kept = kept_on_disk(self.rows, ~rows) if large else self.rows.filter(pa.array(~rows))
        return replace(self, rows=kept, kept=np.flatnonzero(~rows))

    def refuse(self, bad: NDArray[np.bool_], what: str, name: str) -> None:
        """Raise DlkitError if any value of column `name` is `bad`, (N,)."""
        if bad.any():
            unit = ("row" if self.format.lines is None else "line") + ("s" if bad.sum() > 1 else "")
            first = f"{self.file}: {what} in column {name!r}, {self.place(int(bad.argmax()))}"
            raise DlkitError(first, f"{bad.sum()} such {unit}, to be repaired or removed")

    def named(self) -> str:
        """The file, and what is unusual about how it is written."""
        how = self.dialect.described()
        return f"{self.file} ({how})" if how else str(self.file)

    def described(self) -> str:
        """Its columns with their types, as text."""
        types = {field.name: f" ({field.type})" for field in self.rows.schema if field.name not in self.written}
        return join_names(name + types.get(name, "") for name in self.rows.column_names)


def join_names(names: Collection[str] | Iterator[str], most: int = 12) -> str:
    """Names for a message, at most the first `most` of them."""
    listed = list(names)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


def read_table(format: Format, file: Path, written: Collection[str] = (), request: DialectRequest = AUTO) -> Table:
    """The rows of a file.

    Args:
        format: of the file.
        file: its path.
        written: columns to be read as literal text from a file without types.
        request: how a CSV file is written, as far as the user says.

    Raises:
        DlkitError: the file is missing, empty or damaged.
        RequestError: two columns have the same name.
    """
    if not file.is_file():
        raise DlkitError(f"not a file: {file}" if file.exists() else f"no such file: {file}")
    dialect = RFC_4180
    try:
        if file.stat().st_size == 0:
            raise DlkitError(f"the file is empty: {file}")
        if format.untyped:
            with open_decompressed(file) as stream:
                dialect = recognise(stream, str(file), request)
        rows = format.read(file, written, dialect)
        names = rows.column_names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        hint = _remedy(file, dialect) if format.untyped and "Expected" in str(error) else None
        raise DlkitError(f"cannot read {file}: {_reason(error, format, file, dialect)[:300]}", hint) from error
    if rows.num_rows == 0:
        raise DlkitError(f"no rows in {file}")
    for name, count in Counter(names).items():
        if count > 1:
            raise RequestError(f"{file} has two columns named {name!r}", "rename or remove one of them")
    return Table(file, rows, format, frozenset(written) if format.untyped else frozenset(), dialect)


def _place(format: Format, file: Path, dialect: Dialect, row: int) -> str:
    if format.lines is not None:
        number = next(itertools.islice(format.lines(file, dialect), row + 1, None), None)  # after the header
        if number is not None:
            return f"line {number}"
    return f"row {row + 1}"


def _remedy(file: Path, dialect: Dialect) -> str | None:
    """A command that mends what may be behind rows that have more or fewer values than the header has names."""
    with io.TextIOWrapper(open_decompressed(file), encoding=dialect.encoding, errors="replace") as text:
        header, row = (text.readline(_LONGEST_HEADER).lstrip("\ufeff").rstrip("\r\n") for _ in range(2))
    plain = file.suffix not in _COMPRESSION
    mended = f"{shell_word(file)} > mended.csv" if plain else "on the decompressed file"
    if header.startswith("#"):
        return f"the first line names the columns, and comments are not read: grep -v '^#' {mended}"
    separator = dialect.separator
    if row.endswith(separator) and not header.endswith(separator):
        return f"rows end in a separator, and the header does not: sed 's/{re.escape(separator)}$//' {mended}"
    return None


def _reason(error: Exception, format: Format, file: Path, dialect: Dialect) -> str:
    """pyarrow's error, its row number (from 1 with the header in CSV, from 0 in JSON) as a position in the file."""
    text = " ".join(str(error).split())
    text = re.sub(r"\bRow #(\d+)", lambda row: _place(format, file, dialect, int(row[1]) - 2), text)
    return re.sub(r"\bin row (\d+)$", lambda row: f"in {_place(format, file, dialect, int(row[1]))}", text)
