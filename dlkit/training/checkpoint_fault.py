"""What a checkpoint must not hold: numbers that are not finite, or weights whose loss is not."""

from __future__ import annotations

import math

from dlkit.data.batch import Batch
from dlkit.distributed.tensor_parts import local_part
from dlkit.finite import first_not_finite
from dlkit.training.checkpoint import Checkpoint
from dlkit.training.evaluate import evaluation_loss
from dlkit.training.training import Training


def fault_of(checkpoint: Checkpoint, training: Training, batch: Batch | None) -> str | None:
    """What is not finite in a checkpoint, or None. Every rank of a job asks at once; waits for the device.

    Weights may be finite yet so large that the loss is not; the next step would show that too late.

    Args:
        checkpoint: to be saved.
        training: whose model it is.
        batch: the last that this rank trained on; None if there was none yet.
    """
    world = training.world
    held = {(file, n): local_part(v) for file, tensors in checkpoint.tensors.items() for n, v in tensors.items()}
    found = world.gather_objects(first_not_finite(held))
    if (bad := next((one for one in found if one is not None), None)) is not None:
        return f"{bad[1]} of the {bad[0]} is not finite"
    # a rank without any of the batch takes part too: it holds some of a divided model's weights
    loss = evaluation_loss(training.model, training.task, batch, training.autocast) if batch is not None else 0.0
    empty = batch is None or not batch.predictions
    return "the loss is not finite" if world.any_rank(not empty and not math.isfinite(loss)) else None
