"""A step of each optimizer beside the best of torch's for-loop, foreach and fused ones.

    pytest -m benchmark tests/benchmarks/test_optimizers.py -s

Both sides get the same gradients; they are checked to agree first. Sides alternate; medians.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.optim.muon import Muon
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.training.device import keep_freed_memory

THREADS = int(os.environ.get("BENCH_THREADS", len(os.sched_getaffinity(0))))
REPEATS = 15


def gpt_shapes() -> list[tuple[int, ...]]:
    """A GPT of 6 blocks, 384 wide: 76 tensors, 14 M parameters."""
    d = 384
    block = [(d,), (d,), (3 * d, d), (3 * d,), (d, d), (d,), (d,), (d,), (4 * d, d), (4 * d,), (d, 4 * d), (d,)]
    return [(8192, d), (256, d), *block * 6, (d,), (d,)]


def resnet50_shapes() -> list[tuple[int, ...]]:
    from torchvision.models import resnet50

    return [tuple(parameter.shape) for parameter in resnet50().parameters()]


SHAPES = {
    "GPT, 76 tensors": gpt_shapes,
    "ResNet-50, 161 tensors": resnet50_shapes,
    "200 of 1,000": lambda: [(1000,)] * 200,
}
PAIRS: list[tuple[Any, Any, dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 1e-3}),
    (Momentum, torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    (Adagrad, torch.optim.Adagrad, {"lr": 1e-3}),
    (RMSprop, torch.optim.RMSprop, {"lr": 1e-3}),
    (Adam, torch.optim.Adam, {"lr": 1e-3}),
    (AdamW, torch.optim.AdamW, {"lr": 1e-3}),
]


@pytest.mark.benchmark
@pytest.mark.parametrize("case", SHAPES)
def test_a_step_beside_torch(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(THREADS)
    shapes = SHAPES[case]()
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    lines: list[str] = []
    ratios: list[float] = []
    for ours, theirs, options in PAIRS:
        ways: dict[str, Any] = {"dlkit": (ours, {}), "for-loop": (theirs, {"foreach": False})}
        ways["foreach"] = (theirs, {"foreach": True})
        if ours is not RMSprop:
            ways["for-loop"] = (theirs, {"foreach": False, "fused": False})
            ways["fused"] = (theirs, {"fused": True})
        sides: dict[str, tuple[Any, list[Tensor]]] = {}
        for name, (kind, extra) in ways.items():
            parameters = [torch.zeros(shape, requires_grad=True) for shape in shapes]
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            sides[name] = (kind(parameters, **options, **extra), parameters)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for repeat in range(REPEATS + 2):
            for name, (optimizer, _) in sides.items():
                begin = time.perf_counter()
                optimizer.step()
                if repeat >= 2:
                    times[name].append(time.perf_counter() - begin)
        for _, parameters in sides.values():
            for a, b in zip(parameters, sides["dlkit"][1], strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        median = {name: statistics.median(values) * 1e3 for name, values in times.items()}
        best = min((name for name in median if name != "dlkit"), key=lambda name: median[name])
        ratio = median["dlkit"] / median[best]
        if ours is not RMSprop:
            ratios.append(ratio)
        lines.append(
            f"  {ours.__name__:9} {median['dlkit']:8.2f} ms  torch's best {median[best]:8.2f} ms ({best})  {ratio:5.2f}"
        )
    with capfd.disabled():
        print(f"\n{case}: {THREADS} threads, median of {REPEATS}")
        print("\n".join(lines))
        print(f"  geometric mean without RMSprop: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.3f}")


@pytest.mark.benchmark
def test_muon_beside_torch(capfd: pytest.CaptureFixture[str]) -> None:
    """On the 24 matrices of the GPT's blocks; torch has one way only. Both keep freed memory, as commands do."""
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    shapes = [shape for shape in gpt_shapes()[2:] if len(shape) == 2]
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    sides: dict[str, tuple[Any, list[Tensor]]] = {}
    for name, kind in (("torch", torch.optim.Muon), ("dlkit", Muon)):
        parameters = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        sides[name] = (kind(parameters, lr=1e-3, weight_decay=0.1), parameters)
    ratios: list[float] = []
    for repeat in range(REPEATS + 2):
        seconds: dict[str, float] = {}
        for name in sorted(sides, reverse=bool(repeat % 2)):  # in turns, for whoever is second finds a warm cache
            begin = time.perf_counter()
            sides[name][0].step()
            seconds[name] = time.perf_counter() - begin
        if repeat >= 2:
            ratios.append(seconds["dlkit"] / seconds["torch"])
    for a, b in zip(sides["dlkit"][1], sides["torch"][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    ratios.sort()
    with capfd.disabled():
        print(f"\nMuon, {len(shapes)} matrices: {statistics.median(ratios):.2f} times torch's", end=" ")
        print(f"({ratios[0]:.2f} to {ratios[-1]:.2f}), n = {REPEATS}, {THREADS} threads")
