"""An option may be a tensor with a number for each model of a stack."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from dlkit.doctor.checks.stacks import stackable_optimizers
from dlkit.optim.adagrad import Adagrad
from dlkit.optim.adam import Adam
from dlkit.optim.adamw import AdamW
from dlkit.optim.momentum import Momentum
from dlkit.optim.rmsprop import RMSprop
from dlkit.optim.sgd import SGD

# Each option with one value for each of three models; where an option is a pair, the pair of such.
RULES: list[tuple[Any, dict[str, Any]]] = [
    (SGD, {}),
    (Momentum, {"nesterov": True, "momentum": [0.0, 0.5, 0.9]}),
    (Adagrad, {"lr_decay": [0.0, 0.1, 0.2], "eps": [1e-10, 1e-3, 0.1]}),
    (RMSprop, {"momentum": [0.5, 0.9, 0.1], "centered": True, "alpha": [0.9, 0.99, 0.5]}),
    (RMSprop, {"alpha": [0.9, 0.99, 0.5], "eps": [1e-8, 1e-3, 0.1]}),
    (Adam, {"amsgrad": True, "betas": ([0.9, 0.5, 0.0], [0.999, 0.9, 0.5])}),
    (AdamW, {"betas": ([0.9, 0.5, 0.0], [0.999, 0.9, 0.5]), "eps": [1e-8, 1e-3, 0.1]}),
]


AT_ONCE = pytest.mark.parametrize("at_once", [(), ("cpu",)], ids=["", "where others go at once"])


def assert_rows_are_models(kind: Any, together: dict[str, Any], apart: Sequence[dict[str, Any]]) -> None:
    """One optimizer on a stack of three models, with options (3, 1, 1), steps as three optimizers on one model each."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    stack = start.clone().requires_grad_()
    whole = kind([stack], **together)
    singles: list[Tensor] = [row.clone().requires_grad_() for row in start]
    optimizers = [kind([x], **options) for x, options in zip(singles, apart, strict=True)]
    for _ in range(20):
        gradient = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
        stack.grad = gradient.clone()
        whole.step()
        for single, optimizer, row in zip(singles, optimizers, gradient, strict=True):
            single.grad = row.clone()
            optimizer.step()
    torch.testing.assert_close(stack.detach(), torch.stack([s.detach() for s in singles]), rtol=1e-12, atol=1e-12)


@AT_ONCE
@pytest.mark.parametrize(("kind", "options"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_hyper_parameters_may_be_vectors(
    kind: Any, options: dict[str, Any], at_once: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "foreach_devices", at_once)
    options = {"lr": [0.01, 0.1, 0.3], "weight_decay": [0.0, 0.1, 0.5], **options}

    def column(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(column(part) for part in value)
        return torch.tensor(value, dtype=torch.float64).view(3, 1, 1) if isinstance(value, list) else value

    def of_model(value: Any, index: int) -> Any:
        if isinstance(value, tuple):
            return tuple(of_model(part, index) for part in value)
        return value[index] if isinstance(value, list) else value

    together = {name: column(value) for name, value in options.items()}
    assert_rows_are_models(kind, together, [{k: of_model(v, i) for k, v in options.items()} for i in range(3)])


def numeric_options(kind: Any) -> dict[str, float]:
    """The options of an optimizer that are numbers, with other values than their defaults; `beta1` for half a pair."""
    found: dict[str, float] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if name == "betas":
            found |= {"beta1": 0.5, "beta2": 0.7}
        elif isinstance(parameter.default, float):
            found[name] = parameter.default / 2 if parameter.default else 0.1
    return found


def with_pairs(values: dict[str, Any]) -> dict[str, Any]:
    """With `beta1` and `beta2` as the pair that they are."""
    rest = {name: value for name, value in values.items() if name not in ("beta1", "beta2")}
    return rest | ({"betas": (values["beta1"], values["beta2"])} if "beta1" in values else {})


@AT_ONCE
@pytest.mark.parametrize("kind", stackable_optimizers().values(), ids=stackable_optimizers())
def test_every_numeric_option_may_be_a_vector(
    kind: Any, at_once: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "foreach_devices", at_once)
    shares = torch.tensor([0.5, 0.8, 1.0], dtype=torch.float64)
    given = {name: shares * value for name, value in numeric_options(kind).items()}
    together = with_pairs({name: value.view(3, 1, 1) for name, value in given.items()})
    assert_rows_are_models(kind, together, [with_pairs({n: v[i].item() for n, v in given.items()}) for i in range(3)])


@pytest.mark.parametrize(("lr", "place"), [(0.1, "cpu"), (torch.ones(2, 1, device="meta"), "meta")])
def test_steps_are_counted_where_the_options_are(lr: Any, place: str) -> None:
    """A CUDA graph of a stack's step holds what the host knows as it was, so that a count there would stand still."""
    parameter = torch.ones(2, 3, device="meta", requires_grad=True)
    optimizer = Adagrad([parameter], lr=0.1, lr_decay=0.1)  # which has no kernel there
    optimizer.param_groups[0]["lr"] = lr
    assert optimizer.begin(parameter, optimizer.param_groups[0])["step"].device.type == place
