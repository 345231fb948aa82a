"""Normalization: Ioffe & Szegedy 2015, arXiv:1502.03167; Ba et al. 2016, arXiv:1607.06450."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlkit.nn.norm import BatchNorm, LayerNorm, standardize_reference
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

ROWS, FEATURES = 16, 6


def _batch() -> Tensor:
    """Rows (N, F) whose features differ in mean and scale."""
    return torch.randn(ROWS, FEATURES) * 10 ** torch.linspace(-1, 1, FEATURES) + 5 * torch.randn(FEATURES)


@torch.no_grad()
def batch_norm_standardizes(norm: Callable[[int], nn.Module] = BatchNorm) -> Deviation:
    """In training each feature comes out with mean 0 and variance v / (v + eps) over the batch."""
    x, module = _batch(), norm(FEATURES)
    y, variance = module(x), x.var(0, correction=0)
    mean = largest_difference(y.mean(0), torch.zeros(FEATURES))
    spread = largest_difference(y.var(0, correction=0), variance / (variance + 1e-5))
    return Deviation(largest(mean, spread), {"largest variance before": float(variance.max())})


@torch.no_grad()
def batch_norm_running_statistics(norm: Callable[[int], nn.Module] = BatchNorm) -> Deviation:
    """In evaluation it shifts and scales by running averages of the training batches, not by the batch at hand."""
    module = norm(FEATURES)
    mean, variance = torch.zeros(FEATURES), torch.ones(FEATURES)
    for _ in range(5):
        x = _batch()
        module(x)
        # running <- 0.9 running + 0.1 batch
        mean, variance = 0.9 * mean + 0.1 * x.mean(0), 0.9 * variance + 0.1 * x.var(0)
    module.eval()
    x = _batch()
    expected = (x - mean) / (variance + 1e-5).sqrt()
    y = module(x)
    alone = largest_difference(module(x[:1]), y[:1])
    standardized = largest_difference(y, standardize_reference(x, (0,), 1e-5))
    return Deviation(
        largest(largest_difference(y, expected), alone, shortfall(standardized, 1e-3)),
        {"distance from the batch's own statistics": standardized},
    )


@torch.no_grad()
def layer_norm_ignores_batch(norm: Callable[[int], nn.Module] = LayerNorm) -> Deviation:
    """A row gives the same alone and in any batch, in training and in evaluation."""
    x, module = _batch(), norm(FEATURES)
    other = torch.cat([x[:1], _batch()[1:]])
    in_batch, in_other = module(x)[:1], module(other)[:1]
    module.eval()
    alone = module(x[:1])
    batch_norm = BatchNorm(FEATURES)
    return Deviation(
        largest(largest_difference(in_batch, in_other), largest_difference(in_batch, alone)),
        {"batch norm, beside other rows": largest_difference(batch_norm(x)[:1], batch_norm(other)[:1])},
    )


@torch.no_grad()
def layer_norm_standardizes_row(norm: Callable[[int], nn.Module] = LayerNorm) -> Deviation:
    """Each row comes out with mean 0 and variance v / (v + eps) over its features."""
    x = _batch()
    y, variance = norm(FEATURES)(x), x.var(1, correction=0)
    mean = largest_difference(y.mean(1), torch.zeros(ROWS))
    return Deviation(largest(mean, largest_difference(y.var(1, correction=0), variance / (variance + 1e-5))))


def standardize_features(x: Tensor) -> Tensor:
    """Features with mean 0 and variance 1."""
    return standardize_reference(x, (0,), 0.0)


def standardized_inputs_condition(scale: Callable[[Tensor], Tensor] = standardize_features) -> Deviation:
    """Standardised inputs bring the condition number of a least-squares loss down at least tenfold.

    The Hessian of ||X w - y||^2 / 2N is H = X^T X / N, with a column of ones for the bias. Gradient descent at its best
    constant rate shrinks the error by (k - 1) / (k + 1) a step, where k is the condition number of H.
    """
    x = torch.randn(200, FEATURES) * 10 ** torch.linspace(-1, 1, FEATURES) + 3 * torch.randn(FEATURES)

    def condition(inputs: Tensor) -> float:
        design = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)  # (N, F + 1)
        return float(torch.linalg.cond(design.T @ design / len(design)))

    raw, scaled = condition(x), condition(scale(x))
    return Deviation(shortfall(raw / scaled, 10.0), {"raw": raw, "standardised": scaled})
