"""Out-of-distribution images in the shape that a model takes: noise, other data sets, folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dlkit.data.dataset import Dataset, Split
from dlkit.data.images.class_folders import FileTally
from dlkit.data.images.image_folder import load_all_images
from dlkit.errors import DlkitError

WHITE = {"digits": 16}  # the largest value of a pixel, by the name of the data, where it is not 255
# Luma of ITU-R BT.601, as in PIL's conversion to grey.
_LUMA = (0.299, 0.587, 0.114)


def uniform_noise(count: int, shape: tuple[int, int, int], white: int, seed: int) -> Tensor:
    """Images (count, C, H, W) uint8 of independent uniform values in 0..white."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, white + 1, (count, *shape), generator=generator, dtype=torch.uint8)


def ood_folder(path: Path, shape: tuple[int, int, int], gain: float) -> tuple[Tensor, FileTally]:
    """All images in a folder, at any depth, as by `fit_images`, (N, C, H, W) uint8; and the tally of files.

    Raises:
        DlkitError: there is no image, or one cannot be decoded.
    """
    channels, height, width = shape
    pictures, tally = load_all_images(path, max(height, width), 1 if channels == 1 else 3)
    return fit_images(pictures, shape, gain), tally


def fit_images(images: Tensor, shape: tuple[int, int, int], gain: float) -> Tensor:
    """Convert images (N, C', H', W') uint8 to (N, C, H, W) uint8, and multiply their values by `gain`.

    Grey is repeated to colour, colour is reduced to its luma, and images are resized bilinearly with antialiasing.
    """
    channels, *size = shape
    if images.shape[1:] == shape and gain == 1:
        return images
    chunks: list[Tensor] = []
    for chunk in images.split(1024):
        x = chunk.float() * gain
        if x.shape[1] == 3 and channels == 1:
            x = (x * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        elif x.shape[1] != channels:
            x = x[:, :1].expand(-1, channels, -1, -1)
        if list(x.shape[2:]) != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        chunks.append(x.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(chunks)


def with_values_up_to(white: int, dataset: Dataset) -> Dataset:
    """The data set with values of pixels from 0 to `white`, as a model was trained on them.

    Raises:
        DlkitError: the values go up to another number, and the images are not in memory.
    """
    if white == dataset.white:
        return dataset
    channels, height, width = dataset.input_shape
    splits: dict[str, Split] = {}
    for name, split in dataset.splits.items():
        images: object = split.inputs  # or a reader of files that are decoded when needed
        if not isinstance(images, Tensor):
            text = (
                f"the model was trained on values up to {white}, and those of {dataset.name} go up to {dataset.white}"
            )
            raise DlkitError(text, "data.name=images reads images into memory, in the model's range")
        pixels = fit_images(images, (channels, height, width), white / dataset.white)
        splits[name] = Split(pixels, split.targets)
    return dataclasses.replace(dataset, splits=splits, white=white)
