"""Rows and texts without labels, one by one: of CSV, JSON Lines and Parquet files, or from a pipe. Free of torch.

A row that cannot be read does not stop the others: it is yielded as `UnreadInput`. A pause of a pipe comes as None.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from dlkit.annotations import is_mapping
from dlkit.data.tables.csv_stream import csv_rows
from dlkit.data.tables.dialect import AUTO, DialectRequest, recognise
from dlkit.data.tables.first_line import require_json_lines
from dlkit.data.unread_input import UnreadInput, decode_line
from dlkit.errors import DlkitError, RequestError
from dlkit.lines import lines_as_they_come
from dlkit.strict_json import parse_json
from dlkit.text_input import ordinary_file

TABLES = (".csv", ".jsonl", ".parquet")
# Tables that are not read.
_OTHER_TABLES = (".tsv", ".tab", ".json", ".xls", ".xlsx", ".ods", ".feather", ".arrow", ".orc")
_COMPRESSED = (".bz2", ".gz", ".lz4", ".zst")  # suffixes that pyarrow goes by
_GIVE = "give a file, or - for standard input"
_AT_ONCE = 4096  # rows of a Parquet file

Row = dict[str, Any]  # column -> text, number, boolean or None


def table_suffix(path: Path) -> str | None:
    """`.csv` of rows.csv and rows.csv.gz; None of what is no table that can be read, by its name."""
    compressed = path.suffix in _COMPRESSED
    suffix = (Path(path.stem) if compressed else path).suffix.lower()
    return suffix if suffix in TABLES and not (compressed and suffix == ".parquet") else None


def rows_of_file(path: Path, request: DialectRequest = AUTO) -> Iterator[Row | UnreadInput]:
    """The rows of a table.

    Args:
        path: of the table.
        request: how CSV is written, as far as the user says.

    Raises:
        RequestError: the file is of another kind.
        DlkitError: it is missing, empty or damaged.
    """
    if not path.exists():
        raise DlkitError(f"no such file: {path}", _GIVE)
    kind = table_suffix(path)
    if kind is None:
        raise RequestError(
            f"{path}: not a table of a known kind", f"its name must end in {', '.join(TABLES)} or .csv.gz"
        )
    if kind == ".parquet":
        return _parquet_rows(path)
    if kind == ".csv":
        request = _recognised(path, request)
        return _present(csv_rows(_csv_lines(path, request.encoding), str(path), request))
    return _present(_json_rows(_lines_of(path), str(path)))


def columns_of_file(path: Path, request: DialectRequest = AUTO) -> list[str]:
    """The names in the header of a table, which may have no rows; none of JSON Lines, whose rows name their own."""
    kind = table_suffix(path)
    if kind == ".parquet":
        from pyarrow.parquet import read_schema

        return list(read_schema(path).names)
    if kind != ".csv":
        return []
    request = _recognised(path, request)
    header = next((line for line in _present(_csv_lines(path, request.encoding)) if line.strip()), b"")
    text = header.decode("utf-8-sig", "replace")
    return next(csv.reader([text], delimiter=request.of_header(text).separator), [])


def rows_of_pipe(stream: BinaryIO, request: DialectRequest = AUTO) -> Iterator[Row | UnreadInput | None]:
    """The rows of CSV or JSON Lines, told apart by the first character, which is { in the latter.

    CSV is UTF-8 unless the request says otherwise: a stream cannot be read twice to tell its encoding.

    Raises RequestError where there are none.
    """
    lines = lines_as_they_come(stream)
    first = next((line for line in lines if line and line.strip()), None)
    if first is None:
        raise RequestError("no rows on standard input", "pipe CSV with a header, or JSON Lines")
    every = _chain(first, lines)
    if first.lstrip().startswith(b"{"):
        return _json_rows(every, "standard input")
    return csv_rows(_in_utf_8(every, request.encoding), "standard input", request)


def texts_of_file(path: Path) -> Iterator[str | UnreadInput]:
    """The lines of a file that are not empty.

    Raises:
        RequestError: it is a table of another kind, whose header would be taken for a text.
        DlkitError: it is missing or cannot be read.
    """
    if path.suffix.lower() in _OTHER_TABLES:
        raise RequestError(f"{path}: not a table of a known kind", f"its name must end in {', '.join(TABLES)}, or .txt")
    return _present(_texts(_lines_of(path)))


def texts_of_pipe(stream: BinaryIO) -> Iterator[str | UnreadInput | None]:
    """The lines of a stream that are not empty."""
    return _texts(lines_as_they_come(stream))


def _texts(lines: Iterable[bytes | None]) -> Iterator[str | UnreadInput | None]:
    for line in lines:
        if line is None or line.strip():
            yield None if line is None else decode_line(line)


def _lines_of(path: Path) -> Iterator[bytes | None]:
    """The lines of a file, which may be compressed, as in rows.csv.gz."""
    try:
        stream = _opened(ordinary_file(path))
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot read: {error.strerror}"
        raise DlkitError(f"{what}: {path}", _GIVE) from error

    def lines() -> Iterator[bytes | None]:
        with stream:
            try:
                yield from lines_as_they_come(stream)
            except OSError as error:
                raise DlkitError(f"cannot read {path}: {error}", "its compressed data may be damaged") from error

    return lines()


def _recognised(path: Path, request: DialectRequest) -> DialectRequest:
    """How a CSV file is written, told from its first lines as for training."""
    try:
        with _opened(ordinary_file(path)) as stream:
            found = recognise(stream, str(path), request)
    except OSError:
        return AUTO  # `_lines_of` says what is wrong with it
    return DialectRequest(found.separator, "comma" if found.decimal == "," else "point", found.encoding)


def _csv_lines(path: Path, encoding: str) -> Iterator[bytes | None]:
    """The lines of CSV in UTF-8, whatever the file is in."""
    if encoding in ("auto", "utf-8"):
        return _lines_of(path)

    def transcoded() -> Iterator[bytes]:
        with io.TextIOWrapper(_opened(path), encoding, errors="replace", newline="\n") as text:
            yield from (line.removesuffix("\n").removesuffix("\r").encode() for line in text)

    return transcoded()


def _in_utf_8(lines: Iterable[bytes | None], encoding: str) -> Iterator[bytes | None]:
    """Lines of a stream in UTF-8. An encoding of two bytes a character cannot be cut into lines, and stays as it is."""
    if encoding == "auto" or "\n".encode(encoding) != b"\n":
        yield from lines
        return
    for line in lines:
        yield line if line is None else line.decode(encoding, "replace").encode()


def _opened(path: Path) -> BinaryIO:
    if path.suffix not in _COMPRESSED:
        return path.open("rb")
    from dlkit.data.tables.table_file import open_decompressed  # which imports pyarrow

    return open_decompressed(path)


def _chain(first: bytes, lines: Iterator[bytes | None]) -> Iterator[bytes | None]:
    yield first
    yield from lines


def _present(items: Iterable[Any]) -> Iterator[Any]:
    """Without pauses, of which a file has none."""
    return (item for item in items if item is not None)


def _json_rows(lines: Iterable[bytes | None], name: str) -> Iterator[Row | UnreadInput | None]:
    """A row of each line that is not empty."""
    first = True
    for line in lines:
        if line is None:
            yield None
        elif line.strip():
            text = decode_line(line)
            if first and isinstance(text, str):
                require_json_lines(text, name)
            first = False
            yield text if isinstance(text, UnreadInput) else _json_row(text)


def _json_row(text: str) -> Row | UnreadInput:
    try:
        row = parse_json(text)
    except ValueError as error:
        return UnreadInput(text, f"not JSON: {error}")
    return row if is_mapping(row) else UnreadInput(text, "not a JSON object")


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(ordinary_file(path), page_checksum_verification=True, pre_buffer=False)
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
