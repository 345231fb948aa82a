"""Tensors that are divided among ranks, as fully_shard leaves parameters: torch's DTensors.

They are recognised by their method `to_local`: importing their class takes half a second, which other runs do without.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def is_divided(value: Any) -> bool:
    """Whether a value is a tensor of which this rank has a part."""
    return hasattr(value, "to_local")


def is_model_divided(model: nn.Module) -> bool:
    """Whether the parameters of a model are divided among ranks."""
    return any(map(is_divided, model.parameters()))


def local_part(value: Any) -> Any:
    """This rank's part of a tensor that is divided, which shares its memory; any other value as it is."""
    return value.to_local() if is_divided(value) else value


def whole_of(value: Any) -> Any:
    """The whole of a tensor that is divided, on every rank; any other value as it is."""
    return value.full_tensor() if is_divided(value) else value


def whole_on(owner: int, value: Any) -> Tensor:
    """The whole of a tensor that is divided along its first dimension, on one rank, which alone is sent the parts.

    Every rank calls it; the others get a stand-in of its shape, which takes no memory.
    """
    mesh, part = value.device_mesh, value.to_local()
    each = -(-value.shape[0] // mesh.size())  # rows of a part; the last ones may have fewer, or none
    padded = part.new_zeros(each, *value.shape[1:])
    padded[: len(part)] = part
    is_owner = mesh.get_local_rank() == owner
    parts = [torch.empty_like(padded) for _ in range(mesh.size())] if is_owner else None
    torch.distributed.gather(padded, parts, group=mesh.get_group(), group_dst=owner)
    return part.new_zeros(()).expand(value.shape) if parts is None else torch.cat(parts)[: value.shape[0]]


def divided_like(whole: Tensor, like: Any, source: int | None = None, device: torch.device | None = None) -> Tensor:
    """A tensor divided as `like` is; the tensor itself where `like` is not divided.

    Args:
        whole: of the shape of `like`.
        like: what is divided.
        source: the rank that hands out the parts; None where every rank has the same tensor, and takes its own part.
        device: where the parts are to be; that of `like` by default.
    """
    if not is_divided(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(device or like.device), like.device_mesh, like.placements, src_data_rank=source)


def divided_as_part(part: Tensor, like: Any) -> Tensor:
    """The tensor of which each rank has a part, and of which `like` has the shape; the part where that is None."""
    if like is None:
        return part
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(part, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())
