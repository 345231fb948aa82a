"""Capturing launches as a CUDA graph (developer.nvidia.com/blog/cuda-graphs), as torch's notes on CUDA ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def on_side_stream(stream: torch.cuda.Stream) -> Iterator[None]:
    """Run the body on another stream, between what the current one has been given and what it is given next.

    What is to be captured runs so a few times before: a library makes its workspace at its first call, and a backward
    pass remembers the stream of its forward pass.
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
    """Note the launches of the body in a graph instead of making them.

    Args:
        graph: is empty.
        pool: of memory, which graphs share that never run at the same time; null for one of its own.
        stream: to capture on; null for torch's own.

    Raises:
        RuntimeError: the body waits for the device, or does what no graph can hold.
    """
    # other threads (a progress bar, a copy to pinned memory) may go on meanwhile
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        yield
