"""Scores that GLUE and SuperGLUE are counted in. Wang et al., arXiv:1804.07461 and arXiv:1905.00537.

Shapes: K classes; a matrix of confusions, (K, K), has true classes as rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


def f1(confusion: Numbers) -> float:
    """F1 of the last class of two, "yes": 2 hits / (2 hits + misses + false alarms); 0 where that is 0 / 0."""
    hits = confusion[-1, -1]
    # F1 = 2 P R / (P + R) = 2 TP / (2 TP + FN + FP)
    return float(2 * hits / max(1, confusion[-1].sum() + confusion[:, -1].sum()))


def macro_f1(confusion: Numbers) -> float:
    """Mean of each class's F1; a class that neither occurs nor is predicted counts as 0."""
    hits = confusion.diagonal()
    return float(np.mean(2 * hits / np.maximum(1, confusion.sum(1) + confusion.sum(0))))


def matthews(confusion: Numbers) -> float:
    """Matthews' correlation for K classes (Gorodkin 2004), from -1 to 1; 0 where all are of one class."""
    matrix = confusion.astype(object)  # Python's integers: the differences of squares are exact, however many there are
    n, hits, true, predicted = matrix.sum(), matrix.trace(), matrix.sum(1), matrix.sum(0)
    # (n sum_k C_kk - t . p) / sqrt((n^2 - p . p)(n^2 - t . t))
    spread = (n**2 - predicted @ predicted) * (n**2 - true @ true)
    return float((n * hits - true @ predicted) / math.sqrt(spread)) if spread > 0 else 0.0


def exact_match(questions: Numbers, right: Numbers) -> float:
    """Share of questions all of whose answers are right: (N,) the question of each answer, (N,) bool."""
    _, place = np.unique(questions, return_inverse=True)
    wrong = np.bincount(place, weights=~right)  # wrong answers of each question
    return float(np.mean(wrong == 0))


OF_CONFUSION: dict[str, Callable[[Numbers], float]] = {"f1": f1, "macro_f1": macro_f1, "matthews": matthews}


def pearson(x: Numbers, y: Numbers) -> float:
    """cov(x, y) / (sd(x) sd(y)) of two (N,); NaN where one of them is constant, or not finite."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or (x == x[0]).all() or (y == y[0]).all():
        return math.nan
    # x - mean(x) and y - mean(y), both of length 1, have the correlation as their product
    return float(np.clip(_direction(x) @ _direction(y), -1.0, 1.0))


def _direction(x: Numbers) -> Numbers:
    """x - mean(x) as a vector of length 1."""
    centered = _of_size_1(x)
    centered = _of_size_1(centered - centered.mean())
    return centered / np.linalg.norm(centered)


def _of_size_1(x: Numbers) -> Numbers:
    """x times the power of 2, which rounds nothing, by which no sum or square in it over- or underflows."""
    return np.ldexp(x, -np.frexp(np.abs(x).max())[1])


def spearman(x: Numbers, y: Numbers) -> float:
    """Pearson's correlation of the ranks, equal values sharing the mean of theirs; NaN where a value is."""
    if np.isnan(x).any() or np.isnan(y).any():
        return math.nan
    return pearson(_ranks(x), _ranks(y))


def _ranks(x: Numbers) -> Numbers:
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    # values of one rank stand at last - count + 1 .. last, whose mean is last - (count - 1) / 2
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
