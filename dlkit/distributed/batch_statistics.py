"""Synchronized batch norm: the mean and variance are those of the whole batch, which is split over ranks.

With n_r values per channel on rank r, m_r their mean and M_r the sum of squares about it (Chan et al. 1979):

    n = sum_r n_r,   E[x] = sum_r n_r m_r / n,   n Var[x] = sum_r (M_r + n_r (m_r - E[x])^2)

The gradient flows through both, so its sums run over all ranks too. With z = (x - E[x]) / sqrt(Var[x] + eps):

    dx = weight / sqrt(Var[x] + eps) (dy - sum(dy) / n - z sum(dy z) / n)

Parts may differ in size, and may be empty. One collective operation forward, of 2 C + 1 values per rank, and one
backward, of 2 C.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dlkit.distributed.process_group import World


def joint_batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, world: World, *, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize x, (N, C) or (N, C, H, W), by the mean and variance over all ranks.

    Returns:
        y, of x's shape; and, without gradients, the mean (C,), the biased variance (C,), and n, a scalar.
    """
    found: Any = _JointBatchNorm.apply(x, weight, bias, world, eps)
    return found


class _JointBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, world: World, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims, shape = (0, *range(2, x.dim())), (1, -1, *(1,) * (x.dim() - 2))  # (1, C, 1, 1), or (1, C)
        wide = x if x.dtype == torch.float64 else x.float()
        count = torch.full((1,), x.numel() / x.shape[1], dtype=wide.dtype, device=x.device)
        own_mean = wide.sum(dims) / count.clamp(min=1)  # (C,)
        own_squares = (wide - own_mean.view(shape)).square().sum(dims)  # (C,)
        # a row per rank, zero on all others until they are summed: (R, 2 C + 1)
        parts = torch.zeros(world.size, 2 * len(own_mean) + 1, dtype=wide.dtype, device=x.device)
        parts[world.rank] = torch.cat((count, own_mean, own_squares))
        counts, means, squares = world.sum(parts).split((1, len(own_mean), len(own_mean)), dim=1)
        n = counts.sum()
        mean = (counts * means).sum(0) / n  # (C,)
        variance = (squares + counts * (means - mean).square()).sum(0) / n  # (C,)
        scale = (variance + eps).rsqrt()  # (C,)
        z = (wide - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(x, weight, mean, scale, n)
        ctx.world = world
        ctx.mark_non_differentiable(mean, variance, n)
        return (z * weight.view(shape) + bias.view(shape)).to(x.dtype), mean, variance, n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, mean, scale, n = ctx.saved_tensors
        dims, shape = (0, *range(2, x.dim())), (1, -1, *(1,) * (x.dim() - 2))
        wide = dy.to(mean.dtype)
        z = (x.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        dweight, dbias = (wide * z).sum(dims), wide.sum(dims)  # of this rank's part, as of any parameter
        along, total = ctx.world.sum(torch.stack((dweight, dbias))).view(2, *mean.shape, *shape[2:]) / n
        dx = (weight * scale).view(shape) * (wide - total - z * along)
        return dx.to(x.dtype), dweight.to(weight.dtype), dbias.to(weight.dtype), None, None
