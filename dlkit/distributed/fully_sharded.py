"""Fully sharded data parallelism: each rank holds a part of every parameter, gradient and moment of the optimizer.

By torch's fully_shard (FSDP2; Rajbhandari et al. 2020, arXiv:1910.02054, stage 3; Zhao et al. 2023, arXiv:2304.11277).
A block's parameters are gathered just before its forward and its backward pass, and given up after each; its gradients
are averaged over ranks, and each keeps its part. What else a rank does is as in data parallelism, with the same
gradient. Parameters are DTensors, divided along their first dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from dlkit.distributed.process_group import World


def shard_model(model: nn.Module, blocks: Iterable[nn.Module], world: World) -> None:
    """Divide the parameters among ranks, in place; an optimizer is made after it, of the divided ones.

    The model may be larger than a device: it comes from the memory of the host, and each block goes to the device, is
    divided there, and leaves the rest again before the next comes. Every rank has the same weights, from the same seed,
    and keeps its part, so that none are sent.

    Args:
        model: on the CPU, in contiguous memory.
        blocks: parts of it that are gathered one after the other; the rest is gathered as a whole.
        world: the ranks.
    """
    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


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
