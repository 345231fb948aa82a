"""float32 products stay float32, whoever computes them."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dlkit.kernels import cpu_matmul
from dlkit.nn.linear import Linear

ZEN = (
    "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16\n"
)


@pytest.mark.parametrize("shape", [(3, 64, 256, 128), (30, 17, 64, 33), (1, 8, 512, 8)])
def test_products_of_stacks_are_as_exact_as_torchs_own(shape: tuple[int, int, int, int]) -> None:
    runs, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(runs, rows, inner, generator=generator)
    b = torch.randn(runs, inner, columns, generator=generator)
    exact = a.double() @ b.double()
    plain = (a @ b - exact).abs().max()
    setting: Any = torch.backends.mkldnn
    before = setting.matmul.fp32_precision
    with cpu_matmul.fast_batched_matmul(torch.device("cpu")):
        stacked = (a @ b - exact).abs().max()
    assert setting.matmul.fp32_precision == before
    assert stacked <= 8 * plain  # bfloat16 would be thousands of times as far off


def test_which_processors() -> None:
    assert cpu_matmul.mkl_lacks_avx512(ZEN)
    assert not cpu_matmul.mkl_lacks_avx512(ZEN.replace("AuthenticAMD", "GenuineIntel"))  # MKL takes AVX-512 there
    assert not cpu_matmul.mkl_lacks_avx512(ZEN.replace(" avx512f", ""))
    assert not cpu_matmul.mkl_lacks_avx512(ZEN.replace("\n", " amx_tile\n"))  # bf16 would be faster, and less exact
    assert not cpu_matmul.mkl_lacks_avx512("")


LARGE = 1 << 11  # rows of a product that is worth a call: 2048 x 64 x 64


@pytest.fixture
def better() -> None:
    if not cpu_matmul.onednn_is_better():
        pytest.skip("MKL is as fast on this processor")


def linear_and_gradients(x: torch.Tensor, layer: Linear, dy: torch.Tensor) -> list[torch.Tensor]:
    y = layer(x)
    wanted = [tensor for tensor in (x, layer.weight, layer.bias) if tensor is not None and tensor.requires_grad]
    return [y.detach(), *torch.autograd.grad(y, wanted, dy)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("layout", ["rows", "batch", "transposed", "expanded"])
def test_a_layer_by_onednn_is_as_exact_as_torchs_own(better: None, layout: str, frozen: bool, bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(64, 96, bias=bias)
    layer.weight.requires_grad_(not frozen)
    x, dy = torch.randn(LARGE, 64), torch.randn(LARGE, 96)
    if layout == "batch":
        x, dy = x.view(16, -1, 64), dy.view(16, -1, 96)
    elif layout == "transposed":
        x, dy = torch.randn(64, LARGE).t(), torch.randn(96, LARGE).t()
    elif layout == "expanded":
        dy = torch.randn(()).expand(LARGE, 96)
    x.requires_grad_()
    assert cpu_matmul.suits_onednn(x, layer.weight)
    got = linear_and_gradients(x, layer, dy)
    own = F.linear(x, layer.weight, layer.bias)
    wanted = [tensor for tensor in (x, layer.weight, layer.bias) if tensor is not None and tensor.requires_grad]
    plain = [own.detach(), *torch.autograd.grad(own, wanted, dy)]
    double = copy.deepcopy(layer).double()
    exact = linear_and_gradients(x.detach().double().requires_grad_(), double, dy.double())
    assert len(got) == len(plain) == len(exact) == 4 - frozen - (not bias)
    for ours, theirs, right in zip(got, plain, exact, strict=True):
        assert ours.shape == theirs.shape
        assert ours.is_contiguous()
        assert (ours - right).abs().max() <= 8 * (theirs - right).abs().max() + 1e-12


def test_what_goes_another_way(better: None) -> None:
    layer, x = Linear(64, 64), torch.randn(LARGE, 64)
    assert cpu_matmul.suits_onednn(x, layer.weight)
    assert not cpu_matmul.suits_onednn(x[:9], layer.weight)  # small
    assert not cpu_matmul.suits_onednn(x.double(), layer.weight.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64
    layer.float()
    # mapped over a dimension, as in a stack: the same numbers
    many = torch.randn(3, LARGE, 64)
    mapped = torch.func.vmap(layer)(many)
    torch.testing.assert_close(mapped, torch.stack([layer(part) for part in many]), atol=1e-5, rtol=1e-5)


def test_a_second_derivative_is_refused_rather_than_wrong(better: None) -> None:
    layer, x = Linear(64, 64), torch.randn(LARGE, 64, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


@pytest.mark.parametrize("shape", [(LARGE, 64), (2, LARGE // 2, 64), (2, 2, LARGE // 4, 64)])
def test_an_activation_may_write_over_a_product(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    """As in an MLP with ReLU on the tokens of a transformer."""
    monkeypatch.setattr(cpu_matmul, "onednn_is_better", lambda: True)
    if not cpu_matmul._is_exact():  # with AMX, which rounds to bfloat16; onednn_is_better refuses it
        monkeypatch.setattr(cpu_matmul, "_onednn", nullcontext)
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(shape, generator=generator), torch.randn(64, 64, generator=generator)
    x.requires_grad_(), weight.requires_grad_()
    assert cpu_matmul.suits_onednn(x, weight)
    ours, theirs = cpu_matmul.fast_linear(x, weight, None), F.linear(x, weight)
    for y in (ours, theirs):
        F.relu(y, inplace=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    dy = torch.randn(ours.shape, generator=generator)
    gradients = (torch.autograd.grad(y, (x, weight), dy) for y in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)
