"""Time and memory of work and its twin, measured in turns, so that other load slows both alike.

On a GPU time is measured between two events of its stream, on a CPU by the clock. Everything before the first
measurement (building, compiling, selecting kernels) is timed separately, as warm-up.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Work = Callable[[], object]


@dataclass
class Timing:
    """Measurements of one piece of work.

    Args:
        milliseconds: of each round.
        warm_up_seconds: until the work was ready to be timed.
        peak_bytes: peak memory on the device, including its own tensors and its CUDA graphs' pools; None on a CPU.
    """

    milliseconds: list[float]
    warm_up_seconds: float
    peak_bytes: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def spread(self) -> float:
        """The range of the times, relative to the median."""
        return (max(self.milliseconds) - min(self.milliseconds)) / self.median

    def numbers(self) -> dict[str, Any]:
        """Fields of the record."""
        return {
            "milliseconds": round(self.median, 4),
            "n": len(self.milliseconds),
            "spread": round(self.spread, 4),
            "warm_up_seconds": round(self.warm_up_seconds, 2),
            "peak_bytes": self.peak_bytes,
        }


def time_in_turns(
    builders: dict[str, Callable[[], Work]], device: torch.device, rounds: int, warm_up: int = 3
) -> dict[str, Timing]:
    """Build and warm up each piece of work, then time them in turns.

    Args:
        builders: name -> function that builds the work of one round.
        device: on which it runs.
        rounds: timed calls of each.
        warm_up: untimed calls of each.
    """
    on_gpu = device.type == "cuda"
    ready: dict[str, Work] = {}
    found: dict[str, Timing] = {}
    own: dict[str, int] = {}
    for name, build in builders.items():
        before = torch.cuda.memory_allocated(device) + graph_bytes(device) if on_gpu else 0
        started = time.perf_counter()
        work = ready[name] = build()
        for _ in range(warm_up):
            work()
        synchronize(device)
        if on_gpu:
            own[name] = torch.cuda.memory_allocated(device) + graph_bytes(device) - before
        found[name] = Timing([], time.perf_counter() - started, None)
    for _ in range(rounds):
        for name, work in ready.items():
            times = found[name]
            if not on_gpu:
                times.milliseconds.append(_by_clock(work))
                continue
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            times.milliseconds.append(_by_events(work))
            peak = torch.cuda.max_memory_allocated(device) - before + own[name]
            times.peak_bytes = max(times.peak_bytes or 0, peak)
    return found


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def graph_bytes(device: torch.device) -> int:
    """Bytes in the private pools of this process's CUDA graphs that torch counts as free, but only a replay can use."""
    index = device.index or 0
    segments: list[Any] = torch.cuda.memory_snapshot()
    private = [s for s in segments if s["device"] == index and tuple(s["segment_pool_id"]) != (0, 0)]
    return sum(s["total_size"] - s["allocated_size"] for s in private)


def _by_clock(work: Work) -> float:
    started = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - started)


def _by_events(work: Work) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)
