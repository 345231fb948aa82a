"""MLP, CNN, ResNet, ConvNeXt and airbench94's network in plain torch.nn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


def plain_mlp(features: int, hidden: Sequence[int], classes: int) -> nn.Module:
    """Flatten, then linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(features, width), nn.ReLU()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, classes))


def plain_cnn(channels: int, widths: Sequence[int], classes: int) -> nn.Module:
    """Convolution, batch norm, ReLU and pooling; the mean over pixels; a linear layer."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class _Pad(nn.Module):
    """Subsampled pixels padded with zero channels: shortcut A of He et al., arXiv:1512.03385."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class _Residual(nn.Module):
    """relu(x + f(x)), where f is two 3x3 convolutions or a bottleneck."""

    def __init__(self, before: int, width: int, stride: int, norm: Norm, bottleneck: bool, project: bool) -> None:
        super().__init__()
        after = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), norm(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), norm(width)
            self.conv3, self.bn3 = nn.Conv2d(width, after, 1, bias=False), norm(after)
        else:
            self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), norm(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width)
        self.bottleneck, self.shortcut = bottleneck, nn.Identity()
        if stride != 1 or before != after:
            projection = (
                nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after)) if project else None
            )
            self.shortcut = projection or _Pad(after - before, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y, inplace=True)))
        return F.relu(y + self.shortcut(x), inplace=True)


class PlainResNet(nn.Module):
    """He et al., arXiv:1512.03385, with the stride of a bottleneck in its 3x3 convolution."""

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        classes: int,
        *,
        channels: int = 3,
        large: bool = False,
        bottleneck: bool = False,
        project: bool = True,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        size, stride, padding = (7, 2, 3) if large else (3, 1, 1)
        self.conv1, self.bn1 = nn.Conv2d(channels, widths[0], size, stride, padding, bias=False), norm(widths[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        blocks: list[nn.Module] = []
        before = widths[0]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            for i in range(depth):
                blocks.append(_Residual(before, width, 2 if stage and not i else 1, norm, bottleneck, project))
                before = 4 * width if bottleneck else width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.pool(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Scale(nn.Module):
    """A learned factor per channel, the last dimension."""

    def __init__(self, width: int, value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), value))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * x


class _ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = _Scale(width, scale)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        return x + self.scale(self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class PlainConvNeXt(nn.Module):
    """Liu et al., arXiv:2201.03545."""

    def __init__(
        self, depths: Sequence[int], widths: Sequence[int], classes: int, *, channels: int, patch: int, scale: float
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], patch, patch), _ChannelNorm(widths[0], eps=1e-6)]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage:
                before = widths[stage - 1]
                layers += [_ChannelNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)]
            layers += [_ConvNeXtBlock(width, scale) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.norm, self.fc = nn.LayerNorm(widths[-1], eps=1e-6), nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.layers(x).mean((-2, -1))))


class _Group(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding="same", bias=False)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(after, after, 3, padding="same", bias=False)
        self.norm1, self.norm2 = (nn.BatchNorm2d(after, eps=1e-12, momentum=0.4) for _ in range(2))
        self.norm1.weight.requires_grad = self.norm2.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.pool(self.conv1(x))))
        return F.gelu(self.norm2(self.conv2(x)))


class PlainFastCNN(nn.Module):
    """The network of airbench94: Jordan 2024, arXiv:2404.00498, section 3."""

    def __init__(self, widths: Sequence[int], classes: int, *, channels: int = 3) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(channels, 8 * channels, 2)
        self.whiten.weight.requires_grad = False
        pairs = zip((8 * channels, *widths[:-1]), widths, strict=True)
        self.groups = nn.Sequential(*(_Group(before, after) for before, after in pairs))
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(F.gelu(self.whiten(x)))
        return self.head(x.amax((2, 3))) / 9
