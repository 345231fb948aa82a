"""Entropy, divergences and mutual information, along the last axis of arrays and in any base.

Shapes: p and q are distributions over k outcomes, (..., k); a joint distribution is (..., a, b). By convention,
0 log 0 = 0 and -p log 0 = infinity for p > 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LARGEST = np.finfo(np.float64).max


def _log(values: Array, base: float) -> Array:
    """log_base, and 0 where the value is 0, since every use multiplies by that 0."""
    logs = np.zeros(np.shape(values))
    np.log(values, out=logs, where=values > 0)
    return logs / math.log(base)


def shannon_entropy(p: Array, base: float = 2.0) -> Array:
    """The entropy H(p), from 0 to log k (Shannon 1948): (..., k) to (...)."""
    # H(p) = -sum_i p_i log p_i
    return np.abs(-(p * _log(p, base)).sum(-1))  # abs turns -0 into 0


def cross_entropy(p: Array, q: Array, base: float = 2.0) -> Array:
    """H(p; q), the expected length of a code for q on symbols from p: two (..., k) to (...)."""
    # H(p; q) = -sum_i p_i log q_i
    finite = np.abs(-(p * _log(q, base)).sum(-1))
    return np.where(_excluded(p, q), np.inf, finite)


def relative_entropy(p: Array, q: Array, base: float = 2.0) -> Array:
    """KL[p || q] = H(p; q) - H(p), the Kullback-Leibler divergence (1951): two (..., k) to (...)."""
    # KL[p || q] = sum_i p_i log (p_i / q_i)
    return np.maximum(relative_entropy_terms(p, q, base).sum(-1), 0.0)


def relative_entropy_terms(p: Array, q: Array, base: float = 2.0) -> Array:
    """What each outcome adds to KL[p || q], negative where q_i > p_i: two (..., k) to (..., k)."""
    both = (p > 0) & (q > 0)
    with np.errstate(over="ignore"):
        ratio = np.divide(p, q, out=np.ones(both.shape), where=both)
    # where the ratio overflows, log (p_i / q_i) is log p_i - log q_i
    logs = np.where(np.isinf(ratio), _log(p, base) - _log(q, base), _log(np.minimum(ratio, _LARGEST), base))
    # p_i log (p_i / q_i)
    return np.where((p > 0) & (q == 0), np.inf, p * logs)


def _excluded(p: Array, q: Array) -> NDArray[np.bool_]:
    return ((p > 0) & (q == 0)).any(-1)


def jensen_shannon(p: Array, q: Array, base: float = 2.0) -> Array:
    """The Jensen-Shannon divergence JS(p, q), symmetric and at most log 2 (Lin 1991): two (..., k) to (...)."""
    # JS(p, q) = KL[p || m] / 2 + KL[q || m] / 2,  m = (p + q) / 2; all doubled, as halving could underflow
    return relative_entropy(2 * p, p + q, base) / 4 + relative_entropy(2 * q, p + q, base) / 4


def perplexity(p: Array) -> Array:
    """e^H(p), the number of equally likely outcomes with the same entropy: (..., k) to (...)."""
    return np.exp(shannon_entropy(p, math.e))


def mutual_information(joint: Array, base: float = 2.0) -> Array:
    """The mutual information I(X; Y) of joint distributions: (..., a, b) to (...)."""
    x, y = joint.sum(-1, keepdims=True), joint.sum(-2, keepdims=True)  # (..., a, 1), (..., 1, b)
    given_x = np.divide(joint, x, out=np.zeros(joint.shape), where=x > 0)
    # I(X; Y) = KL[p(x, y) || p(x) p(y)] = sum_xy p(x, y) (log p(y | x) - log p(y)): p(x) p(y) itself may underflow
    terms = joint * np.where(joint > 0, _log(given_x, base) - _log(y, base), 0.0)
    return np.maximum(terms.sum((-2, -1)), 0.0)


def miller_madow(symbols: int, n: int, base: float = 2.0) -> float:
    """The bias correction of the plug-in entropy of n draws with so many distinct symbols (Miller 1955)."""
    # (m - 1) / (2 n) nats
    return (symbols - 1) / (2 * n) / math.log(base) if n else 0.0
