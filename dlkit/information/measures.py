"""Entropy and its relatives, along the last axis of arrays, in any base.

Legend: p and q are distributions over k outcomes, arrays (..., k); a joint table is (..., a, b). Conventions:
0 log 0 = 0, and what q excludes but p allows costs infinitely much.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError

Array = NDArray[np.float64]
# How far from 1 a sum may be: probabilities are often typed with six digits.
TOLERANCE = 1e-6
_LARGEST = np.finfo(np.float64).max


def distributions(values: Any, counts: bool = False, name: str = "p") -> Array:
    """Rows of numbers as distributions.

    Args:
        values: (..., k) numbers.
        counts: they are weights, to be divided by their sum.
        name: for messages.

    Raises:
        RequestError: a number is negative, not finite or not a number; a row is empty, or does not add up to 1
            (with `counts`: to something above 0).
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0 or rows.shape[-1] == 0:
        raise RequestError(f"{name} is empty", "give at least one number")
    for wrong, what in ((~np.isfinite(rows), "not a finite number"), (rows < 0, "negative")):
        if wrong.any():
            place = tuple(int(index) for index in np.argwhere(wrong)[0])
            raise RequestError(f"{_where(name, place, rows)} is {what}: {rows[place]:g}")
    with np.errstate(over="ignore"):
        totals = rows.sum(-1, keepdims=True)
        if counts and np.isinf(totals).any():
            rows = rows / np.maximum(rows.max(-1, keepdims=True), 1.0)
            totals = rows.sum(-1, keepdims=True)
    bad = ~(totals > 0) | ~np.isfinite(totals) if counts else np.abs(totals - 1) > TOLERANCE
    if bad.any():
        place = tuple(int(index) for index in np.argwhere(bad)[0])[:-1]
        wanted = "must be above 0" if counts else "must be 1"
        hint = None if counts else "--counts divides by the sum"
        raise RequestError(f"the sum of {_row(name, place, rows)} is {totals[place][0]:.12g}, but {wanted}", hint)
    return rows / totals


def _where(name: str, place: tuple[int, ...], rows: Array) -> str:
    """`p[3]` or `p[3] in row 2`, counted from 1."""
    return f"{name}[{place[-1] + 1}]" + (f" in row {place[0] + 1}" if rows.ndim > 1 and len(rows) > 1 else "")


def _row(name: str, place: tuple[int, ...], rows: Array) -> str:
    """`p` or `row 2 of p`, counted from 1."""
    return f"row {place[0] + 1} of {name}" if rows.ndim > 1 and len(rows) > 1 else name


def _log(values: Array, base: float) -> Array:
    """log_base, and 0 where the value is 0: every use multiplies by that 0."""
    logs = np.zeros(np.shape(values))
    np.log(values, out=logs, where=values > 0)
    return logs / math.log(base)


def entropy(p: Array, base: float = 2.0) -> Array:
    """H(p): (..., k) to (...). From 0 to log k (Shannon 1948)."""
    # H(p) = -sum_i p_i log p_i
    return np.abs(-(p * _log(p, base)).sum(-1))  # abs turns -0 into 0


def cross_entropy(p: Array, q: Array, base: float = 2.0) -> Array:
    """H(p; q), the mean length of a code made for q when p rules: two (..., k) to (...)."""
    # H(p; q) = -sum_i p_i log q_i
    finite = np.abs(-(p * _log(q, base)).sum(-1))
    return np.where(_excluded(p, q), np.inf, finite)


def kl_divergence(p: Array, q: Array, base: float = 2.0) -> Array:
    """KL[p || q] = H(p; q) - H(p), what the wrong code costs (Kullback & Leibler 1951): two (..., k) to (...)."""
    both = (p > 0) & (q > 0)
    with np.errstate(over="ignore"):
        ratio = np.divide(p, q, out=np.ones(both.shape), where=both)
    # log (p_i / q_i) is log p_i - log q_i where the ratio is larger than any number
    logs = np.where(np.isinf(ratio), _log(p, base) - _log(q, base), _log(np.minimum(ratio, _LARGEST), base))
    # KL[p || q] = sum_i p_i log (p_i / q_i)
    finite = np.maximum((p * logs).sum(-1), 0.0)
    return np.where(_excluded(p, q), np.inf, finite)


def _excluded(p: Array, q: Array) -> NDArray[np.bool_]:
    return ((p > 0) & (q == 0)).any(-1)


def jensen_shannon(p: Array, q: Array, base: float = 2.0) -> Array:
    """JS(p, q), symmetric and at most log 2 (Lin 1991): two (..., k) to (...)."""
    # JS(p, q) = KL[p || m] / 2 + KL[q || m] / 2,  m = (p + q) / 2; all are doubled, since half the least number is 0
    return kl_divergence(2 * p, p + q, base) / 4 + kl_divergence(2 * q, p + q, base) / 4


def perplexity(p: Array) -> Array:
    """e^H(p): the number of equally likely outcomes that are as uncertain. (..., k) to (...)."""
    return np.exp(entropy(p, math.e))


def mutual_information(joint: Array, base: float = 2.0) -> Array:
    """I(X; Y) of joint tables (..., a, b) to (...)."""
    x, y = joint.sum(-1, keepdims=True), joint.sum(-2, keepdims=True)  # (..., a, 1), (..., 1, b)
    given_x = np.divide(joint, x, out=np.zeros(joint.shape), where=x > 0)
    # I(X; Y) = KL[p(x, y) || p(x) p(y)] = sum_xy p(x, y) (log p(y | x) - log p(y)): p(x) p(y) itself may be too small
    terms = joint * np.where(joint > 0, _log(given_x, base) - _log(y, base), 0.0)
    return np.maximum(terms.sum((-2, -1)), 0.0)


def miller_madow(symbols: int, n: int, base: float = 2.0) -> float:
    """What the plug-in entropy of n draws with this many distinct symbols misses on average (Miller 1955)."""
    # (m - 1) / (2 n) nats
    return (symbols - 1) / (2 * n) / math.log(base) if n else 0.0
