"""The number of kernels launched on a GPU; on a CPU, the number of operators called."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")


class RecordedOperators(TorchDispatchMode):
    """A context that records name and arguments of every called operator in `called`, except for views."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.called.append((str(func), args))
        return func(*args, **(kwargs or {}))


def kernel_launches(work: Callable[[], object], device: torch.device) -> int:
    """Launches of one call, after a warm-up call."""
    work()
    if device.type != "cuda":
        with RecordedOperators() as operators:
            work()
        return len(operators.called)
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize(device)
    with warnings.catch_warnings(), profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        warnings.simplefilter("ignore")
        work()
        torch.cuda.synchronize(device)
    return sum(event.count for event in profiler.key_averages() if event.key.startswith(_LAUNCHES))
