"""The last batch of an epoch, smaller where the examples do not divide: what it would break is known at the start."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from dlkit.errors import DlkitError, RequestError
from dlkit.nn.norm import BatchNorm
from dlkit.train import rng
from dlkit.train.training import Training


def require_usable_last_batch(training: Training, batch: Any) -> None:
    """Raise RequestError if the last batch is of one example, which a batch norm of this model has no variance of.

    Args:
        training: what is about to begin; its random generators stay as they are.
        batch: any batch of its data, of which one example is tried.
    """
    samples, size = training.batches.samples, training.batches.batch_size
    norms = [m for m in training.model.modules() if isinstance(m, BatchNorm | torch.nn.modules.batchnorm._BatchNorm)]
    if (samples % size or size) > 1 or not norms:
        return
    one = [part[:1] if isinstance(part, Tensor) and part.dim() else part for part in batch]
    before = rng.device_state(training.device)
    try:
        with torch.no_grad(), training.autocast():
            training.task.forward(copy.deepcopy(training.model).train(), one)
    except (DlkitError, ValueError) as error:
        if size == 1:
            why = "the batches are of one example"
        else:
            why = f"{samples:,} examples in batches of {size:,} leave a last batch of one"
        larger = next((n for n in range(size + 1, samples + 1) if samples % n != 1), None)
        better = f"set data.batch_size={larger}, or model.norm=layer" if larger else "set model.norm=layer"
        raise RequestError(f"{why}, and batch norm needs more than one value a channel", better) from error
    finally:
        rng.set_device_state(training.device, before)
