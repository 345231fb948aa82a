"""Scores over many texts: means, their intervals, and whether they are above chance.

Shapes: n texts, and any shape of scores (L layers, H heads).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean over texts with its interval; NaN bounds where there are fewer than two. `n` counts what is no NaN."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean over the first axis of (n, ...); NaN values are left out.

    mean +- t_{(1 + confidence) / 2, n - 1} s / sqrt(n), with s^2 the unbiased variance.
    """
    there = ~np.isnan(values)
    n = there.sum(0)
    kept = np.where(there, values, 0.0)
    mean = np.divide(kept.sum(0), n, out=np.full(n.shape, np.nan), where=n > 0)
    squares = (np.where(there, values - mean, 0.0) ** 2).sum(0)
    freedom = np.maximum(n - 1, 1)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(squares / freedom / np.maximum(n, 1))
    half = np.where(n > 1, half, np.nan)
    return Interval(mean, mean - half, mean + half, n)


def above(values: np.ndarray, null: np.ndarray, confidence: float = 0.95, comparisons: int = 1) -> np.ndarray:
    """Whether the mean of paired differences, values - null, (n, ...), is above 0: its lower bound is.

    The interval is widened to hold for all `comparisons` at once (Bonferroni). False where there are fewer than two.
    """
    # one-sided, as only "more than chance" is asked
    bound = interval(values - null, 1 - 2 * (1 - confidence) / comparisons)
    return bound.low > 0  # a NaN is not
