"""Stacked runs are updated as torch's optimizers would update them alone, group by group or all of a kind at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD
from dlkit.training.optimizer_state import unflatten_optimizer_state
from dlkit.vectorized.stacked_optimizer import BatchedOptimizer, GroupwiseOptimizer, StackedOptimizer

SHAPES = {"weight": (4, 3), "bias": (4,), "filter": (2, 1, 3, 3), "scale": ()}
# dlkit's optimizer, torch's, and for each group of runs its options
RACE: list[tuple[Any, Any, dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (Momentum, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (Momentum, torch.optim.SGD, {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1}),
    (Adagrad, torch.optim.Adagrad, {"lr": 0.1}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.5, "momentum": 0.9}),
    (Adam, torch.optim.Adam, {"lr": 0.1, "betas": (0.9, 0.99)}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.5, 0.999)}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.3}),
]
ROWS = 2  # runs of each group
GROUPS = [(ROWS * index, ROWS * (index + 1)) for index in range(len(RACE))]
FACTORS = [1.0, 0.5, 0.25, 2.0]


def drawn(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    runs = ROWS * len(RACE)
    return {n: torch.randn(runs, *s, generator=generator, dtype=torch.float64) for n, s in SHAPES.items()}


def halves(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Two groups of parameters, as where norms and biases do not decay; the second takes smaller steps."""
    return [
        {"params": [parameters["weight"], parameters["filter"]]},
        {"params": [parameters["bias"], parameters["scale"]], "weight_decay": 0.0},
    ]


NAMES = [["weight", "filter"], ["bias", "scale"]]


def updates(way: type[StackedOptimizer]) -> tuple[dict[str, Tensor], StackedOptimizer]:
    parameters = {name: value.requires_grad_() for name, value in drawn(0).items()}
    owners = []
    for kind, _, options in RACE:
        one = {name: value[0].detach().clone().requires_grad_() for name, value in parameters.items()}
        owners.append((kind(halves(one), **options), NAMES))
    return parameters, way(parameters, GROUPS, owners)


def take(parameters: dict[str, Tensor], made: StackedOptimizer, steps: range) -> None:
    for step in steps:
        for name, gradient in drawn(step + 1).items():
            parameters[name].grad = gradient
        made.scale(FACTORS[step])
        made.step()
        assert all(parameter.grad is None for parameter in parameters.values())


def expected() -> dict[str, Tensor]:
    """By torch's optimizers, run by run."""
    whole = drawn(0)
    for run in range(ROWS * len(RACE)):
        one = {name: value[run].clone().requires_grad_() for name, value in whole.items()}
        _, kind, options = RACE[run // ROWS]
        optimizer = kind(halves(one), **options)
        for step, factor in enumerate(FACTORS):
            for name, gradient in drawn(step + 1).items():
                one[name].grad = gradient[run]
            for group in optimizer.param_groups:
                group["lr"] = options["lr"] * factor
            optimizer.step()
        for name, value in one.items():
            whole[name][run] = value.detach()
    return whole


@pytest.mark.parametrize("way", [GroupwiseOptimizer, BatchedOptimizer])
def test_every_run_is_updated_as_by_torch(way: type[StackedOptimizer]) -> None:
    parameters, made = updates(way)
    take(parameters, made, range(4))
    for name, value in expected().items():
        torch.testing.assert_close(parameters[name].detach(), value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (GroupwiseOptimizer, BatchedOptimizer),
        (BatchedOptimizer, GroupwiseOptimizer),
        (BatchedOptimizer, BatchedOptimizer),
    ],
)
def test_either_way_goes_on_from_the_other(before: type[StackedOptimizer], after: type[StackedOptimizer]) -> None:
    parameters, made = updates(before)
    take(parameters, made, range(2))
    state = {name: value.clone() for name, value in made.state().items()}
    assert state["1.0.momentum_buffer"].shape == (ROWS, 4, 3)  # of group 1, whatever it is updated with
    others, again = updates(after)
    with torch.no_grad():
        for name, value in parameters.items():
            others[name].copy_(value)
    again.load(state)
    take(others, again, range(2, 4))
    for name, value in expected().items():
        torch.testing.assert_close(others[name].detach(), value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("way", [GroupwiseOptimizer, BatchedOptimizer])
def test_a_row_of_the_saved_state_is_the_state_of_a_lone_run(way: type[StackedOptimizer]) -> None:
    parameters, made = updates(way)
    take(parameters, made, range(2))
    tensors = {name: value.clone() for name, value in made.state().items()}
    for run in range(ROWS * len(RACE)):
        kind, _, options = RACE[run // ROWS]
        one = {name: value[run].detach().clone().requires_grad_() for name, value in parameters.items()}
        optimizer = kind(halves(one), **options)
        state = {
            index: {name: value[run % ROWS] if value.dim() else value for name, value in moments.items()}
            for index, moments in unflatten_optimizer_state(tensors, str(run // ROWS)).items()
        }
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        for step in range(2, 4):
            for name, gradient in drawn(step + 1).items():
                one[name].grad = gradient[run]
            for group in optimizer.param_groups:
                group["lr"] = options["lr"] * FACTORS[step]
            optimizer.step()
        for name, value in expected().items():
            torch.testing.assert_close(one[name].detach(), value[run], rtol=1e-10, atol=1e-12)


class Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_updates_by_kind_are_few_kernels_and_ask_the_device_for_nothing() -> None:
    """However many groups there are: learning rates are read where they lie, as a recorded graph does."""
    counts: list[int] = []
    for groups in (2, 40):
        parameters = {name: value[:1].repeat(groups, *(1,) * (value.dim() - 1)) for name, value in drawn(0).items()}
        owners = []
        for index in range(groups):
            one = {name: value[0].clone().requires_grad_() for name, value in parameters.items()}
            owners.append((Adam(halves(one), lr=0.1 / (index + 1)), NAMES))
        made = BatchedOptimizer(parameters, [(index, index + 1) for index in range(groups)], owners)
        for _ in range(2):
            for value in parameters.values():
                value.grad = torch.ones_like(value)
            made.scale(0.5)
            with Operations() as seen:
                made.step()
        assert not [name for name in seen.names if "local_scalar" in name]
        counts.append(len(seen.names))
    assert counts[0] == counts[1]
