"""Weights of residual networks whose shortcuts pad zero channels on both sides: an exact permutation of channels.

He et al., arXiv:1512.03385, do not say where option A puts the zero channels. dlkit appends them. The most widely used
CIFAR ResNets (Idelbayev, github.com/akamaster/pytorch_resnet_cifar10) put half of them in front: names and shapes
agree, but the network differs. The order of channels is arbitrary, so permuting those of each stage turns one network
into the other, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from dlkit.errors import RequestError
from dlkit.nn.residual import ResidualBlock, ZeroPadShortcut

Zeros = Literal["auto", "end", "both"]


def pads(model: nn.Module) -> bool:
    """Whether a model has shortcuts that add zero channels."""
    return any(isinstance(module, ZeroPadShortcut) and module.channels for module in model.modules())


def can_pad_on_both_sides(model: nn.Module) -> bool:
    """Whether each shortcut of a model adds an even number of channels."""
    return all(module.channels % 2 == 0 for module in model.modules() if isinstance(module, ZeroPadShortcut))


def from_both_sides(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Convert weights of a network that pads half of the zeros in front to `model`, which pads at the end.

    Args:
        tensors: with the model's names and shapes, except for the number of classes; others stay unchanged.
        model: a ResNet.

    Raises:
        RequestError: a shortcut adds an odd number of channels.
    """
    if not can_pad_on_both_sides(model):
        raise RequestError("a shortcut of this model adds an odd number of channels: no half of them", "choose end")
    result = dict(tensors)

    def reorder(name: str, order: Tensor, dimension: int = 0) -> None:
        value = tensors.get(name)
        if value is not None and value.dim() > dimension and value.shape[dimension] == len(order):
            result[name] = result[name].index_select(dimension, order)

    order: Tensor | None = None  # of the channels between blocks: ours[i] is theirs[order[i]]
    for name, block in model.named_modules():
        if not isinstance(block, ResidualBlock):
            continue
        first, last = (block.get_parameter(f"conv{i}.weight") for i in (1, block.depth))
        order = torch.arange(first.shape[1]) if order is None else order
        reorder(f"{name}.conv1.weight", order, 1)
        if isinstance(block.downsample, ZeroPadShortcut):
            # theirs: n / 2 zeros, the channels as they were, n / 2 zeros; ours: the channels as they were, n zeros
            half, before = block.downsample.channels // 2, len(order)
            new = torch.cat((torch.arange(half), torch.arange(half + before, len(last))))
            order = torch.cat((half + order, new))
        for part in (f"conv{block.depth}", f"bn{block.depth}", "scale"):
            for leaf in ("weight", "bias", "running_mean", "running_var", "gamma"):
                reorder(f"{name}.{part}.{leaf}", order)
    if order is not None:
        reorder("fc.weight", order, 1)
    return result
