"""The measures of distributions, row by row, and of joint tables. No torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError
from dlkit.information import measures, plots
from dlkit.information.code_records import code_record
from dlkit.information.distributions import as_distributions
from dlkit.information.divergence_figure import plot_divergence
from dlkit.information.rows import Rows
from dlkit.information.units import unit_of


class MeasuredDistributions(Sequence[dict[str, Any]]):
    """The record of each row; made when it is asked for, since there may be millions.

    Args:
        table: the rows as they were given.
        p: the same as distributions, (rows, outcomes).
        columns: the measures by name, one value per row.
        head: what all records begin with.
        q: what p was compared with, (rows, outcomes).
    """

    def __init__(
        self,
        table: Rows,
        p: NDArray[np.float64],
        columns: dict[str, list[float]],
        head: dict[str, Any],
        q: NDArray[np.float64] | None = None,
    ) -> None:
        self.table, self.p, self.columns, self.head, self.q = table, p, columns, head, q

    def __len__(self) -> int:
        return len(self.p)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        record = dict(self.head)
        if len(self) > 1:
            record["row"] = row + 1
        if self.table.rows:
            record["label"] = self.table.rows[row]
        record |= {name: values[row] for name, values in self.columns.items()}
        infinite = [name for name in self.columns if math.isinf(record[name])]
        if infinite:
            record["infinite"] = infinite  # which JSON can only say as null
        return record


def measure_distributions(table: Rows, other: Rows | None, counts: bool, base: float) -> MeasuredDistributions:
    """Measure each row of p, and beside q if there is one. Raises RequestError where they do not go together."""
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
    p = as_distributions(table.values, counts, "p")
    columns: dict[str, Any] = {"entropy": measures.shannon_entropy(p, base), "perplexity": measures.perplexity(p)}
    q = None
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
    head: dict[str, Any] = {"outcomes": p.shape[1], "base": base}
    if table.form is not None:
        head["form"] = table.form
    if other is not None and not table.columns:  # the names of the outcomes may be those of q
        table = dataclasses.replace(table, columns=other.columns)
    return MeasuredDistributions(table, p, {name: values.tolist() for name, values in columns.items()}, head, q)


def coded_distribution(found: MeasuredDistributions, code: str | None, plot: Path | None) -> dict[str, Any]:
    """The record of a single distribution, with a code for it if one is asked for; the figure is drawn."""
    (record,), p, base = found, found.p[0], found.head["base"]
    symbols = [found.table.symbol(index) for index in range(len(p))]
    if code is not None:
        record["code"] = code_record(code, symbols, p)
    if plot is None:
        return record
    if found.q is not None:
        lengths = {word["symbol"]: word["length"] for word in plots.code_words(record["code"])} if code else {}
        words = (code, [lengths.get(symbol, math.nan) for symbol in symbols]) if code else None
        plot_divergence(plot, symbols, p, found.q[0], base, words)
    elif code is not None:
        plots.plot_code(plot, record["code"])
    elif len(p) == 2:
        plots.plot_bernoulli_entropy(plot, float(p[0]), unit_of(base), base)
    else:
        used = [index for index in range(len(p)) if p[index] > 0]
        plots.plot_code_lengths(plot, [symbols[i] for i in used], [-math.log2(p[i]) for i in used], [], "")
    return record


def joint_record(table: Rows, counts: bool, base: float) -> dict[str, Any]:
    """The entropies and the mutual information of two variables, whose joint distribution is the table."""
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
    return record
