"""Numbers that people type or pipe in: `0.4,0.6`, `A=0.4,B=0.6`, or a file with a distribution a row or a column."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError, RequestError

_SEPARATORS = str.maketrans(",;\t", "   ")


@dataclass(frozen=True)
class Rows:
    """Numbers (rows, columns) with the labels of columns (one row only) or of rows, where there are any."""

    values: NDArray[np.float64]
    columns: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None

    def symbol(self, index: int) -> str:
        return self.columns[index] if self.columns else str(index + 1)


def read(text: str, name: str, table: bool = False) -> Rows:
    """Numbers from the command line, from the file that is named, or from standard input (`-`).

    In a file each line is a row of numbers between white space, commas or semicolons, with a label before or behind
    them if you like; `#` begins a comment. Lines of one number each are one row, read downwards, as `uniq -c` has it.

    Args:
        text: `0.4,0.6`, `A=0.4,B=0.6`, a path or `-`.
        name: for messages.
        table: lines are the rows of one table, even if there is one number on each.

    Raises:
        RequestError: a field is no number, lines differ in length, or there is nothing.
        DlkitError: the file cannot be read.
    """
    if text == "-":
        return _parse(sys.stdin.read(), "standard input", table)
    if _looks_like_numbers(text) and not Path(text).is_file():
        return _inline(text, name)
    path = Path(text)
    if not path.exists():
        raise RequestError(f"--{name} {text}: neither numbers nor a file", f"write --{name} 0.4,0.4,0.2")
    try:
        return _parse(path.read_text(encoding="utf-8"), text, table)
    except OSError as error:
        raise DlkitError(f"cannot read {text}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{text} is not UTF-8: byte {error.start}") from error


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
    for place, part in enumerate(text.split(","), start=1):
        label, _, value = part.rpartition("=")
        number = _number(value)
        if number is None:
            raise RequestError(f"{name}[{place}] is no number: {value.strip()!r}", f"write --{name} 0.4,0.4,0.2")
        labels.append(label.strip())
        numbers.append(number)
    if any(labels) and not all(labels):
        raise RequestError(f"--{name}: some numbers have a label and some have none", "write A=0.4,B=0.6")
    if any(labels) and len(set(labels)) < len(labels):
        raise RequestError(f"--{name}: a label stands twice", "give each outcome its own")
    return Rows(np.array([numbers]), tuple(labels) if any(labels) else None)


def _parse(text: str, where: str, table: bool) -> Rows:
    plain = text.translate(_SEPARATORS)
    try:
        values = np.loadtxt(io.StringIO(plain), dtype=np.float64, ndmin=2) if plain.strip() else np.empty((0, 0))
        labels = None
    except ValueError:  # labels, or a mistake
        values, labels = _labelled(plain, where)
    if not values.size:
        raise RequestError(f"{where} holds no numbers", "one distribution a line, or one number a line")
    if values.shape[1] == 1 and not table:
        return Rows(values.T, labels)
    return Rows(values, None, labels)


def _labelled(text: str, where: str) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    labels, rows, width = list[str](), list[list[float]](), 0
    for number, line in enumerate(text.splitlines(), start=1):
        fields: list[Any] = [(field, _number(field)) for field in line.partition("#")[0].split()]
        if not fields:
            continue
        if fields[0][1] is None:
            label, values = fields[0][0], fields[1:]
        else:  # the label may have several words, as lines counted by `uniq -c` do
            end = next((i for i, (_, value) in enumerate(fields) if value is None), len(fields))
            label, values = " ".join(field for field, _ in fields[end:]), fields[:end]
        wrong = next((field for field, value in values if value is None), None)
        if wrong is not None or not values:
            raise RequestError(f"{where}:{number}: no number: {(wrong or label)!r}")
        width = width or len(values)
        if len(values) != width:
            raise RequestError(f"{where}:{number}: {len(values)} numbers, but {width} on the lines before")
        labels.append(label)
        rows.append([value for _, value in values])
    return np.array(rows), tuple(labels) if all(labels) and labels else None
