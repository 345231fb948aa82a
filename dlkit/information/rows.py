"""Reading numbers as people type or pipe them: `0.4,0.6`, `A=0.4,B=0.6`, or a file with one distribution per line."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import text_input
from dlkit.errors import DlkitError, RequestError
from dlkit.information import uniq_counts

MOST_BYTES = 1 << 28  # of a file of numbers

_SEPARATORS = str.maketrans(",;\t", "   ")
_LINES = "a line is numbers, with a label before or behind them"
_COMMA = re.compile("[0-9],[0-9]")
# A comma in a line that separates numbers otherwise, or before a digit after a leading zero.
_COMMA_IN_NUMBER = re.compile(r"[0-9],[0-9].*[0-9]\s*[;\s]\s*[-+.0-9]|[0-9]\s*[;\s]\s*[-+.0-9]+,[0-9]|[0-9],0[0-9]")
_POINTS, _DIVIDES = "`tr , .` makes points of them", "`counts` divides by the sum"
_ONE = "numbers with commas between them take no other separator"


@dataclass(frozen=True)
class Rows:
    """Rows of numbers.

    Args:
        values: (rows, columns).
        columns: the label of each column; only for a single row.
        rows: the label of each row.
        form: how a file was interpreted, in words; None for numbers typed on the command line.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    form: str | None = None

    def symbol(self, index: int) -> str:
        """The label of a column, or else its number from 1."""
        return self.columns[index] if self.columns else str(index + 1)


def read_rows(text: str, name: str, table: bool = False, counts: bool = False) -> Rows:
    """Read numbers from the command line, from a file, or from standard input (`-`).

    In a file each line is a row of numbers separated by white space, commas or semicolons, with an optional label
    before or after them; `#` begins a comment. Lines of one number each form a single row. The output of `uniq -c`
    (see uniq_counts) is read as counts of symbols.

    Args:
        text: `0.4,0.6`, `A=0.4,B=0.6`, a path or `-`.
        name: of the option, for error messages.
        table: the lines are the rows of one table, even with one number per line.
        counts: the numbers are counts.

    Raises:
        RequestError: a field is not a number, rows differ in length, there are no numbers, or the text has more than
            MOST_BYTES.
        DlkitError: the file cannot be read.
    """
    if text != "-" and _looks_like_numbers(text) and not Path(text).is_file():
        return _inline(text, name)
    path = None if text == "-" else Path(text)
    if path is not None and not path.exists():
        raise RequestError(f"`{name}` {text}: neither numbers nor a file", f"dlkit entropy --{name} 0.4,0.4,0.2")
    where = text_input.source_name(path)
    try:
        data = text_input.read_bytes(path, MOST_BYTES, "a list of numbers")
    except OSError as error:
        raise DlkitError(f"cannot read {where}: {error.strerror}") from error
    # a symbol may hold any bytes; in place of a number, invalid ones are reported as no number
    return _parse(text_input.decode_text(data, where, "surrogateescape"), where, table, counts)


