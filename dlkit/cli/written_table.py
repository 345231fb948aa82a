"""Tables to paste into a paper or a page: what `--table markdown` and `--table latex` print of a command's records.

Numbers are those of the record, digit for digit. Texts appear as they are: characters that
Markdown or LaTeX would interpret are escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dlkit.strict_json import json_text


class TableForm(StrEnum):
    """Values of --table."""

    markdown = "markdown"
    latex = "latex"


@dataclass(frozen=True)
class WrittenTable:
    """Rows of texts and numbers under the names of their columns; None is a missing value."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)

    def as_text(self, form: TableForm) -> str:
        """The table in Markdown (as GitHub reads it) or in LaTeX (with booktabs)."""
        return {TableForm.markdown: _markdown, TableForm.latex: _latex}[form](self)


def table_of(records: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> WrittenTable:
    """A row for each record.

    Args:
        records: as the command prints them.
        columns: name of a column -> field of the record, or `metrics/NAME`. One that no record has is left out.
    """
    rows = [[_field(record, field) for field in columns.values()] for record in records]
    kept = [index for index in range(len(columns)) if any(row[index] is not None for row in rows)]
    return WrittenTable([list(columns)[index] for index in kept], [[row[index] for index in kept] for row in rows])


def metric_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A column for each metric that any of the records has."""
    return {name: f"metrics/{name}" for record in records for name in record["metrics"]}


def _field(record: Mapping[str, Any], field: str) -> Any:
    kind, slash, name = field.partition("/")
    return record.get(kind, {}).get(name) if slash else record.get(field)


def _markdown(table: WrittenTable) -> str:
    # GitHub Flavored Markdown, 4.10 "Tables (extension)": https://github.github.com/gfm/#tables-extension-
    head, *body = _aligned(table, _markdown_text, "-")
    rule = [
        f"{'-' * (_width(cell) - 1)}{':' if right else '-'}" for cell, right in zip(head, _right(table), strict=True)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def _latex(table: WrittenTable) -> str:
    head, *body = (f"{' & '.join(line)} \\\\" for line in _aligned(table, _latex_text, "--"))
    columns = "".join("r" if right else "l" for right in _right(table))
    lines = [f"\\begin{{tabular}}{{{columns}}}  % \\usepackage{{booktabs}}", "\\toprule", head, "\\midrule", *body]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _aligned(table: WrittenTable, escape: Callable[[str], str], none: str) -> list[list[str]]:
    """The header and the rows as texts, those of a column equally wide."""

    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and not math.isfinite(value)):  # a record has null for it
            return none
        return escape(value if isinstance(value, str) else json_text(value))

    lines = [[text(value) for value in line] for line in (table.columns, *table.rows)]
    widths = [max(3, *map(_width, column)) for column in zip(*lines, strict=True)]
    right = _right(table)
    return [
        [
            " " * (width - _width(cell)) + cell if numeric else cell + " " * (width - _width(cell))
            for cell, width, numeric in zip(line, widths, right, strict=True)
        ]
        for line in lines
    ]


def _right(table: WrittenTable) -> list[bool]:
    """Whether a column holds numbers, and is aligned to the right."""
    return [not any(isinstance(value, str) for value in column) for column in zip(*table.rows, strict=True)] or [
        False for _ in table.columns
    ]


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: an ideograph takes two."""
    from rich.cells import cell_len

    return cell_len(text)


def _markdown_text(text: str) -> str:
    # CommonMark, 2.4 "Backslash escapes"; $ begins a formula on GitHub
    return re.sub(r"([\\`*_\[\]<>|~&$#])", r"\\\1", _plain(text))


# The LaTeX Companion: the ten special characters, and those that older font encodings lack.
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # \\ would take it for its own argument
    "]": "{]}",
    "*": "{*}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex_text(text: str) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in _plain(text))
    return re.sub(r"(?<=-)(?=-)|(?<=[?!])(?=`)|(?<=')(?=')|(?<=`)(?=`)", "{}", escaped)  # ligatures


def _plain(text: str) -> str:
    """The text on one line, control characters spelled out."""
    shown = re.sub(r"\s*\n\s*", " ", text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
