"""`dlkit eval RUNS... --glue`: the records of a benchmark, as they come, and its table."""

from __future__ import annotations

import functools
from typing import Any

from dlkit.app.events import Remark, Work
from dlkit.app.glue import TaskEvaluated
from dlkit.cli.console import Output
from dlkit.cli.written_table import WrittenTable, metric_columns, table_of
from dlkit.metrics import glue


def show_glue(scoring: Work[Remark | TaskEvaluated, list[dict[str, Any]]], output: Output) -> None:
    """Print the record of each task as it comes, then one for each benchmark."""
    for event in output.without_remarks(scoring):
        if not output.tables and not output.quiet and output.form is None:
            output.emit(event.record, None, lambda: "")
    records = scoring.result()
    if output.form is not None:
        output.write(*map(_written_table, records))
        return
    if output.tables:
        output.emit({}, None, functools.partial(_table, records))
        return
    for record in records:
        output.emit(record, record["score"], lambda: "")


def _table(records: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("task", "metrics", "score", "runs", "n", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    remarks: list[Text] = []
    for record in records:
        name, missing = record["benchmark"], record["missing"]
        for task, found in record["tasks"].items():
            metrics = ", ".join(f"{key} {value:.4f}" for key, value in found["metrics"].items())
            table.add_row(f"{name} {task}", metrics, f"{found['score']:.4f}", str(found["runs"]), f"{found['n']:,}")
        count = len(glue.BENCHMARKS[name])
        if missing:
            table.add_row(Text(name, style="bold"), f"{len(missing)} of {count} tasks missing", "none", "", "")
            remarks.append(Text(f"{name} lacks {', '.join(missing)}; the mean of the others is {record['mean']:.4f}"))
        else:
            table.add_row(Text(name, style="bold"), f"mean of {count} tasks", f"{record['score']:.4f}", "", "")
    return Group(table, *remarks)


def _written_table(record: dict[str, Any]) -> WrittenTable:
    """A row for each task of a benchmark, and one for its score."""
    rows: list[dict[str, Any]] = [{"task": task, **found} for task, found in record["tasks"].items()]
    total: dict[str, Any] = {"task": record["benchmark"], "score": record["score"], "metrics": {}}
    columns = {"task": "task", **metric_columns(rows), "score": "score", "runs": "runs", "n": "n"}
    return table_of([*rows, total], columns)
