"""The output of `uniq -c`: each line is a right-aligned count, a space, and the symbol verbatim.

    GNU       "%7d %s"          BSD       "%4d %s"

A symbol may be any text: a number, several words, `A=3`, or empty.
"""

from __future__ import annotations

import re

from dlkit.errors import RequestError

_LINE = re.compile(r"( *)([0-9]+)(?: (.*))?", re.DOTALL)
_WIDTHS = (7, 4)  # of GNU and BSD
_NUMBERS = re.compile(r"[\s0-9.,;eE+-]*[0-9][\s0-9.,;eE+-]*")


def parse_uniq_counts(lines: list[str], where: str) -> tuple[list[float], list[str]] | None:
    """The counts and symbols of lines in the format of `uniq -c`; None if they are in another format.

    Args:
        lines: without line feeds.
        where: the source of the lines, for error messages.

    Raises:
        RequestError: the lines could also be a table of numbers, or a symbol occurs twice.
    """
    matches: list[tuple[str, str, str | None]] = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        matches.append((match[1], match[2], match[3]))
    widths = {len(blanks) + len(count) for blanks, count, _ in matches if blanks}
    without = sum(symbol is None for *_, symbol in matches)  # an editor may have stripped the blank before a ""
    if len(widths) != 1 or without > 1 or without == len(matches):
        return None
    (width,) = widths
    if any(len(count) < width for blanks, count, _ in matches if not blanks):
        return None
    symbols = [symbol or "" for *_, symbol in matches]
    aligned = all(len(symbol) == width and symbol.startswith(" ") for symbol in symbols)  # like the counts
    if all(map(_NUMBERS.fullmatch, symbols)) and (width not in _WIDTHS or aligned):
        raise RequestError(
            f"{where}: {lines[0]!r} may be a count and a symbol, or {len(lines[0].split())} numbers of a table",
            "sed 's/^ *//; s/  */,/g' puts commas between the numbers of a table; "
            "`sort | uniq -c` aligns counts to 7 places",
        )
    require_distinct(symbols, where)
    return [float(count) for _, count, _ in matches], symbols


def require_distinct(symbols: list[str], where: str) -> None:
    """Raise RequestError where two lines count the same symbol."""
    first = dict[str, int]()
    for number, symbol in enumerate(symbols, start=1):
        if first.setdefault(symbol, number) != number:
            raise RequestError(
                f"{where}: lines {first[symbol]} and {number} both count {symbol!r}",
                "sort before counting: sort | uniq -c",
            )
