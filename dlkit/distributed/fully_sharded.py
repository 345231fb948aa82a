"""Fully sharded data parallelism: each rank holds a part of every parameter, gradient and moment of the optimizer.

By torch's fully_shard (FSDP2; Rajbhandari et al. 2020, arXiv:1910.02054, stage 3; Zhao et al. 2023, arXiv:2304.11277).
A block's parameters are gathered just before its forward and its backward pass, and given up after each; its gradients
are averaged over ranks, and each keeps its part. What else a rank does is as in data parallelism, with the same
gradient. Parameters are DTensors, divided along their first dimension.
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
    """Divide the parameters of rank 0's model among ranks; an optimizer is made after it, of the divided ones.

    The model may be larger than a device: only rank 0 has the whole, in the memory of its host, and sends the parts of
    one tensor after the other. Every other rank never holds more than its part and one whole tensor.

    Args:
        model: the same on every rank, on the meta device. It gets its parts on the ranks' devices.
        source: rank 0's, on the CPU, which has the weights, their types, and whether they are trained; else None.
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
    model.to(world.device)  # whereupon fully_shard pads the parts, which it would do in the first pass otherwise


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model's hidden stages, which run one after the other; none where it does not say."""
    stages: tuple[tuple[str, ...], ...] = getattr(model, "stages", ())
    parts = [model.get_submodule(name) for stage in stages[1:-1] for name in stage]
    found: list[nn.Module] = []
    for part in parts:
        inside = list(part.children())
        # a few bare layers are too little to be gathered each on its own
        listed = isinstance(part, nn.ModuleList) or (
            isinstance(part, nn.Sequential) and all(map(_is_made_of_more, inside))
        )
        found += inside if listed else [part]
    return [block for block in found if any(True for _ in block.parameters())]


def _is_made_of_more(module: nn.Module) -> bool:
    return any(True for _ in module.children())


class FullySharded:
    """Forward passes of a sharded model. It has the interface of `DataParallel`."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, FSDPModule)
        self._model = model

    def through(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: what gathers parameters hangs on the model's own modules."""
        return forward

    @contextmanager
    def accumulating(self) -> Iterator[None]:
        """Within it gradients add up on each rank, whole, and are averaged in the first pass behind it."""
        self._model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self._model.set_requires_gradient_sync(True)
