"""Columns of numbers with more digits than float64 has: refused where the digits that are lost are what differs."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dlkit.data.tables.column_values import number_values
from dlkit.data.tables.table_file import CSV, PARQUET, read_table
from dlkit.errors import DlkitError

STEPS = range(40)
LOST = {
    "decimals far from 0": [Decimal(10**25 + 10 * i) for i in STEPS],
    "decimals that differ behind the digits of float64": [1 + Decimal(i).scaleb(-20) for i in STEPS],
    "whole numbers above int64": [Decimal(2**63 + 100 * i) for i in STEPS],
}
KEPT = {
    "decimals far from each other": [Decimal(10**25) * i + 1 for i in STEPS],
    "decimals with digits beyond measure": [i + Decimal(i % 3).scaleb(-20) for i in STEPS],
    "decimals that float64 tells apart": [Decimal(1_700_000_000 + i) + Decimal("0.25") for i in STEPS],
}


def write(folder: Path, kind: str, numbers: list[Decimal]) -> np.ndarray:
    if kind == "parquet":
        column = pa.array([*numbers, None], pa.decimal128(38, 20) if max(numbers) < 10**12 else pa.decimal256(60, 20))
        pq.write_table(pa.table({"x": column}), folder / "t.parquet")
        return number_values(read_table(PARQUET, folder / "t.parquet"), "x")
    (folder / "t.csv").write_text("x,y\n" + "".join(f"{x:f},0\n" for x in numbers) + "NA,0\n")
    return number_values(read_table(CSV, folder / "t.csv"), "x")


# In CSV, more digits than float64 has are no more than what some program prints, except of whole numbers.
@pytest.mark.parametrize(
    ("kind", "name"), [("csv", name) for name in LOST if "behind" not in name] + [("parquet", name) for name in LOST]
)
def test_numbers_whose_differences_float64_loses_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    numbers = LOST[name]
    assert any(float(a) == float(b) for a, b in itertools.pairwise(numbers))
    with pytest.raises(DlkitError, match=r"float64 cannot tell from another in column 'x', (row|line) [23]"):
        write(tmp_path, kind, numbers)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_numbers_that_float64_tells_apart_are_read(tmp_path: Path, kind: str, name: str) -> None:
    numbers = KEPT[name]
    values = write(tmp_path, kind, numbers)
    assert np.isnan(values[-1])
    exact = [float(Fraction(number)) for number in numbers]
    np.testing.assert_allclose(values[:-1], exact, rtol=2**-52)
