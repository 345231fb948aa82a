"""Time of work and of its twin, in turns, so that whatever else the machine does slows both; and the memory of each.

On a GPU the time is that between two events in its own queue; on a CPU that of the clock. What comes before the first
measurement (building, compiling, choosing kernels) is timed apart, as warm-up.
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
    """Milliseconds of each call, and what else was measured.

    Args:
        milliseconds: one for each round.
        warm_up_seconds: until the work was ready to be timed.
        peak_bytes: of memory on the device, its own tensors and what its CUDA graphs keep included; None on a CPU.
    """

    milliseconds: list[float]
    warm_up_seconds: float
    peak_bytes: int | None

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def spread(self) -> float:
        """From the least to the greatest, as a share of the median."""
        return (max(self.milliseconds) - min(self.milliseconds)) / self.median

    def numbers(self) -> dict[str, Any]:
        """As fields of a record."""
        return {
            "milliseconds": round(self.median, 4),
            "n": len(self.milliseconds),
            "spread": round(self.spread, 4),
            "warm_up_seconds": round(self.warm_up_seconds, 2),
            "peak_bytes": self.peak_bytes,
        }


def time_in_turns(
    ways: dict[str, Callable[[], Work]], device: torch.device, rounds: int, warm_up: int = 3
) -> dict[str, Timing]:
    """Build each piece of work, warm it up, then let all take turns.

    Args:
        ways: name -> what builds the work of one round.
        rounds: of each.
        warm_up: calls that are not timed.
    """
    on_gpu = device.type == "cuda"
    ready: dict[str, Work] = {}
    found: dict[str, Timing] = {}
    own: dict[str, int] = {}
    for name, build in ways.items():
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
    """Until all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def graph_bytes(device: torch.device) -> int:
    """Bytes that CUDA graphs of this process need in a replay and lend to nobody in between, which torch calls free."""
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
