"""A data set of images or rows: tensors per split, the names of the classes, mean and deviation, provenance."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlkit.errors import RequestError

_CHUNK = 4096


@dataclass(frozen=True)
class Split:
    """Examples and their classes.

    `inputs` holds images, (N, C, H, W) uint8, or rows of features, (N, F) float64; `targets` is (N,) int64.
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Dataset:
    """The splits of one data set: "train", perhaps "val", perhaps "test".

    `mean` and `std` are those of the training split, per channel (C,) float32 or per feature (F,) float64, in the unit
    of the inputs (0..255 for photographs). `sources` says where the data came from: path, rows per split, sha256 of the
    content; "taken" and "remarks" are lines for the user. `columns` maps a table's features to their types. `names`
    gives what the user calls an example of each split: a file, a row of a table; None where that is just a number.

    In a column of categories, category k of `categories` is the number k + 1, and 0 is none of them; its mean is 0 and
    its deviation 1. `category_encoding` says how a model takes them: "embedding" or "one_hot". `stand_ins` has the
    number that stands for a missing value of a column. `white` is the brightest value that a pixel of images can have.
    """

    name: str
    splits: dict[str, Split]
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    sources: dict[str, Any]
    columns: dict[str, str] | None = None
    names: Mapping[str, Callable[[int], str]] | None = None
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    stand_ins: dict[str, float] = field(default_factory=dict[str, float])
    category_encoding: str = "embedding"
    white: int = 255

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image or (F,) of a row."""
        return tuple(next(iter(self.splits.values())).inputs.shape[1:])


def make_dataset(name: str, splits: dict[str, Split], classes: tuple[str, ...], **sources: Any) -> Dataset:
    """A data set with the mean and deviation of its training split; rows and sha256 are added to `sources`."""
    training = splits.get("train") or next(iter(splits.values()))  # without one, those of a run replace them
    mean, std = mean_and_deviation(training.inputs)
    rows = {split: len(examples.targets) for split, examples in splits.items()}
    provenance = {**sources, "rows": rows, "sha256": _fingerprint(splits, classes)}
    return Dataset(name, splits, classes, mean, std, provenance)


def mean_and_deviation(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each channel of images, float32, or each feature of rows, float64.

    A constant channel or feature has the standard deviation 1, so that normalisation makes it 0.
    """
    if inputs.dtype == torch.uint8:
        # std^2 = E[x^2] - E[x]^2 is exact enough here: in float64 the sums of integers below 256 are exact.
        total, squares = torch.zeros(2, inputs.shape[1], dtype=torch.float64)
        for chunk in inputs.split(_CHUNK):
            values = chunk.transpose(0, 1).flatten(1).double()  # (C, n H W)
            total += values.sum(1)
            squares += values.square().sum(1)
        count = inputs.numel() // inputs.shape[1]
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        std[inputs.amin((0, 2, 3)) == inputs.amax((0, 2, 3))] = 1
        return mean.float(), std.float()
    features = (_moments(values) for values in inputs.double().numpy().T)
    mean, std = torch.tensor(list(features), dtype=torch.float64).view(-1, 2).T
    return mean, std


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of finite float64 values of any size, (N,), in two passes."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, 1.0
    # a power of two as the unit, which is exact: the squares of 1e200 and of 1e-200 are not in float64's range
    unit = math.ldexp(1.0, math.frexp(max(-low, high))[1] - 1)
    scaled = values / unit
    mean = scaled.mean()
    scaled -= mean
    rest = scaled.mean()  # what rounding left in the mean
    std = float(np.sqrt(np.square(scaled, out=scaled).mean() - rest * rest)) * unit
    return float(mean + rest) * unit, max(std, float(np.finfo(np.float64).tiny))


def standardize(inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x - mean) / std of rows, (N, F), in float64; only the result is rounded to float32.

    1700000000 + t is a multiple of 128 in float32: rounded before it is centred, t would be lost.
    """
    result = np.empty(tuple(inputs.shape), np.float32)
    for begin, values in standardized_blocks(inputs, mean, std):
        result[begin : begin + len(values)] = values
    return torch.from_numpy(result)


def standardized_blocks(inputs: Tensor, mean: Tensor, std: Tensor) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The first row of each block of what `standardize` returns, and its rows, (n, F), before they are rounded."""
    x = inputs.numpy()
    # halves, which are exact, since the difference of two numbers may be too large for float64
    half_mean, half_std = mean.double().numpy() / 2, std.double().numpy() / 2
    for begin in range(0, len(x), _CHUNK):
        values = np.multiply(x[begin : begin + _CHUNK], 0.5, dtype=np.float64, order="C")  # rows side by side in memory
        values -= half_mean
        values /= half_std
        yield begin, values


def imagenet_statistics(channels: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of ImageNet's training images, (3,), in 0..255, as torchvision's and timm's weights have them.

    Raises:
        RequestError: the images do not have three channels.
    """
    if channels != 3:
        raise RequestError(
            f"ImageNet's statistics are of 3 channels, the images have {channels}", "set data.channels=3"
        )
    return torch.tensor([0.485, 0.456, 0.406]) * 255, torch.tensor([0.229, 0.224, 0.225]) * 255


def _fingerprint(splits: dict[str, Split], classes: tuple[str, ...]) -> str:
    """sha256 of the class names and of every split's tensors, in the order of the splits."""
    digest = hashlib.sha256(repr(classes).encode())
    for name, split in splits.items():
        for tensor in (split.inputs, split.targets):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            for chunk in tensor.split(_CHUNK):
                digest.update(np.ascontiguousarray(chunk.numpy()).data)  # torch's threads take ten times as long
    return digest.hexdigest()
