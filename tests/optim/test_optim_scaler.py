"""fp16's scaler: a gradient that overflows makes no step, and what it divides by is taken into account."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit import catalog
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.training.grad_scaler import GradScaler

# Every optimizer with its defaults, and those whose options take other paths.
OPTIMIZERS: list[tuple[Any, dict[str, Any]]] = [
    *((catalog.import_object(entry.target), {}) for entry in catalog.OPTIMIZERS.values()),
    (SGD, {"weight_decay": 0.1}),
    (Momentum, {"momentum": 0.0}),
    (Adagrad, {"lr_decay": 0.1}),
    (RMSprop, {"momentum": 0.9}),
    (Adam, {"amsgrad": True}),
]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]


def parameters(device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(device).requires_grad_() for s in ((4, 3), (4, 3), (5,))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("unscaled", [True, False])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=[f"{k.__name__}-{'-'.join(o)}" for k, o in OPTIMIZERS])
def test_steps_that_overflow_are_not_made(kind: Any, options: dict[str, Any], unscaled: bool, device: str) -> None:
    """Six steps of which three overflow are as the other three by themselves."""
    mine, reference = parameters(device), parameters(device)
    optimizer, plain = kind(mine, lr=0.01, **options), kind(reference, lr=0.01, **options)
    scaler, counted = GradScaler(torch.device(device)), 0
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        overflows = step in (0, 2, 3)
        gradients = [torch.randn(p.shape, generator=generator).to(device) for p in mine]
        scale = scaler.scale(torch.ones((), device=device))
        for parameter, gradient in zip(mine, gradients, strict=True):
            parameter.grad = gradient * scale * (float("inf") if overflows else 1.0)
        before = [parameter.detach().clone() for parameter in mine]
        if unscaled:
            scaler.unscale_(optimizer)
            assert scaler.make_step(optimizer).item() == overflows
            counted += overflows
        else:
            scaler.step(optimizer)
            scaler.update()
        if overflows:
            assert all(torch.equal(a, b) for a, b in zip(mine, before, strict=True))
            continue
        for parameter, gradient in zip(reference, gradients, strict=True):
            parameter.grad = gradient
        plain.step()
    assert scaler.get_scale() == 2.0**16 / 2**3
    assert scaler.overflown() == counted
    assert scaler.overflown() == 0
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    for a, b in zip(mine, reference, strict=True):
        if "step" in plain.state[b]:
            assert optimizer.state[a]["step"] == plain.state[b]["step"] == 3
