"""Pearson's and Spearman's correlation, accurate at any scale and offset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


def pearson(x: Numbers, y: Numbers) -> float:
    """cov(x, y) / (sd(x) sd(y)) of two (N,); NaN if one of them is constant or not finite."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or (x == x[0]).all() or (y == y[0]).all():
        return math.nan
    # the correlation is the dot product of x - mean(x) and y - mean(y), both scaled to length 1
    return float(np.clip(_direction(x) @ _direction(y), -1.0, 1.0))


def _direction(x: Numbers) -> Numbers:
    """x - mean(x) as a vector of length 1."""
    centered = _scaled(x)
    centered = _scaled(centered - centered.mean())
    return centered / np.linalg.norm(centered)


def _scaled(x: Numbers) -> Numbers:
    """x times a power of 2, which is exact and keeps sums and squares from over- or underflowing."""
    return np.ldexp(x, -np.frexp(np.abs(x).max())[1])


def spearman(x: Numbers, y: Numbers) -> float:
    """Pearson's correlation of the ranks, where ties get their mean rank; NaN if any value is NaN."""
    if np.isnan(x).any() or np.isnan(y).any():
        return math.nan
    return pearson(_ranks(x), _ranks(y))


def _ranks(x: Numbers) -> Numbers:
    _, index, counts = np.unique(x, return_inverse=True, return_counts=True)
    # tied values have the ranks last - count + 1 .. last, whose mean is last - (count - 1) / 2
    return (np.cumsum(counts) - (counts - 1) / 2)[index]
