"""Rows of CSV as they come, each read or refused on its own. Free of torch and pyarrow."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from dlkit.data.tables.dialect import AUTO, DialectRequest
from dlkit.data.unread_input import UnreadInput, decode_line
from dlkit.errors import DlkitError, RequestError
from dlkit.text_input import require_utf_8

LARGEST_CELL = 2**31 - 1  # characters
_STILL_OPEN = "unexpected end of data"  # the csv module's words for a quoted value that goes on


class DecimalCommaRow(dict[str, str]):
    """A row of CSV whose numbers may have decimal commas."""


def csv_rows(
    lines: Iterable[bytes | None], name: str, request: DialectRequest = AUTO
) -> Iterator[dict[str, str] | UnreadInput | None]:
    """The rows below a header; a quoted value may span several lines. None, a pause, stays None.

    Args:
        lines: without their line endings, in UTF-8.
        name: of their source, for messages.
        request: how they are written, as far as the user says.

    Raises:
        RequestError: two columns have the same name, or the source is UTF-16.
        DlkitError: there is no header, or none that can be read.
    """
    csv.field_size_limit(LARGEST_CELL)
    dialect = request.of_header("")
    columns: list[str] = []
    begun: list[str] = []  # lines of a row with a quoted value that goes on
    for line in lines:
        if line is None:
            yield None
            continue
        text = decode_line(line)
        if isinstance(text, UnreadInput):
            if not columns:
                require_utf_8(line, name)
                raise DlkitError(f"{name}: the first line is {text.error}", "convert it, for example with iconv")
            begun = []
            yield text
            continue
        begun.append(text)
        if len(begun) > 1 and '"' not in text:
            continue
        text = "\n".join(begun)
        if not columns:
            dialect = request.of_header(text)
        try:
            cells = next(csv.reader([text], delimiter=dialect.separator, strict=True))
        except csv.Error as error:
            if str(error) == _STILL_OPEN:
                continue
            if not columns:
                raise DlkitError(f"{name}: the first line is not CSV: {error}", "it names the columns") from error
            yield UnreadInput(text, f"not CSV: {error}")
            begun = []
            continue
        begun = []
        if not cells:
            continue
        if not columns:
            columns = _header(cells)
        elif len(cells) != len(columns):
            yield UnreadInput(text, f"{len(cells)} values for {len(columns)} columns")
        else:
            row = zip(columns, cells, strict=True)
            yield DecimalCommaRow(row) if dialect.decimal == "," else dict(row)
    if not columns:
        what = "the first line is not CSV: a quotation mark is not closed" if begun else "it is empty"
        raise DlkitError(f"{name}: {what}", "the first line of CSV names the columns")
    if begun:
        yield UnreadInput("\n".join(begun), "a quotation mark is not closed")


def _header(cells: list[str]) -> list[str]:
    double = next((cell for cell in cells if cells.count(cell) > 1), None)
    if double is not None:
        raise RequestError(f"two columns are named {double!r}", "rename or remove one of them")
    return cells
