"""The forward and backward pass of a batch: kernel by kernel, compiled, or replayed from a CUDA graph.

A small model on a GPU waits for Python: ResNet-20 launches about 300 kernels a step, each done before the next has been
asked for. A CUDA graph (developer.nvidia.com/blog/cuda-graphs) records the launches of one pass and replays them all
with one. What it reads and writes stays where it is: a batch is copied into the graph's inputs, and each replay writes
the gradients to the same memory. A replay draws from torch's generator the random numbers that the pass itself would.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dlkit.errors import DlkitError
from dlkit.kernels import cuda_graphs

MOST_SHAPES = 64  # of a batch, that a pass is compiled for; torch's own 8 would leave grown images uncompiled
MOST_GRAPHS = 16  # each keeps its inputs and gradients in memory
WARM_UP = 3  # passes before the first capture, in which libraries choose their kernels and take their memory; of a
# later shape one is enough

Pass = tuple[Tensor, Tensor | None]  # the mean loss of a batch, and how many of its predictions are right
Forward = Callable[[Any], Pass]


def compile_forward(forward: Forward) -> Forward:
    """Model and loss compiled as one, and their gradient with them: once for each shape of a batch."""
    # a setting of the process, since torch.compile takes it as an argument from 2.12 on only
    torch._dynamo.config.recompile_limit = MOST_SHAPES  # pyright: ignore[reportPrivateImportUsage]
    return torch.compile(forward, dynamic=False)


class ForwardBackward:
    """Calls `forward` on the micro-batches of a step and adds their gradients to `.grad`.

    Args:
        plain: a batch to its loss and its right predictions, in the precision of the run.
        forward: the same, perhaps compiled, for batches of `full` rows: a smaller last batch goes through `plain`, as
            it would be compiled or captured anew.
        full: rows of a whole batch.
        parameters: what has gradients.
        scaler: of fp16.
        accumulate: batches a step, at most.
        captures: whether passes are replayed from CUDA graphs.
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
        self.seconds = 0.0  # of passes that were compiled or captured, which no later one takes
        self.seen: Counter[Any] = Counter()
        self.graphs: dict[Any, PassGraph] = {}
        self.held: list[Tensor] | None = None  # the gradients of the step so far, where graphs put them there each time
        # a replay writes where the one before it has: the sum over a step's batches has memory of its own
        self.sums = {id(p): torch.zeros_like(p) for p in parameters} if captures and accumulate > 1 else {}

    def __call__(self, batch: Any, share: float) -> Pass:
        """The loss of a batch, apart from the gradient, which is that of `share` times the loss; and what is right."""
        self.held = None
        if len(batch[0]) != self.full:
            return self._made(self.plain, batch, share)
        if not self.prepares:
            return self._made(self.forward, batch, share)
        shapes = tuple((part.shape, part.dtype, part.stride()) for part in batch if isinstance(part, Tensor))
        self.seen[shapes] += 1
        if self.seen[shapes] == 1:
            with self._clocked():
                return self._warm(batch, share)
        if not self.captures:
            return self._made(self.forward, batch, share)
        graph = self.graphs.get(shapes)
        if graph is None:
            if self.seen[shapes] <= (1 if self.graphs else WARM_UP) or len(self.graphs) == MOST_GRAPHS:
                return self._warm(batch, share)
            with self._clocked():
                graph = self.graphs[shapes] = self._captured(batch)
        return self._replayed(graph, batch, share)

    def _made(self, forward: Forward, batch: Any, share: float | Tensor) -> Pass:
        loss, right = forward(batch)
        part = loss * share if isinstance(share, Tensor) or share != 1 else loss
        (self.scaler.scale(part) if self.scaler else part).backward()
        return loss.detach(), right

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        """Count the time of the body, and of what the device does in it."""
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
        """The stream that graphs are captured on. No pass has run there: the workspace that cuBLAS keeps for a stream
        then comes from the graphs' own memory, and nobody who clears those workspaces takes it from them."""
        return torch.cuda.Stream(self.parameters[0].device)

    @functools.cached_property
    def pool(self) -> Any:
        """The memory of all graphs: they run one after the other."""
        return torch.cuda.graph_pool_handle()

    def _warm(self, batch: Any, share: float) -> Pass:
        """A pass as it is, but aside: what it leaves behind on the main stream would be in the way of a capture."""
        if not self.captures:
            return self._made(self.forward, batch, share)
        with cuda_graphs.on_side_stream(self.stream):
            return self._made(self.forward, batch, share)

    def _captured(self, batch: Any) -> PassGraph:
        """The pass of a batch as a graph, which capturing does not run. Gradients stay as they are."""
        before = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        share = torch.ones((), device=batch[0].device) if self.accumulate > 1 else 1.0
        run = functools.partial(self._made, self.forward, share=share)
        home = next(iter(self.graphs.values())).gradients if self.graphs else None
        graph = PassGraph(run, batch, self.parameters, share, home, self.pool, self.recorder)
        for parameter, gradient in zip(self.parameters, before, strict=True):
            parameter.grad = gradient
        if self.sums:
            graph.held = [self.sums[id(parameter)] for parameter in graph.parameters]
        return graph

    def _replayed(self, graph: PassGraph, batch: Any, share: float) -> Pass:
        earlier = graph.parameters[0].grad
        made = graph.replay(batch, share)
        held = graph.held
        if earlier is not None and earlier is not held[0]:  # of a batch that went as it is
            others: list[Any] = [parameter.grad for parameter in graph.parameters]
            torch._foreach_add_(others, graph.gradients)
            return made
        if held is not graph.gradients:
            (torch._foreach_copy_ if earlier is None else torch._foreach_add_)(held, graph.gradients)
        for parameter, gradient in zip(graph.parameters, held, strict=True):
            parameter.grad = gradient
        self.held = held
        return made


