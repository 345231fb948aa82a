"""Sharded tensors: the DTensors that fully_shard makes of parameters.

They are recognised by their method `to_local`, since importing their class takes half a second.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def is_divided(value: Any) -> bool:
    """Whether a value is a sharded tensor."""
    return hasattr(value, "to_local")


def is_model_divided(model: nn.Module) -> bool:
    """Whether the parameters of a model are sharded."""
    return any(map(is_divided, model.parameters()))


def local_part(value: Any) -> Any:
    """This rank's shard of a sharded tensor, sharing its memory; any other value unchanged."""
    return value.to_local() if is_divided(value) else value


def whole_of(value: Any) -> Any:
    """The whole of a sharded tensor, on every rank; any other value unchanged."""
    return value.full_tensor() if is_divided(value) else value


def whole_on(owner: int, value: Any) -> Tensor:
    """Gather a tensor that is sharded along its first dimension on one rank.

    Every rank calls it; the others get a placeholder of the same shape that takes no memory.
    """
    mesh, part = value.device_mesh, value.to_local()
    each = -(-value.shape[0] // mesh.size())  # rows of a shard; the last shards may have fewer, or none
    padded = part.new_zeros(each, *value.shape[1:])
    padded[: len(part)] = part
    is_owner = mesh.get_local_rank() == owner
    parts = [torch.empty_like(padded) for _ in range(mesh.size())] if is_owner else None
    torch.distributed.gather(padded, parts, group=mesh.get_group(), group_dst=owner)
    return part.new_zeros(()).expand(value.shape) if parts is None else torch.cat(parts)[: value.shape[0]]


def divided_like(whole: Tensor, like: Any, source: int | None = None, device: torch.device | None = None) -> Tensor:
    """Shard a tensor as `like` is sharded; the tensor itself if `like` is not sharded.

    Args:
        whole: of the shape of `like`.
        like: the tensor whose sharding to use.
        source: the rank that sends the shards; None if every rank has the same tensor and takes its own shard.
        device: of the shards; by default that of `like`.
    """
    if not is_divided(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(device or like.device), like.device_mesh, like.placements, src_data_rank=source)


def divided_as_part(part: Tensor, like: Any) -> Tensor:
    """The sharded tensor with the shape of `like` of which `part` is this rank's shard; `part` if `like` is None."""
    if like is None:
        return part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
