"""Settings of the process that training wants from the machine: its device, its memory, and how it multiplies.

What a product of float32 numbers is, is a decision and not a default. A tensor core rounds both factors to TF32, which
keeps 10 of 23 bits of the fraction (a relative error of about 3e-4 in a product of random matrices, where float32 has
1e-7), and torch does so by default in convolutions, but not in matrix products. Here `fp32` is float32 in both, `tf32`
is TF32 in both, and the record of a run says which it was.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import torch

from dlkit.errors import RequestError

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
# Without one, cuBLAS may choose another workspace, and so another order of summation, in each stream.
WORKSPACE = ":4096:8"


def keep_freed_memory() -> None:
    """Let glibc keep freed tensors instead of handing them back to the kernel and faulting them in again every step.

    No tensor gets a mapping of its own, which its end would give back: mallopt's threshold for that stops at 32 MiB,
    and an activation of 512 images is twice as large.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device, with the process set up for it: it multiplies at `fp32`.

    A CUDA device becomes the current one before any tensor is made, so that none is put on another. For the CPU, CUDA
    is never initialised.

    Raises:
        RequestError: this machine has none such.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)  # read once, when CUDA begins
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RequestError(f"no device {name}: {count} CUDA devices here", "use --device cpu")
        torch.cuda.set_device(device.index or 0)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("no device mps: this is no Apple GPU, or torch was built without it", "use --device cpu")
    multiply_at("fp32")
    return device


def has_tf32(device: torch.device) -> bool:
    """Whether a device multiplies in TF32: NVIDIA's from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def feasible(precision: str, device: torch.device) -> str:
    """The precision that a device computes at where it is asked for this one: `fp32` in place of a missing `tf32`."""
    return "fp32" if precision == "tf32" and not has_tf32(device) else precision


def multiply_at(precision: str) -> None:
    """How this process multiplies float32 numbers from now on: in TF32 at `tf32`, else in float32.

    At bf16 and fp16 that is about what autocast leaves in float32.
    """
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32  # of convolutions and recurrent layers, and true by default


def choose_kernels(deterministic: bool, benchmark: bool) -> None:
    """Choose between kernels that give the same bits every time and those that are the fastest.

    Args:
        deterministic: the same bits; an operation that has no such kernel is refused when it comes.
        benchmark: let cuDNN try its algorithms for each shape of a convolution, and keep the fastest. It repays itself
            where the shapes stay, and is not the same one every time.
    """
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark and not deterministic


def arithmetic() -> dict[str, Any]:
    """JSON-ready: how this process multiplies float32 numbers, and whether it repeats itself to the bit."""
    return {
        "matmul": "tf32" if torch.get_float32_matmul_precision() != "highest" else "fp32",
        "convolution": "tf32" if torch.backends.cudnn.allow_tf32 else "fp32",
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
