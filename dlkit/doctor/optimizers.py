"""Every optimizer: 20 steps against torch's loop over tensors in float64 on the CPU, and how many kernels a step takes.

The error is that of the way that was gone, as in `dlkit.doctor.families`. Muon multiplies in bf16, and so does torch's:
there the twin runs on the same device in the same types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dlkit.catalog import OPTIMIZERS, import_object
from dlkit.doctor.bench import CPU, Bench
from dlkit.doctor.error import error_of_way
from dlkit.doctor.finding import Finding, judged, skipped
from dlkit.doctor.launches import launches
from dlkit.doctor.twins import optimizers as twins

STEPS, LR = 20, 0.01
SHAPES = [(64, 32), (32, 64), (48, 48), (48, 48), (17, 5)]  # matrices, which every optimizer takes
MOST, MOST_OF_MUON = 1e-4, 5e-2
# A step may launch this many times as many kernels as the best of torch's, and a few more.
TIMES, MORE = 2, 8


def check(bench: Bench) -> Iterator[Finding]:
    """A finding for each optimizer that a recipe can name."""
    for name, entry in OPTIMIZERS.items():
        most = MOST_OF_MUON if name == "muon" else MOST
        expected = f"error < {most:g}"
        if name not in twins.TWINS:
            yield skipped(name, expected, "torch has no twin of it")
            continue
        kind = import_object(entry.target)
        error = error_of(name, kind, bench.device)
        counts = counted(name, kind, bench.device)
        best = min(count for form, count in counts.items() if form != "dlkit")
        allowed = TIMES * best + MORE
        few = counts["dlkit"] <= allowed or not bench.on_gpu  # a CPU has no launches to save
        if bench.on_gpu:
            expected += f", {allowed} launches a step at most"
        got = f"error {error:.1e}, {counts['dlkit']} {'launches' if bench.on_gpu else 'operators'}"
        yield judged(name, expected, got, error < most and few, error=error, launches=counts)


def error_of(name: str, kind: Any, device: torch.device) -> float:
    """How far 20 steps of dlkit's optimizer end from those of torch's."""
    place, dtype = (device, torch.float32) if name == "muon" else (CPU, torch.float64)
    start, mine, theirs = tensors(0), tensors(0, device), tensors(0, place, dtype)
    ours, twin = kind(mine, lr=LR), twins.loop(name, theirs, LR)
    for step in range(STEPS):
        for a, b, gradient in zip(mine, theirs, tensors(1 + step), strict=True):
            a.grad, b.grad = gradient.detach().to(a), gradient.detach().to(b)
        ours.step()
        twin.step()
    return error_of_way(start, mine, theirs)


def counted(name: str, kind: Any, device: torch.device) -> dict[str, int]:
    """Kernels a step: dlkit's, and each of torch's forms."""

    def of(make: Any) -> int:
        parameters = tensors(0, device)
        optimizer = make(parameters)
        for parameter, gradient in zip(parameters, tensors(1, device), strict=True):
            parameter.grad = gradient.detach()
        return launches(optimizer.step, device)

    forms = twins.fast_forms(name, tensors(0, device), LR)
    counts = {"dlkit": of(lambda parameters: kind(parameters, lr=LR))}
    return counts | {form: of(lambda ps, form=form: twins.fast_forms(name, ps, LR)[form]) for form in forms}


def tensors(seed: int, device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random numbers of the shapes, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(device, dtype).requires_grad_() for shape in SHAPES]
