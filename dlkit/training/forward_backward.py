"""The forward and backward pass of a batch: eager, compiled, or replayed from a CUDA graph.

A GPU that trains a small model waits for Python: ResNet-20 launches about 300 kernels a step, each of which ends before
the next is launched. A CUDA graph (developer.nvidia.com/blog/cuda-graphs) records the launches of one pass and replays
them as one. Its memory is fixed: a batch is copied into the graph's inputs, and each replay writes the gradients to the
same addresses. A replay advances torch's random generator as the eager pass would.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dlkit.data.batch import Batch
from dlkit.errors import DlkitError
from dlkit.kernels import cuda_graphs
from dlkit.kernels.cuda_graphs import WARM_UP

MOST_SHAPES = 64  # batch shapes to compile for; torch's own limit of 8 would leave images that grow uncompiled
MOST_GRAPHS = 16  # each keeps its inputs and gradients in memory

Pass = tuple[Tensor, Tensor | None]  # the mean loss of a batch, and how many of its predictions are correct
Forward = Callable[[Batch], Pass]


def compile_forward(forward: Forward) -> Forward:
    """Compile model, loss and their gradient as one graph, once for each shape of a batch."""
    # process-wide, since torch.compile takes it as an argument only from 2.12 on
    torch._dynamo.config.recompile_limit = MOST_SHAPES  # pyright: ignore[reportPrivateImportUsage]
    # beside CUDA's compiler torch would log, in the middle of the progress, that there is no GPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    return torch.compile(forward, dynamic=False)


class ForwardBackward:
    """Runs the micro-batches of a step forward and backward, and accumulates their gradients in `.grad`.

    Args:
        plain: maps a batch to its loss and its correct predictions, at the precision of the run.
        forward: the same, possibly compiled, for batches of `full` rows; a smaller last batch goes through `plain`,
            since it would have to be compiled or captured on its own.
        full: rows of a whole batch.
        parameters: those that get gradients.
        scaler: of the loss, at fp16.
        accumulate: batches a step, at most.
        captures: whether to replay passes from CUDA graphs.
    """

    def __init__(
        self,
        plain: Forward,
        forward: Forward,
        full: int,
        parameters: list[Tensor],
        scaler: torch.amp.GradScaler | None = None,
        *,
        accumulate: int = 1,
        captures: bool = False,
    ) -> None:
        self.plain, self.forward, self.full = plain, forward, full
        self.parameters, self.scaler, self.accumulate = parameters, scaler, accumulate
        self.captures, self.prepares = captures, captures or forward != plain
        self.seconds = 0.0  # spent compiling and capturing, once for each shape
        self.seen: Counter[Any] = Counter()
        self.graphs: dict[Any, PassGraph] = {}
        self.held: list[Tensor] | None = None  # the step's gradients so far, if graphs keep them at fixed addresses
        # each replay overwrites the last one's gradients, so their sum over a step's batches has its own memory
        self.sums = {id(p): torch.zeros_like(p) for p in parameters} if captures and accumulate > 1 else {}

    def __call__(self, batch: Batch, share: float) -> Pass:
        """The loss of a batch and its correct predictions; adds the gradient of `share` times the loss to `.grad`."""
        self.held = None
        if len(batch) != self.full:
            return self._run(self.plain, batch, share)
        if not self.prepares:
            return self._run(self.forward, batch, share)
        shapes = tuple((x.shape, x.dtype, x.stride()) for x in batch.tensors())
        self.seen[shapes] += 1
        if self.seen[shapes] == 1:
            with self._clocked():
                return self._warm(batch, share)
        if not self.captures:
            return self._run(self.forward, batch, share)
        graph = self.graphs.get(shapes)
        if graph is None:
            # libraries are ready by the second shape
            if self.seen[shapes] <= (1 if self.graphs else WARM_UP) or len(self.graphs) == MOST_GRAPHS:
                return self._warm(batch, share)
            with self._clocked():
                graph = self.graphs[shapes] = self._captured(batch)
        return self._replayed(graph, batch, share)

    def _run(self, forward: Forward, batch: Batch, share: float | Tensor) -> Pass:
        loss, right = forward(batch)
        part = loss * share if isinstance(share, Tensor) or share != 1 else loss
        (self.scaler.scale(part) if self.scaler else part).backward()
        return loss.detach(), right

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        """Add the time of the body to `seconds`, the device's work included."""
        wait = torch.cuda.synchronize if self.parameters[0].is_cuda else _nothing
        wait()
        begun = time.perf_counter()
        yield
        wait()
        self.seconds += time.perf_counter() - begun

    # ------------------------------------------------------------------ CUDA graphs

    @functools.cached_property
    def stream(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self.parameters[0].device)

    @functools.cached_property
    def recorder(self) -> torch.cuda.Stream:
        """The stream that graphs are captured on, and on which no pass runs.

        The workspace that cuBLAS keeps for a stream then comes from the graphs' memory pool, and stays valid when
        somebody clears cuBLAS's workspaces.
        """
        return torch.cuda.Stream(self.parameters[0].device)

    @functools.cached_property
    def pool(self) -> Any:
        """The memory pool that all graphs share, as no two of them run at once."""
        return torch.cuda.graph_pool_handle()

    def _warm(self, batch: Batch, share: float) -> Pass:
        """An eager pass on a side stream, since what it left on the main stream would disturb a later capture."""
        if not self.captures:
            return self._run(self.forward, batch, share)
        with cuda_graphs.on_side_stream(self.stream):
            return self._run(self.forward, batch, share)

    def _captured(self, batch: Batch) -> PassGraph:
        """Capture the pass of a batch, without running it. `.grad` stays as it is."""
        before = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        share = torch.ones((), device=self.parameters[0].device) if self.accumulate > 1 else 1.0
        run = functools.partial(self._run, self.forward, share=share)
        home = next(iter(self.graphs.values())).gradients if self.graphs else None
        graph = PassGraph(run, batch, self.parameters, share, home, self.pool, self.recorder)
        for parameter, gradient in zip(self.parameters, before, strict=True):
            parameter.grad = gradient
        if self.sums:
            graph.held = [self.sums[id(parameter)] for parameter in graph.parameters]
        return graph

    def _replayed(self, graph: PassGraph, batch: Batch, share: float) -> Pass:
        earlier = graph.parameters[0].grad
        result = graph.replay(batch, share)
        held = graph.held
        if earlier is not None and earlier is not held[0]:  # an eager batch's gradient
            others: list[Any] = [parameter.grad for parameter in graph.parameters]
            torch._foreach_add_(others, graph.gradients)
            return result
        if held is not graph.gradients:
            (torch._foreach_copy_ if earlier is None else torch._foreach_add_)(held, graph.gradients)
        for parameter, gradient in zip(graph.parameters, held, strict=True):
            parameter.grad = gradient
        self.held = held
        return result


