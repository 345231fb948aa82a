"""dlkit predict on a table that has a header and no rows: the columns are there, as pandas and pyarrow read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import parquet

from dlkit.cli.app import run as dlkit

RECIPE = """task: tabular-classification
data: {{name: csv, path: {path}, label: kind}}
model: {{name: mlp, hidden: [4]}}
optimizer: {{name: adam, lr: 0.01}}
train: {{steps: 1}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    frame = pandas.DataFrame({"a": draw.normal(size=30), "b": draw.normal(size=30), "kind": ["no", "yes"] * 15})
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "r.yaml").write_text(RECIPE.format(path=folder / "rows.csv"))
    assert dlkit(["train", str(folder / "r.yaml"), "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


@pytest.mark.parametrize("given", [".csv", ".parquet"])
def test_columns_of_no_rows(given: str, here: Any, run: Path, tmp_path: Path) -> None:
    empty = tmp_path / f"new{given}"
    if given == ".csv":
        empty.write_text("b;a;label\n", encoding="utf-8")
    else:
        parquet.write_table(pa.table({"b": pa.array([], pa.float64()), "a": [], "label": []}), empty)
    columns = ["b", "a", "label", "predicted_label", "probability", "error"]
    for suffix in (".parquet", ".csv", ".jsonl"):
        result = here("predict", str(run), "--rows", str(empty), "--out", str(tmp_path / f"out{suffix}"))
        assert result.code == 0
        assert "no inputs: nothing to predict" in result.err
    written = parquet.read_table(tmp_path / "out.parquet")
    assert (written.num_rows, written.column_names) == (0, columns)
    assert written.schema.field("probability").type == pa.float64()
    frame = pandas.read_csv(tmp_path / "out.csv")
    assert (len(frame), list(frame)) == (0, columns)
    assert (tmp_path / "out.jsonl").read_text() == ""
