"""Confidence intervals of mean scores over texts, and tests of scores against a null distribution.

Shapes: n texts; the scores of one text may have any shape, such as (L layers, H heads).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class MeanInterval:
    """A mean over texts with its confidence interval.

    Args:
        mean: NaN where no text has a score.
        low: the lower bound; NaN where fewer than two texts have a score.
        high: the upper bound, likewise.
        n: how many texts have a score, one that is not NaN.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> MeanInterval:
    """Student's t interval of the mean over the first axis of (n, ...), without NaN values.

    mean +- t_{(1 + confidence) / 2, n - 1} s / sqrt(n), with s^2 the unbiased variance.
    """
    defined = ~np.isnan(values)
    n = defined.sum(0)
    mean = np.divide(np.where(defined, values, 0.0).sum(0), n, out=np.full(n.shape, np.nan), where=n > 0)
    squares = (np.where(defined, values - mean, 0.0) ** 2).sum(0)
    freedom = np.maximum(n - 1, 1)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * np.sqrt(squares / freedom / np.maximum(n, 1))
    half = np.where(n > 1, half, np.nan)
    return MeanInterval(mean, mean - half, mean + half, n)


def above_null(values: np.ndarray, null: np.ndarray, confidence: float = 0.95, comparisons: int = 1) -> np.ndarray:
    """A one-sided paired t test: whether the mean of values - null, (n, ...), is above 0.

    Bonferroni-corrected to hold for all `comparisons` at once. False where there are fewer than two pairs.
    """
    bound = mean_interval(values - null, 1 - 2 * (1 - confidence) / comparisons)
    return bound.low > 0  # False for NaN
