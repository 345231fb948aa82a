"""Convolution: few weights, used at every place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlkit.nn.convolution import Conv2d
from dlkit.nn.linear import Linear
from dlkit.review.deviation import Deviation, largest, largest_difference, shortfall

SIZE, KERNEL = 12, 3  # pixels


class DenseImages(nn.Module):
    """A linear layer from all pixels to all pixels: (N, 1, H, W) to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear(SIZE**2, SIZE**2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)).view_as(x)


def same_convolution() -> nn.Module:
    """3x3, the size kept."""
    return Conv2d(1, 1, KERNEL, padding=KERNEL // 2)


@torch.no_grad()
def convolution_is_translation_equivariant(layer: Callable[[], nn.Module] = same_convolution) -> Deviation:
    """A shifted picture gives the shifted output; of a linear layer it does not."""
    x = torch.zeros(2, 1, SIZE, SIZE)
    x[:, :, 4:8, 4:8] = torch.randn(2, 1, 4, 4)  # away from the edges, also after a shift by 2

    def deviation(module: nn.Module) -> float:
        shifts = [(0, 1), (2, 0), (-2, 1)]
        pairs = [(module(x.roll(shift, (2, 3))), module(x).roll(shift, (2, 3))) for shift in shifts]
        # what a shift brings in from beyond the other edge is left out
        return max(largest_difference(a[..., 2:-2, 2:-2], b[..., 2:-2, 2:-2]) for a, b in pairs)

    linear = deviation(DenseImages())
    return Deviation(largest(deviation(layer()), shortfall(linear, 1e-3)), {"linear layer": linear})


@torch.no_grad()
def convolution_shares_weights(layer: Callable[[], nn.Module] = same_convolution) -> Deviation:
    """As a matrix from pixels to pixels it has K^2 different numbers beside 0, where a linear layer has (H W)^2."""
    module = layer()
    zero = torch.zeros(1, 1, SIZE, SIZE)
    pixels = torch.eye(SIZE**2).view(-1, 1, SIZE, SIZE)
    matrix = (module(pixels) - module(zero)).flatten(1)  # (H W, H W)
    distinct = len(torch.unique((matrix * 1e9).round()))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    dense = sum(parameter.numel() for parameter in DenseImages().parameters())
    return Deviation(
        abs(distinct - (KERNEL**2 + 1)), {"parameters": parameters, "of a linear layer": dense}
    )  # fmt: skip
