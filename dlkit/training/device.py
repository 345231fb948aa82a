"""Process-wide settings of the device: which one trains, how memory is reused, which kernels may be chosen."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import torch

from dlkit.distributed.torchrun import launched_process
from dlkit.errors import RequestError
from dlkit.training.precision import set_matmul_precision

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
# Without it, cuBLAS may choose another workspace, and so another order of summation, in each stream.
CUBLAS_WORKSPACE = ":4096:8"


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors, which would else be unmapped and faulted in again at every step.

    No tensor gets a mapping of its own, which would be unmapped with it: mallopt's threshold for mappings stops at
    32 MiB, and an activation of 512 images is twice as large.
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
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device, with the process set up for it at precision `fp32`.

    A CUDA device becomes the current one before any tensor is made, so that none lands on another. CUDA is never
    initialised for the CPU.

    Of the processes that torchrun starts on a machine each gets a CUDA device of its own.

    Raises:
        RequestError: this machine has no such device, or several processes would share it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    process = launched_process()
    if process is not None and name.startswith("cuda"):
        if name != "cuda" and process.local_size > 1:
            raise RequestError(
                f"{process.local_size} processes cannot share {name}", "`device` cuda gives each a device of its own"
            )
        name = f"cuda:{process.local_rank}" if name == "cuda" else name
    device = torch.device(name)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)  # read once, when CUDA is initialised
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RequestError(f"no device {name}: {count} CUDA devices here", "use `device` cpu")
        torch.cuda.set_device(device.index or 0)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("no device mps: this is no Apple GPU, or torch was built without it", "use `device` cpu")
    set_matmul_precision("fp32")
    return device


def choose_kernels(deterministic: bool, benchmark: bool) -> None:
    """Choose between kernels that give the same bits every time and those that are fastest.

    Args:
        deterministic: use deterministic kernels only; an operation that has none raises when it is called.
        benchmark: let cuDNN time its algorithms for each shape of a convolution and use the fastest. It pays off where
            shapes stay the same, and may choose differently every time.
    """
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark and not deterministic


def describe_arithmetic() -> dict[str, Any]:
    """JSON-ready: how this process multiplies float32 numbers, and whether its kernels are deterministic."""
    return {
        "matmul": "tf32" if torch.get_float32_matmul_precision() != "highest" else "fp32",
        "convolution": "tf32" if torch.backends.cudnn.allow_tf32 else "fp32",
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
