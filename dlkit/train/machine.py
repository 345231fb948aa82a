"""Settings of the process that training wants from the machine."""

from __future__ import annotations

import ctypes
import sys

import torch

from dlkit.errors import RequestError

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


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
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` as a device, with the process set up for it.

    Raises:
        RequestError: this machine has none such.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise RequestError(f"no device {name}: {count} CUDA devices here", "use --device cpu")
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("no device mps: this is no Apple GPU, or torch was built without it", "use --device cpu")
    return device
