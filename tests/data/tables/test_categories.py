"""Columns of categories: numbers as scikit-learn's OrdinalEncoder has them, inputs as its OneHotEncoder has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from dlkit.data.known import Known
from dlkit.data.tables import table_data as tables
from dlkit.errors import DlkitError
from dlkit.nn.categories import CategoryColumns

WRITERS: dict[str, Any] = {
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    "parquet": lambda frame, file: frame.to_parquet(file),
}
FRAME: Any = pandas.DataFrame(
    {
        "town": ["Rome", "Oslo", "Bern", "Oslo", " Oslo", "Z\u00fcrich"] * 5,
        "x": np.arange(30) / 8,
        "code": [10, 9, 10, 101, 9, 9] * 5,
        "flag": [True, False] * 15,
        "y": [0, 1, 1] * 10,
    }
)


@pytest.mark.parametrize("kind", WRITERS)
def test_categories_are_numbered_as_by_scikit_learn(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](FRAME, tmp_path / "t")
    data = getattr(tables, kind)(path=tmp_path / "t", label="y", test=0.0, categorical=("code", "flag"))
    assert data.columns == {"town": "category", "x": "number", "code": "category", "flag": "category"}
    text = pandas.DataFrame({"town": FRAME["town"].str.strip(), "code": FRAME["code"].astype(str)})
    encoder: Any = OrdinalEncoder().fit(text)
    np.testing.assert_array_equal(data.splits["train"].inputs[:, [0, 2]], encoder.transform(text) + 1)
    assert [list(data.categories[name]) for name in ("town", "code")] == [list(known) for known in encoder.categories_]
    assert len(data.categories["flag"]) == 2
    assert (data.mean[[0, 2, 3]].tolist(), data.std[[0, 2, 3]].tolist()) == ([0] * 3, [1] * 3)
    assert "rows of town (category), x, code (category), flag (category);" in data.sources["taken"]


def test_codes_of_csv_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("zip,y\n01067,0\n1067,1\n01067,1\n")
    data = tables.csv(path=tmp_path / "t.csv", label="y", test=0.0, categorical=("zip",))
    assert data.categories == {"zip": ("01067", "1067")}


def test_other_rows_are_read_by_the_names_of_categories(tmp_path: Path) -> None:
    """Whatever their order and their type in another kind of file."""
    known = Known(("0", "1"), {"code": "category", "town": "category"}, categories={
        "code": ("10", "101", "9"), "town": ("Bern", "Oslo", "Rome", "Z\u00fcrich"),
    })  # fmt: skip
    for kind, write in WRITERS.items():
        write(FRAME.iloc[::-1], tmp_path / "t")
        data = getattr(tables, kind)(known, path=tmp_path / "t", label="y", test=0.0)
        expected = [[{10: 1, 101: 2, 9: 3}[code], "BORZ".index(town.strip()[0]) + 1]
                    for code, town in zip(FRAME["code"], FRAME["town"], strict=True)]  # fmt: skip
        assert data.splits["train"].inputs.tolist() == expected[::-1]


def test_a_category_that_training_has_not(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    known = Known(("0", "1"), {"town": "category"}, categories={"town": ("Bern", "Oslo")})
    with pytest.raises(DlkitError) as caught:
        tables.csv(known, path=tmp_path / "t.csv", label="y", test=0.0)
    assert caught.value.message.endswith(
        "column 'town' has categories in 10 rows that no training row has: 'Rome', 'Z\u00fcrich'; the first in line 2"
    )
    assert caught.value.hint == "data.unknown=ignore takes them as none of the categories that are known"
    data = tables.csv(known, path=tmp_path / "t.csv", label="y", test=0.0, unknown="ignore")
    assert data.splits["train"].inputs[:6, 0].tolist() == [0, 2, 1, 2, 2, 0]
    assert data.sources["remarks"][-1].endswith("has categories in 10 rows that no training row has: 'Rome', "
                                                "'Z\u00fcrich'; taken as none")  # fmt: skip


def test_categories_are_those_of_the_training_rows(tmp_path: Path) -> None:
    """As an encoder fitted on them has it: a town that is only tested on has no vector to be trained."""
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.assign(town="Paris").to_csv(tmp_path / "test.csv", index=False)
    keys: dict[str, Any] = {"path": tmp_path / "t.csv", "label": "y", "test_path": tmp_path / "test.csv"}
    with pytest.raises(DlkitError, match=r"test.csv: column 'town' has categories in 30 rows .*: 'Paris'"):
        tables.csv(**keys)
    assert set(tables.csv(**keys, unknown="ignore").splits["test"].inputs[:, 0].tolist()) == {0.0}


def test_free_text_is_no_category_unless_it_is_named(tmp_path: Path) -> None:
    notes = pandas.DataFrame({"note": [f"note {i}" for i in range(30)], "more": [f"n{i}" for i in range(30)]})
    pandas.concat([FRAME, notes], axis=1).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        DlkitError, match="column 'note' is not numeric: 30 texts in 30 rows, such as 'note 0'"
    ) as found:
        tables.csv(path=tmp_path / "t.csv", label="y", test=0.0)
    assert found.value.override == 'data.columns=["town", "x", "code", "flag"]'
    data = tables.csv(path=tmp_path / "t.csv", label="y", test=0.0, columns=("x", "note"))
    assert len(data.categories["note"]) == 30


def test_one_hot_is_that_of_scikit_learn(tmp_path: Path) -> None:
    import torch

    FRAME.to_csv(tmp_path / "t.csv", index=False)
    data = tables.csv(
        path=tmp_path / "t.csv", label="y", test=0.0, categorical=("code",), columns=("x", "town", "code")
    )
    rows = data.splits["train"].inputs.float()
    rows = torch.cat([rows, torch.tensor([[0.5, 0, 0]])])  # a row whose categories are unknown
    found = CategoryColumns(3, {1: 4, 2: 3}, one_hot=True)(rows)
    text = pandas.DataFrame({"town": FRAME["town"].str.strip(), "code": FRAME["code"].astype(str)})
    encoder: Any = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(text)
    strange = pandas.DataFrame({"town": ["Paris"], "code": ["0"]})
    expected = encoder.transform(pandas.concat([text, strange]))
    np.testing.assert_array_equal(found[:, 1:], expected)
    np.testing.assert_array_equal(found[:, 0], rows[:, 0])
