"""Splits by group and by time, against scikit-learn's GroupShuffleSplit and the order of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.model_selection import GroupShuffleSplit

from dlkit.data.split_by_column import split_by_group, split_by_time
from dlkit.data.tables import table_data as tables
from dlkit.errors import DlkitError, RequestError


@pytest.mark.parametrize(("count", "test", "validation"), [(17, 0.2, 0.0), (30, 0.2, 0.25), (5, 0.3, 0.1)])
def test_a_group_is_in_one_split_alone(count: int, test: float, validation: float) -> None:
    draw = np.random.default_rng(0)
    groups = np.concatenate([np.arange(count), draw.integers(0, count, 400)])
    found = split_by_group(groups, "customer", test=test, validation=validation)
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(groups)))
    members = {split: set(groups[rows]) for split, rows in found.items()}
    assert sum(map(len, members.values())) == count
    # as many groups as scikit-learn holds out
    splitter: Any = GroupShuffleSplit(1, test_size=test, random_state=0)
    rest, held = next(splitter.split(groups, groups=groups))
    assert len(members["test"]) == len(set(groups[held]))
    if validation:
        splitter = GroupShuffleSplit(1, test_size=validation, random_state=0)
        _, inner = next(splitter.split(rest, groups=groups[rest]))
        assert len(members["val"]) == len(set(groups[rest][inner]))
    # which ones does not depend on the order of the rows
    order = draw.permutation(len(groups))
    again = split_by_group(groups[order], "customer", test=test, validation=validation)
    assert {split: set(groups[order][rows]) for split, rows in again.items()} == members


def test_time_goes_from_training_to_test() -> None:
    draw = np.random.default_rng(0)
    times = draw.integers(0, 60, 500)
    found = split_by_time(times, "day", test=0.2, validation=0.1)
    assert list(found) == ["train", "val", "test"]
    assert times[found["train"]].max() < times[found["val"]].min() <= times[found["val"]].max()
    assert times[found["val"]].max() < times[found["test"]].min()
    distinct = draw.permutation(500)
    found = split_by_time(distinct, "day", test=0.2, validation=0.25)
    assert set(distinct[found["test"]]) == set(range(400, 500))
    assert set(distinct[found["val"]]) == set(range(300, 400))


def test_too_little_to_hold_out() -> None:
    with pytest.raises(DlkitError, match=r"column 'customer' has 1 groups: too few to hold out data.test=0.2"):
        split_by_group(np.zeros(9, dtype=np.int64), "customer", test=0.2, validation=0)
    with pytest.raises(DlkitError, match="column 'day' has 2 different times: too few"):
        split_by_time(np.array([1, 1, 2, 2]), "day", test=0.2, validation=0.2)


def table(count: int = 60) -> Any:
    draw = np.random.default_rng(0)
    frame: Any = pandas.DataFrame({"x": draw.normal(size=count), "customer": draw.integers(100, 112, count)})
    frame["date"] = pandas.to_datetime("2026-01-01") + pandas.to_timedelta(draw.permutation(count), unit="D")
    frame["kind"] = draw.choice(["a", "b"], count)
    return frame


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_of_a_table(kind: str, tmp_path: Path) -> None:
    frame, path = table(), tmp_path / "t"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    else:
        frame.to_parquet(path)
    read = getattr(tables, kind)

    def rows(data: Any, split: str) -> list[int]:
        return [int(data.names[split](row).split()[-1]) - 1 for row in range(len(data.splits[split].targets))]

    data = read(path=path, label="kind", columns=("x",), group="customer")
    held = set(frame["customer"].iloc[rows(data, "test")])
    assert len(held) == 3  # of 12
    assert not held & set(frame["customer"].iloc[rows(data, "train")])
    data = read(path=path, label="kind", columns=("x",), time="date")
    assert frame["date"].iloc[rows(data, "train")].max() < frame["date"].iloc[rows(data, "test")].min()
    assert len(rows(data, "test")) == 12


def test_the_column_is_no_feature_and_that_is_said(tmp_path: Path) -> None:
    frame = table().drop(columns="date")
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = tables.csv(path=tmp_path / "t.csv", label="kind", group="customer")
    assert data.sources["columns"] == ["x"]
    assert "left out: 'customer' (rows are split by it)" in data.sources["taken"]
    named = tables.csv(path=tmp_path / "t.csv", label="kind", group="customer", columns=("x", "customer"))
    assert named.sources["columns"] == ["x", "customer"]
    assert tables.csv(path=tmp_path / "t.csv", label="kind", group="gone", test=0.0).sources["rows"] == {"train": 60}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"group": "customer", "time": "day"}, "data.group=customer and data.time=day: rows are split by one of them"),
        ({"group": "custmer"}, "no column 'custmer' .did you mean 'customer'"),
        ({"time": "kind"}, "column 'kind' is string, not a date, a time or a number"),
        ({"group": "gap"}, "a missing value in column 'gap', row 2"),
        ({"time": "when"}, "a missing value in column 'when', row 2"),
    ],
)
def test_wrong_columns(keys: dict[str, str], message: str, tmp_path: Path) -> None:
    columns = {"x": [1.5, 2.5] * 4, "customer": [1, 2] * 4, "day": [1, 2] * 4, "kind": ["a", "b"] * 4}
    more = {"gap": ["a", None] * 4, "when": pa.array([1, None] * 4, pa.timestamp("s")), "y": [0, 1] * 4}
    pyarrow.parquet.write_table(pa.table(columns | more), tmp_path / "t")
    with pytest.raises((RequestError, DlkitError), match=message):
        tables.parquet(path=tmp_path / "t", label="y", columns=("x",), **keys)
