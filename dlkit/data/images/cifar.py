"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), as `dlkit download` prepares them: arrays that are mapped into memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dlkit.annotations import Count, Natural, Rate
from dlkit.data import store
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.registry import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from dlkit.data.splits import three_way
from dlkit.data.subset import subset


def cifar10(
    *,
    validation: Rate = 0.0,
    classes: tuple[str, ...] | None = None,
    per_class: Count | None = None,
    draw: Natural = 0,
) -> Dataset:
    """60,000 colour images in 10 classes: (N, 3, 32, 32) uint8, 50,000 for training and 10,000 for testing.

    Args:
        validation: share of the training images that is held out as "val".
        classes: those to keep, numbered in this order; null for all.
        per_class: training examples to keep of each class, at most; null for all.
        draw: which of the possible choices of per_class examples.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
        RequestError: a class that is not there.
    """
    return subset(_load("cifar10", "label", CIFAR10_CLASSES, validation), classes, per_class, draw)


def cifar100(
    *,
    labels: Literal["fine", "coarse"] = "fine",
    validation: Rate = 0.0,
    classes: tuple[str, ...] | None = None,
    per_class: Count | None = None,
    draw: Natural = 0,
) -> Dataset:
    """60,000 colour images in 100 classes: (N, 3, 32, 32) uint8, 50,000 for training and 10,000 for testing.

    Args:
        labels: fine for the 100 classes, coarse for their 20 superclasses.
        validation: share of the training images that is held out as "val".
        classes: those to keep, numbered in this order; null for all.
        per_class: training examples to keep of each class, at most; null for all.
        draw: which of the possible choices of per_class examples.

    Raises:
        DlkitError: the data set is not here; the hint is the command that downloads it.
        RequestError: a class that is not there.
    """
    names = CIFAR100_CLASSES if labels == "fine" else CIFAR100_SUPERCLASSES
    return subset(_load("cifar100", f"{labels}_label", names, validation), classes, per_class, draw)


def _load(name: str, label: str, classes: tuple[str, ...], validation: float) -> Dataset:
    place, manifest = store.require(name)

    def mapped(split: str, what: str) -> Tensor:
        # copy on write: the pages are those of the file until somebody writes
        return torch.from_numpy(np.load(place / f"{split}-{what}.npy", mmap_mode="c"))

    splits = {split: Split(mapped(split, "images"), mapped(split, label)) for split in manifest.splits}
    sources = {"path": str(place), "labels": label, **manifest.provenance()}
    if validation == 0:
        mean, std = (torch.tensor(manifest.statistics[key], dtype=torch.float32) for key in ("mean", "std"))
        return Dataset(name, splits, classes, mean, std, sources)
    train = splits["train"]
    parts = three_way(train.targets.numpy(), classes, test=0.0, validation=validation)
    held = {part: Split(train.inputs[rows], train.targets[rows]) for part, rows in parts.items()}
    content = {key: value for key, value in sources.items() if key not in ("name", "rows", "sha256")}
    whole = make_dataset(name, {**held, "test": splits["test"]}, classes, **content)
    return Dataset(name, whole.splits, classes, whole.mean, whole.std, {**whole.sources, "content": manifest.sha256})
