"""The conditional entropy of order k, of a symbol given the k before it: the plug-in estimate from counts c,

    H_k = -sum over contexts w and symbols x of c(w x) / n_k * log (c(w x) / c(w)),   n_k = n - k

where c(w) counts the occurrences of w that have a successor. Order 0 is the entropy of single symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlkit.information.measures import miller_madow

Integers = NDArray[np.int64]
_CHUNK = 1 << 18  # counts of a table that are summed at once


@dataclass(frozen=True)
class ConditionalEntropy:
    """The conditional entropy of one order, in bits.

    Args:
        order: k.
        entropy: the plug-in estimate.
        corrected: with the Miller-Madow bias correction.
        contexts: how many distinct contexts of k symbols occur.
    """

    order: int
    entropy: float
    corrected: float
    contexts: int


def entropy_of_counts(order: int, counts: Integers, contexts: Integers) -> ConditionalEntropy:
    """The conditional entropy of one order from counts.

    Args:
        order: k.
        counts: the counts of (k + 1)-grams, (m,); zeros are ignored.
        contexts: how often each k-gram has a successor; zeros are ignored.
    """
    n = int(contexts.sum())
    if not n:
        return ConditionalEntropy(order, 0.0, 0.0, 0)
    distinct, used = int(np.count_nonzero(counts)), int(np.count_nonzero(contexts))
    # n H_k = sum_w c(w) log c(w) - sum_wx c(wx) log c(wx)
    bits = _log_sum(contexts) - _log_sum(counts)
    correction = miller_madow(distinct, n) - miller_madow(used, n)
    entropy = max(bits / n, 0.0)
    return ConditionalEntropy(order, entropy, entropy + correction, used)


def _log_sum(counts: Integers) -> float:
    """sum_i c_i log2 c_i over the counts that are not 0, a chunk at a time."""
    chunks = (counts[start : start + _CHUNK] for start in range(0, len(counts), _CHUNK))
    positive = (chunk[chunk > 0].astype(np.float64) for chunk in chunks)
    return math.fsum(float(c @ np.log2(c)) for c in positive)
