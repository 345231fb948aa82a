"""A function of tensors as one launch: its kernels are recorded as a CUDA graph, and played back.

A step of a small model is some hundred kernels of a few microseconds each, and Python needs longer to launch them than
the device to run them. What is recorded is fixed: shapes, addresses, numbers on the host. So the function takes tensors
of few different shapes, keeps what it changes in place, and reads what changes from step to step from the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlkit import memory
from dlkit.kernels import cuda_graphs
from dlkit.vectorized.dropout_masks import DropoutMasks, SeedMasks

# Calls of a shape that run as they are, before it is recorded: the first ones choose kernels and make what is kept.
WARM_UP = 3


@dataclass
class _Recording:
    graph: Any
    inputs: tuple[Tensor, ...]  # whose addresses the graph reads
    noise: list[SeedMasks]


class GraphReplay:
    """Calls `function`, and once it was called `WARM_UP` times with tensors of these shapes, plays it back instead.

    Only on CUDA: elsewhere, and where it cannot be recorded, it is always called. `obstacle` says why it cannot.

    Args:
        function: changes tensors in place and returns nothing; it may not wait for the device.
        device: of its tensors.
        masks: what the function draws from, which a graph cannot; they are drawn before it is played.
        beside: another one that never runs at the same time: they share their memory.
    """

    def __init__(
        self,
        function: Callable[..., None],
        device: torch.device,
        masks: DropoutMasks | None = None,
        beside: GraphReplay | None = None,
    ) -> None:
        self.function, self.device, self.masks = function, device, masks
        self.obstacle: str | None = None
        self._pool: Any = beside._pool if beside is not None else None
        if device.type == "cuda" and beside is None:
            self._pool = torch.cuda.graph_pool_handle()
        self._calls: dict[Any, int] = {}
        self._recordings: dict[Any, _Recording] = {}

    def __call__(self, *inputs: Tensor) -> None:
        if self.device.type != "cuda" or self.obstacle is not None:
            self.function(*inputs)
            return
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self._recordings:
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] < WARM_UP:
                self._warm_up(inputs)
                return
            if self._calls[key] == WARM_UP:
                noise = self._warm_up(inputs)  # this call counts; the next one is played
                self._record(key, inputs, noise)
                return
        recording = self._recordings[key]
        for held, new in zip(recording.inputs, inputs, strict=True):
            held.copy_(new)
        if self.masks is not None:
            self.masks.draw(recording.noise)
        recording.graph.replay()

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> list[SeedMasks]:
        """Call it aside; returns what was drawn."""
        drawn = list[SeedMasks]()
        if self.masks is not None:
            self.masks.drawn = drawn
        try:
            with cuda_graphs.on_side_stream(torch.cuda.Stream(self.device)):
                self.function(*inputs)
        finally:
            if self.masks is not None:
                self.masks.drawn = None
        return drawn

    def _record(self, key: Any, inputs: tuple[Tensor, ...], noise: list[SeedMasks]) -> None:
        """Record it for these shapes. Nothing of it is run."""
        held = tuple(x.clone() for x in inputs)
        graph = torch.cuda.CUDAGraph()
        if self.masks is not None:
            self.masks.given = iter(noise)
        try:
            with cuda_graphs.capture_graph(graph, self._pool):
                self.function(*held)
        except RuntimeError as error:
            if memory.exhausted(error):
                raise
            self.obstacle = str(error).strip().partition("\n")[0]
            return
        finally:
            if self.masks is not None:
                self.masks.given = None
        self._recordings[key] = _Recording(graph, held, noise)
