"""Numbers that describe a column of a table, or the lengths of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def column_statistics(
    values: NDArray[np.float64],
    columns: Mapping[str, str],
    categories: Mapping[str, tuple[str, ...]] | None = None,
    missing: Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Of rows (N, F): each column's name, kind, least, mean, median, greatest, standard deviation, distinct values.

    The deviation is that of the population (divided by N), by which a model's inputs are scaled. A column of
    categories has the number of its categories as `distinct`, and the most frequent with its count as `most`.

    Args:
        values: (N, F); the number of a category is 1 + its index among those of its column.
        columns: name -> kind of the F columns.
        categories: of each column of them.
        missing: column -> how many values it lacked in the file.
    """
    found: list[dict[str, Any]] = []
    for (name, kind), column in zip(columns.items(), values.T, strict=True):
        here: dict[str, Any] = {"name": name, "type": kind}
        if categories and name in categories:
            counts = np.bincount(column.astype(np.int64), minlength=len(categories[name]) + 1)[1:]
            most = int(counts.argmax())
            here |= {"distinct": len(categories[name]), "most": [categories[name][most], int(counts[most])]}
        else:
            here |= {
                "min": float(column.min()), "mean": float(column.mean()), "median": float(np.median(column)),
                "max": float(column.max()), "std": float(column.std()), "distinct": len(np.unique(column)),
            }  # fmt: skip
        found.append(here | ({"missing": missing[name]} if missing and name in missing else {}))
    return found


def length_statistics(lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Of lengths (N,): their mean, median, the length that 95 % do not exceed, and the longest."""
    middle, most = np.quantile(lengths, (0.5, 0.95))
    return {
        "mean": round(float(lengths.mean()), 2), "median": float(middle), "p95": float(most),
        "longest": int(lengths.max()),
    }  # fmt: skip
