"""The L2 penalty of sharded parameters: each rank squares its shards, and the sums are added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def sharded_penalty(parameters: Sequence[Any], l2: float) -> Tensor:
    """lambda/2 ||theta||^2 of sharded tensors, lambda = l2: the same scalar on every rank, and all of them call it.

    The gradient of a rank's shard is lambda theta times the mean over ranks of the gradients that the scalar gets.
    That is what averaging over ranks would make of the gradient of the whole: `fully_shard` averages only what comes
    through the parameters that it has gathered.
    """
    mesh = parameters[0].device_mesh
    return _ShardedPenalty.apply(l2, mesh.get_group(), *(parameter.to_local() for parameter in parameters))  # pyright: ignore[reportReturnType]


class _ShardedPenalty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, l2: float, group: Any, *shards: Tensor) -> Tensor:
        ctx.l2, ctx.group = l2, group
        ctx.save_for_backward(*shards)
        # lambda/2 sum over ranks and tensors of ||theta_i||^2
        total = torch.stack(torch._foreach_norm(shards)).square().sum()
        torch.distributed.all_reduce(total, group=group)
        return l2 / 2 * total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        mean = dy.clone()
        torch.distributed.all_reduce(mean, group=ctx.group)
        mean = mean / ctx.group.size()
        # d/d theta = lambda theta
        return None, None, *torch._foreach_mul(ctx.saved_tensors, mean * ctx.l2)
