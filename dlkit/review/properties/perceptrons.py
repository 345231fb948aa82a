"""Multilayer perceptrons: what a hidden layer adds (Cybenko 1989; Hornik et al. 1989)."""

from __future__ import annotations

import torch
from torch import nn

from dlkit.nn.linear import Linear
from dlkit.nn.mlp import MLP
from dlkit.review.deviation import Deviation, largest, largest_difference

SIZES = (8, 32, 128)


@torch.no_grad()
def mlp_approximates(activation: str = "relu") -> Deviation:
    """One hidden layer of n ReLUs comes within h^2 / 8 max |f''| of f, h = 1 / n: its weights can be written down.

    The network is the broken line through f at n + 1 points; each unit bends it at one of them.
    """
    frequency, phase = float(2 + 4 * torch.rand(())), float(torch.rand(()))

    def f(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(frequency * x + phase)

    x = torch.linspace(0, 1, 2001)[:, None]
    excess, errors = 0.0, dict[str, float]()
    for n in SIZES:
        network = MLP(1, 1, hidden=(n,), activation=activation)
        knots = torch.linspace(0, 1, n + 1)  # (n + 1,)
        slopes = f(knots).diff() * n  # (n,)
        first, last = [layer for layer in network if isinstance(layer, Linear)]
        # f_n(x) = f(0) + sum_i (s_i - s_(i-1)) relu(x - x_i)
        first.load_state_dict({"weight": torch.ones(n, 1), "bias": -knots[:-1]})
        last.load_state_dict({"weight": torch.cat([slopes[:1], slopes.diff()])[None], "bias": f(knots[:1])})
        error = largest_difference(network(x), f(x))
        bound = frequency**2 / 8 / n**2  # h^2 / 8 max |f''|
        errors[f"error with {n} units"] = error
        excess = largest(excess, error - bound)
    return Deviation(largest(excess, 0.0), errors)


def linear_layers() -> nn.Sequential:
    """Three linear layers with nothing in between."""
    return nn.Sequential(Linear(5, 7), Linear(7, 6), Linear(6, 3))


@torch.no_grad()
def linear_layers_collapse(network: nn.Module | None = None) -> Deviation:
    """Without a non-linearity, depth adds nothing: f(a x + b y) = a f(x) + b f(y) + (1 - a - b) f(0)."""
    network = network or linear_layers()
    x, y, (a, b) = torch.randn(20, 5), torch.randn(20, 5), torch.randn(2).tolist()
    zero = network(torch.zeros(1, 5))
    curved = MLP(5, 3, hidden=(7,))
    bend = largest_difference(
        curved(a * x + b * y), a * curved(x) + b * curved(y) + (1 - a - b) * curved(torch.zeros(1, 5))
    )
    return Deviation(
        largest_difference(network(a * x + b * y), a * network(x) + b * network(y) + (1 - a - b) * zero),
        {"with a ReLU in between": bend},
    )
