"""dlkit export of models of tables with categories, and of those that predict a number, from the table's values."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def test_a_regression_on_categories_answers_in_its_unit(here: Any, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    generator, table = np.random.default_rng(0), tmp_path / "homes.csv"
    lines = [f"{size:.3f},{('oslo', 'rome', 'bonn')[i % 3]},{1e6 + 10 * size:.2f}"
             for i, size in enumerate(generator.normal(size=60))]  # fmt: skip
    table.write_text("\n".join(["size,town,price", *lines]) + "\n")
    run, folder = tmp_path / "run", tmp_path / "out"
    changes = [
        f"data.path={table}",
        "data.label=price",
        "data.validation=0",
        "train.patience=null",
    ]
    few = ["train.epochs=null", "train.steps=30", "train.precision=fp32"]
    trained = here("train", "csv-regression", *changes, *few, "--run-dir", str(run), "-q")
    assert trained.code == 0, trained.err
    result = here("export", str(run), str(folder), "--format", "onnx")
    assert result.code == 0, result.err

    known = json.loads((folder / "model.json").read_text())
    columns = known["preprocessing"]["columns"]
    assert [column.get("categories") for column in columns] == [None, ["bonn", "oslo", "rome"]]
    rows = list(csv.DictReader(table.open()))
    values = np.array(
        [
            [
                column["categories"].index(row[column["name"]]) + 1
                if "categories" in column
                else float(row[column["name"]])
                for column in columns
            ]
            for row in rows
        ],
        dtype=np.float64,
    )
    (found,) = onnxruntime.InferenceSession(folder / "model.onnx").run(["value"], {"rows": values})
    expected = [record["value"] for record in here("predict", str(run), "--rows", str(table)).records]
    assert found.shape == (60,) and np.ptp(found) > 0.1
    np.testing.assert_allclose(found - 1e6, np.array(expected) - 1e6, atol=1e-4)
