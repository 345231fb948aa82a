"""Which runs can be trained as a stack, and how many of them at once."""

from __future__ import annotations

import copy
import itertools

import torch

from dlkit import memory
from dlkit.nn.dropout import Dropout
from dlkit.training import rng
from dlkit.training.memory_estimate import activation_bytes
from dlkit.training.training import Training
from dlkit.vectorized.dropout_masks import draws_otherwise
from dlkit.vectorized.stacked_runs import StackedRuns, StackMembers

# Memory for runs that are trained at once on a CPU; the rest follow in further stacks.
MOST_BYTES = 2 << 30
# Copies that a run needs of its parameters (weights, gradient, two moments) and activations (with their gradients).
PARAMETER_COPIES, ACTIVATION_COPIES = 4, 2
# On CUDA stacks take this share of the free memory, since kernels and evaluations need some too.
SHARE = 0.7
FEW, MORE = 2, 6  # runs of two stacks, whose difference gives the memory of a run


def bytes_of_run(training: Training) -> int:
    """An estimate of the bytes that a run takes in a stack, for parameters and activations."""
    if training.device.type == "cuda":
        return _measured(training)
    parameters = sum(p.numel() * p.element_size() for p in training.model.parameters())
    batch = next(iter(training.batches.epoch(0)))
    kept = activation_bytes(training, copy.deepcopy(training.model).train(), batch)
    return PARAMETER_COPIES * parameters + ACTIVATION_COPIES * kept


def runs_at_once(training: Training) -> int:
    """How many runs of this kind fit into memory."""
    if training.device.type == "cuda":
        room = memory.free_memory(str(training.device))
        assert room is not None
        return max(1, int(SHARE * room) // bytes_of_run(training))
    return max(1, MOST_BYTES // bytes_of_run(training))


def _measured(training: Training) -> int:
    """Peak bytes of a run in a step, from the difference of two stacks."""
    peaks: list[int] = []
    for runs in (FEW, MORE):
        try:
            peaks.append(_peak_bytes(training, runs))
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            break
    memory.release_memory()
    if not peaks:  # not even FEW runs fit, though one may
        return memory.free_memory(str(training.device)) or 1
    return max(1, (peaks[1] - peaks[0]) // (MORE - FEW) if len(peaks) > 1 else peaks[0] // FEW)


def _peak_bytes(training: Training, runs: int) -> int:
    """Peak bytes in the second step of a stack; in the first, kernels are tried out."""
    device, before = training.device, rng.device_state(training.device)
    resting = torch.cuda.memory_allocated(device)
    stack = StackedRuns(StackMembers([0] * runs, [(0, runs)], [training], [training], [before]))
    for step, batch in itertools.islice(stack.batches(), 2):
        torch.cuda.reset_peak_memory_stats(device)
        stack.take_step(step, batch)
    rng.set_device_state(device, before)
    return torch.cuda.max_memory_allocated(device) - resting


def why_not_stackable(training: Training) -> str | None:
    """Why these runs cannot be stacked, or None."""
    settings = training.settings
    for name, wanted in (("accumulate", 1), ("ema", None), ("patience", None), ("on_nan", "stop")):
        if getattr(settings, name) != wanted:
            return f"train.{name} is set"
    if settings.precision == "fp16":
        return "train.precision is fp16"
    if settings.test_views != "one":
        return "train.test_views is set"
    if not getattr(training.optimizer, "elementwise", False):
        return "its optimizer takes a parameter as a whole"
    if not hasattr(training.task, "logits"):  # of which a stack's evaluation makes loss and accuracy
        return "its task gives no logits"
    if hasattr(training.batches, "passed"):
        return "its data may leave out batches"
    batch = next(iter(training.batches.epoch(0)))
    if getattr(batch, "mixed_targets", None) is not None:
        return "the data mixes examples in pairs"
    if len(batch.tensors()) > 2:
        return "its batches hold more than inputs and targets"
    if draws_otherwise(training.model, lambda model: training.task.forward(model, batch), training.device):
        return "the model draws random numbers outside its dropout layers"
    drops = any(isinstance(module, Dropout) and module.p for module in training.model.modules())
    if drops and settings.channels_last == "on":  # the order of the draws follows the layout
        return "train.channels_last is on, with dropout"
    return None
