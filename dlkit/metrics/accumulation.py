"""The dtype in which meters sum over batches."""

from __future__ import annotations

import torch


def sum_dtype(device: torch.device) -> torch.dtype:
    """float64 if the device has it, so that the order of batches hardly matters, else float32."""
    return torch.float32 if device.type == "mps" else torch.float64
