"""Numbers that describe a column of a table, or the lengths of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def column_statistics(values: NDArray[np.float64], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of rows (N, F): each column's name, kind, least, mean, median, greatest, standard deviation, distinct values.

    The deviation is that of the population (divided by N), by which a model's inputs are scaled.
    """
    return [
        {
            "name": name, "type": kind, "min": float(column.min()), "mean": float(column.mean()),
            "median": float(np.median(column)), "max": float(column.max()), "std": float(column.std()),
            "distinct": len(np.unique(column)),
        }
        for (name, kind), column in zip(columns.items(), values.T, strict=True)
    ]  # fmt: skip


def length_statistics(lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Of lengths (N,): their mean, median, the length that 95 % do not exceed, and the longest."""
    middle, most = np.quantile(lengths, (0.5, 0.95))
    return {
        "mean": round(float(lengths.mean()), 2), "median": float(middle), "p95": float(most),
        "longest": int(lengths.max()),
    }  # fmt: skip
