"""Each optimizer against torch's for-loop twin in float64: options, layouts, state dicts, bad gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.errors import RequestError
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.base import Optimizer
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD

STEPS = 50
PLAIN: dict[str, Any] = {"foreach": False, "fused": False}
LOOP: dict[str, Any] = {"foreach": False}
OPTIMIZERS = [SGD, Momentum, Adagrad, RMSprop, Adam, AdamW]

# (ours, our options, torch's, torch's options beyond ours)
CASES: list[tuple[type[Optimizer], dict[str, Any], Any, dict[str, Any]]] = [
    (SGD, {"lr": 0.1}, torch.optim.SGD, PLAIN),
    (SGD, {"lr": 0.1, "weight_decay": 0.1}, torch.optim.SGD, PLAIN),
    (SGD, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, torch.optim.SGD, PLAIN),
    (Momentum, {"lr": 0.05, "momentum": 0.9}, torch.optim.SGD, PLAIN),
    (Momentum, {"lr": 0.05, "momentum": 0.5, "nesterov": True}, torch.optim.SGD, PLAIN),
    (Momentum, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, torch.optim.SGD, PLAIN),
    (Momentum, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "maximize": True}, torch.optim.SGD, PLAIN),
    (Adagrad, {"lr": 0.1}, torch.optim.Adagrad, PLAIN),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1}, torch.optim.Adagrad, PLAIN),
    (Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 0.1}, torch.optim.Adagrad, PLAIN),
    (Adagrad, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}, torch.optim.Adagrad, PLAIN),
    (RMSprop, {"lr": 0.01}, torch.optim.RMSprop, LOOP),
    (RMSprop, {"lr": 0.01, "alpha": 0.8, "eps": 0.1, "weight_decay": 0.1}, torch.optim.RMSprop, LOOP),
    (RMSprop, {"lr": 0.01, "momentum": 0.9}, torch.optim.RMSprop, LOOP),
    (RMSprop, {"lr": 0.01, "centered": True, "eps": 1e-4}, torch.optim.RMSprop, LOOP),
    (
        RMSprop,
        {"lr": 0.01, "momentum": 0.5, "centered": True, "maximize": True},
        torch.optim.RMSprop,
        {"foreach": False},
    ),
    (Adam, {"lr": 0.01}, torch.optim.Adam, PLAIN),
    (Adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.1}, torch.optim.Adam, PLAIN),
    (Adam, {"lr": 0.01, "amsgrad": True}, torch.optim.Adam, PLAIN),
    (Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "maximize": True}, torch.optim.Adam, PLAIN),
    (AdamW, {"lr": 0.01}, torch.optim.AdamW, PLAIN),
    (AdamW, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.3}, torch.optim.AdamW, PLAIN),
    (AdamW, {"lr": 0.01, "amsgrad": True, "maximize": True}, torch.optim.AdamW, PLAIN),
]
NAMES = [f"{ours.__name__}-{'-'.join(options)}" for ours, options, *_ in CASES]
every_case = pytest.mark.parametrize(("ours", "options", "theirs", "extra"), CASES, ids=NAMES)


def tensors(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Matrices, a vector, a scalar, an empty tensor and a channels-last kernel."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(5, 3), (7,), (), (0, 4), (4, 3, 3, 3), (17, 33)]
    values = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    values[4] = values[4].contiguous(memory_format=torch.channels_last)
    return values


def parameters(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [value.requires_grad_() for value in tensors(0, dtype)]


def run(optimizer: torch.optim.Optimizer, params: list[Tensor], first: int, steps: int, scale: float = 1.0) -> None:
    for step in range(first, first + steps):
        for parameter, gradient in zip(params, tensors(1000 + step, params[0].dtype), strict=True):
            parameter.grad = gradient * scale
        optimizer.step()


def assert_same(a: list[Tensor], b: list[Tensor], tolerance: float = 1e-12) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.fixture
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "kernel":
        return
    for optimizer in OPTIMIZERS:
        monkeypatch.setattr(optimizer, "fused_devices", ())
        monkeypatch.setattr(optimizer, "foreach_devices", ("cpu",) if request.param == "at once" else ())


every_way = pytest.mark.parametrize("path", ["kernel", "at once", "one by one"], indirect=True)
either = pytest.mark.parametrize("path", ["kernel", "one by one"], indirect=True)


@every_way
@every_case
def test_fifty_steps(path: None, ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    mine, reference = parameters(), parameters()
    run(ours(mine, **options), mine, 0, STEPS)
    run(theirs(reference, **options, **extra), reference, 0, STEPS)
    assert_same(mine, reference)
    assert all(not torch.equal(after, before) for after, before in zip(mine, tensors(0), strict=True) if after.numel())


@every_case
def test_float32(ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    mine, reference = parameters(torch.float32), parameters(torch.float32)
    run(ours(mine, **options), mine, 0, 20)
    run(theirs(reference, **options, **extra), reference, 0, 20)
    assert_same(mine, reference, 3e-5)


@every_way
@every_case
def test_torch_state_continues_here(path: None, ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    reference = parameters()
    torchs = theirs(reference, **options, **extra)
    run(torchs, reference, 0, 10)
    mine = [value.detach().clone().requires_grad_() for value in reference]
    optimizer = ours(mine, **{**options, "lr": 123.0})  # lr comes with the state
    optimizer.load_state_dict(copy.deepcopy(torchs.state_dict()))
    run(torchs, reference, 10, 20)
    run(optimizer, mine, 10, 20)
    assert_same(mine, reference)


@every_case
def test_our_state_continues_in_torch(ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    mine = parameters()
    optimizer = ours(mine, **options)
    run(optimizer, mine, 0, 10)
    reference = [value.detach().clone().requires_grad_() for value in mine]
    torchs = theirs(reference, **{**options, "lr": 123.0}, **extra)
    torchs.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(torchs, reference, 10, 20)
    run(optimizer, mine, 10, 20)
    assert_same(mine, reference)


@every_case
def test_own_state_round_trip_is_exact(ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    whole, halves = parameters(torch.float32), parameters(torch.float32)
    run(ours(whole, **options), whole, 0, 20)
    first = ours(halves, **options)
    run(first, halves, 0, 7)
    second = ours(halves, **options)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(second, halves, 7, 13)
    assert all(torch.equal(a, b) for a, b in zip(whole, halves, strict=True))


@either
@every_case
@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_zero_and_broken_gradients(path: None, ours: Any, options: Any, theirs: Any, extra: Any, scale: float) -> None:
    mine, reference = parameters(), parameters()
    for optimizer, params in ((ours(mine, **options), mine), (theirs(reference, **options, **extra), reference)):
        run(optimizer, params, 0, 2)
        run(optimizer, params, 2, 2, scale)
    assert_same(mine, reference)


@every_way
def test_a_momentum_of_zero_is_gradient_descent(path: None) -> None:
    mine, reference = parameters(), parameters()
    run(Momentum(mine, lr=0.05, momentum=0.0, nesterov=True, weight_decay=0.1), mine, 0, 20)
    run(torch.optim.SGD(reference, lr=0.05, weight_decay=0.1, **PLAIN), reference, 0, 20)
    assert_same(mine, reference)


@either
@every_case
def test_gradients_of_mostly_zeros(path: None, ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    mine, reference = parameters(), parameters()
    optimizer, torchs = ours(mine, **options), theirs(reference, **options, **extra)
    generator = torch.Generator().manual_seed(5)
    for step in range(12):  # other elements each time, as with the rows of an embedding
        for a, b, gradient in zip(mine, reference, tensors(1000 + step), strict=True):
            a.grad = gradient * (torch.rand(gradient.shape, generator=generator) < 0.1)
            b.grad = a.grad.clone()
        optimizer.step()
        torchs.step()
    assert_same(mine, reference)


@every_way
@every_case
def test_groups_with_options_of_their_own(path: None, ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    results: list[list[Tensor]] = []
    for kind, more in ((ours, {}), (theirs, extra)):
        params = parameters()
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.003, "weight_decay": 0.2}]
        run(kind(groups, **options, **more), params, 0, 10)
        results.append(params)
    assert_same(results[0], results[1])


@pytest.mark.parametrize(
    ("ours", "options"),
    [
        (SGD, {"lr": -1.0}),
        (SGD, {"lr": float("nan")}),
        (SGD, {"weight_decay": -0.1}),
        (Momentum, {"momentum": 1.0}),
        (Momentum, {"momentum": -0.1}),
        (Adagrad, {"eps": -1.0}),
        (Adagrad, {"lr_decay": -1.0}),
        (Adagrad, {"initial_accumulator_value": -1.0}),
        (RMSprop, {"alpha": 1.5}),
        (RMSprop, {"momentum": 1.0}),
        (Adam, {"betas": (0.9, 1.0)}),
        (Adam, {"betas": (float("nan"), 0.9)}),
        (AdamW, {"eps": float("inf")}),
    ],
)
def test_options_out_of_range(ours: Any, options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(options))):
        ours(parameters(), **options)
    with pytest.raises(RequestError, match=next(iter(options))):
        ours([{"params": parameters(), **options}])


def test_torch_state_that_our_rule_does_not_know_is_refused() -> None:
    params = parameters()
    torchs = torch.optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.5)
    with pytest.raises(RequestError, match="dampening"):
        Momentum(params).load_state_dict(torchs.state_dict())
    torchs = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    with pytest.raises(RequestError, match="momentum"):
        SGD(params).load_state_dict(torchs.state_dict())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_case
def test_cuda(ours: Any, options: Any, theirs: Any, extra: Any) -> None:
    mine = [value.detach().cuda().requires_grad_() for value in parameters()]
    reference = parameters()
    optimizer, torchs = ours(mine, **options), theirs(reference, **options, **extra)
    for step in range(20):
        for a, b, gradient in zip(mine, reference, tensors(1000 + step), strict=True):
            a.grad, b.grad = gradient.cuda(), gradient
        optimizer.step()
        torchs.step()
    assert_same([value.detach().cpu() for value in mine], [value.detach() for value in reference], 1e-10)


def test_a_state_of_another_rule_is_refused() -> None:
    """torch's AdamW is its Adam with an option in each group, which says what weight_decay means."""
    (theta,) = tensors(0)[:1]
    decoupled, coupled = torch.optim.AdamW([theta]).state_dict(), torch.optim.Adam([theta]).state_dict()
    Adam([theta]).load_state_dict(coupled)
    AdamW([theta]).load_state_dict(decoupled)
    for optimizer, state in ((Adam, decoupled), (AdamW, coupled)):
        with pytest.raises(RequestError, match="decoupled_weight_decay"):
            optimizer([theta]).load_state_dict(state)
