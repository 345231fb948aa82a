"""Training loops in bare torch, one step per call, with the fastest that torch offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Callable[[], Batch],
    *,
    dtype: torch.dtype | None,
    smoothing: float = 0.0,
    clip: float | None = None,
) -> Callable[[], None]:
    """A step on the next batch: autocast, cross-entropy over all predictions, clipping, the optimizer.

    Args:
        model: to train.
        optimizer: of its parameters.
        batch: returns inputs and targets; a target of -100 is ignored.
        dtype: of autocast; None for the model's own.
        smoothing: label smoothing.
        clip: maximum gradient norm.
    """
    device: Any = next(model.parameters()).device
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def step() -> None:
        inputs, targets = batch()
        with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits = model(inputs)
            loss = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), label_smoothing=smoothing)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def random_crops(images: Tensor, pad: int, mirrors: bool = True) -> Tensor:
    """Images (N, C, H, W), each shifted by up to `pad` pixels and randomly flipped, on their own device."""
    count, _, height, width = images.shape
    padded = F.pad(images, (pad,) * 4, "reflect")
    down, right = (torch.randint(2 * pad + 1, (count, 1), device=images.device) for _ in range(2))
    rows = down + torch.arange(height, device=images.device)  # (N, H)
    columns = right + torch.arange(width, device=images.device)  # (N, W)
    if mirrors:
        mirrored = torch.rand(count, 1, device=images.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    at = torch.arange(count, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return moved.permute(0, 3, 1, 2)  # channels last in memory


def random_image_batches(images: Tensor, targets: Tensor, size: int, pad: int) -> Callable[[], Batch]:
    """Shuffled batches of images on the device, shifted and flipped unless `pad` is 0."""
    order = torch.randperm(len(images), device=images.device)
    start = 0

    def batch() -> Batch:
        nonlocal order, start
        if start + size > len(order):
            order, start = torch.randperm(len(images), device=images.device), 0
        rows = order[start : start + size]
        start += size
        return (random_crops(images[rows], pad) if pad else images[rows]), targets[rows]

    return batch


def random_windows(tokens: Tensor, rows: int, context: int) -> Callable[[], Batch]:
    """Random windows of a text as inputs, with the next tokens as targets."""
    steps = torch.arange(context + 1, device=tokens.device)

    def batch() -> Batch:
        begins = torch.randint(len(tokens) - context, (rows, 1), device=tokens.device)
        whole = tokens[begins + steps]
        return whole[:, :-1], whole[:, 1:]

    return batch


def random_masked_windows(
    tokens: Tensor, rows: int, context: int, mask: int, share: float = 0.15
) -> Callable[[], Batch]:
    """Random windows with a share of the tokens masked; the others have the target -100."""
    plain = random_windows(tokens, rows, context)

    def batch() -> Batch:
        inputs, _ = plain()
        chosen = torch.rand(inputs.shape, device=inputs.device) < share
        return inputs.masked_fill(chosen, mask), inputs.masked_fill(~chosen, -100)

    return batch
