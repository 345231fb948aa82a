"""Dropout: Hinton et al. 2012, arXiv:1207.0580."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlkit.nn.dropout import Dropout, dropout_reference
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

UNITS = 6
Masked = Callable[[Tensor, Tensor, float], Tensor]


def expectation_over_masks(dropout: Masked, x: Tensor, p: float) -> Tensor:
    """E[y] exactly: over all 2^n masks, each with its probability."""
    expected = torch.zeros_like(x)
    for bits in itertools.product((0.0, 1.0), repeat=len(x)):
        kept = torch.tensor(bits)
        erased = len(bits) - sum(bits)
        expected += p**erased * (1 - p) ** sum(bits) * dropout(x, kept, p)
    return expected


def dropout_keeps_expectation(dropout: Masked = dropout_reference) -> Deviation:
    """The mean over all masks is x: survivors are scaled by 1/(1 - p) where p is the probability to drop."""
    x, p = torch.randn(UNITS), float(torch.rand(()) * 0.8 + 0.1)
    unscaled = expectation_over_masks(lambda x, kept, _: x * kept, x, p)
    return Deviation(
        largest_difference(expectation_over_masks(dropout, x, p), x),
        {"without the factor": largest_difference(unscaled, x)},
    )


def dropout_off_in_evaluation(dropout: Callable[[float], nn.Module] = Dropout) -> Deviation:
    """Nothing happens in evaluation; in training every number is either 0 or x / (1 - p), and some are 0."""
    x, p = torch.rand(200) + 0.5, 0.5
    module = dropout(p)
    trained = module.train()(x)
    strange = torch.minimum(trained.abs(), (trained - x / (1 - p)).abs())
    erased = float((trained == 0).double().mean())
    return Deviation(
        largest(
            largest_difference(module.eval()(x), x),
            largest_difference(strange, torch.zeros_like(x)),
            shortfall(erased, 0.2),
        ),
        {"erased in training": erased},
    )
