"""ConvNeXt: a ResNet with the design choices of vision transformers. Liu et al., arXiv:2201.03545.

Legend: N images, C channels, H rows, W columns, E = expansion C, K classes.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from dlkit.annotations import Count, Depth, Kernel, NonNegative, Rate
from dlkit.errors import RequestError
from dlkit.models import check_shapes, check_stages
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.dropout import Dropout
from dlkit.nn.layer_scale import LayerScale
from dlkit.nn.linear import Linear
from dlkit.nn.norm import Norm, norm_layer
from dlkit.nn.stochastic_depth import StochasticDepth, rising

EPS = 1e-6  # of every norm


class ConvNeXtBlock(nn.Module):
    """y = x + gamma * W2 activation(W1 norm(conv(x))): (N, C, H, W), same shape out. Figure 4 of the paper.

    Args:
        channels: C.
        kernel_size: side of the convolution, odd.
        expansion: E / C.
        norm: normalization after the convolution, the only one of the block.
        activation: non-linearity between the two linear layers, the only one of the block.
        depthwise: whether the convolution filters each channel separately.
        layer_scale: initial value of gamma; 0 for no gamma.
        stochastic_depth: probability that an example skips the block in training.
        residual: whether x is added.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        expansion: int = 4,
        norm: Norm = "layer",
        activation: Activation = "gelu",
        depthwise: bool = True,
        layer_scale: float = 1e-6,
        stochastic_depth: float = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.conv = Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups)
        self.norm = norm_layer(norm, channels, 2, eps=EPS)
        self.expand = Linear(channels, expansion * channels)
        self.activation = activation_layer(activation, inplace=True)
        self.project = Linear(expansion * channels, channels)
        self.scale = LayerScale(channels, layer_scale, channels_last=True) if layer_scale else nn.Identity()
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))  # (N, C, H, W)
        y = self.expand(y.permute(0, 2, 3, 1))  # (N, H, W, E): a 1x1 convolution as one matrix product
        y = self.scale(self.project(self.activation(y)))  # (N, H, W, C)
        y = self.stochastic_depth(y.permute(0, 3, 1, 2))  # (N, C, H, W)
        return x + y if self.residual else y


class ConvNeXt(nn.Module):
    """A patchify stem, stages of ConvNeXt blocks with downsampling between them, mean over pixels, norm, linear.

    (N, C, H, W) to logits (N, num_classes). H and W are at least patch * 2^(stages - 1).

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        patch: side of the stem's patches in pixels: 4 for images of 224 pixels, 1 or 2 for 32.
        kernel_size: side of the blocks' convolutions, odd.
        expansion: ratio of the hidden width of a block to its channels.
        norm: the normalization.
        activation: the non-linearity.
        depthwise: whether the blocks' convolutions filter each channel separately.
        layer_scale: initial value of the learned factors of each branch; 0 for no factors.
        stochastic_depth: probability that an example skips the last block in training; it rises linearly from 0.
        dropout: probability that a feature is zeroed before the last layer in training.
        residual: whether blocks have a residual connection.

    Raises:
        RequestError: not images, or too small ones; depths and widths that are empty, below 1 or differ in number; an
            even kernel_size; an unknown norm or activation.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        depths: tuple[Depth, ...] = (3, 3, 9, 3),
        widths: tuple[Count, ...] = (96, 192, 384, 768),
        patch: Kernel = 4,
        kernel_size: Kernel = 7,
        expansion: Kernel = 4,
        norm: Norm = "layer",
        activation: Activation = "gelu",
        depthwise: bool = True,
        layer_scale: NonNegative = 1e-6,
        stochastic_depth: Rate = 0.0,
        dropout: Rate = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        check_shapes(input_shape, num_classes, images_only=True)
        check_stages(depths, widths)
        if kernel_size % 2 == 0:
            raise RequestError(f"kernel_size must be odd, so that an image keeps its size, got {kernel_size}")
        least = patch * 2 ** (len(depths) - 1)
        if min(input_shape[1:]) < least:
            raise RequestError(
                f"images of {input_shape[1]}x{input_shape[2]} are too small: patches of {patch} pixels and"
                f" {len(depths)} stages need {least}x{least}",
                "lower model.patch",
            )
        self.stem = nn.Sequential(
            Conv2d(input_shape[0], widths[0], patch, stride=patch), norm_layer(norm, widths[0], 2, eps=EPS)
        )
        skipped = iter(rising(stochastic_depth, sum(depths)))
        before = widths[0]
        names = tuple(f"stage{i}" for i in range(1, len(depths) + 1))
        for name, depth, width in zip(names, depths, widths, strict=True):
            if name != "stage1":
                halve = nn.Sequential(norm_layer(norm, before, 2, eps=EPS), Conv2d(before, width, 2, stride=2))
                self.add_module(name.replace("stage", "downsample"), halve)
            blocks = [
                ConvNeXtBlock(
                    width,
                    kernel_size=kernel_size,
                    expansion=expansion,
                    norm=norm,
                    activation=activation,
                    depthwise=depthwise,
                    layer_scale=layer_scale,
                    stochastic_depth=next(skipped),
                    residual=residual,
                )
                for _ in range(depth)
            ]
            self.add_module(name, nn.Sequential(*blocks))
            before = width
        self.norm = norm_layer(norm, before, 1, eps=EPS)
        self.dropout = Dropout(dropout)
        self.fc = Linear(before, num_classes)
        halvings = tuple((f"downsample{i}", f"stage{i}") for i in range(2, len(depths) + 1))
        self.stages = (("stem",), ("stage1",), *halvings, ("norm", "fc"))
        for module in self.modules():
            if isinstance(module, (Conv2d, Linear)):
                # W ~ N(0, 0.02^2), cut at 2 (appendix A.1); b = 0
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, C, H, W), H and W an image's divided by `patch`
        for names in self.stages[1:-1]:
            for name in names:
                x = getattr(self, name)(x)  # (N, width, H // 2, W // 2); the first stage keeps H and W
        x = self.norm(x.mean((2, 3)))  # (N, C)
        return self.fc(self.dropout(x))  # (N, K)


# Section 3 of the paper.
convnext_tiny = partial(ConvNeXt, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768))
convnext_small = partial(ConvNeXt, depths=(3, 3, 27, 3), widths=(96, 192, 384, 768))
convnext_base = partial(ConvNeXt, depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024))
convnext_large = partial(ConvNeXt, depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536))
# The nano size of Woo et al., arXiv:2301.00808, with version 1 blocks; use patch: 1 or 2 for images of 32 pixels.
convnext_nano = partial(ConvNeXt, depths=(2, 2, 8, 2), widths=(80, 160, 320, 640))
