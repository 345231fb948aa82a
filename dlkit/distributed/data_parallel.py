"""Data parallelism: each rank holds the whole model, and gradients are averaged over ranks.

torch's DistributedDataParallel (Li et al. 2020, arXiv:2006.15704) averages the gradients of some parameters while the
backward pass computes those of others:

    g = 1/R sum over ranks r of g_r

A rank's loss is therefore weighted by R n_r / n, where n_r of the batch's n predictions are on this rank: g is then the
gradient of the mean over all n. A rank without predictions contributes a gradient of exactly 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # since torch 2.14


class DataParallel:
    """Forward passes whose backward pass leaves the gradient averaged over ranks in `.grad`.

    Every rank starts from the weights of rank 0.

    Args:
        model: on this rank's device.
        unused: whether a pass may not use all parameters, such as those of another head. Finding them requires a
            traversal of the graph in each pass.
    """

    def __init__(self, model: nn.Module, *, unused: bool = False) -> None:
        options: Any = {"gradient_as_bucket_view": True, "find_unused_parameters": unused}
        # buffers need no broadcast: running statistics are those of the whole batch, on every rank
        options["forward_sync_buffers" if _RENAMED else "broadcast_buffers"] = False
        self._wrapped = DistributedDataParallel(_Passes(model), **options)

    def through(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function of a batch that calls the model, so that its backward pass averages gradients."""
        return lambda batch: self._wrapped(forward, batch)

    def accumulating(self) -> AbstractContextManager[Any]:
        """A context in which gradients accumulate on each rank; the first pass after it averages them."""
        return self._wrapped.no_sync()


class _Passes(nn.Module):
    """A module whose forward pass is any function of the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], batch: Any) -> Any:
        return function(batch)


def graph_lacks(loss: Tensor, parameters: Iterable[Tensor]) -> bool:
    """Whether the graph of a loss lacks any of the parameters."""
    reached: set[int] = set()
    seen: set[Any] = set()
    open_nodes: list[Any] = [loss.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        reached.add(id(getattr(node, "variable", None)))
        open_nodes += [following for following, _ in node.next_functions]
    return any(id(parameter) not in reached for parameter in parameters if parameter.requires_grad)
