"""Entropy, cross-entropy and KL divergence (Shannon 1948; Kullback & Leibler 1951)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.information.measures import cross_entropy, relative_entropy, shannon_entropy
from dlkit.review.deviation import Deviation, largest, shortfall

Array = NDArray[np.float64]
OfOne = Callable[[Array], Array]
OfTwo = Callable[[Array, Array], Array]
OUTCOMES = 5


def _distribution() -> Array:
    return torch.randn(OUTCOMES).softmax(0).numpy()


def bernoulli_entropy(entropy: OfOne = shannon_entropy) -> Deviation:
    """H(1/2) = 1 bit, H(0) = H(1) = 0, and H rises up to 1/2 and falls from there, the same on both sides."""
    x = np.linspace(0, 1, 101)
    h = entropy(np.stack([x, 1 - x], -1))  # (101,)
    rising = np.diff(h)[:50].min()
    worst = largest(abs(h[50] - 1), abs(h[0]), abs(h[-1]), float(np.abs(h - h[::-1]).max()), -float(rising), 0.0)
    return Deviation(float(worst), {"at 0.1": float(h[10]), "at 0.5": float(h[50])})


def uniform_entropy_is_largest(entropy: OfOne = shannon_entropy) -> Deviation:
    """H(p) <= log2 k, and the uniform distribution reaches it."""
    p, uniform = _distribution(), np.full(OUTCOMES, 1 / OUTCOMES)
    most = math.log2(OUTCOMES)
    excess = float(entropy(p)) - most
    return Deviation(
        largest(abs(float(entropy(uniform)) - most), excess, 0.0), {"entropy": float(entropy(p)), "log2 k": most}
    )


def cross_entropy_is_asymmetric(measure: OfTwo = cross_entropy) -> Deviation:
    """H(p; q) = -sum_i p_i log2 q_i, which is another number than H(q; p)."""
    p, q = _distribution(), _distribution()
    one, other = float(measure(p, q)), float(measure(q, p))
    expected = -math.fsum(a * math.log2(b) for a, b in zip(p, q, strict=True))
    return Deviation(
        largest(abs(one - expected), shortfall(abs(one - other), 1e-6)), {"H(p; q)": one, "H(q; p)": other}
    )


def cross_entropy_is_infinite(measure: OfTwo = cross_entropy) -> Deviation:
    """It is infinite where q excludes what p can bring, and finite the other way round."""
    p, q = _distribution(), _distribution()
    q[0] = 0.0
    q /= q.sum()
    one, other = float(measure(p, q)), float(measure(q, p))
    return Deviation(0.0 if math.isinf(one) and math.isfinite(other) else math.inf, {"H(q; p)": other})


def kl_is_difference(divergence: OfTwo = relative_entropy) -> Deviation:
    """KL[p || q] = H(p; q) - H(p), which is at least 0, and 0 for q = p."""
    p, q = _distribution(), _distribution()
    kl = float(divergence(p, q))
    entropy = -math.fsum(a * math.log2(a) for a in p)
    coded = -math.fsum(a * math.log2(b) for a, b in zip(p, q, strict=True))
    return Deviation(
        largest(abs(kl - (coded - entropy)), -kl, abs(float(divergence(p, p)))),
        {"KL": kl, "H(p; q)": coded, "H(p)": entropy},
    )
