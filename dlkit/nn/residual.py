"""The residual blocks of He et al., arXiv:1512.03385, and the same blocks without the shortcut."""

from __future__ import annotations

from typing import Literal, TypedDict, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.errors import RequestError
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.layer_scale import LayerScale
from dlkit.nn.norm import Norm, norm_layer
from dlkit.nn.stochastic_depth import StochasticDepth

Shortcut = Literal["A", "B"]


class ZeroPadShortcut(nn.Module):
    """Option A: subsample every stride-th pixel and pad the new channels with zeros. No parameters.

    (N, C, H, W) to (N, O, ceil(H / stride), ceil(W / stride)).

    Raises:
        RequestError: fewer channels out than in.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise RequestError(
                f"shortcut A adds channels of zeros, so it cannot go from {in_channels} channels to {out_channels}",
                "set model.shortcut=B, or model.widths that do not fall",
            )
        self.stride = stride
        self.channels = out_channels - in_channels  # of zeros

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]  # (N, C, H', W')
        return F.pad(x, (0, 0, 0, 0, 0, self.channels))  # (N, O, H', W')


class ResidualBlock(nn.Module):
    """y = activation(F(x) + shortcut(x)), where F is convolutions, each with a norm, and activations between them.

    (N, C, H, W) to (N, O, ceil(H / stride), ceil(W / stride)). Parameters are named as in torchvision's blocks:
    conv1, bn1, conv2, ... A convolution before a norm has no bias.

    Args:
        convolutions: those of F, in order; the last has O output channels, and one of them has the stride.
        in_channels: C.
        stride: product of the strides of all convolutions.
        norm: normalization after each convolution.
        activation: the non-linearity.
        shortcut: used where shapes change: "A" pads channels with zeros, "B" is a 1x1 convolution and a norm.
        residual: whether the shortcut is added; without it, y = activation(F(x)).
        layer_scale: initial value of the learned factors of F's channels; 0 for no factors.
        stochastic_depth: probability that an example skips F in training.

    Raises:
        RequestError: shortcut A with fewer channels out than in; an unknown norm, activation or shortcut.
    """

    def __init__(
        self,
        convolutions: list[Conv2d],
        in_channels: int,
        *,
        stride: int = 1,
        norm: Norm = "batch",
        activation: Activation = "relu",
        shortcut: Shortcut = "A",
        residual: bool = True,
        layer_scale: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.depth = len(convolutions)
        out_channels = in_channels
        for i, convolution in enumerate(convolutions, 1):
            out_channels = convolution.weight.shape[0]
            self.add_module(f"conv{i}", convolution)
            self.add_module(f"bn{i}", norm_layer(norm, out_channels, 2))
        self.activation = activation_layer(activation, inplace=True)
        self.scale = LayerScale(out_channels, layer_scale) if layer_scale else nn.Identity()
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.residual = residual
        self.downsample = None
        if shortcut not in ("A", "B"):
            raise RequestError(f"no shortcut {shortcut!r}", "choose A or B")
        if residual and (stride != 1 or in_channels != out_channels):
            if shortcut == "A":
                self.downsample = ZeroPadShortcut(in_channels, out_channels, stride)
            else:
                self.downsample = nn.Sequential(
                    Conv2d(in_channels, out_channels, 1, stride=stride, bias=norm == "none"),
                    norm_layer(norm, out_channels, 2),
                )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.depth:
                y = self.activation(y)
        # (N, O, H', W')
        if self.residual:
            y = self.stochastic_depth(self.scale(y))
            y += x if self.downsample is None else self.downsample(x)  # in place: nothing else uses y
        return self.activation(y)


class Options(TypedDict, total=False):
    """Options of all residual blocks: see `ResidualBlock`."""

    norm: Norm
    activation: Activation
    shortcut: Shortcut
    residual: bool
    layer_scale: float
    stochastic_depth: float


def basic_block(
    in_channels: int, width: int, *, stride: int = 1, kernel_size: int = 3, **options: Unpack[Options]
) -> ResidualBlock:
    """Two K x K convolutions, the first with the stride; O = width. K is odd."""
    bias, padding = options.get("norm") == "none", kernel_size // 2
    convolutions = [
        Conv2d(in_channels, width, kernel_size, stride=stride, padding=padding, bias=bias),  # (N, O, H', W')
        Conv2d(width, width, kernel_size, padding=padding, bias=bias),  # (N, O, H', W')
    ]
    return ResidualBlock(convolutions, in_channels, stride=stride, **options)


def bottleneck(
    in_channels: int,
    width: int,
    out_channels: int,
    *,
    stride: int = 1,
    kernel_size: int = 3,
    depthwise: bool = False,
    **options: Unpack[Options],
) -> ResidualBlock:
    """1x1 to `width` channels, K x K, 1x1 to O channels; inverted (Sandler et al., arXiv:1801.04381) where width > O.

    The K x K convolution has the stride ("v1.5"), not the first 1x1, which would skip three pixels in four.
    If depthwise, the K x K convolution filters each channel separately. K is odd.
    """
    bias, padding, groups = options.get("norm") == "none", kernel_size // 2, width if depthwise else 1
    convolutions = [
        Conv2d(in_channels, width, 1, bias=bias),  # (N, width, H, W)
        Conv2d(width, width, kernel_size, stride=stride, padding=padding, groups=groups, bias=bias),
        Conv2d(width, out_channels, 1, bias=bias),  # (N, O, H', W')
    ]
    return ResidualBlock(convolutions, in_channels, stride=stride, **options)
