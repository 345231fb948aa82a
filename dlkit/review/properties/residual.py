"""Residual connections: He et al. 2016, arXiv:1512.03385."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from dlkit.models.convnext import ConvNeXtBlock
from dlkit.nn.residual import basic_block
from dlkit.nn.transformer import TransformerBlock
from dlkit.review.deviation import Deviation, largest_difference

CHANNELS = 8


def residual_basic_block() -> nn.Module:
    """Two convolutions and a shortcut."""
    return basic_block(CHANNELS, CHANNELS, norm="none")


def residual_off_is_identity(block: Callable[[], nn.Module] = residual_basic_block) -> Deviation:
    """With the weights of its branch at 0, y = relu(F(x) + x) is x, wherever x comes out of a ReLU itself."""
    x = torch.rand(4, CHANNELS, 6, 6)  # (N, C, H, W), not negative
    module = _switched_off(block())
    plain = _switched_off(basic_block(CHANNELS, CHANNELS, norm="none", residual=False))
    with torch.no_grad():
        return Deviation(
            largest_difference(module(x), x), {"without the shortcut": largest_difference(plain(x), x)}
        )  # fmt: skip


def pre_norm_transformer_block() -> nn.Module:
    """Attention and a perceptron, each around a shortcut."""
    return TransformerBlock(CHANNELS, 2, 16, causal=False, norm_first=True)


def transformer_block_off_is_identity(block: Callable[[], nn.Module] = pre_norm_transformer_block) -> Deviation:
    """With attention and perceptron at 0, x + f(norm(x)) is x."""
    x = torch.randn(2, 5, CHANNELS)  # (B, T, W)
    with torch.no_grad():
        return Deviation(largest_difference(_switched_off(block())(x), x))


def convnext_block() -> nn.Module:
    """A depthwise convolution, a norm, two linear layers and a shortcut."""
    return ConvNeXtBlock(CHANNELS)


def convnext_block_off_is_identity(block: Callable[[], nn.Module] = convnext_block) -> Deviation:
    """ConvNeXt keeps ResNet's shortcut: switched off, its block is the identity, here for any x."""
    x = torch.randn(2, CHANNELS, 8, 8)  # (N, C, H, W)
    with torch.no_grad():
        return Deviation(largest_difference(_switched_off(block())(x), x))


def _switched_off(block: nn.Module) -> nn.Module:
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    return block
