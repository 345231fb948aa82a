"""Missing values of a table: an error that counts them, rows left out, or a number that stands for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlkit.data.tables.column_values import is_missing
from dlkit.data.tables.columns import only_columns
from dlkit.data.tables.table_file import Table, join_names
from dlkit.errors import DlkitError

Missing = Literal["error", "drop", "mean", "median"]
Masks = dict[str, NDArray[np.bool_]]  # column -> the rows that have no value in it, (N,)


def missing_values(table: Table, kinds: Mapping[str, str]) -> Masks:
    """The columns that lack values, of those with the given kinds."""
    return {name: mask for name, kind in kinds.items() if (mask := is_missing(table, name, kind)).any()}


def refuse_missing(table: Table, masks: Masks) -> None:
    """Raise DlkitError, which counts the missing values of each column, if there are any."""
    if not masks:
        return
    total, rows = sum(int(mask.sum()) for mask in masks.values()), int(np.any(list(masks.values()), axis=0).sum())
    name, mask = next(iter(masks.items()))
    where = f"column {name!r}, {table.place(int(mask.argmax()))}"
    leave_out = f"data.missing=drop leaves out {'that row' if rows == 1 else f'the {rows} rows'}"
    raise DlkitError(
        f"{table.file}: a missing value (NaN) in {where}"
        if total == 1
        else f"{table.file}: {total} missing values: {counted(masks)}; the first in {where}",
        f"{leave_out}, data.missing=mean (or median) takes that of the training rows instead",
        "data.missing=mean",
    )


def counted(masks: Masks) -> str:
    """The columns that lack values, with their number."""
    return join_names(f"{name} {mask.sum()}" for name, mask in masks.items())


def stand_in(values: NDArray[np.float64], name: str, policy: Missing, others: Sequence[str] = ()) -> float:
    """What stands for a missing value of a column: the mean or the median of the present training values, (n,).

    Raises DlkitError where there are none, which says how to go on with the `others`.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        message = f"column {name!r} has no value in any training row"
        raise DlkitError(message, "leave it out", only_columns(others)) if others else DlkitError(message)
    if policy == "median":
        return float(np.median(present))
    unit = float(np.abs(present).max()) or 1.0  # the sum of numbers such as 1e308 would be infinite
    return float((present / unit).mean()) * unit
