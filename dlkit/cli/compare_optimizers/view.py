"""What a race shows: records in a pipe, a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlkit.cli.console import Output, note

if TYPE_CHECKING:
    from dlkit.app.race_report import RaceReport


def show_race(report: RaceReport, output: Output) -> None:
    """Print the runs, the optimizers and the verdict; -q prints the winner."""
    for text in report.notes():
        note(f"warning: {text}")
    if output.quiet:
        output.emit({}, report.conclusion.winner or "none", lambda: None)
        return
    if output.tables:
        output.emit({}, None, lambda: _table(report))
        return
    for outcome in report.outcomes:
        record = outcome.record()
        record.pop("curve")
        output.emit(record, None, lambda: None)
    for record in report.records:
        output.emit(record, None, lambda: None)
    output.emit(report.verdict_record(), None, lambda: None)


def _table(report: RaceReport) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns, rows = report.rows()
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(Text(row[0], style="bold"), *row[1:])
    return Group(table, Text(report.conclusion.text, style="green"))
