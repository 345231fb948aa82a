"""Intervals of a rate, such as bits per byte, over a series whose neighbours depend on each other.

Resampling single values would take neighbours for independent and make the interval too narrow, so whole blocks are
drawn: the circular block bootstrap (Politis & Romano 1992), with blocks of the length that suits the series' own
autocorrelation (Politis & White 2004, corrected by Patton, Politis & White 2009).

Shapes: n values of a series, k measured sums beside each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
REPLICATES = 2000
LEVEL = 0.95
FEWEST = 16  # values, below which an interval would be pretence
_AT_ONCE = 1 << 22  # blocks drawn at once


class Cells:
    """A long series in constant memory: sums over equal stretches, which double when there are too many.

    Args:
        k: numbers a value.
        most: cells that are kept.
    """

    def __init__(self, k: int, most: int = 1 << 17) -> None:
        self.k, self.most, self.width = k, most, 1
        self._cells = np.empty((0, k))
        self._open = np.empty((0, k))  # values that do not fill a cell yet

    def add(self, values: Series) -> None:
        """The next values, (n, k)."""
        values = np.concatenate((self._open, values))
        self._cells = np.concatenate((self._cells, self._fill(values)))
        while len(self._cells) > self.most:
            odd = self._cells[len(self._cells) // 2 * 2 :]  # a half-filled cell, which is no value: spread it evenly
            self._open = np.concatenate((np.repeat(odd / self.width, self.width, axis=0), self._open))
            self._cells = self._cells[: len(self._cells) // 2 * 2].reshape(-1, 2, self.k).sum(1)
            self.width *= 2

    def _fill(self, values: Series) -> Series:
        whole = len(values) // self.width * self.width
        self._open = values[whole:]
        return values[:whole].reshape(-1, self.width, self.k).sum(1)

    @property
    def sums(self) -> Series:
        """(cells, k); what does not fill a last cell is left out."""
        return self._cells

    def total(self) -> Series:
        """(k,) sums over everything."""
        return self._cells.sum(0) + self._open.sum(0)


@dataclass(frozen=True)
class Interval:
    """Of each rate, with the length in cells of the blocks that were drawn."""

    low: list[float]
    high: list[float]
    block: int


def rate_intervals(sums: Series, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0) -> Interval | None:
    """Percentile intervals of the rates sum(s_0) / sum(s_j), j = 1 ... k - 1.

    Args:
        sums: (n, k), the numerator first.
        level: how often such an interval holds the rate of a stationary source.
        replicates: resampled series.
        seed: of the resampling.

    Returns:
        None for fewer than `FEWEST` values.
    """
    n, k = sums.shape
    if n < FEWEST:
        return None
    whole = sums.sum(0)
    # what each value adds to the error of the first rate: s_0 - (S_0 / S_1) s_1
    block = block_length(sums[:, 0] - whole[0] / whole[1] * sums[:, 1])
    wrapped = np.concatenate((np.zeros((1, k)), sums, sums[: block - 1])).cumsum(0)
    blocks = wrapped[block:] - wrapped[:-block]  # (n, k): the sums of every block, going round at the end
    draws = -(-n // block)
    generator = np.random.default_rng(seed)
    rates = np.empty((replicates, k - 1))
    step = max(1, _AT_ONCE // draws)
    for start in range(0, replicates, step):
        picks = generator.integers(0, n, (min(step, replicates - start), draws))
        for column in range(1, k):
            drawn = [blocks[:, j][picks].sum(1) for j in (0, column)]  # (step,) each
            rates[start : start + step, column - 1] = drawn[0] / drawn[1]
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(low.tolist(), high.tolist(), block)


def block_length(series: Series) -> int:
    """The length of blocks with the least mean squared error of the variance of the mean, for the circular bootstrap.

    Politis & White 2004, section 3.2, with the constants of the correction of 2009: a flat-top lag window whose width
    is twice the lag behind which no autocorrelation stands out.
    """
    n = len(series)
    centred = series - series.mean()
    if n < 2 or not centred.any():
        return 1
    run = max(5, math.ceil(math.sqrt(math.log10(n))))  # lags in a row that must not stand out
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariances = np.array([centred[lag:] @ centred[: n - lag] / n for lag in range(most + 1)])
    noise = 2 * math.sqrt(math.log10(n) / n)
    loud = np.flatnonzero(np.abs(covariances[1:]) > noise * covariances[0]) + 1  # lags that stand out
    # the smallest m with no loud lag among m + 1 ... m + run
    reach = 0
    for lag in loud.tolist():
        if lag > reach + run:
            break
        reach = lag
    width = min(2 * max(reach, 1), most)
    lags = np.arange(1, width + 1)
    window = np.minimum(1.0, 2 * (1 - lags / width))
    # G = sum_k w(k/M) |k| R(k),  g(0) = sum_k w(k/M) R(k),  D = 4/3 g(0)^2,  b = (2 G^2 / D)^(1/3) n^(1/3)
    weighted = window * covariances[1 : width + 1]
    bend, spectrum = 2 * (weighted @ lags), covariances[0] + 2 * weighted.sum()
    if spectrum == 0:
        return 1
    length = (2 * bend**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return max(1, min(math.ceil(length), math.ceil(min(3 * math.sqrt(n), n / 3))))
