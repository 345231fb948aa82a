"""Numerical precision: TF32 or float32 matrix products, and autocast to 16 bits.

How float32 matrices are multiplied is a decision and not a default. A tensor core rounds both factors to TF32, which
keeps 10 of the 23 bits of the mantissa (a relative error of about 3e-4 in a product of random matrices, where float32
has 1e-7). By default torch does so in convolutions but not in matrix products. Here `fp32` is float32 in both, `tf32`
is TF32 in both, and the record of a run says which it was.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which a forward pass computes at this precision; empty for `fp32` and `tf32`."""
    dtype = AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()


def set_matmul_precision(precision: str) -> None:
    """Let this process multiply float32 matrices in TF32 at `tf32`, and in float32 at any other precision.

    At bf16 and fp16 that concerns what autocast leaves in float32.
    """
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32  # convolutions and recurrent layers; True by default


def has_tf32(device: torch.device) -> bool:
    """Whether a device has TF32 tensor cores: NVIDIA GPUs from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def supported_precision(precision: str, device: torch.device) -> str:
    """The precision that a device uses where this one is requested: `fp32` if it has no TF32."""
    return "fp32" if precision == "tf32" and not has_tf32(device) else precision


def reduced_precision(device: torch.device) -> Precision | None:
    """The 16-bit format that this device multiplies in hardware, or None."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu":
        amx = torch.cpu._is_amx_tile_supported()
        return "bf16" if amx or torch.cpu._is_avx512_bf16_supported() else None
    return None


def faster_precisions(device: torch.device) -> tuple[Precision, ...]:
    """The precisions in which this device may multiply faster than in float32, most exact first."""
    reduced = reduced_precision(device)
    return (*(("tf32",) if has_tf32(device) else ()), *((reduced,) if reduced else ()))
