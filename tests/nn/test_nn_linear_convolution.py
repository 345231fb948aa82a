from __future__ import annotations

import pytest
import torch
from torch import nn

from dlkit.errors import RequestError
from dlkit.nn.convolution import Conv2d, convolution_reference
from dlkit.nn.linear import Linear, linear_reference


def assert_same(ours, twin, reference, x):
    """Values and gradients of the module, torch's module with the same weights, and the explicit math."""
    x.requires_grad_()
    y = ours(x)
    cotangent = torch.randn_like(y)
    expected = torch.autograd.grad(y, (x, *ours.parameters()), cotangent)
    for other, module in ((twin(x), twin), (reference, ours)):
        other = other(x) if callable(other) else other
        torch.testing.assert_close(y, other, rtol=1e-12, atol=1e-12)
        gradients = torch.autograd.grad(other, (x, *module.parameters()), cotangent)
        torch.testing.assert_close(expected, gradients, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 7)])
def test_linear_starts_as_torch_does_and_computes_the_same(bias, shape):
    torch.manual_seed(3)
    ours = Linear(7, 5, bias=bias)
    torch.manual_seed(3)
    twin = nn.Linear(7, 5, bias=bias)
    torch.testing.assert_close(ours.state_dict(), twin.state_dict(), rtol=1e-6, atol=0)
    twin.load_state_dict(ours.state_dict())
    ours, twin = ours.double(), twin.double()
    assert_same(ours, twin, lambda x: linear_reference(x, ours.weight, ours.bias), torch.randn(shape).double())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding", "groups"), [
    (3, 1, 1, 1), (3, 2, 1, 1), (1, 2, 0, 1), (3, 1, 0, 2), (5, 3, 2, 4), (2, 2, 0, 1),
])  # fmt: skip
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_convolution_starts_as_torch_does_and_computes_the_same(bias, kernel, stride, padding, groups, size):
    settings = {"stride": stride, "padding": padding, "groups": groups}
    torch.manual_seed(3)
    ours = Conv2d(4, 8, kernel, bias=bias, **settings)
    torch.manual_seed(3)
    twin = nn.Conv2d(4, 8, kernel, bias=bias, **settings)
    torch.testing.assert_close(ours.state_dict(), twin.state_dict(), rtol=1e-6, atol=0)
    twin.load_state_dict(ours.state_dict())
    ours, twin = ours.double(), twin.double()
    x = torch.randn(2, 4, *size).double()
    assert_same(ours, twin, lambda x: convolution_reference(x, ours.weight, ours.bias, **settings), x)


def test_groups_must_divide_the_channels():
    with pytest.raises(RequestError, match="3 groups do not divide 4 channels in and 6 out"):
        Conv2d(4, 6, 3, groups=3)