def as_rows(values: Any, name: str) -> Rows:
    """Numbers, rows of numbers, or symbol -> number, as rows. Raises RequestError for anything else."""
    columns = tuple(map(str, values)) if isinstance(values, Mapping) else None
    try:
        numbers = np.asarray(list(values.values()) if isinstance(values, Mapping) else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{name} is not a distribution: {error}", "give numbers, or rows of equally many") from error
    if numbers.ndim not in (1, 2) or not numbers.size:
        raise RequestError(f"{name} has the shape {numbers.shape}", "give numbers, or rows of equally many")
    return Rows(np.atleast_2d(numbers), columns)


def _looks_like_numbers(text: str) -> bool:
    first = text.partition(",")[0].rpartition("=")[2]
    return _number(first) is not None or "," in text or "=" in text


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _inline(text: str, name: str) -> Rows:
    labels, numbers = list[str](), list[float]()
    for index, field in enumerate(text.split(","), start=1):
        label, _, value = field.rpartition("=")
        number = _number(value)
        if number is None:
            raise RequestError(f"{name}[{index}] is not a number: {value.strip()!r}", f"write `{name}` 0.4,0.4,0.2")
        labels.append(label.strip())
        numbers.append(number)
    if any(labels) and not all(labels):
        raise RequestError(f"`{name}`: some numbers have a label and some have none", "write A=0.4,B=0.6")
    if any(labels) and len(set(labels)) < len(labels):
        raise RequestError(f"`{name}`: a label appears twice", "give each outcome its own")
    return Rows(np.array([numbers]), tuple(labels) if any(labels) else None)


def _parse(text: str, where: str, table: bool, counts: bool) -> Rows:
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if all(line.endswith("\r") for line in lines[:-1]):
        lines = [line.removesuffix("\r") for line in lines]
    counted = uniq_counts.parse_uniq_counts(lines, where) if counts and not table and lines else None
    if counted is not None:
        return Rows(
            np.array([counted[0]]),
            tuple(counted[1]),
            form=f"{len(lines)} symbols with their counts, as `uniq -c` writes them",
        )
    _refuse_decimal_commas(lines, where, counts)
    plain = "\n".join(lines).translate(_SEPARATORS)
    try:
        values = np.loadtxt(io.StringIO(plain), dtype=np.float64, ndmin=2) if plain.strip() else np.empty((0, 0))
        labels = None
    except ValueError:  # labels, or a mistake
        values, labels = _labelled(plain, where)
    if not values.size:
        raise RequestError(f"{where} holds no numbers", "one distribution a line, or one number a line")
    rows, columns = values.shape
    if table:
        return Rows(values, None, labels, f"a table of {rows} by {columns} numbers")
    if columns == 1:
        if labels is not None:
            uniq_counts.require_distinct(list(labels), where)
        return Rows(values.T, labels, form=f"one distribution of {rows} numbers, one a line")
    many = "one distribution" if rows == 1 else f"{rows} distributions, one a line,"
    aside = " (counts and symbols are aligned as `uniq -c` does it)" if counts and columns == 2 and not labels else ""
    return Rows(values, None, labels, f"{many} of {columns} numbers{aside}")


def _refuse_decimal_commas(lines: list[str], where: str, counts: bool) -> None:
    """Raise RequestError for what look like decimal commas, which would turn each number into two."""
    for number, line in enumerate(lines, start=1):
        line = line.partition("#")[0].strip()
        if not _COMMA.search(line):
            continue
        problem = f"{where}:{number}: {line!r}: "
        if _COMMA_IN_NUMBER.search(line):
            raise RequestError(problem + "are these decimal commas, or commas between numbers?", f"{_POINTS}; {_ONE}")
        if not counts:
            values = [value for field in line.translate(_SEPARATORS).split() if (value := _number(field)) is not None]
            if max(values, default=0) > 1 and all(value.is_integer() for value in values):
                raise RequestError(problem + "are these decimal commas, or counts?", f"{_POINTS}; {_DIVIDES}")


def _labelled(text: str, where: str) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    labels, rows, width = list[str](), list[list[float]](), 0
    for number, line in enumerate(text.split("\n"), start=1):
        fields: list[Any] = [(field, _number(field)) for field in line.partition("#")[0].split()]
        if not fields:
            continue
        if fields[0][1] is None:
            label, values = fields[0][0], fields[1:]
        else:  # the label may have several words
            end = next((i for i, (_, value) in enumerate(fields) if value is None), len(fields))
            label, values = " ".join(field for field, _ in fields[end:]), fields[:end]
        wrong = next((field for field, value in values if value is None), None)
        if wrong is not None or not values:
            raise RequestError(f"{where}:{number}: no number: {(wrong or label)!r}", _LINES)
        width = width or len(values)
        if len(values) != width:
            raise RequestError(f"{where}:{number}: {len(values)} numbers, but {width} on the lines before", _LINES)
        labels.append(label)
        rows.append([value for _, value in values])
    if labels.count("") > 1 and any(labels):
        raise RequestError(f"{where}: some lines have a label and {labels.count('')} have none", _LINES)
    return np.array(rows), tuple(labels) if any(labels) else None
