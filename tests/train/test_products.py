"""float32 products of a stack stay float32, whoever computes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dlkit.train import products

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
    with products.for_stacks(torch.device("cpu")):
        stacked = (a @ b - exact).abs().max()
    assert setting.matmul.fp32_precision == before
    assert stacked <= 8 * plain  # bfloat16 would be thousands of times as far off


def test_which_processors() -> None:
    assert products.worth_while(ZEN)
    assert not products.worth_while(ZEN.replace("AuthenticAMD", "GenuineIntel"))  # MKL takes AVX-512 there
    assert not products.worth_while(ZEN.replace(" avx512f", ""))
    assert not products.worth_while(ZEN.replace("\n", " amx_tile\n"))  # bf16 would be faster, and less exact
    assert not products.worth_while("")
