"""Reproducible arithmetic: everything besides the model that its floating-point results depend on, fixed or recorded.

Sums of the same numbers in another order differ in their last bit, and a decoder whose probabilities differ in one bit
decodes garbage. The order depends on the number of threads, the shape of the batch, the processor's kernels and the
version of torch. Threads and shapes are fixed; the rest is recorded, so that an error can name the difference.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from typing import Any

import torch

from dlkit.errors import DlkitError
from dlkit.processors import usable_cores
from dlkit.training.device import CUBLAS_WORKSPACE, choose_kernels, describe_arithmetic
from dlkit.training.environment import processor
from dlkit.training.precision import set_matmul_precision

_DESCRIPTIONS = {
    "torch": "torch",
    "capability": "the instructions that torch uses",
    "processor": "the processor",
    "machine": "the architecture",
    "threads": "threads",
    "products": "products of float32 numbers",
}
_DEFAULTS = {"products": "fp32"}  # of archives without the field: they were made on a CPU


def describe_numerics(threads: int, device: torch.device) -> dict[str, Any]:
    """Everything on this machine that the distributions may depend on, JSON-ready."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "machine": platform.machine(),
        "threads": threads,
        "device": device.type,
        "dtype": "float32",
        "products": describe_arithmetic()["matmul"],
    }


def numerics_differences(recorded: dict[str, Any], here: dict[str, Any]) -> str:
    """What differs between two records of `describe_numerics`, in words; empty if nothing does."""
    recorded = dict.fromkeys(here) | _DEFAULTS | recorded
    return ", ".join(
        f"{words}: {recorded[key]} there, {here[key]} here"
        for key, words in _DESCRIPTIONS.items()
        if recorded[key] != here[key]
    )


@contextlib.contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """A context in which torch uses `threads` threads, float32 and deterministic kernels only.

    Raises:
        DlkitError: this process cannot use so many threads.
    """
    before, arithmetic = torch.get_num_threads(), describe_arithmetic()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)  # cuBLAS is deterministic only with it
    if threads <= usable_cores():
        torch.set_num_threads(threads)
    try:
        if torch.get_num_threads() != threads:
            raise DlkitError(
                f"the file needs {threads} threads, whose sums it is coded for; {usable_cores()} cores are here",
                f"decompress it on a machine with {threads} cores; `compress --threads 1` makes files for any",
            )
        set_matmul_precision("fp32")
        choose_kernels(True, benchmark=False)
        torch.set_flush_denormal(False)  # training leaves it on
        yield
    finally:
        torch.set_num_threads(before)
        set_matmul_precision(arithmetic["matmul"])
        choose_kernels(arithmetic["deterministic"], arithmetic["cudnn_benchmark"])
