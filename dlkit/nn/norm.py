"""Normalization: standardize activations to mean 0 and variance 1, then apply a learned weight and bias.

    y = (x - E[x]) / sqrt(Var[x] + eps) * weight + bias,  Var[x] = E[(x - E[x])^2] (biased)

The kinds differ in what E averages over. Images are (N, C, H, W), rows are (N, F):

    batch  one channel, over N and H, W      Ioffe & Szegedy, arXiv:1502.03167
    layer  one position, over C (or F)       Ba et al., arXiv:1607.06450; on images as in ConvNeXt, arXiv:2201.03545
    group  one image, C/groups channels, H, W   Wu & He, arXiv:1803.08494

eps is inside the square root, as in algorithm 1 of Ioffe & Szegedy.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlkit.catalog import NORMS
from dlkit.distributed.batch_statistics import joint_batch_norm
from dlkit.distributed.process_group import World
from dlkit.errors import DlkitError, RequestError

Norm = Literal["batch", "layer", "group", "none"]


def standardize_reference(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    # (x - E[x]) / sqrt(Var[x] + eps), both divided by the largest |x - E[x]|, whose square could overflow
    centered = x - x.mean(dims, keepdim=True)
    largest = centered.detach().abs().amax(dims, keepdim=True).clamp(min=1)
    scaled = centered / largest
    return scaled / (scaled.square().mean(dims, keepdim=True) + eps / largest / largest).sqrt()


def batch_norm_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output and the new running mean and variance; the given ones are not modified."""
    dims = (0, *range(2, x.dim()))
    shape = (1, -1, *(1,) * (x.dim() - 2))  # (1, C, 1, 1), or (1, F)
    if not training:
        scale = weight / (running_var + eps).sqrt()
        return (x - running_mean.view(shape)) * scale.view(shape) + bias.view(shape), running_mean, running_var
    y = standardize_reference(x, dims, eps) * weight.view(shape) + bias.view(shape)
    # running <- (1 - momentum) running + momentum batch, with the unbiased variance (divided by n - 1, not n)
    with torch.no_grad():
        running_mean = (1 - momentum) * running_mean + momentum * x.mean(dims)
        running_var = (1 - momentum) * running_var + momentum * x.var(dims, correction=1)
    return y, running_mean, running_var


def layer_norm_reference(x: Tensor, weight: Tensor, bias: Tensor, *, eps: float, channels_first: bool) -> Tensor:
    if channels_first:  # (N, C, H, W)
        return standardize_reference(x, (1,), eps) * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
    return standardize_reference(x, (-1,), eps) * weight + bias


def group_norm_reference(x: Tensor, groups: int, weight: Tensor, bias: Tensor, *, eps: float) -> Tensor:
    grouped = x.reshape(x.shape[0], groups, -1)  # (N, G, C/G H W)
    shape = (1, -1, *(1,) * (x.dim() - 2))  # (1, C, 1, 1), or (1, F)
    return standardize_reference(grouped, (2,), eps).view(x.shape) * weight.view(shape) + bias.view(shape)


class BatchNorm(nn.Module):
    """Normalize each channel over the batch: (N, C, H, W) or (N, F), same shape out. State as in torch's BatchNorm2d.

    Evaluation uses the running mean and variance of training. A `frozen` layer uses them in training too, and does not
    update them. If `world` is set, the statistics are those of the batch of all ranks (see `joint_batch_norm`).

    Args:
        channels: C or F.
        eps: added to the variance.
        momentum: the weight of the newest batch in the running averages.

    Raises:
        DlkitError: in training, if a channel has a single value, and so no variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.frozen = False
        self.world: World | None = None
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        training = self.training and not self.frozen
        if training and self.world is not None:
            return self._joint(x, self.world)
        if training:
            if x.numel() == x.shape[1]:
                raise DlkitError(
                    f"batch norm cannot train on one value a channel: its input is {tuple(x.shape)}",
                    "raise data.batch_size, or set model.norm=layer",
                )
            self.num_batches_tracked.add_(1)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training, self.momentum, self.eps
        )

    def _joint(self, x: Tensor, world: World, real: Tensor | None = None) -> Tensor:
        y, mean, variance, n = joint_batch_norm(x, self.weight, self.bias, world, eps=self.eps, real=real)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            # running <- (1 - momentum) running + momentum batch, with the unbiased variance (divided by n - 1, not n)
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((variance * (n / (n - 1))).to(self.running_var), self.momentum)
        return y

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(nn.Module):
    """Normalize each position over its channels: (..., C), or (N, C, H, W) with `channels_first`. Same shape out.

    Ba et al., arXiv:1607.06450.

    Args:
        channels: C.
        eps: added to the variance.
        channels_first: whether the channels are dimension 1, as in images, not the last.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, channels_first: bool = False) -> None:
        super().__init__()
        self.shape = (channels,)
        self.eps = eps
        self.channels_first = channels_first
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.channels_first:
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        x = x.permute(0, 2, 3, 1)  # (N, H, W, C): no copy where memory is channels_last
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)  # (N, C, H, W)

    def extra_repr(self) -> str:
        return f"{self.shape[0]}, eps={self.eps}, channels_first={self.channels_first}"


class GroupNorm(nn.Module):
    """Normalize each group of channels of each example: (N, C, H, W) or (N, F), same shape out.

    Wu & He, arXiv:1803.08494.

    Args:
        groups: the number of groups; it divides the channels.
        channels: C or F.
        eps: added to the variance.

    Raises:
        RequestError: groups does not divide channels.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        if channels % groups:
            raise RequestError(f"{groups} groups do not divide {channels} channels")
        self.groups = groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.groups}, {self.weight.numel()}, eps={self.eps}"


def norm_layer(name: Norm, channels: int, dims: Literal[1, 2], *, eps: float = 1e-5) -> nn.Module:
    """The norm of this name for rows (N, F) (dims = 1) or images (N, C, H, W) (dims = 2); eps is added to the variance.

    "group" uses the paper's 32 groups, or the most that divide the channels into groups of at least four: a group with
    a single value is always normalized to zero.

    Raises:
        RequestError: an unknown name, or a single channel normalized by itself, which is always zero.
    """
    if channels == 1 and (name == "layer" or (name == "group" and dims == 1)):
        raise RequestError(
            f"{name} norm over 1 channel returns its bias, whatever the input",
            "set model.norm=batch or model.norm=none",
        )
    if name == "batch":
        return BatchNorm(channels, eps=eps)
    if name == "layer":
        return LayerNorm(channels, eps=eps, channels_first=dims == 2)
    if name == "group":
        most = max(1, min(32, channels // 4))
        return GroupNorm(max(groups for groups in range(1, most + 1) if channels % groups == 0), channels, eps=eps)
    if name == "none":
        return nn.Identity()
    raise RequestError(f"no norm {name!r}", f"choose one of {', '.join(NORMS)}")
