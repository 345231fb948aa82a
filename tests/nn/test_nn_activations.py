from __future__ import annotations

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dlkit.catalog import ACTIVATIONS
from dlkit.errors import RequestError
from dlkit.nn import activations
from dlkit.nn.activations import GELU, ReLU, Softmax, activation_layer, softmax_reference
from dlkit.recipe import override_values, schema

TORCH = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "mish": F.mish,
    "relu_squared": lambda x: x.clamp(min=0) ** 2,
}


def value_and_gradient(function, x, cotangent):
    x = x.clone().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y, x, cotangent)[0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_catalog_goes_element_by_element(name):
    """Whatever its formula: any shape, its own gradient, a model in place, and the equation beside it."""
    torch.manual_seed(0)
    layer = activation_layer(name)
    assert isinstance(layer, nn.Module)
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(layer(x), torch.stack([layer(value) for value in x.flatten()]).view(3, 5))
    assert torch.autograd.gradcheck(layer, x)
    linear = nn.Linear(5, 4).double()
    torch.testing.assert_close(activation_layer(name, inplace=True)(linear(x)), layer(linear(x)), rtol=0, atol=0)
    reference = getattr(importlib.import_module(ACTIVATIONS[name].target.partition(":")[0]), f"{name}_reference")
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-12, atol=1e-13)


def test_the_names_that_a_recipe_may_set_are_those_of_the_catalog():
    properties = schema()["$defs"]["model.mlp"]["properties"]
    assert properties["activation"]["enum"] == list(ACTIVATIONS)
    assert override_values("digits-mlp", "model.activation") == list(ACTIVATIONS)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 4)])
def test_activation_equals_torch_and_the_equation(name, shape):
    torch.manual_seed(0)
    x, cotangent = 3 * torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    x.view(-1)[0] = 0.0
    ours = value_and_gradient(activation_layer(name), x, cotangent)
    torch.testing.assert_close(ours, value_and_gradient(TORCH[name], x, cotangent), rtol=0, atol=0)
    reference = getattr(activations, f"{name}_reference")
    torch.testing.assert_close(ours, value_and_gradient(reference, x, cotangent), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TORCH)
def test_equations_hold_at_the_ends_of_the_range(name):
    sizes = [1e-300, 1e-20, 1e-8, 1.0, 20.0, 88.0, 100.0, 350.0, 709.0, 800.0, 1e4, 1e150, 8e307]
    x = torch.tensor([0.0, *sizes, *(-size for size in sizes)], dtype=torch.float64)
    reference = getattr(activations, f"{name}_reference")
    cotangent = torch.ones_like(x)
    expected, got = (value_and_gradient(function, x, cotangent) for function in (TORCH[name], reference))
    assert name == "gelu_tanh" or got[1].isfinite().all()  # torch's own gradient of it is NaN where x^3 overflows
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-16, equal_nan=True)
    ends = torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=torch.float64)
    torch.testing.assert_close(reference(ends), TORCH[name](ends), equal_nan=True)
    small = x[1:5]  # where 1 - (1 - x) would lose x
    torch.testing.assert_close(reference(small), TORCH[name](small), rtol=1e-12, atol=0)


def test_gelu_values_of_the_paper_and_its_approximation():
    x = torch.tensor([-1.0, 1.0, 2.0], dtype=torch.float64)
    # x Phi(x), Phi(1) = 0.8413447460685429, Phi(2) = 0.9772498680518208
    exact = torch.tensor([-0.1586552539314571, 0.8413447460685429, 1.9544997361036416], dtype=torch.float64)
    torch.testing.assert_close(GELU()(x), exact, rtol=1e-14, atol=0)
    difference = (activation_layer("gelu_tanh")(x) - exact).abs()
    assert (difference > 1e-5).all() and (difference < 1e-3).all()


def test_inplace_is_for_relu_only_and_overwrites():
    for name in TORCH:
        x = torch.tensor([-1.0, 2.0])
        y = activation_layer(name, inplace=True)(x)
        assert (y.data_ptr() == x.data_ptr()) == (name == "relu")
    x = torch.tensor([-1.0, 2.0])
    assert ReLU()(x).data_ptr() != x.data_ptr() and x[0] == -1


def test_softmax_equals_torch_and_does_not_overflow():
    torch.manual_seed(0)
    x, cotangent = 5 * torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    ours = value_and_gradient(Softmax(), x, cotangent)
    torch.testing.assert_close(ours, value_and_gradient(nn.Softmax(-1), x, cotangent), rtol=0, atol=0)
    torch.testing.assert_close(ours, value_and_gradient(softmax_reference, x, cotangent), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(softmax_reference(x, 0), x.softmax(0), rtol=1e-12, atol=0)
    huge = torch.tensor([1e4, 1e4, -1e4], dtype=torch.float64)
    assert softmax_reference(huge).tolist() == Softmax()(huge).tolist() == [0.5, 0.5, 0.0]


def test_unknown_name_is_refused_with_the_choices():
    with pytest.raises(RequestError, match="'swish'") as error:
        activation_layer("swish")
    assert "silu" in (error.value.hint or "")
