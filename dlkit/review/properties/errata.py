"""Formulas as they are often printed, and numerically what goes wrong with each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from dlkit.information.code_properties import ambiguity, kraft_sum
from dlkit.information.codes import huffman_code
from dlkit.losses import l2_penalty
from dlkit.nn.dropout import dropout_reference
from dlkit.nn.norm import BatchNorm
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall
from dlkit.review.properties.dropout import Masked, expectation_over_masks

OptimizerClass = Callable[..., torch.optim.Optimizer]


def printed_dropout(x: Tensor, kept: Tensor, p: float) -> Tensor:
    """The factor 1/p, where p is the probability to drop."""
    return x * kept / p


def dropout_factor_depends_on_convention(dropout: Masked = dropout_reference) -> Deviation:
    """1/p is right where p is the probability to keep. Where p is that to drop, as in torch, it gives (1 - p) / p x."""
    x, p = torch.rand(5) + 0.5, 0.2
    printed = float((expectation_over_masks(printed_dropout, x, p) / x).mean())
    own = largest_difference(expectation_over_masks(dropout, x, p), x)
    return Deviation(largest(own, abs(printed - (1 - p) / p)), {"expectation as printed, at p = 0.2": printed})


@torch.no_grad()
def batch_norm_eps_inside_root(norm: Callable[[int], nn.Module] = BatchNorm) -> Deviation:
    """x / sqrt(Var + eps), not x / (sqrt(Var) + eps): where Var = eps, the one gives sqrt(1/2), the other nearly 1."""
    eps = 1e-5
    x = torch.randn(64, 3)
    x = (x - x.mean(0)) / x.std(0, correction=0) * math.sqrt(eps)  # of variance eps
    y = norm(3)(x)
    printed = x / (x.std(0, correction=0) + eps)
    off = shortfall(largest_difference(printed, y), 0.1)
    return Deviation(
        largest(largest_difference(y, x / math.sqrt(2 * eps)), off),
        {"deviation of the output": float(y.std(0, correction=0).mean()),
         "as printed": float(printed.std(0, correction=0).mean())},
    )  # fmt: skip


def squared_numerator_climbs(optimizer: OptimizerClass = Adagrad) -> Deviation:
    """With g^2 in the numerator every step goes the same way: from -1 on x^2 / 2 it climbs; with g it goes down."""

    def printed(x: float, total: float) -> tuple[float, float]:
        total += x * x
        return x - 0.1 * x * x / (math.sqrt(total) + 1e-8), total

    theta = torch.nn.Parameter(torch.tensor([-1.0]))
    stepper = optimizer([theta], lr=0.1)
    x, total = -1.0, 0.0
    for _ in range(50):
        theta.grad = theta.detach().clone()
        stepper.step()
        x, total = printed(x, total)
    own = abs(theta.item())
    return Deviation(largest(shortfall(1.0, own + 1e-6), shortfall(abs(x), 1.5)), {"with g": -own, "with g^2": x})


def adam_correction_is_not_fed_back(optimizer: OptimizerClass = Adam) -> Deviation:
    """Feeding the corrected average back makes it grow: under g = 1 it passes 100 in 10 steps, where Adam's stays 1."""
    beta, fed_back, average = 0.9, 0.0, 0.0
    for step in range(1, 11):
        fed_back = (beta * fed_back + (1 - beta)) / (1 - beta**step)
        average = beta * average + (1 - beta)
    theta = torch.nn.Parameter(torch.zeros(1))
    stepper = optimizer([theta], lr=1.0, eps=0.0)
    for _ in range(10):
        theta.grad = torch.ones(1)
        stepper.step()
    corrected = average / (1 - beta**10)
    own = abs(theta.item() + 10)  # ten steps of lr
    return Deviation(
        largest(own, abs(corrected - 1), shortfall(fed_back, 100.0)), {"fed back": fed_back, "Adam": corrected}
    )


def adamw_decay_is_elementwise(optimizer: OptimizerClass = AdamW) -> Deviation:
    """Subtracting the scalar lambda ||theta||^2 drives negative weights further down; AdamW shrinks every one."""
    start = torch.tensor([2.0, -2.0, 0.5, -0.5])
    theta = torch.nn.Parameter(start.clone())
    theta.grad = torch.zeros(4)
    optimizer([theta], lr=0.1, weight_decay=0.1).step()
    printed = start - 0.1 * start.square().sum()
    grown = float((printed.abs() - start.abs()).max())
    return Deviation(
        largest(largest_difference(theta.detach(), start * (1 - 0.1 * 0.1)), shortfall(grown, 0.1)),
        {"largest growth as printed": grown},
    )


def l2_norm_must_be_squared(penalty: Callable[[Iterable[Tensor], float], Tensor] = l2_penalty) -> Deviation:
    """The gradient of lambda ||theta|| keeps its length however small theta is; that of its half square does not."""
    strength, lengths, off = 0.5, list[float](), list[float]()
    for scale in (1.0, 1e-3):
        theta = (torch.randn(4) * scale).requires_grad_()
        (own,) = torch.autograd.grad(penalty([theta], strength), theta)
        (printed,) = torch.autograd.grad(strength * theta.norm(), theta)
        lengths.append(float(printed.norm()))
        off += [largest_difference(own, strength * theta.detach()), abs(lengths[-1] - strength)]
    return Deviation(largest(*off), {"length of its gradient": lengths[-1]})


def short_code_is_ambiguous(code: Callable[[list[float]], list[str]] = huffman_code) -> Deviation:
    """A = 0, B = 1, C = 00 cannot be decoded: 00 is AA or C, and sum 2^-l = 1.25. Huffman's can, and comes to 1."""
    printed = {"A": "0", "B": "1", "C": "00"}
    words = dict(zip("ABC", code([0.4, 0.4, 0.2]), strict=True))
    as_claimed = ambiguity(printed) is not None and ambiguity(words) is None
    total = kraft_sum([len(word) for word in words.values()])
    printed_total = kraft_sum([len(word) for word in printed.values()])
    return Deviation(
        largest(0.0 if as_claimed else math.inf, abs(total - 1)),
        {"sum of 2^-l as printed": printed_total, "Huffman": total},
    )