@contextmanager
def capture_step(graph: torch.cuda.CUDAGraph, pool: Any, stream: torch.cuda.Stream) -> Iterator[None]:
    """Note the launches of the body in a graph instead of making them. Raises DlkitError where none can hold it."""
    try:
        with cuda_graphs.capture_graph(graph, pool, stream):
            yield
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise DlkitError(f"a step cannot be captured as a CUDA graph: {why}", "set train.cuda_graph=off") from error


class PassGraph:
    """A pass captured by `torch.cuda.CUDAGraph`: it reads `inputs` and writes `gradients`, the loss and what is right.

    Gradients come to `home`, where a graph of another shape puts its own, so that one graph of the update serves both.

    Raises:
        DlkitError: the pass waits for the device, or does what no graph can hold.
    """

    def __init__(
        self,
        run: Callable[[Any], Pass],
        batch: Any,
        parameters: list[Tensor],
        share: Tensor | float,
        home: list[Tensor] | None,
        pool: Any,
        stream: torch.cuda.Stream,
    ) -> None:
        self.inputs = tuple(torch.empty_like(p).copy_(p) if isinstance(p, Tensor) else p for p in batch)
        self.share = share
        self.graph = torch.cuda.CUDAGraph()
        with capture_step(self.graph, pool, stream):
            self.loss, self.right = run(self.inputs)
            learned = [parameter for parameter in parameters if parameter.grad is not None]
            gradients: list[Any] = [parameter.grad for parameter in learned]
            if home is not None:
                torch._foreach_copy_(home, gradients)
        self.parameters, self.gradients = learned, home or gradients
        self.held = self.gradients

    def replay(self, batch: Any, share: float) -> Pass:
        """The pass of another batch of the same shapes. The next replay overwrites the gradients."""
        for held, part in zip(self.inputs, batch, strict=True):
            if isinstance(held, Tensor):
                held.copy_(part)
        if isinstance(self.share, Tensor):
            self.share.fill_(share)
        self.graph.replay()
        return self.loss.clone(), None if self.right is None else self.right.clone()


def _nothing() -> None:
    """A device that is never ahead."""
