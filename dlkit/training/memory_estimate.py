"""A lower bound on the memory of a training step, so that one that cannot fit is refused before it begins."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dlkit import memory
from dlkit.data.batch import Batch
from dlkit.distributed.tensor_parts import is_model_divided
from dlkit.training import rng
from dlkit.training.precision import reduced_precision
from dlkit.training.training import Training

# Batches of up to so many examples are common, and are not measured.
_COMMON = 256


def parameter_bytes(training: Training) -> int:
    """Weights, gradients, the optimizer's moments and the moving average."""
    weights = sum(p.numel() * p.element_size() for p in training.model.parameters())
    state_bytes = getattr(training.optimizer, "state_bytes", lambda: 0)  # which those of torch do not have
    return (2 + (training.settings.ema is not None)) * weights + state_bytes()


def activation_bytes(training: Training, model: nn.Module, batch: Batch) -> int:
    """Bytes that the forward pass of a batch saves for the backward pass. Random generators are left as they were."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = rng.device_state(training.device)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor), training.autocast():
        training.task.forward(model, batch)
    rng.set_device_state(training.device, before)
    return sum(kept.values())


def require_step_fits(training: Training) -> None:
    """Raise DlkitError if a step cannot fit into memory, judging by one example of a large batch."""
    batches: Any = training.batches
    divided = is_model_divided(training.model)
    needed = parameter_bytes(training) // (training.world.size if divided else 1)
    if batches.batch_size > _COMMON and not divided:  # no rank has all of a divided model to try it on
        few = copy.copy(batches)
        few.batch_size = 1
        if hasattr(few, "workers"):
            few.workers = 0
        example = next(iter(few.epoch(0)))
        # evaluation mode, since batch norm refuses a batch of one example in training
        rows = len(training.world.share(batches.batch_size))
        each = activation_bytes(training, copy.deepcopy(training.model).eval(), example)
        reduced = training.settings.precision not in ("fp32", "tf32") and reduced_precision(training.device) is not None
        needed += each * rows // (2 if reduced else 1)
    memory.require_memory(
        needed,
        f"a step on {batches.batch_size:,} examples",
        "use a smaller data.batch_size (with train.accumulate for the same step), or a smaller model",
        str(training.device),
    )
