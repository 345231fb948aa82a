"""What a race shows: records in a pipe, a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlkit.cli.console import Output, note, spell_options
from dlkit.cli.written_table import WrittenTable, table_of

if TYPE_CHECKING:
    from dlkit.app.race_report import RaceReport


def show_race(report: RaceReport, output: Output) -> None:
    """Print the runs, the optimizers and the verdict; -q prints the winner."""
    for text in report.notes():
        note(f"warning: {spell_options(text)}")
    if output.quiet:
        output.emit({}, report.conclusion.winner or "none", lambda: None)
        return
    if output.form is not None:
        output.write(_written_table(report))
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


def _written_table(report: RaceReport) -> WrittenTable:
    """A row for each optimizer, the best one first: its best settings, and the loss there with its interval."""
    columns = {"optimizer": "optimizer", "lr": "lr"}
    columns |= {name: f"options/{name}" for record in report.records for name in record.get("options", {})}
    columns |= (
        {report.metric: "mean", "95 % low": "low", "95 % high": "high"} if report.repeated else {report.metric: "mean"}
    )
    columns |= {"seeds": "seeds", "decades": "basin_decades", "diverged": "diverged", "runs": "runs"}
    if report.target:
        columns |= {f"steps to {report.target}": "steps_to_target", f"seconds to {report.target}": "seconds_to_target"}
    return table_of(report.records, columns)
