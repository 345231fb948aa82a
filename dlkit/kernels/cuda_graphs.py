"""Capture of CUDA graphs (developer.nvidia.com/blog/cuda-graphs), following torch's notes on CUDA semantics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

WARM_UP = 3  # eager calls before a capture: in the first ones libraries choose kernels and allocate what they keep


@contextmanager
def on_side_stream(stream: torch.cuda.Stream) -> Iterator[None]:
    """Run the body on another stream, ordered after the work queued on the current one and before what follows.

    What is to be captured is first run this way a few times: a library allocates its workspace at its first call, and a
    backward pass uses the stream of its forward pass.
    """
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


@contextmanager
def capture_graph(
    graph: torch.cuda.CUDAGraph, pool: Any = None, stream: torch.cuda.Stream | None = None
) -> Iterator[None]:
    """Record the launches of the body in a graph instead of making them.

    Args:
        graph: an empty one.
        pool: of memory, to share among graphs that never run at the same time; None for a pool of its own.
        stream: to capture on; None for torch's own capture stream.

    Raises:
        RuntimeError: the body waits for the device, or does something else that cannot be captured.
    """
    # other threads (a progress bar, a copy to pinned memory) may use CUDA meanwhile
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        yield
