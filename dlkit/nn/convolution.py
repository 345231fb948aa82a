"""Convolution over images. Shapes: N images, C channels in, O channels out, K the kernel size, G groups."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError


def convolution_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """Convolution as one matrix product: unfold turns every K x K patch into a column (im2col)."""
    n, c, height, width = x.shape
    o, per_group, k, _ = weight.shape
    out_height = (height + 2 * padding - k) // stride + 1
    out_width = (width + 2 * padding - k) // stride + 1
    patches = F.unfold(x, k, padding=padding, stride=stride)  # (N, C K K, L), L = H' W'
    patches = patches.view(n, groups, c // groups * k * k, -1)  # (N, G, C/G K K, L)
    kernels = weight.view(groups, o // groups, per_group * k * k)  # (G, O/G, C/G K K)
    # y[n, o, l] = sum_p W[o, p] patch[n, p, l] + b[o]
    y = torch.einsum("gop,ngpl->ngol", kernels, patches).reshape(n, o, out_height, out_width)  # (N, O, H', W')
    return y if bias is None else y + bias.view(1, -1, 1, 1)


class Conv2d(nn.Module):
    """Slide O kernels of K x K over an image: (N, C, H, W) to (N, O, (H + 2 padding - K) // stride + 1, ...).

    The kernel is not flipped, so this is cross-correlation. Parameter names and initialisation are torch's.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: K.
        stride: pixels from one patch to the next.
        padding: rows and columns of zeros added on every side.
        groups: number of groups of channels, each convolved separately; C groups are a depthwise convolution.
        bias: whether to add a bias to each output channel.

    Raises:
        RequestError: groups does not divide both numbers of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise RequestError(f"{groups} groups do not divide {in_channels} channels in and {out_channels} out")
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        # W, b ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in = C/G K K
        bound = 1 / math.sqrt(in_channels // groups * kernel_size**2)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)

    def extra_repr(self) -> str:
        out_channels, per_group = self.weight.shape[:2]
        return (
            f"{per_group * self.groups}, {out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, groups={self.groups}, bias={self.bias is not None}"
        )
