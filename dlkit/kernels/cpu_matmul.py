"""Float32 matrix products on a CPU by oneDNN, where it beats MKL.

torch calls Intel's MKL, which does not use AVX-512 on other vendors' processors. oneDNN, which torch also contains,
generates kernels for the actual processor: on an AMD EPYC it takes 0.45 times as long. `linear` calls it by name.

Batched products have no such call. torch passes them to oneDNN only if bfloat16 is allowed internally. On a processor
without AMX, bfloat16 is no faster and oneDNN keeps to float32, which is checked by the error of a product before it is
relied on. It does not pay off for attention's small products one at a time, which take four times as long.

Shapes: N rows, I input features, O output features.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_PROCESSOR = Path("/proc/cpuinfo")
_WORTH_A_CALL = 1 << 22  # multiplications; below, the overhead in Python outweighs what oneDNN gains


def fast_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b, by oneDNN where that is faster, else as `F.linear`: (..., I), (O, I), (O,) to (..., O)."""
    if suits_onednn(x, weight):
        return _Product.apply(x, weight, bias)  # pyright: ignore[reportReturnType]
    return F.linear(x, weight, bias)


def suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether x (..., I) times `weight` (O, I) is faster by oneDNN: a large product of plain float32 on a processor
    that MKL does not know, neither compiled, nor mapped by vmap, nor under autocast."""
    return (
        x.is_cpu
        and not torch.compiler.is_compiling()  # before the size, on which an exported graph must not depend
        and x.numel() * len(weight) >= _WORTH_A_CALL
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch._C._functorch.peek_interpreter_stack() is None  # pyright: ignore[reportAttributeAccessIssue]
        and onednn_is_better()
    )


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
            with _onednn():  # takes dy^T without a copy, unlike the call by name
                # dW = dy^T x
                dw = rows.t() @ x.flatten(0, -2)
        # db = sum_n dy_n
        return dx, dw, rows.sum(0) if wants_bias else None


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    # for x with more than two dimensions it is a view, which an in-place activation must not overwrite
    return torch.ops.aten._unsafe_view(y, y.shape) if y._is_view() else y


@contextmanager
def fast_batched_matmul(device: torch.device) -> Iterator[None]:
    """A context in which batched products of float32 matrices go to the faster library, still in float32."""
    if device.type != "cpu" or not onednn_is_better():
        yield
        return
    with _onednn():
        yield


@functools.cache
def onednn_is_better() -> bool:
    """Whether oneDNN is faster here; by processor, not by measurement, so that a resumed run computes the same bits."""
    return torch.backends.mkldnn.is_available() and mkl_lacks_avx512(_cpuinfo()) and _is_exact()


def mkl_lacks_avx512(description: str) -> bool:
    """Whether a processor has AVX-512 that MKL does not use, but no AMX, which would use bf16. From /proc/cpuinfo."""
    fields = dict(line.split(":", 1) for line in description.splitlines() if ":" in line)
    values = {name.strip(): value.split() for name, value in fields.items()}
    flags = values.get("flags", [])
    return values.get("vendor_id") == ["AuthenticAMD"] and "avx512f" in flags and "amx_tile" not in flags


def _cpuinfo() -> str:
    try:
        return _PROCESSOR.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:  # not Linux
        return ""


def _is_exact() -> bool:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 256, generator=generator), torch.randn(2, 256, 64, generator=generator)
    exact = a.double() @ b.double()
    plain = (a @ b - exact).abs().max()
    with _onednn():
        error = (a @ b - exact).abs().max()
    # bfloat16 has a mantissa 16 bits shorter: its error would be thousands of times as large
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
