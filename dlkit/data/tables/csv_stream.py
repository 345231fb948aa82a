"""Rows of CSV as they come, each read or refused on its own. Free of torch and pyarrow."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from dlkit.data.tables.first_line import require_commas
from dlkit.data.unread_input import UnreadInput, decode_line
from dlkit.errors import DlkitError, RequestError
from dlkit.text_input import require_utf_8

_LARGEST_CELL = 2**31 - 1  # characters
_STILL_OPEN = "unexpected end of data"  # the csv module's words for a quoted value that goes on


def csv_rows(lines: Iterable[bytes | None], name: str) -> Iterator[dict[str, str] | UnreadInput | None]:
    """The rows below a header; a quoted value may span several lines. None, a pause, stays None.

    Args:
        lines: without their line endings, which are UTF-8.
        name: of their source, for messages.

    Raises:
        RequestError: two columns have the same name, or the source is UTF-16.
        DlkitError: there is no header, or none that can be read.
    """
    csv.field_size_limit(_LARGEST_CELL)
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
        try:
            cells = next(csv.reader([text], strict=True))
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
            columns = _header(cells, text, name)
        elif len(cells) != len(columns):
            yield UnreadInput(text, f"{len(cells)} values for {len(columns)} columns")
        else:
            yield dict(zip(columns, cells, strict=True))
    if not columns:
        what = "the first line is not CSV: a quotation mark is not closed" if begun else "it is empty"
        raise DlkitError(f"{name}: {what}", "the first line of CSV names the columns")
    if begun:
        yield UnreadInput("\n".join(begun), "a quotation mark is not closed")


def _header(cells: list[str], text: str, name: str) -> list[str]:
    require_commas(text, name)
    double = next((cell for cell in cells if cells.count(cell) > 1), None)
    if double is not None:
        raise RequestError(f"two columns are named {double!r}", "rename or remove one of them")
    return cells
