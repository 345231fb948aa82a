"""How the model of a run is spread over the processes of a job: see `dlkit.distributed`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from dlkit.data.batch import Batch
from dlkit.distributed.data_parallel import DataParallel, graph_lacks
from dlkit.distributed.tensor_parts import is_model_divided
from dlkit.errors import RequestError
from dlkit.nn.norm import BatchNorm
from dlkit.training import rng
from dlkit.training.training import Training

if TYPE_CHECKING:
    from dlkit.distributed.fully_sharded import FullySharded


def parallel_model(training: Training) -> DataParallel | FullySharded:
    """The model of a run as this rank takes part in it. Its batch norms are of the whole batch, as in one process.

    Raises:
        RequestError: it has a batch norm of torch's, which would be of this rank's part.
    """
    for module in training.model.modules():
        if isinstance(module, BatchNorm):
            module.world = training.world
        elif isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            raise RequestError(
                f"the model has a {type(module).__name__} of torch's, and each process would normalize its own rows",
                "use dlkit.nn.norm.BatchNorm, or train in one process",
            )
    if is_model_divided(training.model):
        from dlkit.distributed.fully_sharded import FullySharded

        return FullySharded(training.model)
    return DataParallel(training.model, unused=training.leaves_out)


def leaves_out(training: Training, batch: Batch) -> bool:
    """Whether a pass leaves parameters without a gradient, judging by a batch. Random generators stay as they are."""
    before = rng.device_state(training.device)
    twin = copy.deepcopy(training.model).train()  # since a pass moves running statistics
    with training.autocast():
        loss, _ = training.task.forward(twin, batch)
    rng.set_device_state(training.device, before)
    return graph_lacks(loss, twin.parameters())
