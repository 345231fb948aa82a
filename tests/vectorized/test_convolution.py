"""A stack's convolutions are those of its models, and their gradients too; torch's own convolution is the reference."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, stack_module_state, vmap

from dlkit.nn.convolution import Conv2d
from dlkit.vectorized import convolution

# channels in and out, side of the kernel, and the rest
CASES: list[tuple[int, int, int, dict[str, Any]]] = [
    (3, 5, 3, {"padding": 1}),
    (3, 5, 3, {"stride": 2, "padding": 1, "bias": False}),
    (4, 6, 1, {"stride": 2, "bias": False}),
    (2, 3, 5, {"stride": 2, "padding": 2}),
    (4, 6, 3, {"groups": 2}),
]


@pytest.mark.parametrize(("channels", "out", "side", "options"), CASES)
def test_each_model_convolves_alone(channels: int, out: int, side: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layers = [Conv2d(channels, out, side, **options).double() for _ in range(3)]
    images = torch.randn(3, 4, channels, 9, 8, dtype=torch.float64)
    model = copy.deepcopy(layers[0])
    convolution.use_batched_convolutions(model)
    parameters, _ = stack_module_state(layers)  # pyright: ignore[reportArgumentType]
    x = images.clone().requires_grad_()
    y: Any = vmap(lambda p, one: functional_call(model, p, (one,)))(parameters, x)
    scale = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    found = torch.autograd.grad((y * scale).sum(), [x, *parameters.values()])
    shared: Any = vmap(lambda p, one: functional_call(model, p, (one,)), in_dims=(0, None))(parameters, images[0])
    for run, layer in enumerate(layers):
        one = images[run].clone().requires_grad_()
        rest = (layer.weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)
        expected = F.conv2d(one, *rest)
        torch.testing.assert_close(y[run], expected)
        torch.testing.assert_close(shared[run], F.conv2d(images[0], *rest))
        gradients = torch.autograd.grad((expected * scale[run]).sum(), [one, *layer.parameters()])
        for a, b in zip(found, gradients, strict=True):
            torch.testing.assert_close(a[run], b)


def test_autocast_reaches_the_products() -> None:
    model = Conv2d(2, 3, 3)
    convolution.use_batched_convolutions(model)
    parameters, _ = stack_module_state([copy.deepcopy(model), model])  # pyright: ignore[reportArgumentType]
    with torch.autocast("cpu", torch.bfloat16):
        y: Any = vmap(lambda p, x: functional_call(model, p, (x,)))(parameters, torch.ones(2, 1, 2, 4, 4))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in parameters.values())
