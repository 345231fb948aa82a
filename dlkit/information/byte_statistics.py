"""The statistics that John Walker's `ent` reports of a stream of bytes: mean, chi-square and serial correlation."""

from __future__ import annotations

import math

import numpy as np

from dlkit.information.byte_counts import ByteCounts


def byte_mean(counts: ByteCounts) -> float:
    """The mean byte value, 0 to 255; that of random bytes is 127.5. NaN for no bytes."""
    return float(counts.counts() @ np.arange(256)) / counts.n if counts.n else math.nan


def chi_square(counts: ByteCounts) -> dict[str, float]:
    """Pearson's chi-square test of the bytes against a uniform distribution: `chi_square` and its p-value."""
    from scipy.special import chdtrc

    if not counts.n:
        return {"chi_square": math.nan, "chi_square_p": math.nan}
    # X^2 = sum_i (c_i - n / 256)^2 / (n / 256), with 255 degrees of freedom
    expected = counts.n / 256
    statistic = float(((counts.counts() - expected) ** 2).sum() / expected)
    return {"chi_square": statistic, "chi_square_p": float(chdtrc(255, statistic))}


def serial_correlation(counts: ByteCounts) -> float:
    """Correlation of each byte with its successor, where the first follows the last (Knuth, volume 2, 3.3.2 K).

    NaN if all bytes are equal.
    """
    if not counts.n:
        return math.nan
    x = np.arange(256, dtype=object)  # Python integers: exact for a stream of any length
    c = counts.counts().astype(object)
    products = x @ counts.bigram_table().astype(object) @ x + counts.tail[-1] * counts.first[0]
    total, squares = c @ x, c @ x**2
    # (n sum x_i x_(i+1) - (sum x_i)^2) / (n sum x_i^2 - (sum x_i)^2)
    spread = counts.n * squares - total**2
    return float((counts.n * products - total**2) / spread) if spread else math.nan
