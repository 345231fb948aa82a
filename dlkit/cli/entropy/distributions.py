"""`dlkit entropy --p`: the measures of distributions, row by row, and of joint tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.cli.console import Output
from dlkit.cli.entropy import view
from dlkit.cli.entropy.code import coded
from dlkit.errors import RequestError
from dlkit.strict_json import json_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dlkit.information.rows import Rows

_LINES_AT_ONCE = 10_000


def distributions(
    p: str, q: str | None, counts: bool, joint: bool, code: str | None, plot: Path | None, base: float, output: Output
) -> None:
    from dlkit.information.rows import read_rows

    if p == "-" and q == "-":
        raise RequestError("--p and --q cannot both come from standard input", "give one of them as a file")
    table = read_rows(p, "p", joint, counts)
    _say_form("p", table, output)
    if joint:
        if q is not None or code is not None or plot is not None:
            raise RequestError(
                "--joint goes with --p and --counts only", "dlkit entropy --joint --p table.csv --counts"
            )
        _joint(table, counts, base, output)
        return
    other = read_rows(q, "q", counts=counts) if q is not None else None
    if other is not None:
        _say_form("q", other, output)
    if other is not None and other.values.shape[1] != table.values.shape[1]:
        raise RequestError(
            f"p has {table.values.shape[1]} outcomes, q has {other.values.shape[1]}", "give both the same outcomes"
        )
    if other is not None and len(other.values) not in (1, len(table.values)):
        raise RequestError(
            f"p has {len(table.values)} rows, q has {len(other.values)}", "give q one row, or as many as p"
        )
    if other is not None and table.columns and other.columns and table.columns != other.columns:
        raise RequestError("p and q label their outcomes differently", "give both in the same order")
    if len(table.values) > 1 and (code is not None or plot is not None):
        raise RequestError(f"--code and --plot take one distribution, not {len(table.values)}", "give one row")
    p_rows, lists = _measured(table, other, counts, base)
    head: dict[str, Any] = {"outcomes": p_rows.shape[1], "base": base}
    if table.form is not None:
        head["form"] = table.form
    if len(p_rows) > 1:
        _emit_rows(table, lists, head, output)
        return
    record = _record(table, lists, head, 0)
    if code is not None:
        record["code"] = coded(code, [table.symbol(i) for i in range(p_rows.shape[1])], p_rows[0], base)
    if plot is not None:
        view.plot_distribution(plot, table, {**record, "p": p_rows[0]}, base)
    output.emit(record, record["entropy"], lambda: view.measures_table(record))


def _say_form(name: str, table: Rows, output: Output) -> None:
    """Say what the numbers of a file were taken for."""
    if table.form is not None:
        output.say(f"{name}: {table.form}")


def _measured(
    table: Rows, other: Rows | None, counts: bool, base: float
) -> tuple[NDArray[np.float64], dict[str, list[float]]]:
    """The distributions, (rows, outcomes), and their measures by name, one a row."""
    import numpy as np

    from dlkit.information import measures
    from dlkit.information.distributions import as_distributions

    p = as_distributions(table.values, counts, "p")
    columns: dict[str, Any] = {"entropy": measures.shannon_entropy(p, base), "perplexity": measures.perplexity(p)}
    if other is not None:
        q = as_distributions(other.values, counts, "q")
        columns["entropy_q"] = measures.shannon_entropy(q, base)
        columns = {name: np.broadcast_to(values, len(p)) for name, values in columns.items()}
        q = np.broadcast_to(q, p.shape)
        columns |= {
            "cross_entropy": measures.cross_entropy(p, q, base),
            "kl": measures.relative_entropy(p, q, base),
            "kl_reverse": measures.relative_entropy(q, p, base),
            "jensen_shannon": measures.jensen_shannon(p, q, base),
        }
    return p, {name: values.tolist() for name, values in columns.items()}


def _record(table: Rows, lists: dict[str, list[float]], head: dict[str, Any], index: int) -> dict[str, Any]:
    """The record of a row."""
    record = dict(head)
    if len(table.values) > 1:
        record["row"] = index + 1
    if table.rows:
        record["label"] = table.rows[index]
    record |= {name: values[index] for name, values in lists.items()}
    infinite = [name for name in lists if math.isinf(record[name])]
    if infinite:
        record["infinite"] = infinite  # which JSON can only say as null
    return record


def _emit_rows(table: Rows, lists: dict[str, list[float]], head: dict[str, Any], output: Output) -> None:
    """A record a row, thousands at once: there may be millions."""
    rows = range(len(table.values))
    if output.tables:
        for index in rows:
            record = _record(table, lists, head, index)
            output.emit(record, None, lambda record=record: view.measures_table(record))
        return
    for start in range(0, len(rows), _LINES_AT_ONCE):
        part = slice(start, start + _LINES_AT_ONCE)
        if output.quiet:
            output.line("\n".join(map(repr, lists["entropy"][part])))
            continue
        # what json.dumps would write, without a dictionary for each row
        fields = [json_text(head)[1:-1], '"row": %d', *(f'"{name}": %s' for name in lists)]
        columns: list[Any] = [range(start + 1, len(rows) + 1), *(_numbers(values[part]) for values in lists.values())]
        if table.rows:
            fields.insert(2, '"label": %s')
            columns.insert(1, [json_text(label) for label in table.rows[part]])
        template = "{" + ", ".join(fields) + "}"
        lines = [template % values for values in zip(*columns, strict=False)]
        for place in range(len(lines)):
            if "null" in lines[place]:
                record = _record(table, lists, head, start + place)
                lines[place] = json_text(record)
        output.line("\n".join(lines))


def _numbers(values: list[float]) -> list[str]:
    return [repr(value) if math.isfinite(value) else "null" for value in values]


def _joint(table: Rows, counts: bool, base: float, output: Output) -> None:
    from dlkit.information import measures
    from dlkit.information.distributions import as_distributions

    shape = table.values.shape
    joint = as_distributions(table.values.reshape(1, -1), counts, "p").reshape(shape)
    x, y = joint.sum(1), joint.sum(0)
    whole = float(measures.shannon_entropy(joint.reshape(-1), base))
    record: dict[str, Any] = {
        "rows": shape[0],
        "columns": shape[1],
        "base": base,
        **({"form": table.form} if table.form is not None else {}),
        "entropy": whole,
        "entropy_rows": float(measures.shannon_entropy(x, base)),
        "entropy_columns": float(measures.shannon_entropy(y, base)),
        "mutual_information": float(measures.mutual_information(joint, base)),
    }
    # H(X|Y) = H(X, Y) - H(Y)
    record["entropy_rows_given_columns"] = max(whole - record["entropy_columns"], 0.0)
    record["entropy_columns_given_rows"] = max(whole - record["entropy_rows"], 0.0)
    output.emit(record, record["mutual_information"], lambda: view.measures_table(record))
