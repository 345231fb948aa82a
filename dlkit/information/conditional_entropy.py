"""The entropy of order k, that of a symbol given the k before it, by the plug-in estimate from counts c:

    H_k = -sum over contexts w and symbols x of c(w x) / n_k * log (c(w x) / c(w)),   n_k = n - k

with c(w) the times that w has a successor. Order 0 is the entropy of single symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlkit.information.measures import miller_madow

Integers = NDArray[np.int64]
_PART = 1 << 18


@dataclass(frozen=True)
class Order:
    """The entropy of one order in bits: by plug-in, and with Miller's and Madow's correction of its bias."""

    order: int
    entropy: float
    corrected: float
    contexts: int


def of_counts(order: int, counts: Integers, contexts: Integers) -> Order:
    """The entropy of an order.

    Args:
        order: k.
        counts: (m,) how often each sequence of k + 1 symbols occurs; zeros are left out.
        contexts: how often each sequence of k symbols has a successor; zeros are left out.
    """
    n = int(contexts.sum())
    if not n:
        return Order(order, 0.0, 0.0, 0)
    different, used = int(np.count_nonzero(counts)), int(np.count_nonzero(contexts))
    # n H_k = sum_w c(w) log c(w) - sum_wx c(wx) log c(wx)
    bits = _log_sum(contexts) - _log_sum(counts)
    correction = miller_madow(different, n) - miller_madow(used, n)
    entropy = max(bits / n, 0.0)
    return Order(order, entropy, entropy + correction, used)


def _log_sum(counts: Integers) -> float:
    """sum_i c_i log2 c_i over the counts that are not 0; a table is passed through in parts."""
    parts = (counts[start : start + _PART] for start in range(0, len(counts), _PART))
    occurring = (part[part > 0].astype(np.float64) for part in parts)
    return math.fsum(float(part @ np.log2(part)) for part in occurring)
