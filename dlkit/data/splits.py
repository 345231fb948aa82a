"""The fixed stratified split: which rows are held out depends on the labels and the share, and on nothing else."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError

_TEST_SEED, _VALIDATION_SEED = 1, 2

Part = TypeVar("Part")


def split_three_ways(
    labels: NDArray[np.int64], classes: tuple[str, ...], *, test: float, validation: float
) -> dict[str, NDArray[np.int64]]:
    """Rows of "train", of "val" if `validation` > 0 and of "test" if `test` > 0, each in ascending order.

    Args:
        labels: class of each row, (N,), from 0 to len(classes) - 1.
        classes: names of the classes, for messages.
        test: share of all rows that is held out as "test".
        validation: share of the other rows that is held out as "val".

    Raises:
        DlkitError: a class has too few rows to be split.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if (test > 0 or validation > 0) and counts.min() < 2:
        name = classes[int(counts.argmin())]
        raise DlkitError(
            f"class {name!r} has too few rows to split: {counts.min()}, at least 2 needed",
            f"{np.sum(counts < 2)} of the {len(classes)} classes have fewer than 2: add rows, or remove these classes",
        )
    train, held = hold_out(labels, test, _TEST_SEED)
    rows = {"test": held} if test > 0 else {}
    if validation > 0:
        train_part, validation_part = hold_out(labels[train], validation, _VALIDATION_SEED)
        if len(validation_part) == 0:
            raise DlkitError(f"{len(train)} training rows of {len(classes)} classes are too few to hold out validation")
        rows = {"val": train[validation_part], **rows}
        train = train[train_part]
    return {"train": train, **rows}


def name_unsplit(splits: dict[str, Part]) -> dict[str, Part]:
    """The splits of data of which nothing was held out: all of it, unless the data itself sets some of it apart."""
    return {"all": splits["train"]} if list(splits) == ["train"] else splits


def hold_out(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that are kept and those held out, as ascending indices; proportions per class are those of the whole.

    Within a class, rows are taken in the order of random keys from PCG64, whose raw stream numpy keeps the same on
    every machine and in every version (it promises no such thing of its shuffles).
    """
    counts = np.bincount(labels)
    keys = np.random.PCG64(seed).random_raw(len(labels))
    order = np.lexsort((keys, labels))  # by class, then by key
    first = np.repeat(np.cumsum(counts) - counts, counts)  # where the class of each entry of `order` begins
    rank = np.arange(len(labels)) - first
    held = np.zeros(len(labels), dtype=bool)
    held[order] = rank < np.repeat(held_out_counts(counts, share), counts)
    return np.flatnonzero(~held), np.flatnonzero(held)


def held_out_counts(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Rows to hold out of each class: ceil(share N) in all, by the method of the largest remainder.

    Each class gives share * n, rounded up or down. No class gives its last row: the total is smaller where
    that leaves no other choice.
    """
    exact = Fraction(str(share))  # 0.2 is meant as 1/5, not as the nearest binary fraction
    quotas = [int(count) * exact for count in counts]
    held = [math.floor(quota) for quota in quotas]
    missing = math.ceil(sum(quotas)) - sum(held)
    able = [i for i, quota in enumerate(quotas) if quota > held[i] and held[i] + 1 < counts[i]]
    for i in sorted(able, key=lambda i: held[i] - quotas[i])[:missing]:
        held[i] += 1
    return np.array(held, dtype=np.int64)
