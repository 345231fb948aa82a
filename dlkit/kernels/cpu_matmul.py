"""By which library float32 matrices are multiplied on a CPU.

torch asks Intel's MKL, which takes no AVX-512 on processors of other makers. oneDNN, which is also part of torch,
writes its kernels for the processor at hand: on an AMD EPYC it multiplies in 0.45 times the time. Linear layers call it
by name, in `product`.

Other products have no such call. torch hands them to oneDNN only where bfloat16 would be allowed inside. A processor
without AMX gains nothing by that, and oneDNN stays with float32; this is checked by a product's error before it is
relied on. It is not worth while for attention's small products one at a time, which take four times as long so.

Shapes: N rows, I numbers in, O numbers out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_PROCESSOR = Path("/proc/cpuinfo")
_WORTH_A_CALL = 1 << 22  # multiplications, below which Python around oneDNN costs more than MKL loses


def suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether x (..., I) by `weight` (O, I) is a product for `product`: on such a processor, large, plain float32, and
    not what torch compiles, maps over a dimension or computes in another type."""
    return (
        x.is_cpu
        and x.numel() * len(weight) >= _WORTH_A_CALL
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore[reportAttributeAccessIssue]
        and onednn_is_better()
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b by oneDNN, forward and backward: (..., I), (O, I), (O,) to (..., O)."""
    return _Product.apply(x, weight, bias)  # pyright: ignore[reportReturnType]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, dy: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        rows = dy.flatten(0, -2)  # (N, O)
        # dx = dy W
        dx = _multiply(dy, weight.t(), None) if wants_x else None
        dw = None
        if wants_weight:
            with _onednn():  # takes dy^T as it lies, where the call by name copies it
                # dW = dy^T x
                dw = rows.t() @ x.flatten(0, -2)
        # db = sum_n dy_n
        return dx, dw, rows.sum(0) if wants_bias else None


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@contextmanager
def fast_batched_matmul(device: torch.device) -> Iterator[None]:
    """Within this context, stacks of float32 matrices are multiplied by the faster library, in float32."""
    if device.type != "cpu" or not onednn_is_better():
        yield
        return
    with _onednn():
        yield


@functools.cache
def onednn_is_better() -> bool:
    """By what the processor is, not by a clock, so that a race that is resumed multiplies as it did before."""
    return torch.backends.mkldnn.is_available() and worth_while(_description()) and _is_exact()


def worth_while(description: str) -> bool:
    """Whether a processor, as Linux describes it, has AVX-512 that MKL does not use, and no AMX that rounds to bf16."""
    fields = dict(line.split(":", 1) for line in description.splitlines() if ":" in line)
    values = {name.strip(): value.split() for name, value in fields.items()}
    flags = values.get("flags", [])
    return values.get("vendor_id") == ["AuthenticAMD"] and "avx512f" in flags and "amx_tile" not in flags


def _description() -> str:
    try:
        return _PROCESSOR.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:  # no Linux
        return ""


def _is_exact() -> bool:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 256, generator=generator), torch.randn(2, 256, 64, generator=generator)
    exact = a.double() @ b.double()
    plain = (a @ b - exact).abs().max()
    with _onednn():
        error = (a @ b - exact).abs().max()
    # bfloat16 has 16 bits less: its error would be thousands of times as large
    return bool(error <= 8 * plain)


@contextmanager
def _onednn() -> Iterator[None]:
    setting: Any = torch.backends.mkldnn
    before = setting.matmul.fp32_precision
    setting.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.matmul.fp32_precision = before
