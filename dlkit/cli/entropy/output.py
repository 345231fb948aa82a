"""What `dlkit entropy` prints: a record, or a line for each of many distributions, thousands at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from dlkit.cli.console import Output
from dlkit.cli.entropy import view
from dlkit.strict_json import json_text

if TYPE_CHECKING:
    from dlkit.app.distribution_entropy import MeasuredDistributions
    from dlkit.app.entropy import MeasuredEntropy

_LINES_AT_ONCE = 10_000


def show_entropy(found: MeasuredEntropy, output: Output) -> None:
    """Print what was measured; -q prints its entropy, its mutual information, or whether the code can be decoded."""
    if len(found.records) > 1:
        _emit_rows(cast("MeasuredDistributions", found.records), output)
        return
    (record,) = found.records
    if found.kind == "stream":
        output.emit(record, record["entropy"], lambda: view.stream_table(record))
    elif found.kind == "code":
        output.emit(record, "yes" if record["uniquely_decodable"] else "no", lambda: view.check_table(record))
    else:
        value = record["mutual_information" if found.kind == "joint" else "entropy"]
        output.emit(record, value, lambda: view.measures_table(record))


def _emit_rows(found: MeasuredDistributions, output: Output) -> None:
    """Print a record, a table or an entropy for each row."""
    if output.tables:
        for record in found:
            output.emit(record, None, lambda record=record: view.measures_table(record))
        return
    for start in range(0, len(found), _LINES_AT_ONCE):
        part = slice(start, start + _LINES_AT_ONCE)
        if output.quiet:
            output.line("\n".join(map(repr, found.columns["entropy"][part])))
        else:
            output.line("\n".join(_lines(found, part)))


def _lines(found: MeasuredDistributions, part: slice) -> list[str]:
    """What json.dumps would write of each record, without a dictionary for each row."""
    fields = [json_text(found.head)[1:-1], '"row": %d', *(f'"{name}": %s' for name in found.columns)]
    columns: list[Any] = [
        range(part.start + 1, len(found) + 1),
        *(_numbers(values[part]) for values in found.columns.values()),
    ]
    if found.table.rows:
        fields.insert(2, '"label": %s')
        columns.insert(1, [json_text(label) for label in found.table.rows[part]])
    template = "{" + ", ".join(fields) + "}"
    lines = [template % values for values in zip(*columns, strict=False)]
    for index in range(len(lines)):
        if "null" in lines[index]:
            lines[index] = json_text(found[part.start + index])
    return lines


def _numbers(values: list[float]) -> list[str]:
    return [repr(value) if math.isfinite(value) else "null" for value in values]
