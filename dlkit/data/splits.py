"""A fixed stratified split: the held-out rows are a function of the labels and the share alone."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError

TEST_SEED, VALIDATION_SEED = 1, 2
_FEW_CLASSES = 16

T = TypeVar("T")


def split_three_ways(
    labels: NDArray[np.integer[Any]], classes: tuple[str, ...], *, test: float, validation: float
) -> dict[str, NDArray[np.int64]]:
    """Ascending row indices of "train", of "val" if `validation` > 0, and of "test" if `test` > 0.

    Args:
        labels: class index of each row, (N,).
        classes: class names, for messages.
        test: share of all rows to hold out as "test".
        validation: share of the remaining rows to hold out as "val".

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
    train, held = hold_out(labels, test, TEST_SEED)
    rows = {"test": held} if test > 0 else {}
    if validation > 0:
        kept, held_out = hold_out(labels[train], validation, VALIDATION_SEED)
        if len(held_out) == 0:
            raise DlkitError(f"{len(train)} training rows of {len(classes)} classes are too few to hold out validation")
        rows = {"val": train[held_out], **rows}
        train = train[kept]
    return {"train": train, **rows}


def name_unsplit(splits: dict[str, T]) -> dict[str, T]:
    """The splits by name, where a lone "train", from which nothing was held out, is called "all"."""
    return {"all": splits["train"]} if list(splits) == ["train"] else splits


def hold_out(labels: NDArray[np.integer[Any]], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ascending indices of the rows that are kept and of those held out, with the class proportions of the whole.

    Within a class, rows are held out in the order of random keys from PCG64, whose raw stream numpy guarantees to be
    the same on every machine and in every version, unlike its shuffles.
    """
    counts = np.bincount(labels)
    keys = np.random.PCG64(seed).random_raw(len(labels))
    held = np.zeros(len(labels), dtype=bool)
    numbers = held_out_counts(counts, share)
    if len(counts) > _FEW_CLASSES:
        ends = np.cumsum(counts)[:-1]
        for rows, number in zip(np.split(np.argsort(labels, kind="stable"), ends), numbers, strict=True):
            held[rows[_least(keys[rows], int(number))]] = True
    else:  # without indices, which take more memory than the labels
        for each, number in enumerate(numbers):
            rows = labels == each if len(counts) > 1 else slice(None)
            held[rows] = _least(keys[rows], int(number))
    del keys
    return np.flatnonzero(~held), np.flatnonzero(held)


def _least(keys: NDArray[np.uint64], number: int) -> NDArray[np.bool_]:
    """Which are the `number` least keys, (n,); of equal ones, those that come first."""
    if number == 0:
        return np.zeros(len(keys), dtype=bool)
    bound = np.partition(keys, number - 1)[number - 1]
    least = keys < bound
    least[np.flatnonzero(keys == bound)[: number - int(least.sum())]] = True
    return least


def held_out_counts(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Rows to hold out of each class, ceil(share N) in total, by the largest remainder method.

    Of a class with n rows, share * n are held out, rounded up or down, but never the last one: the total is smaller if
    there is no other choice.
    """
    exact = Fraction(str(share))  # 0.2 means 1/5, not the nearest binary fraction
    quotas = [int(count) * exact for count in counts]
    held = [math.floor(quota) for quota in quotas]
    missing = math.ceil(sum(quotas)) - sum(held)
    able = [i for i, quota in enumerate(quotas) if quota > held[i] and held[i] + 1 < counts[i]]
    for i in sorted(able, key=lambda i: held[i] - quotas[i])[:missing]:
        held[i] += 1
    return np.array(held, dtype=np.int64)
