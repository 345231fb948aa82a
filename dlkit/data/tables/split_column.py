"""A column of a table that its rows are split by: a group that stays together, or a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dlkit.data.split_by_column import split_by_group, split_by_time
from dlkit.data.splits import split_three_ways
from dlkit.data.tables.column_values import category_values, number_values
from dlkit.data.tables.columns import require_column
from dlkit.data.tables.table_file import Table
from dlkit.data.tables.targets import Targets
from dlkit.errors import RequestError


@dataclass(frozen=True)
class SplitColumn:
    """How rows are held out: by the column of a group or of a time, or else class by class.

    Args:
        group: the column of a group.
        time: the column of a time.
        test: the share that is "test".
        validation: the share of the rest that is "val".
    """

    group: str | None = None
    time: str | None = None
    test: float = 0.0
    validation: float = 0.0

    @classmethod
    def asked_for(cls, group: str | None, time: str | None, *, test: float, validation: float) -> SplitColumn:
        """Raises RequestError where both columns are given."""
        if group is not None and time is not None:
            raise RequestError(
                f"data.group={group} and data.time={time}: rows are split by one of them", "leave the other out"
            )
        return cls(group, time, test, validation)

    def aside(self) -> dict[str, str]:
        """The column, which is no feature, and why."""
        return {name: "rows are split by it" for name in (self.group, self.time) if name is not None}

    def split(self, table: Table, targets: Targets) -> dict[str, NDArray[np.int64]]:
        """Ascending row indices of "train", of "val" if there is any, and of "test".

        The column is not needed where nothing is held out, as of data that is evaluated as a whole.

        Raises:
            RequestError: there is no such column, or it holds no times.
            DlkitError: it lacks values, or too little can be held out by it.
        """
        shares = {"test": self.test, "validation": self.validation}
        name = self.group or self.time
        if name is None or not any(shares.values()):
            return split_three_ways(targets.strata, targets.classes, **shares)
        require_column(name, table)
        if self.group is not None:
            codes = category_values(table, name)[1]
            table.refuse(codes < 0, "a missing value", name)
            return split_by_group(codes, name, **shares)
        return split_by_time(_times(table, name), name, **shares)


def _times(table: Table, name: str) -> NDArray[Any]:
    """A column of times as numbers that grow with them, (N,)."""
    column = _dated(table.rows[name])
    kind = column.type
    table.refuse(column.is_null().to_numpy(), "a missing value", name)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        whole = pa.int32() if pa.types.is_date32(kind) or pa.types.is_time32(kind) else pa.int64()
        return column.cast(whole).to_numpy()
    if any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)):
        table.refuse(np.isnan(number_values(table, name)), "a missing value (NaN)", name)
        return column.to_numpy() if pa.types.is_integer(kind) else number_values(table, name)
    raise RequestError(
        f"{table.file}: column {name!r} is {kind}, not a date, a time or a number",
        "write dates as 2026-01-31 and times as 2026-01-31T12:00:00",
    )


def _dated(column: Any) -> Any:
    """A column of text as times, where all of it is written as ISO 8601 has it; others as they are."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
            with contextlib.suppress(pa.ArrowInvalid):
                return column.cast(kind)
    return column
