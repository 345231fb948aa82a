"""Narrow terminals: what does not fit side by side stands one below the other, and no number is ever cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_ANY = 1 << 16  # wider than any terminal


def fit_width(shown: Any, console: Any) -> Any:
    """A table or a group of them so that no word in it is cut: a table that is too wide becomes lines, row by row."""
    from rich.console import Group
    from rich.table import Table

    if isinstance(shown, Group):
        return Group(*(fit_width(part, console) for part in shown.renderables))
    if not isinstance(shown, Table):
        return shown
    wide = console.options.update(max_width=_ANY)
    whole = shown.__rich_measure__(console, wide)
    if whole.minimum > console.width:
        return _below(shown)
    if whole.maximum > console.width:
        _share_out(shown, console.width - whole.minimum, console, wide)
    return shown


def _share_out(table: Any, spare: int, console: Any, wide: Any) -> None:
    """Give each column of a table its longest word, and what is left to those first that lack the least.

    Left to itself rich shrinks the widest columns, in the midst of their words.
    """
    from rich.measure import Measurement

    lacks: list[tuple[int, int, Any]] = []
    for column in table.columns:
        cells = [*column.cells, *([column.header] if table.show_header else [])]
        each = [Measurement.get(console, wide, _cell(cell)) for cell in cells]
        column.width = max(part.minimum for part in each)
        lacks.append((max(part.maximum for part in each) - column.width, len(lacks), column))
    for lack, _, column in sorted(lacks, key=lambda item: item[:2]):
        column.width += min(lack, spare)
        spare -= min(lack, spare)


def _below(table: Any) -> Any:
    """Each row of a table as lines: its first cell, then the others, each behind the name of its column."""
    from rich.console import Group
    from rich.text import Text

    lines: list[Any] = [_text(table.title)] if table.title else []
    heads = [_text(column.header) if table.show_header else Text() for column in table.columns]
    for first, *rest in zip(*(column.cells for column in table.columns), strict=True):
        if not table.show_header and len(rest) == 1:  # a fact and its name
            parts = _cell(rest[0]).split("\n")
            one = len(parts) == 1
            lines.append(Text.assemble(_text(first), "  ", parts[0]) if one else _text(first))
            lines += [] if one else [Text.assemble("  ", part) for part in parts]
            continue
        lines.append(Text.assemble(heads[0], "  " if heads[0] else "", _text(first), style="bold"))
        for head, cell in zip(heads[1:], rest, strict=True):
            value = _text(cell)
            if value:
                lines.append(Text.assemble("  ", head, "  " if head else "", value))
    return Group(*lines)


def _cell(cell: Any) -> Any:
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _text(cell: Any) -> Any:
    """A cell on one line."""
    from rich.text import Text

    return Text("  ").join(_cell(cell).split("\n"))


def packed(facts: Sequence[str], width: int) -> list[str]:
    """Facts two spaces apart, on as many lines as they need; none is broken."""
    lines: list[str] = []
    for fact in facts:
        if lines and len(lines[-1]) + 2 + len(fact) <= width:
            lines[-1] += f"  {fact}"
        else:
            lines.append(fact)
    return lines


def bar(before: str, share: float, after: str, width: int) -> Any:
    """A progress bar between two texts, or the texts alone where there is no room for it."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if len(before) + len(after) + 8 > width:
        return Group(*map(Text, packed((before, after), width)))
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_row(Text(before), ProgressBar(total=1.0, completed=share), Text(after))
    return grid
