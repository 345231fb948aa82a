"""Fully sharded data parallelism: each rank holds a shard of every parameter, gradient and optimizer state.

This is torch's fully_shard (FSDP2; Rajbhandari et al. 2020, arXiv:1910.02054, stage 3; Zhao et al. 2023,
arXiv:2304.11277). A block's parameters are gathered before its forward and its backward pass and freed after each; its
gradients are averaged over ranks, and each rank keeps its shard. Otherwise training is as in data parallelism, with the
same gradient. Parameters are DTensors, sharded along their first dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from dlkit.distributed.process_group import World
from dlkit.distributed.tensor_parts import divided_like


def shard_model(model: nn.Module, source: nn.Module | None, world: World) -> None:
    """Shard the parameters of rank 0's model over ranks. Create the optimizer afterwards, from the sharded parameters.

    The model may be larger than a device: only rank 0 has all of it, in host memory, and sends it tensor by tensor. The
    other ranks never hold more than their shards and one whole tensor.

    Args:
        model: the same on every rank, on the meta device. It gets its shards on the ranks' devices.
        source: on rank 0, the model with weights, dtypes and `requires_grad`, on the CPU; None on other ranks.
        world: the ranks.
    """
    tensors = dict[str, Tensor]()
    if source is not None:
        tensors = dict(source.named_parameters(remove_duplicate=False))
        tensors |= dict(source.named_buffers(remove_duplicate=False))
    kinds = world.broadcast_object({name: (tensor.dtype, tensor.requires_grad) for name, tensor in tensors.items()})
    for name, parameter in model.named_parameters():
        dtype, trained = kinds[name]
        parameter.data = parameter.data.to(dtype)
        parameter.requires_grad_(trained)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)

    def whole(name: str, empty: Tensor) -> Tensor:
        dtype, _ = kinds[name]
        return tensors[name].detach() if world.first else torch.empty(empty.shape, dtype=dtype)

    parts = dict[Tensor, nn.Parameter]()  # a tied parameter has several names
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, empty in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if empty not in parts:
                part = divided_like(whole(prefix + name, empty), empty, source=0, device=world.device)
                parts[empty] = nn.Parameter(part, requires_grad=empty.requires_grad)
            setattr(module, name, parts[empty])
        for name, empty in list(module.named_buffers(recurse=False)):
            setattr(module, name, world.broadcast(whole(prefix + name, empty).to(world.device)))
    model.to(world.device)  # makes fully_shard pad the shards now, not in the first pass


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model's hidden stages, in the order in which they run; empty if the model names no stages."""
    stages: tuple[tuple[str, ...], ...] = getattr(model, "stages", ())
    parts = [model.get_submodule(name) for stage in stages[1:-1] for name in stage]
    found: list[nn.Module] = []
    for part in parts:
        inside = list(part.children())
        # single layers are too small to be gathered one by one
        listed = isinstance(part, nn.ModuleList) or (
            isinstance(part, nn.Sequential) and all(map(_is_made_of_more, inside))
        )
        found += inside if listed else [part]
    return [block for block in found if any(True for _ in block.parameters())]


def _is_made_of_more(module: nn.Module) -> bool:
    return any(True for _ in module.children())


class FullySharded:
    """Forward passes of a sharded model, with the interface of `DataParallel`."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, FSDPModule)
        self._model = model

    def through(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: hooks of the model's modules gather the parameters."""
        return forward

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """A context in which unsharded gradients accumulate on each rank; the first pass after it averages them."""
        self._model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self._model.set_requires_gradient_sync(True)
