"""Residual networks: He et al., arXiv:1512.03385. Parameters are named as in torchvision's ResNet.

The options cover the steps from ResNet-50 towards ConvNeXt of Liu et al., arXiv:2201.03545, section 2: depths
[3, 3, 9, 3], stem: patch, depthwise with widths [96, ...], block: inverted, kernel_size: 7, activation: gelu, norm:
layer. The remaining steps (the depthwise convolution first, fewer activations and norms) are `dlkit.models.convnext`.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from dlkit.annotations import Count, Depth, Kernel, NonNegative, Rate
from dlkit.errors import RequestError
from dlkit.models import check_shapes, check_stages
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.dropout import Dropout
from dlkit.nn.linear import Linear
from dlkit.nn.norm import Norm, norm_layer
from dlkit.nn.residual import Options, ResidualBlock, Shortcut, basic_block, bottleneck
from dlkit.nn.stochastic_depth import rising

Block = Literal["basic", "bottleneck", "inverted"]
Stem = Literal["conv3", "conv7", "patch"]
EXPANSION = 4


class ResNet(nn.Module):
    """A stem, stages of residual blocks, the mean over pixels, a linear layer.

    (N, C, H, W) to logits (N, num_classes). Each stage but the first halves height and width, rounded up, so images may
    have any size.
    The CIFAR networks of the paper's section 4.2 have 6n + 2 layers: three stages of n blocks, shortcut A.

    Args:
        depths: residual blocks of each stage.
        widths: channels of each stage; for a bottleneck, those inside, a quarter of its output channels.
        norm: normalization after each convolution.
        activation: the non-linearity.
        shortcut: used where a stage changes shape: A pads channels with zeros, B projects with a 1x1 convolution.
        dropout: probability that a feature is zeroed before the last layer in training.
        residual: whether shortcuts are added; without them, the paper's plain network.
        block: basic has two convolutions; bottleneck has one between two 1x1 convolutions; inverted is a bottleneck
            with four times as many channels inside as outside.
        stem: conv3 is a 3x3 convolution (CIFAR); conv7 a 7x7 convolution of stride 2, then 3x3 max-pooling of stride 2
            (ImageNet); patch a 4x4 convolution of stride 4.
        kernel_size: side of the blocks' convolutions, odd.
        depthwise: whether the middle convolution of a bottleneck filters each channel separately.
        layer_scale: initial value of the learned factors of each branch; 0 for no factors.
        stochastic_depth: probability that an example skips the last block in training; it rises linearly from 0.

    Raises:
        RequestError: not images; depths and widths that are empty, below 1 or differ in number; an even kernel_size;
            depthwise basic blocks; an unknown block or stem; invalid arguments of `ResidualBlock`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        depths: tuple[Depth, ...] = (3, 3, 3),
        widths: tuple[Count, ...] = (16, 32, 64),
        norm: Norm = "batch",
        activation: Activation = "relu",
        shortcut: Shortcut = "A",
        dropout: Rate = 0.0,
        residual: bool = True,
        block: Block = "basic",
        stem: Stem = "conv3",
        kernel_size: Kernel = 3,
        depthwise: bool = False,
        layer_scale: NonNegative = 0.0,
        stochastic_depth: Rate = 0.0,
    ) -> None:
        super().__init__()
        check_shapes(input_shape, num_classes, images_only=True)
        check_stages(depths, widths)
        if kernel_size % 2 == 0:
            raise RequestError(f"kernel_size must be odd, so that an image keeps its size, got {kernel_size}")
        if depthwise and block == "basic":
            raise RequestError(
                "depthwise is about the middle convolution of a bottleneck", "set model.block=bottleneck"
            )
        in_channels = widths[0]
        self.conv1 = _stem(stem, input_shape[0], in_channels, bias=norm == "none")
        self.bn1 = norm_layer(norm, in_channels, 2)
        self.activation = activation_layer(activation, inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "conv7" else nn.Identity()
        names = tuple(f"layer{i}" for i in range(1, len(depths) + 1))
        self.stages = (("conv1", "bn1"), *((name,) for name in names), ("fc",))
        options: Options = {
            "norm": norm,
            "activation": activation,
            "shortcut": shortcut,
            "residual": residual,
            "layer_scale": layer_scale,
        }
        skipped = iter(rising(stochastic_depth, sum(depths)))
        for name, depth, width in zip(names, depths, widths, strict=True):
            blocks: list[ResidualBlock] = []
            for i in range(depth):
                stride = 2 if i == 0 and name != "layer1" else 1
                options["stochastic_depth"] = next(skipped)
                if block == "basic":
                    out_channels = width
                    made = basic_block(in_channels, width, stride=stride, kernel_size=kernel_size, **options)
                else:
                    inside, out_channels = _bottleneck_widths(block, width)
                    made = bottleneck(
                        in_channels,
                        inside,
                        out_channels,
                        stride=stride,
                        kernel_size=kernel_size,
                        depthwise=depthwise,
                        **options,
                    )
                blocks.append(made)
                in_channels = out_channels
            self.add_module(name, nn.Sequential(*blocks))
        self.dropout = Dropout(dropout)
        self.fc = Linear(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d):
                # W ~ N(0, 2 / fan_out), fan_out = O K K: keeps the variance of gradients (He et al., arXiv:1502.01852)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.activation(self.bn1(self.conv1(x))))  # (N, widths[0], H, W); conv7, patch: a quarter
        for (name,) in self.stages[1:-1]:
            x = getattr(self, name)(x)  # (N, width, ceil(H / 2), ceil(W / 2)); the first keeps H and W
        x = x.mean((2, 3))  # (N, O)
        return self.fc(self.dropout(x))  # (N, K)


def _stem(stem: Stem, channels: int, width: int, *, bias: bool) -> Conv2d:
    if stem == "conv3":
        return Conv2d(channels, width, 3, padding=1, bias=bias)  # (N, width, H, W)
    if stem == "conv7":
        return Conv2d(channels, width, 7, stride=2, padding=3, bias=bias)  # (N, width, ceil(H / 2), ceil(W / 2))
    if stem == "patch":
        return Conv2d(channels, width, 4, stride=4, bias=bias)  # (N, width, H // 4, W // 4)
    raise RequestError(f"no stem {stem!r}", "choose conv3, conv7 or patch")


def _bottleneck_widths(block: Block, width: int) -> tuple[int, int]:
    """Channels inside a bottleneck, and its output channels."""
    if block == "bottleneck":
        return width, EXPANSION * width
    if block == "inverted":
        return EXPANSION * width, width
    raise RequestError(f"no block {block!r}", "choose basic, bottleneck or inverted")


# Table 6 of the paper: n = 3, 5, 7, 9, 18 blocks per stage, 6n + 2 layers.
resnet20 = partial(ResNet, depths=(3, 3, 3), widths=(16, 32, 64))
resnet32 = partial(ResNet, depths=(5, 5, 5), widths=(16, 32, 64))
resnet44 = partial(ResNet, depths=(7, 7, 7), widths=(16, 32, 64))
resnet56 = partial(ResNet, depths=(9, 9, 9), widths=(16, 32, 64))
resnet110 = partial(ResNet, depths=(18, 18, 18), widths=(16, 32, 64))
# The plain networks of figure 6: the same, without shortcuts.
plain20 = partial(ResNet, depths=(3, 3, 3), widths=(16, 32, 64), shortcut="A", residual=False)
plain56 = partial(ResNet, depths=(9, 9, 9), widths=(16, 32, 64), shortcut="A", residual=False)
# Table 1 of the paper, for images of 224 pixels, with the stride of a bottleneck in its 3x3 convolution ("v1.5").
_imagenet = partial(ResNet, widths=(64, 128, 256, 512), stem="conv7", shortcut="B")
resnet18 = partial(_imagenet, depths=(2, 2, 2, 2), block="basic")
resnet34 = partial(_imagenet, depths=(3, 4, 6, 3), block="basic")
resnet50 = partial(_imagenet, depths=(3, 4, 6, 3), block="bottleneck")
resnet101 = partial(_imagenet, depths=(3, 4, 23, 3), block="bottleneck")
resnet152 = partial(_imagenet, depths=(3, 8, 36, 3), block="bottleneck")