@contextmanager
def capture_step(graph: torch.cuda.CUDAGraph, pool: Any, stream: torch.cuda.Stream) -> Iterator[None]:
    """Record the launches of the body in a graph instead of making them. Raises DlkitError if it cannot be captured."""
    try:
        with cuda_graphs.capture_graph(graph, pool, stream):
            yield
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise DlkitError(f"a step cannot be captured as a CUDA graph: {why}", "set train.cuda_graph=off") from error


class PassGraph:
    """A pass captured by `torch.cuda.CUDAGraph`: it reads `inputs` and writes `gradients`, `loss` and `right`.

    Gradients are copied to `home`, the gradients of a graph of another shape, so that one captured optimizer step
    serves both.

    Raises:
        DlkitError: the pass waits for the device, or does something else that cannot be captured.
    """

    def __init__(
        self,
        run: Callable[[Batch], Pass],
        batch: Batch,
        parameters: list[Tensor],
        share: Tensor | float,
        home: list[Tensor] | None,
        pool: Any,
        stream: torch.cuda.Stream,
    ) -> None:
        self.batch = batch.map(lambda x: torch.empty_like(x).copy_(x))
        self.inputs = self.batch.tensors()
        self.share = share
        self.graph = torch.cuda.CUDAGraph()
        with capture_step(self.graph, pool, stream):
            self.loss, self.right = run(self.batch)
            learned = [parameter for parameter in parameters if parameter.grad is not None]
            gradients: list[Any] = [parameter.grad for parameter in learned]
            if home is not None:
                torch._foreach_copy_(home, gradients)
        self.parameters, self.gradients = learned, home or gradients
        self.held = self.gradients

    def replay(self, batch: Batch, share: float) -> Pass:
        """Run the pass on another batch of the same shapes. The next replay overwrites the gradients."""
        for own, new in zip(self.inputs, batch.tensors(), strict=True):
            own.copy_(new)
        if isinstance(self.share, Tensor):
            self.share.fill_(share)
        self.graph.replay()
        return self.loss.clone(), None if self.right is None else self.right.clone()


def _nothing() -> None:
    """What to wait for on a CPU."""
