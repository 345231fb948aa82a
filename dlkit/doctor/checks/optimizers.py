"""Every optimizer: 20 steps against torch's for-loop implementation in float64 on the CPU, and its kernels per step.

The error is `update_error`. Muon multiplies in bf16, and so does torch's: its twin runs on the same device and in the
same types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlkit.catalog import OPTIMIZERS, import_object
from dlkit.doctor.bench import CPU, Bench
from dlkit.doctor.checks.update_error import update_error
from dlkit.doctor.finding import Finding, judged, skipped
from dlkit.doctor.kernel_launches import kernel_launches
from dlkit.doctor.twins import optimizers as twins

STEPS, LR = 20, 0.01
SHAPES = [(64, 32), (32, 64), (48, 48), (48, 48), (17, 5)]  # matrices, which all optimizers accept
MOST, MOST_OF_MUON = 1e-4, 5e-2
# A step may launch TIMES as many kernels as the best of torch's implementations, plus MORE.
TIMES, MORE = 2, 8


def check_optimizers(bench: Bench) -> Iterator[Finding]:
    """One finding per optimizer of the catalog."""
    for name, entry in OPTIMIZERS.items():
        most = MOST_OF_MUON if name == "muon" else MOST
        expected = f"error < {most:g}"
        if name not in twins.TWINS:
            yield skipped(name, expected, "torch has no twin of it")
            continue
        kind = import_object(entry.target)
        error = optimizer_error(name, kind, bench.device)
        counts = count_launches(name, kind, bench.device)
        best = min(count for form, count in counts.items() if form != "dlkit")
        allowed = TIMES * best + MORE
        few = counts["dlkit"] <= allowed or not bench.on_gpu  # a CPU has no launches to save
        if bench.on_gpu:
            expected += f", {allowed} launches a step at most"
        got = f"error {error:.1e}, {counts['dlkit']} {'launches' if bench.on_gpu else 'operators'}"
        yield judged(name, expected, got, error < most and few, error=error, launches=counts)


def optimizer_error(name: str, kind: Any, device: torch.device) -> float:
    """The update error of 20 steps of dlkit's optimizer against torch's."""
    twin_device, dtype = (device, torch.float32) if name == "muon" else (CPU, torch.float64)
    start, mine, theirs = random_tensors(0), random_tensors(0, device), random_tensors(0, twin_device, dtype)
    ours, twin = kind(mine, lr=LR), twins.looped_optimizer(name, theirs, LR)
    for step in range(STEPS):
        for a, b, gradient in zip(mine, theirs, random_tensors(1 + step), strict=True):
            a.grad, b.grad = gradient.detach().to(a), gradient.detach().to(b)
        ours.step()
        twin.step()
    return update_error(start, mine, theirs)


def count_launches(name: str, kind: Any, device: torch.device) -> dict[str, int]:
    """Kernels per step of dlkit's optimizer, and of each of torch's implementations."""

    def of(make: Any) -> int:
        parameters = random_tensors(0, device)
        optimizer = make(parameters)
        for parameter, gradient in zip(parameters, random_tensors(1, device), strict=True):
            parameter.grad = gradient.detach()
        return kernel_launches(optimizer.step, device)

    forms = twins.fast_optimizers(name, random_tensors(0, device), LR)
    counts = {"dlkit": of(lambda parameters: kind(parameters, lr=LR))}
    return counts | {form: of(lambda ps, form=form: twins.fast_optimizers(name, ps, LR)[form]) for form in forms}


def random_tensors(seed: int, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random tensors of `SHAPES`, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(device, dtype).requires_grad_() for shape in SHAPES]
