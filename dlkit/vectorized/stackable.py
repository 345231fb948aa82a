"""Which runs can be trained as a stack, and how many of them at once."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor

from dlkit import memory
from dlkit.train import rng
from dlkit.train.memory_estimate import activation_bytes
from dlkit.train.training import Training
from dlkit.vectorized.dropout_masks import draws_otherwise
from dlkit.vectorized.stacked_runs import StackedRuns, StackMembers

# Runs that are trained at once on a CPU take no more than this; the rest follow in further stacks.
MOST_BYTES = 2 << 30
# How many times over a run needs its parameters (weights, gradient, two moments) and its activations (their gradients).
PARAMETER_COPIES, ACTIVATION_COPIES = 4, 2
# On CUDA they take this share of the memory that is free: kernels want some to work in, and so does an evaluation.
SHARE = 0.7
FEW, MORE = 2, 6  # runs of two stacks, by whose difference the footprint of a run is told


def bytes_of_run(training: Training) -> int:
    """About how much memory a run takes in a stack: its parameters, and what its forward pass keeps."""
    if training.device.type == "cuda":
        return _measured(training)
    parameters = sum(p.numel() * p.element_size() for p in training.model.parameters())
    batch = next(iter(training.batches.epoch(0)))
    kept = activation_bytes(training, copy.deepcopy(training.model).train(), batch)
    return PARAMETER_COPIES * parameters + ACTIVATION_COPIES * kept


def runs_at_once(training: Training) -> int:
    """How many runs of this kind fit into memory."""
    if training.device.type == "cuda":
        room = memory.free(str(training.device))
        assert room is not None
        return max(1, int(SHARE * room) // bytes_of_run(training))
    return max(1, MOST_BYTES // bytes_of_run(training))


def _measured(training: Training) -> int:
    """The bytes of a run at the height of a step: what a stack of a few more runs takes more."""
    heights: list[int] = []
    for runs in (FEW, MORE):
        try:
            heights.append(_height(training, runs))
        except RuntimeError as error:
            if not memory.exhausted(error):
                raise
            break
    memory.give_back()
    if not heights:  # not even a few fit: a stack of one run may
        return memory.free(str(training.device)) or 1
    return max(1, (heights[1] - heights[0]) // (MORE - FEW) if len(heights) > 1 else heights[0] // FEW)


def _height(training: Training, runs: int) -> int:
    """The most bytes at once in the second step of a stack; in the first one, kernels are tried."""
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
    if hasattr(training.batches, "passed"):
        return "its data may leave out batches"
    batch = next(iter(training.batches.epoch(0)))
    if not all(isinstance(part, Tensor) for part in batch):
        return "its batches differ in shape"
    if batch[1].dim() != 1:
        return "the data mixes examples in pairs"
    if len(batch) > 2:
        return "its batches hold more than inputs and targets"
    if draws_otherwise(training.model, lambda model: training.task.forward(model, batch), training.device):
        return "the model draws random numbers outside its dropout layers"
    drops = any(getattr(module, "p", 0) for module in training.model.modules())
    if drops and settings.channels_last == "on":  # the order of the draws follows the layout
        return "train.channels_last is on, with dropout"
    return None
