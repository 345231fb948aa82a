"""The contents of a data set as tables for a person."""

from __future__ import annotations

from typing import Any

from dlkit.annotations import is_list, is_mapping
from dlkit.app.contents import balance_text
from dlkit.cli.console import escaped

_MOST_CLASSES, _MOST_NAMED = 30, 5
_NO_IMAGE = " (no image)"


def contents(record: dict[str, Any]) -> Any:
    """What is in each split, what was left out, what comes twice."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [_facts(record), Text(), _splits(record)]
    if record.get("tokens"):
        parts += [Text(), _rows("tokens", {split: dict(values) for split, values in record["tokens"].items()})]
    if record.get("columns"):
        parts += [
            Text(),
            _rows("column", {one["name"]: {k: v for k, v in one.items() if k != "name"} for one in record["columns"]}),
        ]
    parts += [Text(line, style="yellow") for line in _duplicate_lines(record)]
    return Group(*parts)


def _facts(record: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    balance = record["balance"]
    facts = {
        "data": f"{record['data']}, {record['task']}",
        "path": record["path"],
        "taken": record["taken"],
        "left out": _left_out(record["left_out"]),
        "image": record.get("image") and " x ".join(map(str, record["image"]["shape"])),
        "classes": balance and f"{len(record['classes'])}, {balance_text(balance)} in train",
        "steps": f"{record['steps']:,}: {record['steps_per_epoch']:,} an epoch, batches of {record['batch_size']:,}",
        "sheet": record.get("sheet"),
    }
    for name, value in facts.items():
        if value:
            table.add_row(Text(name, style="bold"), Text(escaped(str(value))))
    return table


def _left_out(found: Any) -> str:
    if is_mapping(found):
        return ", ".join(f"{count:,} {kind}{_NO_IMAGE if kind[0] == '.' else ''}" for kind, count in found.items())
    return ", ".join(map(str, found))


def _splits(record: dict[str, Any]) -> Any:
    """Classes against splits, or the size of each split."""
    from rich.table import Table
    from rich.text import Text

    splits: dict[str, dict[str, Any]] = record["splits"]
    unit = "rows" if "rows" in next(iter(splits.values())) else "bytes"
    table = Table("class" if record["classes"] else "", *splits, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    classes: list[str] = record["classes"] if record["balance"] else []
    for name in classes[:_MOST_CLASSES]:
        counts = [values["classes"][name] for values in splits.values()]
        table.add_row(Text(escaped(name), style="bold"), *(f"{count:,}" for count in counts))
    if len(classes) > _MOST_CLASSES:
        table.add_row(f"{len(classes) - _MOST_CLASSES} more", *("" for _ in splits))
    table.add_row(Text(f"all {unit}", style="bold"), *(f"{values[unit]:,}" for values in splits.values()))
    return table


def _rows(title: str, rows: dict[str, dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    table = Table(title, *(name.replace("_", " ") for name in names), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in rows.items():
        table.add_row(Text(escaped(name), style="bold"), *(_number(values.get(key, "")) for key in names))
    return table


def _number(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if is_list(value):  # a category and its count
        return f"{escaped(str(value[0]))} {value[1]:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _duplicate_lines(record: dict[str, Any]) -> list[str]:
    found = record["duplicates"]
    if found is None:
        return ["duplicates were not looked for: this data is not held example by example"]
    unit = found["unit"]
    lines = [f"{split} repeats {_counted(count, unit)}" for split, count in found["within"].items() if count]
    for pair in found["across"]:
        first, second = pair["splits"]
        differ = f", {pair['answers_differ']:,} with another class" if pair["answers_differ"] else ""
        lines.append(f"in both {first} and {second}: {_counted(pair['count'], unit)}{differ}")
        lines += [f"  {escaped(b)}  =  {escaped(a)}" for a, b in pair["examples"][:_MOST_NAMED]]
    return lines or ["nothing comes twice"]


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit if count != 1 else unit.removesuffix('s')}"
