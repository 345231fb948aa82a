"""`dlkit entropy --p`: the measures of distributions, row by row, and of joint tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.cli import _entropy_view as view
from dlkit.cli._console import Output
from dlkit.cli._entropy_code import coded
from dlkit.errors import RequestError

if TYPE_CHECKING:
    from dlkit.information.rows import Rows


def distributions(
    p: str, q: str | None, counts: bool, joint: bool, code: str | None, plot: Path | None, base: float, output: Output
) -> None:
    from dlkit.information import rows

    table = rows.read(p, "p", joint)
    if joint:
        if q is not None or code is not None or plot is not None:
            raise RequestError(
                "--joint goes with --p and --counts only", "dlkit entropy --joint --p table.csv --counts"
            )
        _joint(table, counts, base, output)
        return
    other = rows.read(q, "q") if q is not None else None
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
    records = _measured(table, other, counts, base)
    first = next(records)
    if code is not None:
        assert "p" in first
        first["code"] = coded(code, [table.symbol(i) for i in range(table.values.shape[1])], first["p"], base)
    if plot is not None:
        view.plot_distribution(plot, table, first, base)
    first.pop("p")
    output.emit(first, first["entropy"], lambda: view.measures_table(first))
    for record in records:
        record.pop("p")
        output.emit(record, record["entropy"], lambda record=record: view.measures_table(record))


def _measured(table: Rows, other: Rows | None, counts: bool, base: float) -> Iterator[dict[str, Any]]:
    """One record a row."""
    import numpy as np

    from dlkit.information import measures

    p = measures.distributions(table.values, counts, "p")
    columns: dict[str, Any] = {"entropy": measures.entropy(p, base), "perplexity": measures.perplexity(p)}
    if other is not None:
        q = np.broadcast_to(measures.distributions(other.values, counts, "q"), p.shape)
        columns |= {
            "entropy_q": measures.entropy(q, base),
            "cross_entropy": measures.cross_entropy(p, q, base),
            "kl": measures.kl_divergence(p, q, base),
            "kl_reverse": measures.kl_divergence(q, p, base),
            "jensen_shannon": measures.jensen_shannon(p, q, base),
        }
    lists = {name: values.tolist() for name, values in columns.items()}
    for index in range(len(p)):
        record: dict[str, Any] = {"outcomes": p.shape[1], "base": base}
        if len(p) > 1:
            record["row"] = index + 1
        if table.rows:
            record["label"] = table.rows[index]
        record |= {name: values[index] for name, values in lists.items()}
        infinite = [name for name in lists if math.isinf(record[name])]
        if infinite:
            record["infinite"] = infinite  # which JSON can only say as null
        yield {**record, "p": p[index]}


def _joint(table: Rows, counts: bool, base: float, output: Output) -> None:
    from dlkit.information import measures

    shape = table.values.shape
    joint = measures.distributions(table.values.reshape(1, -1), counts, "p").reshape(shape)
    x, y = joint.sum(1), joint.sum(0)
    whole = float(measures.entropy(joint.reshape(-1), base))
    record = {
        "rows": shape[0],
        "columns": shape[1],
        "base": base,
        "entropy": whole,
        "entropy_rows": float(measures.entropy(x, base)),
        "entropy_columns": float(measures.entropy(y, base)),
        "mutual_information": float(measures.mutual_information(joint, base)),
    }
    # H(X|Y) = H(X, Y) - H(Y)
    record["entropy_rows_given_columns"] = whole - record["entropy_columns"]
    record["entropy_columns_given_rows"] = whole - record["entropy_rows"]
    output.emit(record, record["mutual_information"], lambda: view.measures_table(record))
