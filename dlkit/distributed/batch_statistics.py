"""Synchronized batch norm: the mean and variance are those of the whole batch, which is split over ranks.

With n_r values per channel on rank r, m_r their mean and M_r the sum of squares about it (Chan et al. 1979):

    n = sum_r n_r,   E[x] = sum_r n_r m_r / n,   n Var[x] = sum_r (M_r + n_r (m_r - E[x])^2)

The gradient flows through both, so its sums run over all ranks too. With z = (x - E[x]) / sqrt(Var[x] + eps):

    dx = weight / sqrt(Var[x] + eps) (dy - sum(dy) / n - z sum(dy z) / n)

Parts may differ in size, and may be empty. Rows of padding count as absent: they are left out of the sums, so that no
shape depends on how many there are and the host need not wait for their number. One collective operation forward, of
2 C + 1 values per rank, and one backward, of 2 C.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dlkit.distributed.process_group import World


def joint_batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, world: World, *, eps: float, real: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize x, (N, C) or (N, C, H, W), by the mean and variance over all ranks.

    Args:
        x: this rank's part.
        weight: (C,).
        bias: (C,).
        world: the ranks.
        eps: added to the variance.
        real: (N,) bool, False for rows of x, (N, C), that are padding, for which y is 0; None for no padding.

    Returns:
        y, of x's shape; and, without gradients, the mean (C,), the biased variance (C,), and n, a scalar.
    """
    found: Any = _JointBatchNorm.apply(x, weight, bias, world, eps, real)
    return found


class _JointBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, world: World, eps: float, real: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims, shape = (0, *range(2, x.dim())), (1, -1, *(1,) * (x.dim() - 2))  # (1, C, 1, 1), or (1, C)
        wide = x if x.dtype == torch.float64 else x.float()
        if real is None:
            count = torch.full((1,), x.numel() / x.shape[1], dtype=wide.dtype, device=x.device)
        else:
            count = real.sum(dtype=wide.dtype).view(1)
        own_mean = _kept(wide, real).sum(dims) / count.clamp(min=1)  # (C,)
        own_squares = _kept(wide - own_mean.view(shape), real).square().sum(dims)  # (C,)
        # a row per rank, zero on all others until they are summed: (R, 2 C + 1)
        parts = torch.zeros(world.size, 2 * len(own_mean) + 1, dtype=wide.dtype, device=x.device)
        parts[world.rank] = torch.cat((count, own_mean, own_squares))
        counts, means, squares = world.sum(parts).split((1, len(own_mean), len(own_mean)), dim=1)
        n = counts.sum()
        mean = (counts * means).sum(0) / n  # (C,)
        variance = (squares + counts * (means - mean).square()).sum(0) / n  # (C,)
        scale = (variance + eps).rsqrt()  # (C,)
        z = (wide - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(x, weight, mean, scale, n, real)
        ctx.world = world
        ctx.mark_non_differentiable(mean, variance, n)
        return _kept(z * weight.view(shape) + bias.view(shape), real).to(x.dtype), mean, variance, n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, mean, scale, n, real = ctx.saved_tensors
        dims, shape = (0, *range(2, x.dim())), (1, -1, *(1,) * (x.dim() - 2))
        wide = _kept(dy.to(mean.dtype), real)
        z = (x.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        dweight, dbias = (wide * z).sum(dims), wide.sum(dims)  # of this rank's part, as of any parameter
        along, total = ctx.world.sum(torch.stack((dweight, dbias))).view(2, *mean.shape, *shape[2:]) / n
        dx = _kept((weight * scale).view(shape) * (wide - total - z * along), real)
        return dx.to(x.dtype), dweight.to(weight.dtype), dbias.to(weight.dtype), None, None, None


def _kept(x: Tensor, real: Tensor | None) -> Tensor:
    """x, (N, C), with zeros in rows that are padding."""
    return x if real is None else x * real.unsqueeze(1)
