"""Columns whose numbers float64 cannot hold apart are refused, in whichever text they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.data.tables.column_values import number_values
from dlkit.data.tables.table_data import csv, jsonl
from dlkit.data.tables.table_file import CSV, JSONL, read_table
from dlkit.errors import DlkitError

NUMBERS = {
    "above int64": [2**64 + n for n in range(40)],
    "around the end of int64": [2**63 - 20 + n for n in range(40)],
    "above 2^53": [2**53 + n for n in range(40)],
    "with a fraction among them": [0.5 + 2**53, *(2**53 + n for n in range(40))],
}


def written(folder: Path, kind: str, numbers: list[Any]) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "csv":
        lines = ["x,label", *(f"{x},{'ab'[n % 2]}" for n, x in enumerate(numbers))]
    else:
        lines = [f'{{"x": {x}, "label": "{"ab"[n % 2]}"}}' for n, x in enumerate(numbers)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("name", NUMBERS)
def test_whole_numbers_that_float64_merges_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    numbers = NUMBERS[name]
    assert len(np.unique(np.array(numbers, dtype=np.float64))) < len(set(numbers))
    table = read_table(CSV if kind == "csv" else JSONL, written(tmp_path, kind, numbers))
    with pytest.raises(DlkitError, match="that float64 cannot tell from another in column 'x', line"):
        number_values(table, "x")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_large_whole_numbers_that_stay_apart_are_taken(tmp_path: Path, kind: str) -> None:
    numbers = [2**64 + 4096 * n for n in range(40)]
    table = read_table(CSV if kind == "csv" else JSONL, written(tmp_path, kind, numbers))
    assert number_values(table, "x").tolist() == [float(number) for number in numbers]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_deviation_of_which_float64_has_not_all_digits_is_refused(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind, [f"{1 + n / 40}e-310" for n in range(40)])
    with pytest.raises(DlkitError, match="column 'x' differ by less than float64 can scale"):
        (csv if kind == "csv" else jsonl)(path=path, label="label")
    path = written(tmp_path, kind, [f"{1 + n / 40}e-300" for n in range(40)])
    found = (csv if kind == "csv" else jsonl)(path=path, label="label")
    x = np.concatenate([split.inputs.numpy() for split in found.splits.values()]) * 1e300
    assert (x.min(), x.max()) == pytest.approx((1, 1 + 39 / 40))
