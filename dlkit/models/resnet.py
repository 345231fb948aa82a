"""Residual networks: He et al., arXiv:1512.03385. Parameters are named as in torchvision's ResNet."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from dlkit.annotations import Count, Rate
from dlkit.errors import RequestError
from dlkit.models import check_shapes
from dlkit.nn.activations import Activation
from dlkit.nn.activations import activation as activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.dropout import Dropout
from dlkit.nn.linear import Linear
from dlkit.nn.norm import Norm
from dlkit.nn.norm import norm as norm_layer
from dlkit.nn.residual import BasicBlock, Shortcut


class ResNet(nn.Module):
    """3x3 convolution, stages of residual blocks, the mean over pixels, a linear layer.

    (N, C, H, W) to logits (N, num_classes). Each stage but the first halves height and width (rounded up), so that
    images of any size work.
    The CIFAR networks of the paper's section 4.2 have 6n + 2 layers: three stages of n blocks, shortcut A.

    Args:
        depths: residual blocks of each stage.
        widths: channels of each stage.
        norm: normalization after each convolution.
        activation: the non-linearity.
        shortcut: where a stage changes shape: A pads channels with zeros, B projects with a 1x1 convolution.
        dropout: probability that a feature is zeroed before the last layer in training.
        residual: whether shortcuts are added; without them, the paper's plain network.

    Raises:
        RequestError: not images; depths and widths that are empty, below 1 or differ in number;
            what `BasicBlock` refuses.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        depths: tuple[Count, ...] = (3, 3, 3),
        widths: tuple[Count, ...] = (16, 32, 64),
        norm: Norm = "batch",
        activation: Activation = "relu",
        shortcut: Shortcut = "A",
        dropout: Rate = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        check_shapes(input_shape, num_classes, images_only=True)
        if len(depths) != len(widths):
            raise RequestError(
                f"depths has {len(depths)} stages, widths has {len(widths)}: {tuple(depths)}, {tuple(widths)}",
                "give one depth and one width a stage",
            )
        if not depths or min(*depths, *widths) < 1:
            raise RequestError(
                f"every stage needs a block and a channel, got depths = {tuple(depths)}, widths = {tuple(widths)}"
            )
        self.conv1 = Conv2d(input_shape[0], widths[0], 3, padding=1, bias=norm == "none")
        self.bn1 = norm_layer(norm, widths[0], 2)
        self.activation = activation_layer(activation, inplace=True)
        self.stages = tuple(f"layer{i}" for i in range(1, len(depths) + 1))
        in_channels = widths[0]
        for name, depth, width in zip(self.stages, depths, widths, strict=True):
            blocks: list[nn.Module] = []
            for i in range(depth):
                stride = 2 if i == 0 and name != "layer1" else 1
                blocks.append(
                    BasicBlock(
                        in_channels,
                        width,
                        stride=stride,
                        norm=norm,
                        activation=activation,
                        shortcut=shortcut,
                        residual=residual,
                    )
                )
                in_channels = width
            self.add_module(name, nn.Sequential(*blocks))
        self.dropout = Dropout(dropout)
        self.fc = Linear(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d):
                # W ~ N(0, 2 / fan_out), fan_out = O K K: keeps the variance of gradients (He et al., arXiv:1502.01852)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.bn1(self.conv1(x)))  # (N, widths[0], H, W)
        for name in self.stages:
            x = getattr(self, name)(x)  # (N, width, ceil(H / 2), ceil(W / 2)); the first keeps H and W
        x = x.mean((2, 3))  # (N, widths[-1])
        return self.fc(self.dropout(x))  # (N, K)


# Table 6 of the paper: n = 3, 5, 7, 9, 18 blocks a stage, 6n + 2 layers.
resnet20 = partial(ResNet, depths=(3, 3, 3), widths=(16, 32, 64))
resnet32 = partial(ResNet, depths=(5, 5, 5), widths=(16, 32, 64))
resnet44 = partial(ResNet, depths=(7, 7, 7), widths=(16, 32, 64))
resnet56 = partial(ResNet, depths=(9, 9, 9), widths=(16, 32, 64))
resnet110 = partial(ResNet, depths=(18, 18, 18), widths=(16, 32, 64))
# The plain networks of figure 6: the same, without shortcuts.
plain20 = partial(ResNet, depths=(3, 3, 3), widths=(16, 32, 64), shortcut="A", residual=False)
plain56 = partial(ResNet, depths=(9, 9, 9), widths=(16, 32, 64), shortcut="A", residual=False)
