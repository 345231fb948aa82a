"""Runs as tables for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.cli.console import duration, escaped
from dlkit.cli.written_table import WrittenTable, metric_columns, table_of
from dlkit.memory import size_text
from dlkit.runs.listed_run import ListedRun
from dlkit.runs.selection import LESS_IS_BETTER, value_of

_STYLES = {"done": "green", "running": "cyan", "resumable": "yellow", "diverged": "red", "damaged": "bold red"}
_MOST_METRICS = 3


def listing(runs: Sequence[ListedRun], sort: str | None = None) -> Any:
    """A row for each run. Of the metrics the most telling; first the one that it is sorted by."""
    from rich.table import Table
    from rich.text import Text

    keys = _columns(runs, sort)
    table = Table("run", "recipe", "state", "step", *keys, "time", "size", box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for run in runs:
        state = Text(run.state, style=_STYLES[run.state])
        if run.kind == "race":
            state.append(", race")
        cells = [_number(value_of(run, key)) for key in keys]
        time = duration(run.seconds) if run.seconds is not None else ""
        table.add_row(
            Text(escaped(str(run.path)), style="bold"), Text(escaped(run.recipe)), state, _steps(run), *cells, time,
            size_text(run.size),
        )  # fmt: skip
    problems = [Text(f"{run.path}: {escaped(run.problem)}", style="red") for run in runs if run.problem]
    if not problems:
        return table
    from rich.console import Group

    return Group(table, *problems)


def written_listing(runs: Sequence[ListedRun]) -> WrittenTable:
    """A row for each run with all of its metrics."""
    records = [run.record() for run in runs]
    names = ("run", "recipe", "state", "step", "seed", "parameters")
    fields = {name: name for name in names} | metric_columns(records) | {"seconds": "seconds", "bytes": "bytes"}
    return table_of(records, fields)


def _columns(runs: Sequence[ListedRun], sort: str | None) -> list[str]:
    """Metrics to show: scores before losses, test before validation."""

    def rank(name: str) -> tuple[bool, bool, bool]:
        split, _, leaf = name.partition("/")
        return leaf in LESS_IS_BETTER, leaf != "loss", split != "test"

    found = sorted({name for run in runs for name in run.metrics}, key=rank)
    shown = {"kind", "run", "recipe", "state", "step", "seconds", "bytes"}
    first = [sort] if sort and sort not in shown else []
    return [*first, *(name for name in found if name != sort)][:_MOST_METRICS]


def _steps(run: ListedRun) -> str:
    if run.kind == "race":
        return f"{run.step:,} runs"
    total = run.more.get("total_steps")
    return f"{run.step or 0:,}" if total is None or run.state == "done" else f"{run.step or 0:,}/{total:,}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"
    return "" if value is None else escaped(str(value))


def comparison(record: dict[str, Any]) -> Any:
    """What differs, a column for each run."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for title in ("recipe", "metrics", "environment"):
        rows: dict[str, list[Any]] = record[title]
        if not rows:
            parts.append(Text(f"{title}: {'none' if title == 'metrics' else 'the same'}", style="dim"))
            continue
        table = Table(title, box=None, pad_edge=False)
        for run in record["runs"]:
            table.add_column(Text(escaped(run)))
        for name, values in rows.items():
            table.add_row(Text(name, style="bold"), *(Text(_number(value)) for value in values))
        parts.append(table)
    return Group(*parts)


def written_comparison(record: dict[str, Any]) -> list[WrittenTable]:
    """What differs of the recipe, of the metrics and of the environment, a column for each run."""
    titles = [title for title in ("recipe", "metrics", "environment") if record[title]]
    return [
        WrittenTable([title, *record["runs"]], [[name, *values] for name, values in record[title].items()])
        for title in titles
    ]
