"""Images a second of ResNet-20 at 32x32, batch 128, by precision and memory layout: what `auto` chooses among.

    pytest -m benchmark tests/benchmarks/test_precision.py -s

The sides take turns at each step; the table shows medians.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.models.resnet import resnet20
from dlkit.optim.momentum import Momentum
from dlkit.training.device import keep_freed_memory
from dlkit.training.precision import autocast

THREADS = int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0))))
REPEATS = 15
BATCH = 128


def step_of(precision: str, channels_last: bool) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    form = torch.channels_last if channels_last else torch.contiguous_format
    model = resnet20((3, 32, 32), 10).to(memory_format=form)  # pyright: ignore[reportCallIssue]
    inputs = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=form)
    targets = torch.randint(0, 10, (BATCH,))
    optimizer = Momentum(model.parameters(), lr=0.01)

    def step() -> Tensor:
        with autocast(precision, torch.device("cpu")):
            loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


@pytest.mark.benchmark
def test_images_a_second_by_precision(capfd: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    kinds = [(precision, layout) for precision in ("fp32", "bf16") for layout in (False, True)]
    steps = {kind: step_of(*kind) for kind in kinds}
    first = [step() for step in steps.values()]
    for loss in first:  # the same network on the same images
        torch.testing.assert_close(loss, first[0], rtol=2e-2, atol=2e-2)
    times: dict[tuple[str, bool], list[float]] = {kind: [] for kind in kinds}
    for repeat in range(REPEATS + 1):
        for kind, step in steps.items():
            begin = time.perf_counter()
            step()
            if repeat:
                times[kind].append(time.perf_counter() - begin)
    median = {kind: statistics.median(values) for kind, values in times.items()}
    with capfd.disabled():
        print(
            f"\nResNet-20, 32x32, batch {BATCH}: {torch.backends.cpu.get_cpu_capability()}, {THREADS} threads,", end=" "
        )
        print(f"median of {REPEATS} steps")
        for (precision, layout), value in median.items():
            name = f"{precision}{' channels_last' if layout else ''}"
            print(f"  {name:20} {BATCH / value:6.0f} images/s  {median['fp32', False] / value:5.2f}x fp32")
    torch.set_flush_denormal(False)
