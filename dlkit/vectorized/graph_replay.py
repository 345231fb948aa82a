"""A function of tensors captured as a CUDA graph and replayed with one launch.

A step of a small model is some hundred kernels of a few microseconds each, which Python takes longer to launch than the
device to run. A graph fixes shapes, addresses and numbers of the host. So the function must take tensors of few
different shapes, change its state in place, and read what varies from step to step from the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlkit import memory
from dlkit.kernels import cuda_graphs
from dlkit.kernels.cuda_graphs import WARM_UP
from dlkit.vectorized.dropout_masks import DropoutMasks, SeedMasks


@dataclass
class _Recording:
    graph: Any
    inputs: tuple[Tensor, ...]  # whose addresses the graph reads
    drawn: list[SeedMasks]


class GraphReplay:
    """Calls `function`, and replays it once it was called `WARM_UP` times with tensors of these shapes.

    Only on CUDA. Elsewhere, and if it cannot be captured, it is always called; `obstacle` then says why.

    Args:
        function: changes tensors in place and returns nothing; it must not wait for the device.
        device: of its tensors.
        masks: dropout masks of the function, which a graph cannot draw: they are drawn before each replay.
        beside: another `GraphReplay` that never runs at the same time, whose memory pool to share.
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
                drawn = self._warm_up(inputs)  # this call counts; the next one is replayed
                self._record(key, inputs, drawn)
                return
        recording = self._recordings[key]
        for held, new in zip(recording.inputs, inputs, strict=True):
            held.copy_(new)
        if self.masks is not None:
            self.masks.draw(recording.drawn)
        recording.graph.replay()

    def _warm_up(self, inputs: tuple[Tensor, ...]) -> list[SeedMasks]:
        """Call it on a side stream; returns the masks that it drew."""
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

    def _record(self, key: Any, inputs: tuple[Tensor, ...], drawn: list[SeedMasks]) -> None:
        """Capture it for these shapes, without running it."""
        held = tuple(x.clone() for x in inputs)
        graph = torch.cuda.CUDAGraph()
        if self.masks is not None:
            self.masks.given = iter(drawn)
        try:
            with cuda_graphs.capture_graph(graph, self._pool):
                self.function(*held)
        except RuntimeError as error:
            if memory.is_out_of_memory(error):
                raise
            self.obstacle = str(error).strip().partition("\n")[0]
            return
        finally:
            if self.masks is not None:
                self.masks.given = None
        self._recordings[key] = _Recording(graph, held, drawn)
