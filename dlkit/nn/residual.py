"""The residual block of He et al., arXiv:1512.03385, and its twin without the shortcut."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError
from dlkit.nn.activations import Activation
from dlkit.nn.activations import activation as activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.norm import Norm
from dlkit.nn.norm import norm as norm_layer

Shortcut = Literal["A", "B"]


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, then zeros for the new channels. No parameters.

    (N, C, H, W) to (N, O, ceil(H / stride), ceil(W / stride)).

    Raises:
        RequestError: fewer channels out than in.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise RequestError(
                f"shortcut A adds channels of zeros, so it cannot go from {in_channels} channels to {out_channels}",
                "use shortcut: B, or widths that do not fall",
            )
        self.stride = stride
        self.padding = (0, 0, 0, 0, 0, out_channels - in_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]  # (N, C, H', W')
        return F.pad(x, self.padding)  # (N, O, H', W')


class BasicBlock(nn.Module):
    """y = activation(F(x) + shortcut(x)), F(x) = norm(conv(activation(norm(conv(x))))), with 3x3 convolutions.

    (N, C, H, W) to (N, O, ceil(H / stride), ceil(W / stride)). Parameters are named as in torchvision's BasicBlock.
    A convolution has no bias where a norm follows.

    Args:
        in_channels: C.
        out_channels: O.
        stride: stride of the first convolution.
        norm: normalization after each convolution.
        activation: the non-linearity.
        shortcut: what stands for x where shapes differ: "A" zero-padded channels, "B" a 1x1 convolution and a norm.
        residual: whether the shortcut is added; without it, y = activation(F(x)).

    Raises:
        RequestError: shortcut A with fewer channels out than in; an unknown norm, activation or shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        norm: Norm = "batch",
        activation: Activation = "relu",
        shortcut: Shortcut = "A",
        residual: bool = True,
    ) -> None:
        super().__init__()
        bias = norm == "none"
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=bias)
        self.bn1 = norm_layer(norm, out_channels, 2)
        self.activation = activation_layer(activation, inplace=True)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=bias)
        self.bn2 = norm_layer(norm, out_channels, 2)
        self.residual = residual
        self.downsample = None
        if shortcut not in ("A", "B"):
            raise RequestError(f"no shortcut {shortcut!r}", "choose A or B")
        if residual and (stride != 1 or in_channels != out_channels):
            if shortcut == "A":
                self.downsample = ZeroPadShortcut(in_channels, out_channels, stride)
            else:
                self.downsample = nn.Sequential(
                    Conv2d(in_channels, out_channels, 1, stride=stride, bias=bias), norm_layer(norm, out_channels, 2)
                )

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.bn1(self.conv1(x)))  # (N, O, H', W')
        y = self.bn2(self.conv2(y))  # (N, O, H', W')
        if self.residual:
            y += x if self.downsample is None else self.downsample(x)  # in place: nothing else uses y
        return self.activation(y)
