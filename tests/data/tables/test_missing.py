"""Missing values: counted, left out, or stood for by what scikit-learn's SimpleImputer puts in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from sklearn.impute import SimpleImputer

from dlkit.data.known import Known
from dlkit.data.tables import table_data as tables
from dlkit.errors import DlkitError, RequestError

WRITERS: dict[str, Any] = {
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    "parquet": lambda frame, file: frame.to_parquet(file),
}


def frame_with_gaps(count: int = 60) -> Any:
    draw = np.random.default_rng(0)
    frame: Any = pandas.DataFrame({"age": draw.normal(40, 9, count), "pay": draw.normal(9e4, 1e3, count)})
    frame.loc[draw.choice(count, 11, replace=False), "age"] = np.nan
    frame.loc[draw.choice(count, 5, replace=False), "pay"] = np.nan
    frame["town"] = draw.choice(["Rome", "Oslo", "Bern"], count)
    frame["y"] = draw.integers(0, 2, count)
    frame.loc[3, "town"] = None
    return frame


@pytest.mark.parametrize("kind", WRITERS)
def test_they_are_counted_by_column(kind: str, tmp_path: Path) -> None:
    frame = frame_with_gaps()
    WRITERS[kind](frame, tmp_path / "t")
    first = int(frame["age"].isna().idxmax())
    place = {"csv": f"line {first + 2}", "jsonl": f"line {first + 1}", "parquet": f"row {first + 1}"}[kind]
    rows = int(frame.isna().any(axis=1).sum())
    with pytest.raises(DlkitError) as caught:
        getattr(tables, kind)(path=tmp_path / "t", label="y")
    assert caught.value.message == (
        f"{tmp_path / 't'}: 17 missing values: age 11, pay 5, town 1; the first in column 'age', {place}"
    )
    assert caught.value.hint == (
        f"data.missing=drop leaves out the {rows} rows, data.missing=mean (or median) takes that of the training rows "
        "instead"
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_their_rows_can_be_left_out(kind: str, tmp_path: Path) -> None:
    frame = frame_with_gaps()
    WRITERS[kind](frame, tmp_path / "t")
    data = getattr(tables, kind)(path=tmp_path / "t", label="y", test=0.0, missing="drop")
    rest = frame.dropna()
    np.testing.assert_allclose(data.splits["train"].inputs[:, :2], rest[["age", "pay"]], rtol=1e-9)
    assert data.splits["train"].targets.tolist() == rest["y"].tolist()
    assert data.sources["missing"] == {"policy": "drop", "values": {"age": 11, "pay": 5, "town": 1}}
    assert data.sources["remarks"] == [
        f"{tmp_path / 't'}: missing values: age 11, pay 5, town 1; {len(frame) - len(rest)} rows left out"
    ]
    names = data.names["train"]
    assert [names(row) for row in range(len(rest))] == [f"t, row {index + 1}" for index in rest.index]


def test_a_row_without_a_label_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,x\n2,\n3,z\n,x\n")
    data = tables.csv(path=tmp_path / "t.csv", label="y", test=0.0, missing="drop")
    assert (data.splits["train"].inputs.tolist(), data.splits["train"].targets.tolist()) == ([[1], [3]], [0, 1])
    with pytest.raises(DlkitError, match="a missing value in column 'y', line 3"):
        tables.csv(path=tmp_path / "t.csv", label="y", test=0.0, missing="mean")
    (tmp_path / "t.csv").write_text("a,b,y\n1,,x\n,2,z\n")
    with pytest.raises(DlkitError, match="no row has a value in every column"):
        tables.csv(path=tmp_path / "t.csv", label="y", missing="drop")


@pytest.mark.parametrize("policy", ["mean", "median"])
def test_the_training_rows_stand_for_them(policy: Any, tmp_path: Path) -> None:
    frame = frame_with_gaps()
    frame.to_csv(tmp_path / "t.csv", index=False)
    data: Any = tables.csv(path=tmp_path / "t.csv", label="y", test=0.25, missing=policy)
    index = {split: [int(data.names[split](i).split()[-1]) - 1 for i in range(len(rows.targets))]
             for split, rows in data.splits.items()}  # fmt: skip
    given = frame[["age", "pay"]].to_numpy()
    imputer: Any = SimpleImputer(strategy=policy).fit(given[index["train"]])
    for split, rows in data.splits.items():
        np.testing.assert_allclose(rows.inputs[:, :2], imputer.transform(given[index[split]]), rtol=1e-12)
    np.testing.assert_allclose([data.stand_ins["age"], data.stand_ins["pay"]], imputer.statistics_, rtol=1e-12)
    town = frame["town"].map({"Bern": 1, "Oslo": 2, "Rome": 3}).fillna(0)  # none of the categories
    assert data.splits["train"].inputs[:, 2].tolist() == town[index["train"]].tolist()
    # other rows are completed by what stands for these, whatever their own mean is
    known = Known(data.classes, data.columns, data.mean, data.std, data.categories, data.stand_ins)
    other = tables.csv(known, path=tmp_path / "t.csv", label="y", test=0.0, missing=policy)
    np.testing.assert_allclose(other.splits["train"].inputs[:, :2], imputer.transform(given), rtol=1e-12)


def test_a_model_without_a_median_says_so(tmp_path: Path) -> None:
    frame_with_gaps().to_csv(tmp_path / "t.csv", index=False)
    columns, categories = {"age": "number", "town": "category"}, {"town": ("Bern", "Oslo", "Rome")}
    known = Known(("0", "1"), columns, torch.tensor([40.0, 0.0]), torch.tensor([9.0, 1.0]), categories)
    with pytest.raises(RequestError, match="the model knows nothing to put in its place"):
        tables.csv(known, path=tmp_path / "t.csv", label="y", test=0.0, missing="median")
    data = tables.csv(known, path=tmp_path / "t.csv", label="y", test=0.0, missing="mean")
    assert (data.splits["train"].inputs[:, 0] == 40).sum() == 11


def test_a_column_without_any_value_has_no_mean(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n1,,0\n2,,1\n")
    with pytest.raises(DlkitError, match="column 'b' has no value in any training row"):
        tables.csv(path=tmp_path / "t.csv", label="y", test=0.0, missing="mean")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "tags"}, "column 'tags' is list<item: string>, not text, numbers or booleans"),
        ({"label": "y", "group": "tags"}, "column 'tags' is list<item: string>, not text, numbers or booleans"),
        ({"label": "town", "answer": "number"}, "label 'town' is string, not numbers"),
    ],
)
def test_types_are_checked_before_missing_values(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    frame = frame_with_gaps()
    frame["tags"] = [["a", "b"]] * len(frame)
    WRITERS["jsonl"](frame, tmp_path / "t")
    answer = options.pop("answer", "class")
    with pytest.raises(RequestError) as caught:
        tables.jsonl(None, answer, path=tmp_path / "t", columns=("age",), missing="drop", **options)
    assert caught.value.message == f"{tmp_path / 't'}: {message}"
