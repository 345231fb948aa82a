"""A check, before training, that the last and smaller batch of an epoch is not too small for batch norm."""

from __future__ import annotations

import copy

import torch

from dlkit.data.batch import Batch
from dlkit.distributed.tensor_parts import is_model_divided
from dlkit.errors import DlkitError, RequestError
from dlkit.nn.norm import BatchNorm
from dlkit.training import rng
from dlkit.training.training import Training


def require_usable_last_batch(training: Training, batch: Batch) -> None:
    """Raise RequestError if the last batch has one example, and a batch norm of this model needs more.

    Args:
        training: about to begin; random generators are left as they were.
        batch: any batch of its data; its first example is tried.
    """
    samples, size = training.batches.samples, training.batches.batch_size
    norms = [m for m in training.model.modules() if isinstance(m, BatchNorm | torch.nn.modules.batchnorm._BatchNorm)]
    if (samples % size or size) > 1 or not norms or is_model_divided(training.model):
        return
    one = batch.map(lambda values: values[:1] if values.dim() else values)
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
