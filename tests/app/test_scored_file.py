"""Tables of predictions, read back by pyarrow, csv and json: what the user's rows held is there as it was."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from dlkit.app.prediction import Prediction
from dlkit.app.scored_file import scored_file
from dlkit.strict_json import json_text

UNREAD = "1 values for 2 columns"


def write(path: Path, predictions: Sequence[Prediction]) -> Path:
    with scored_file(path) as table:
        for prediction in predictions:
            table.add(prediction)
    return path


def of(row: dict[str, Any]) -> Prediction:
    return Prediction(row, "01", 0.5, (("01", 0.5),))


def test_codes_and_long_numbers_keep_their_digits(tmp_path: Path) -> None:
    """Text of CSV becomes a number of Parquet where nothing is lost by it."""
    columns = {
        "zip": ["00501", "10001"], "long": ["12345678901234567890", "1"], "mixed": ["9007199254740993", "0.5"],
        "phone": ["+49151123456789012", "+4930123"], "n": ["7", "-8"], "x": ["1.50", "2e3"],
    }  # fmt: skip
    rows = [{name: values[i] for name, values in columns.items()} for i in range(2)]
    found = pyarrow.parquet.read_table(write(tmp_path / "out.parquet", [of(row) for row in rows]))
    for name in ("zip", "long", "mixed", "phone"):
        assert found[name].to_pylist() == columns[name]
    assert (found["n"].to_pylist(), found.schema.field("n").type) == ([7, -8], pa.int64())
    assert (found["x"].to_pylist(), found.schema.field("x").type) == ([1.5, 2000.0], pa.float64())
    assert found["label"].to_pylist() == ["01", "01"]  # another class than 1


def test_values_of_every_type_of_parquet(tmp_path: Path) -> None:
    when = datetime.datetime(2020, 2, 3, 4, 5)
    values = {
        "decimal": Decimal("1.5"), "flag": True, "when": when, "day": when.date(), "time": when.time(),
        "length": datetime.timedelta(hours=1), "raw": b"\xff", "inner": {"x": [1]}, "big": 2**63, "none": None,
    }  # fmt: skip
    (found,) = pyarrow.parquet.read_table(write(tmp_path / "out.parquet", [of(values)])).to_pylist()
    assert {name: found[name] for name in values} == values
    plain = {
        "decimal": 1.5, "flag": True, "when": "2020-02-03T04:05:00", "day": "2020-02-03", "time": "04:05:00",
        "length": "1:00:00", "raw": "\\xff", "inner": {"x": [1]}, "big": 2**63, "none": None,
    }  # fmt: skip
    assert json.loads(json_text(of(values).record()))["input"] == plain
    row = json.loads(write(tmp_path / "out.jsonl", [of(values)]).read_text())
    assert {name: row[name] for name in values} == plain
    with write(tmp_path / "out.csv", [of(values)]).open() as file:
        (cells,) = csv.DictReader(file)
    assert json.loads(cells["inner"]) == {"x": [1]}
    assert (cells["none"], cells["decimal"], cells["big"]) == ("", "1.5", str(2**63))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_inputs_that_cannot_be_read_wait_for_the_columns(tmp_path: Path, suffix: str) -> None:
    read: Any = pyarrow.csv.read_csv if suffix == "csv" else pyarrow.parquet.read_table
    unread = [Prediction("1", error=UNREAD), Prediction("2", error=UNREAD)]
    found = read(write(tmp_path / f"out.{suffix}", [*unread, of({"a": 1, "b": 2}), unread[0]]))
    assert found.column_names == ["a", "b", "label", "probability", "error"]
    assert found["a"].to_pylist() == [None, None, 1, None]
    assert found["error"].to_pylist()[:2] == [UNREAD, UNREAD]
    alone = read(write(tmp_path / f"alone.{suffix}", unread))
    assert alone["error"].to_pylist() == [UNREAD, UNREAD]
