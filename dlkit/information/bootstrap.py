"""Confidence intervals of a rate, such as bits per byte, over an autocorrelated series: the circular block bootstrap.

Resampling single values would treat neighbours as independent and make the interval too narrow, so blocks are resampled
(Politis & Romano 1992), of a length chosen from the series' own autocorrelation (Politis & White 2004, corrected by
Patton, Politis & White 2009).

Shapes: n values of a series, each of which is k numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
REPLICATES = 2000
LEVEL = 0.95
FEWEST = 16  # values: with fewer, an interval would mean nothing
_AT_ONCE = 1 << 22  # blocks drawn at once


class BinnedSeries:
    """A series of any length in constant memory: sums over bins, whose width doubles when there are too many.

    Args:
        k: how many numbers a value consists of.
        most: the largest number of bins.
    """

    def __init__(self, k: int, most: int = 1 << 17) -> None:
        self.k, self.most, self.width = k, most, 1
        self._bins = np.empty((0, k))
        self._open = np.empty((0, k))  # values that do not fill a bin yet

    def add(self, values: Series) -> None:
        """Append the next values, (n, k)."""
        values = np.concatenate((self._open, values))
        self._bins = np.concatenate((self._bins, self._fill(values)))
        while len(self._bins) > self.most:
            odd = self._bins[len(self._bins) // 2 * 2 :]  # half of a wider bin: turned back into equal values
            self._open = np.concatenate((np.repeat(odd / self.width, self.width, axis=0), self._open))
            self._bins = self._bins[: len(self._bins) // 2 * 2].reshape(-1, 2, self.k).sum(1)
            self.width *= 2

    def _fill(self, values: Series) -> Series:
        whole = len(values) // self.width * self.width
        self._open = values[whole:]
        return values[:whole].reshape(-1, self.width, self.k).sum(1)

    @property
    def sums(self) -> Series:
        """The sums of the bins, (bins, k), without a last, incomplete bin."""
        return self._bins

    def total(self) -> Series:
        """The sums over the whole series, (k,)."""
        return self._bins.sum(0) + self._open.sum(0)


@dataclass(frozen=True)
class RateInterval:
    """Confidence intervals of k - 1 rates.

    Args:
        low: the lower bounds.
        high: the upper bounds.
        block: the length of the resampled blocks, in values.
    """

    low: list[float]
    high: list[float]
    block: int


def rate_intervals(
    sums: Series, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
) -> RateInterval | None:
    """Percentile intervals of the rates sum(s_0) / sum(s_j), j = 1 ... k - 1.

    Args:
        sums: (n, k), the numerator first.
        level: the coverage: how often such an interval contains the rate of a stationary source.
        replicates: how many series are resampled.
        seed: of the resampling.

    Returns:
        None for fewer than `FEWEST` values.
    """
    n, k = sums.shape
    if n < FEWEST:
        return None
    whole = sums.sum(0)
    # the contribution of each value to the error of the first rate: s_0 - (S_0 / S_1) s_1
    block = block_length(sums[:, 0] - whole[0] / whole[1] * sums[:, 1])
    wrapped = np.concatenate((np.zeros((1, k)), sums, sums[: block - 1])).cumsum(0)
    blocks = wrapped[block:] - wrapped[:-block]  # (n, k): the sums of every block, wrapping around at the end
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
    return RateInterval(low.tolist(), high.tolist(), block)


def block_length(series: Series) -> int:
    """The block length that minimizes the mean squared error of the circular bootstrap's variance of the mean.

    Politis & White 2004, section 3.2, with the constants of the correction of 2009: a flat-top lag window whose width
    is twice the largest significant lag.
    """
    n = len(series)
    centred = series - series.mean()
    if n < 2 or not centred.any():
        return 1
    run = max(5, math.ceil(math.sqrt(math.log10(n))))  # so many insignificant lags in a row end the search
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    covariances = np.array([centred[lag:] @ centred[: n - lag] / n for lag in range(most + 1)])
    noise = 2 * math.sqrt(math.log10(n) / n)
    significant = np.flatnonzero(np.abs(covariances[1:]) > noise * covariances[0]) + 1  # lags
    # the smallest m with no significant lag among m + 1 ... m + run
    reach = 0
    for lag in significant.tolist():
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
