"""Batches of images that are on the device, augmented there as whole batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dlkit.annotations import Count, Natural, NonNegative
from dlkit.data.batch import Batch, ClassificationBatch
from dlkit.data.dataset import Split, imagenet_statistics
from dlkit.data.epochs import Epochs, hashed_seed
from dlkit.data.images import augmentation
from dlkit.data.row_batches import RowBatches
from dlkit.errors import RequestError

# Images of up to so many bytes as float32 are normalised once, and not in every batch.
_NORMALISED_BYTES = 64 * 2**20
_NORMALISED_BYTES_GATHERED = 2**30
_GATHERED = ("cuda",)  # devices on which batches are made by as few kernels as possible, since launches are slow
_MULTIPLE = 4  # sizes of growing images are multiples of it


class ImageBatches(RowBatches):
    """Batches of images, (n, C, H, W) float32, normalised per channel; augmented in training only.

    `channels_last` yields them in that memory format. Images stay uint8 on the device unless they are few and not
    augmented.

    Args:
        batch_size: images a batch; "full" takes all of them (batch gradient descent).
        balance: whether an epoch of training has every class equally often, however rare it is in the data.
        flip: mirror left and right with probability 1/2; alternating mirrors each image every other epoch.
        shift: move by up to so many pixels each way.
        border: what fills the border of a shifted image: black is 0 in the data's own unit, mirror the image reflected.
        cutout: side of a square at a random position that is erased to the mean of the training split; 0 for none.
        mixup: alpha of the Beta distribution by which pairs of images are blended; 0 for none.
        cutmix: alpha of the Beta distribution of the area that is pasted from another image; 0 for none. With mixup
            too, each batch has one of them, with probability 1/2 each.
        statistics: mean and deviation to normalise by: those of the training split, or ImageNet's, as pretrained
            weights expect.
        start_size: height and width in the first epoch, from which they grow to the data's (progressive resizing).
        grow_epochs: epochs until images have their full size.

    Raises:
        RequestError: start_size is larger than the images, or these are not square.
    """

    def __init__(
        self,
        split: Split,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        seed: int,
        training: bool,
        channels_last: bool = False,
        *,
        batch_size: Count | Literal["full"] = 128,
        balance: bool = False,
        flip: bool | Literal["alternating"] = False,
        shift: Natural = 0,
        border: Literal["black", "mirror"] = "black",
        cutout: Natural = 0,
        mixup: NonNegative = 0.0,
        cutmix: NonNegative = 0.0,
        statistics: Literal["data", "imagenet"] = "data",
        start_size: Count | None = None,
        grow_epochs: Natural = 0,
    ) -> None:
        self.flip = flip
        self.shift = shift
        self.border = border
        self.cutout = cutout
        self.mixup = mixup
        self.cutmix = cutmix
        self.mixes = bool(mixup or cutmix)
        if statistics == "imagenet":
            mean, std = imagenet_statistics(split.inputs.shape[1])
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        height, width = split.inputs.shape[2:]
        if start_size is not None and (height != width or start_size > height):
            raise RequestError(
                f"data.start_size is {start_size}, the images are {height}x{width}",
                "only square images can grow, from a size below their own",
            )
        if shift >= min(height, width):
            raise RequestError(
                f"data.shift is {shift}, the images are {height}x{width}", "a shift must leave something of an image"
            )
        self.start_size, self.grow_epochs = start_size, grow_epochs
        super().__init__(split, mean, std, device, seed, training, batch_size=batch_size, balance=balance)

    def epoch(self, number: int, start: int = 0) -> Iterator[ClassificationBatch]:
        batches = super().epoch(number, start)
        if not self.training or self.start_size is None:
            return batches
        side = grown_size(self.start_size, self._height, number, self.grow_epochs, _MULTIPLE)
        return (dataclasses.replace(batch, inputs=augmentation.resize(batch.inputs, side)) for batch in batches)

    def side_by_side(self, sources: Sequence[Any], number: int, start: int = 0) -> Iterator[Batch]:
        if self.start_size is not None or self.mixes:  # these act on whole batches
            return Epochs.side_by_side(self, sources, number, start)
        return super().side_by_side(sources, number, start)

    def _load(self, inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        images = inputs.to(self.device).contiguous(memory_format=self._format)
        self._height, self._width = images.shape[2:]
        self._mean, self._std = (
            augmentation.spread(values.to(self.device)[None, :, None, None], images) for values in (mean, std)
        )
        self._augmented = self.training and bool(self.flip or self.shift or self.cutout or self.mixes)
        self._gathers = self._augmented and self.device.type in _GATHERED
        if self._gathers:
            images = augmentation.padded(images, self.shift, mirrored=self.border == "mirror")
            images = images.contiguous(memory_format=torch.channels_last)
        limit = _NORMALISED_BYTES_GATHERED if self.device.type in _GATHERED else _NORMALISED_BYTES
        few = images.numel() * 4 <= limit
        if few and (self._gathers or not self._augmented):
            mean, std = (augmentation.spread(values[:, :, :, :1], images) for values in (self._mean, self._std))
            return augmentation.normalise(images, mean, std)
        return images

    def _draw(self, generator: torch.Generator, order: Tensor, number: int) -> list[Tensor]:
        if not self._augmented:
            return []
        # All are drawn whether they are used or not, so that switching one on leaves the others unchanged.
        mirrored = torch.rand(self.samples, generator=generator) < 0.5
        move = torch.randint(-self.shift, self.shift + 1, (2, self.samples), generator=generator)
        row = torch.randint(self._height, (self.samples,), generator=generator)
        column = torch.randint(self._width, (self.samples,), generator=generator)
        if self.flip == "alternating":
            first = torch.Generator().manual_seed(hashed_seed(self.seed))
            mirrored = augmentation.alternating(torch.rand(self.samples, generator=first) < 0.5, number)[order]
        down, right = move
        crops = (mirrored, down, right)
        if self._gathers:
            seen = mirrored if self.flip else torch.zeros_like(mirrored)
            crops = augmentation.crop_corners(seen, down, right, self.shift, self._width)
        parameters = [*crops, row, column]
        if self.mixes:
            # the values of a batch's first image hold for the whole batch
            heads = torch.rand(self.samples, generator=generator) < 0.5
            pastes = heads if self.mixup and self.cutmix else torch.full_like(heads, bool(self.cutmix))
            alpha = torch.where(pastes, torch.tensor(float(self.cutmix)), torch.tensor(float(self.mixup)))
            parameters += [pastes, augmentation.beta(alpha, self.samples, generator)]
        return parameters

    def _select(self, rows: Tensor, *parameters: Tensor) -> Tensor:
        if not parameters:
            return self._finish(augmentation.take(self._inputs, rows))  # (n, C, H, W)
        if self._gathers:
            top, left, step, row, column, *_ = parameters
            images = augmentation.crops(self._inputs, rows, top, left, step, self._height, self._width)
            images = images.contiguous(memory_format=self._format)
        else:
            mirrored, down, right, row, column, *_ = parameters
            images = augmentation.take(self._inputs, rows)
            if self.flip:
                images = augmentation.flip(images, mirrored)
            if self.shift:
                images = augmentation.shift(images, down, right, self.shift, mirrored=self.border == "mirror")
        images = self._finish(images)
        return augmentation.cutout(images, row, column, self.cutout) if self.cutout else images

    def _mix(self, inputs: Tensor, targets: Tensor, *parameters: Tensor) -> ClassificationBatch:
        if len(parameters) < 7:
            return ClassificationBatch(inputs, targets)
        row, column, pastes, share = (values[0] for values in parameters[3:])
        mixed, own = inputs, share
        if self.cutmix:
            pasted, own = augmentation.cutmix(inputs, share, row, column)
            mixed = pasted if not self.mixup else torch.where(pastes, pasted, augmentation.mixup(inputs, share))
            own = torch.where(pastes, own, share)
        elif self.mixup:
            mixed = augmentation.mixup(inputs, share)
        return ClassificationBatch(mixed, targets, targets.roll(1), own)

    def _finish(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.uint8:
            return augmentation.normalise(inputs, self._mean, self._std)
        return inputs


def grown_size(start: int, full: int, number: int, epochs: int, multiple: int) -> int:
    """Height and width of training images in epoch `number`, which grow from `start` to `full` over `epochs`."""
    if number >= epochs:
        return full
    # s_e = s_0 + (s - s_0) e / E, rounded to a multiple
    grown = start + (full - start) * number / epochs
    return min(full, max(start, round(grown / multiple) * multiple))
