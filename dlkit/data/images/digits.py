"""The handwritten digits of scikit-learn, 8x8 pixels: real data without a download."""

from __future__ import annotations

import dataclasses
import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dlkit.annotations import Count, Natural, Rate
from dlkit.data.dataset import Dataset, Split, make_dataset
from dlkit.data.images.ood_sources import WHITE
from dlkit.data.splits import split_three_ways
from dlkit.data.subset import subset

_CLASSES = tuple("0123456789")


def digits(
    *,
    validation: Rate = 0.0,
    classes: tuple[str, ...] | None = None,
    per_class: Count | None = None,
    draw: Natural = 0,
) -> Dataset:
    """1,797 digits by 43 people (Alpaydin & Kaynak 1998, UCI): images (N, 1, 8, 8) uint8 with values from 0 to 16.

    The split is stratified and fixed: 1,437 for training and 360 for testing.

    Args:
        validation: share of the training images that is held out as "val".
        classes: those to keep, numbered in this order; null for all.
        per_class: training examples to keep of each class, at most; null for all.
        draw: which of the possible choices of per_class examples.

    Raises:
        RequestError: a class that is not there.
    """
    pixels, labels = _read()
    images = torch.from_numpy(pixels).view(-1, 1, 8, 8)  # (N, 1, 8, 8)
    targets = torch.from_numpy(labels)
    rows_of = split_three_ways(labels, _CLASSES, test=0.2, validation=validation)
    splits = {name: Split(images[rows], targets[rows]) for name, rows in rows_of.items()}
    whole = make_dataset("digits", splits, _CLASSES, path="sklearn.datasets.load_digits")
    whole = dataclasses.replace(whole, white=WHITE["digits"])
    return subset(whole, classes, per_class, draw)


def _read() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (1797, 64) and labels (1797,)."""
    package = find_spec("sklearn")  # without importing the package, which takes seconds
    for folder in (package.submodule_search_locations or []) if package else []:
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            with gzip.open(file, "rt", encoding="ascii") as lines:
                table = np.loadtxt(lines, delimiter=",", dtype=np.float64)
            return table[:, :-1].astype(np.uint8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # the file has moved

    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels, dtype=np.uint8), np.asarray(labels, dtype=np.int64)
