"""An evaluation as tables: for a terminal, and to be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlkit.app.evaluate import extent_text
from dlkit.cli.written_table import WrittenTable, metric_columns, table_of

_OF_A_CLASS = ("n", "precision", "recall", "f1")


def evaluation_table(record: dict[str, Any]) -> Any:
    """What was measured on what, and the scores of each class."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_row(Text("run", style="bold"), Text(f"{record['run']} at step {record['step']}"))
    facts.add_row(Text("data", style="bold"), Text(f"{record['data']}, {record['split']} split, n = {record['n']:,}"))
    facts.add_row(Text("measured", style="bold"), Text(extent_text(record)))
    for name, value in record["metrics"].items():
        facts.add_row(Text(name, style="bold"), Text(f"{value:.4f}"))
    if not record["per_class"]:
        return facts
    classes = Table("class", "n", "precision", "recall", "F1", box=None, pad_edge=False)
    for column in classes.columns[1:]:
        column.justify = "right"
    for row in record["per_class"]:
        scores = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        classes.add_row(Text(row["class"]), f"{row['n']:,}", *scores)
    return Group(facts, Text(), classes)


def ood_table(record: dict[str, Any]) -> Any:
    """How well each score tells an out-of-distribution set from the split."""
    from rich.table import Table
    from rich.text import Text

    metrics: dict[str, float] = record["metrics"]
    names = list(dict.fromkeys(name.partition("/")[2] for name in metrics))
    title = Text(f"{record['data']}, n = {record['n']:,}, beside {record['inside']['split']} data", style="bold")
    table = Table("score", *names, title=title, title_justify="left", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in _scores(record):
        table.add_row(kind, *(f"{metrics[f'{kind}/{name}']:.4f}" for name in names))
    return table


def written_tables(record: dict[str, Any], others: Sequence[dict[str, Any]]) -> list[WrittenTable]:
    """The metrics; the scores of each class; and a row for each score of each out-of-distribution set."""
    names = ("run", "step", "data", "split", "n")
    tables = [table_of([record], {name: name for name in names} | metric_columns([record]))]
    if record["per_class"]:
        tables.append(table_of(record["per_class"], {name: name for name in ("class", *_OF_A_CLASS)}))
    rows = [
        {
            **{name: other[name] for name in ("data", "n")},
            "score": kind,
            "metrics": {
                name.removeprefix(f"{kind}/"): value
                for name, value in other["metrics"].items()
                if name.startswith(f"{kind}/")
            },
        }
        for other in others
        for kind in _scores(other)
    ]
    if rows:
        tables.append(table_of(rows, {name: name for name in ("data", "n", "score")} | metric_columns(rows)))
    return tables


def _scores(record: dict[str, Any]) -> list[str]:
    """The scores whose metrics a record has: `msp` of `msp/auroc`."""
    return list(dict.fromkeys(name.partition("/")[0] for name in record["metrics"]))
