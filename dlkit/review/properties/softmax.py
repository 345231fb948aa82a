"""Softmax: from numbers to a distribution."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dlkit.nn.activations import softmax_reference
from dlkit.review.deviation import Deviation, largest, largest_difference

ToDistribution = Callable[[Tensor], Tensor]


def softmax_is_distribution(softmax: ToDistribution = softmax_reference) -> Deviation:
    """Every entry lies above 0, and they sum to 1."""
    p = softmax(5 * torch.randn(50, 7))  # (N, K)
    return Deviation(largest(largest_difference(p.sum(-1), torch.ones(50)), float(-p.min()), float(p.min() == 0)))


def softmax_generalizes_sigmoid(softmax: ToDistribution = softmax_reference) -> Deviation:
    """softmax(x, y)_1 = e^x / (e^x + e^y) = sigma(x - y)."""
    pair = 5 * torch.randn(100, 2)
    return Deviation(largest_difference(softmax(pair)[:, 0], torch.special.expit(pair[:, 0] - pair[:, 1])))


def softmax_ignores_shift(softmax: ToDistribution = softmax_reference) -> Deviation:
    """softmax(x + c) = softmax(x): only differences of logits count, and their order is kept."""
    x = torch.randn(50, 7)
    p = softmax(x)
    moved = largest_difference(softmax(x + 100 * torch.randn(50, 1)), p)
    return Deviation(largest(moved, float((p.argsort() != x.argsort()).any())))
