"""Numbers as probability distributions: validated and normalized."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError

TOLERANCE = 1e-6  # by which a sum may differ from 1: probabilities are often typed with six digits


def as_distributions(values: Any, counts: bool = False, name: str = "p") -> NDArray[np.float64]:
    """Rows of numbers as distributions that sum to 1 exactly.

    Args:
        values: (..., k) numbers.
        counts: whether they are counts, to be divided by their sum.
        name: for error messages.

    Returns:
        (..., k), each number divided by the sum of its row.

    Raises:
        RequestError: a number is negative or not finite; a row is empty, or does not sum to 1 (with `counts`, to
            more than 0).
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0 or rows.shape[-1] == 0:
        raise RequestError(f"{name} is empty", "give at least one number")
    for wrong, what in ((~np.isfinite(rows), "not a finite number"), (rows < 0, "negative")):
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise RequestError(f"{_where(name, index, rows)} is {what}: {rows[index]:g}")
    with np.errstate(over="ignore"):
        totals = rows.sum(-1, keepdims=True)
        if counts and np.isinf(totals).any():
            rows = rows / np.maximum(rows.max(-1, keepdims=True), 1.0)
            totals = rows.sum(-1, keepdims=True)
    bad = ~(totals > 0) | ~np.isfinite(totals) if counts else np.abs(totals - 1) > TOLERANCE
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])[:-1]
        wanted = "must be above 0" if counts else "must be 1"
        hint = None if counts else "`counts` divides by the sum"
        raise RequestError(f"the sum of {_row(name, index, rows)} is {totals[index][0]:.12g}, but {wanted}", hint)
    return rows / totals


def _where(name: str, index: tuple[int, ...], rows: NDArray[np.float64]) -> str:
    """`p[3]` or `p[3] in row 2`, counted from 1."""
    return f"{name}[{index[-1] + 1}]" + (f" in row {index[0] + 1}" if rows.ndim > 1 and len(rows) > 1 else "")


def _row(name: str, index: tuple[int, ...], rows: NDArray[np.float64]) -> str:
    """`p` or `row 2 of p`, counted from 1."""
    return f"row {index[0] + 1} of {name}" if rows.ndim > 1 and len(rows) > 1 else name
