"""A convolutional network for training on small images in seconds: Jordan 2024, arXiv:2404.00498 ("airbench94")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.annotations import Count, Positive
from dlkit.errors import RequestError
from dlkit.models import check_shapes
from dlkit.nn.activations import Activation, activation_layer
from dlkit.nn.convolution import Conv2d
from dlkit.nn.linear import Linear
from dlkit.nn.norm import BatchNorm
from dlkit.nn.whitening import whitening_filters

SIDE, WHITENING_EPS = 2, 5e-4  # of the whitening layer: section 3.2
NORM_EPS, NORM_MOMENTUM = 1e-12, 0.4  # from the paper's code: a short run needs fast running averages


class FastCNN(nn.Module):
    """A whitening layer, groups of two 3x3 convolutions with max-pooling, the maximum over pixels, a linear layer.

    (N, C, H, W) to logits (N, num_classes). Norms have a bias and no weight. The whitening layer's filters are not
    trained; they are random until `whiten` is called.

    Args:
        widths: channels of each group; every group halves height and width.
        activation: the non-linearity.
        dirac: whether convolutions are initialised as the identity, as far as they have channels for it (Zagoruyko &
            Komodakis, arXiv:1706.00388).
        scale: factor of the logits.

    Raises:
        RequestError: not images, too small ones, or no groups.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        *,
        widths: tuple[Count, ...] = (64, 256, 256),
        activation: Activation = "gelu",
        dirac: bool = True,
        scale: Positive = 1 / 9,
    ) -> None:
        super().__init__()
        check_shapes(input_shape, num_classes, images_only=True)
        channels, height, width = input_shape
        if not widths or min(widths) < 1:
            raise RequestError(f"every group needs at least 1 channel, got widths = {tuple(widths)}")
        if min(height, width) - SIDE + 1 < 2 ** len(widths):
            raise RequestError(
                f"a {height}x{width} image cannot be halved {len(widths)} times after a {SIDE}x{SIDE} convolution",
                "give fewer widths",
            )
        in_channels = 2 * channels * SIDE**2
        self.whitening = Conv2d(channels, in_channels, SIDE)
        self.whitening.weight.requires_grad = False
        nn.init.zeros_(self.whitening.bias)  # pyright: ignore[reportArgumentType]
        self.activation = activation_layer(activation)
        self.groups = tuple(f"group{i}" for i in range(1, len(widths) + 1))
        for name, out_channels in zip(self.groups, widths, strict=True):
            self.add_module(name, nn.Sequential(_Group(in_channels, out_channels, activation, dirac)))
            in_channels = out_channels
        self.fc = Linear(in_channels, num_classes, bias=False)
        self.scale = scale
        self.stages = (("whitening",), *((name,) for name in self.groups), ("fc",))

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Compute the whitening layer's filters from normalised training images (N, C, H, W)."""
        self.whitening.weight.copy_(whitening_filters(images, SIDE, WHITENING_EPS))

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) - SIDE + 1 < 2 ** len(self.groups):
            raise RequestError(f"images of {x.shape[2]}x{x.shape[3]} are too small here", "raise data.start_size")
        x = self.activation(self.whitening(x))  # (N, 8C, H - 1, W - 1)
        for name in self.groups:
            x = getattr(self, name)(x)  # (N, width, H // 2, W // 2)
        # not amax: its gradient searches for the maximum again, which compiled bf16 code may miss, and divides by 0;
        # not max: its gradient is not channels_last, which slows the rest of the backward pass
        x = F.adaptive_max_pool2d(x, 1).flatten(1)  # (N, widths[-1])
        return self.fc(x) * self.scale  # (N, K)


class _Group(nn.Module):
    """Convolution, pooling, norm, activation, convolution, norm, activation."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation, dirac: bool) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = (BatchNorm(out_channels, eps=NORM_EPS, momentum=NORM_MOMENTUM) for _ in range(2))
        for norm in (self.bn1, self.bn2):
            norm.weight.requires_grad = False
        self.activation = activation_layer(activation)
        if dirac:
            for convolution in (self.conv1, self.conv2):
                # the first min(C, O) outputs each copy an input; the others stay random
                same = min(convolution.weight.shape[:2])
                nn.init.dirac_(convolution.weight.data[:same])

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv1(x))  # (N, O, H // 2, W // 2)
        x = self.conv2(self.activation(self.bn1(x)))  # (N, O, H // 2, W // 2)
        return self.activation(self.bn2(x))
