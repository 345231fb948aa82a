"""What a model's floating-point numbers depend on besides the model, held still and written down.

Two sums of the same numbers in another order differ in their last bit, and a decoder whose probabilities differ in one
bit decodes rubbish. The order depends on the number of threads, the shape of the batch, the kernels that the processor
gets, and the version of torch. Threads and shapes are fixed here; the others are recorded, so that a difference can be
named.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from typing import Any

import torch

from dlkit.errors import DlkitError
from dlkit.processors import cores
from dlkit.train.device import CUBLAS_WORKSPACE, choose_kernels, describe_arithmetic
from dlkit.train.environment import processor
from dlkit.train.precision import set_matmul_precision

_DESCRIPTIONS = {
    "torch": "torch",
    "capability": "the instructions that torch uses",
    "processor": "the processor",
    "machine": "the architecture",
    "threads": "threads",
    "products": "products of float32 numbers",
}
_BEFORE = {"products": "fp32"}  # of archives that do not say it: they were made on a CPU


def describe(threads: int, device: torch.device) -> dict[str, Any]:
    """JSON-ready: everything here that the distribution may depend on."""
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


def differences(recorded: dict[str, Any], here: dict[str, Any]) -> str:
    """What is different here, in words; empty if nothing recorded is."""
    recorded = dict.fromkeys(here) | _BEFORE | recorded
    return ", ".join(
        f"{words}: {recorded[key]} there, {here[key]} here"
        for key, words in _DESCRIPTIONS.items()
        if recorded[key] != here[key]
    )


@contextlib.contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Within this context torch uses so many threads, float32 and only deterministic kernels; then what it used before.

    Raises:
        DlkitError: this process cannot have so many threads.
    """
    before, arithmetic = torch.get_num_threads(), describe_arithmetic()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)  # which cuBLAS needs for it
    if threads <= cores():
        torch.set_num_threads(threads)
    try:
        if torch.get_num_threads() != threads:
            raise DlkitError(
                f"the file needs {threads} threads, whose sums it is coded for; {cores()} cores are here",
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
