"""Convolution of a stack of R models, each with its own kernels and images, as one batched matrix product.

vmap turns R convolutions into one with R groups, and cuDNN has no fast kernel for hundreds of groups of a few channels.
Laid out as columns (im2col), they are R matrix products of equal shapes:

    Y_r (O, N L) = W_r (O, C K K) X_r (C K K, N L),  L = H' W' positions of the kernel

    dW_r = dY_r X_r^T,  dX_r = W_r^T dY_r, whose entries are added up at the pixels that they belong to (col2im)

Columns take K K times the memory of the images, so they are recomputed in the backward pass.

Shapes: R models, N images, C channels in, O out, K the kernel's side, H', W' height and width out.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dlkit.nn.convolution import Conv2d


def use_batched_convolutions(model: nn.Module) -> None:
    """Make a model's convolutions batched products under vmap; grouped ones are left as they are."""
    for module in model.modules():
        if type(module) is Conv2d and module.groups == 1:
            module.forward = functools.partial(_forward, module)


def _forward(layer: Conv2d, x: Tensor) -> Tensor:
    weight, bias = layer.weight, layer.bias
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return _Mapped.apply(x, weight, bias, layer.stride, layer.padding)  # pyright: ignore[reportReturnType]


class _Mapped(torch.autograd.Function):
    """A convolution that vmap turns into `_Stacked`."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing to save: outside vmap it has no backward pass."""

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        padding: int,
    ) -> tuple[Tensor, int]:
        def mapped(value: Tensor, dim: int | None) -> Tensor:
            return value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)

        bias = None if bias is None else mapped(bias, in_dims[2])
        return _Stacked.apply(mapped(x, in_dims[0]), mapped(weight, in_dims[1]), bias, stride, padding), 0  # pyright: ignore[reportReturnType]


class _Stacked(torch.autograd.Function):
    """(R, N, C, H, W), (R, O, C, K, K), (R, O) to (R, N, O, H', W'), laid out in memory as (R, O, N, H', W')."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.biased = stride, padding, bias is not None
        kernels = weight.flatten(2)  # (R, O, C K K)
        columns = _columns(x, weight.shape[-1], stride, padding)
        y = kernels @ columns if bias is None else torch.baddbmm(bias[..., None], kernels, columns)  # (R, O, N L)
        height, width = (_length(size, weight.shape[-1], stride, padding) for size in x.shape[-2:])
        return y.view(*y.shape[:2], x.shape[1], height, width).transpose(1, 2)  # (R, N, O, H', W')

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        rows = dy.transpose(1, 2).flatten(2)  # (R, O, N L)
        dx = None
        if ctx.needs_input_grad[0]:
            # dX = W^T dY
            dcolumns = weight.flatten(2).transpose(1, 2) @ rows  # (R, C K K, N L)
            dx = _pixels(dcolumns, x.shape, dy.shape[-2:], weight.shape[-1], ctx.stride, ctx.padding)
        # dW = dY X^T
        columns = _columns(x, weight.shape[-1], ctx.stride, ctx.padding)
        dweight = (rows @ columns.transpose(1, 2)).view(weight.shape)
        return dx, dweight, rows.sum(2) if ctx.biased else None, None, None


def _length(size: int, k: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - k) // stride + 1


def _columns(x: Tensor, k: int, stride: int, padding: int) -> Tensor:
    """Every K x K patch of (R, N, C, H, W) as a column: (R, C K K, N L)."""
    padded = F.pad(x.transpose(1, 2), (padding,) * 4)  # (R, C, N, H + 2 padding, W + 2 padding)
    patches = padded.unfold(3, k, stride).unfold(4, k, stride)  # (R, C, N, H', W', K, K)
    return patches.permute(0, 1, 5, 6, 2, 3, 4).flatten(4).flatten(1, 3)  # (R, C, K, K, N L), (R, C K K, N L)


def _pixels(columns: Tensor, shape: torch.Size, positions: torch.Size, k: int, stride: int, padding: int) -> Tensor:
    """The transpose of `_columns` (col2im): adds up (R, C K K, N L) at the pixels of (R, N, C, H, W)."""
    models, count, channels, height, width = shape
    patches = columns.view(models, channels, k, k, count, *positions)  # (R, C, K, K, N, H', W')
    padded = columns.new_zeros(models, channels, count, height + 2 * padding, width + 2 * padding)
    down, right = ((length - 1) * stride + 1 for length in positions)
    for i in range(k):
        for j in range(k):
            padded[..., i : i + down : stride, j : j + right : stride] += patches[:, :, i, j]
    inner = padded[..., padding : padding + height, padding : padding + width]
    return inner.transpose(1, 2)  # (R, N, C, H, W)
