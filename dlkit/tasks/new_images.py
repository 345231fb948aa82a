"""Unlabelled images for a trained classifier, decoded, cropped and normalised as in evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from dlkit.data.batch import Batch, ClassificationBatch
from dlkit.data.dataset import imagenet_statistics
from dlkit.data.images import augmentation
from dlkit.data.images.new_images import FittedView, StreamedView, View, decoded_batches
from dlkit.data.images.ood_sources import WHITE
from dlkit.processors import usable_cores
from dlkit.recipe import Recipe
from dlkit.tasks.array_data import ArrayData
from dlkit.tasks.new_inputs import NewBatch, NewInputs


class NewImages(NewInputs):
    """Inputs are file names.

    Args:
        recipe: of the run.
        saved: the description in its checkpoint.
        batch_size: images per batch.
    """

    def __init__(self, recipe: Recipe, saved: dict[str, Any], batch_size: int) -> None:
        self.data = ArrayData.described(saved)
        self.batch_size = batch_size
        channels = saved["input_shape"][0]
        if recipe.values["data"].get("statistics") == "imagenet":
            mean, std = imagenet_statistics(channels)
        else:
            mean, std = (torch.tensor(saved[key], dtype=torch.float32) for key in ("mean", "std"))
        self.mean, self.std = mean, std  # (C,)
        self.view, self._threads = _view_of(recipe, tuple(saved["input_shape"]))

    def batches(self, inputs: Iterable[str | None], device: torch.device, channels_last: bool) -> Iterator[NewBatch]:
        mean, std = (values.to(device)[None, :, None, None] for values in (self.mean, self.std))
        memory = torch.channels_last if channels_last else torch.contiguous_format
        for found in decoded_batches(inputs, self.view, self.batch_size, self._threads):
            batches: list[tuple[list[int], Batch]] = []
            if len(found.pixels):
                images = _sent(found.pixels, device).contiguous(memory_format=memory)
                images = augmentation.normalise(images, mean, std)  # (n, C, H, W)
                targets = torch.zeros(len(images), dtype=torch.int64, device=device)
                whole = [position for position in range(len(found.names)) if position not in found.damaged]
                batches.append((whole, ClassificationBatch(images, targets)))
            yield NewBatch(found.names, batches, found.damaged)


def _sent(pixels: Tensor, device: torch.device) -> Tensor:
    return pixels.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else pixels.to(device)


def _view_of(recipe: Recipe, shape: tuple[int, ...]) -> tuple[View, int]:
    """The preprocessing of a file in the run's evaluation, and the number of decoding threads."""
    values = recipe.values["data"]
    if "workers" not in values:  # images that are all in memory
        channels, height, width = shape
        return FittedView((channels, height, width), WHITE.get(values["name"], 255)), usable_cores()
    from dlkit.data.images.streaming import centre_view, shorter_side  # torchvision takes a second to import

    workers, seen = values["workers"], (shape[-1], values["crop"], values["resize"])
    how = values["interpolation"]
    view = StreamedView(shape[-1], shorter_side(*seen), centre_view(*seen, how), how)
    return view, usable_cores() if workers == "auto" else max(1, workers)
