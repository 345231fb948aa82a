"""Splits that keep together what belongs together: the rows of a group, or what came before and what came after."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.splits import TEST_SEED, VALIDATION_SEED
from dlkit.errors import DlkitError

Rows = NDArray[np.int64]


def split_by_group(groups: Rows, name: str, *, test: float, validation: float) -> dict[str, Rows]:
    """Ascending row indices of "train", "val" and "test", with all rows of a group in one of them.

    `test` and `validation` are shares of the groups, rounded up, as in scikit-learn's GroupShuffleSplit.

    Args:
        groups: the group of each row, (N,), as an index of their sorted names.
        name: of the column, for messages.
        test: share of the groups whose rows are "test".
        validation: share of the other groups whose rows are "val".

    Raises:
        DlkitError: there are too few groups.
    """
    count = int(groups.max()) + 1

    def held(rows: Rows, share: float, seed: int) -> NDArray[np.bool_]:
        here = np.unique(groups[rows])
        keys = np.random.PCG64(seed).random_raw(count)[here]
        chosen = here[np.argsort(keys)[: _rounded_up(share, len(here))]]
        return np.isin(groups[rows], chosen)

    return _three_ways(len(groups), held, f"column {name!r} has {count} groups", test, validation)


def split_by_time(times: NDArray[Any], name: str, *, test: float, validation: float) -> dict[str, Rows]:
    """Ascending row indices of "train", "val" and "test", in this order in time: a model is tested on what came later.

    Rows of one time stay together, so that a split may have more than its share.

    Args:
        times: of each row, (N,), numbers that grow with time.
        name: of the column, for messages.
        test: share of the rows that is "test", the latest.
        validation: share of the other rows that is "val", the latest of these.

    Raises:
        DlkitError: there are too few different times.
    """

    def held(rows: Rows, share: float, seed: int) -> NDArray[np.bool_]:
        here = times[rows]
        return here >= np.sort(here)[len(here) - _rounded_up(share, len(here))]

    what = f"column {name!r} has {len(np.unique(times))} different times"
    return _three_ways(len(times), held, what, test, validation)


def _rounded_up(share: float, count: int) -> int:
    return math.ceil(Fraction(str(share)) * count)  # 0.2 means 1/5, not the nearest binary fraction


def _three_ways(
    count: int,
    held: Callable[[Rows, float, int], NDArray[np.bool_]],
    what: str,
    test: float,
    validation: float,
) -> dict[str, Rows]:
    """The rows that are held out for "test", of the rest for "val", and what is left."""
    train = np.arange(count)
    splits: dict[str, Rows] = {}
    for name, share, seed in (("test", test, TEST_SEED), ("val", validation, VALIDATION_SEED)):
        if share > 0:
            out = held(train, share, seed)
            splits[name], train = train[out], train[~out]
            if not len(train):
                raise DlkitError(f"{what}: too few to hold out data.test={test:g} and data.validation={validation:g}")
    return {"train": train, **{name: splits[name] for name in ("val", "test") if name in splits}}
