"""dlkit on a table whose label is a number: trained on standardised numbers, told in their own unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from dlkit.app.evaluate import request_evaluation
from dlkit.cli.app import run as dlkit

# Least squares by full batches: what it ends at is known in closed form.
RECIPE = """task: tabular-regression
data: {{name: csv, path: {path}, label: price, batch_size: full, category_encoding: one_hot, test: 0.25}}
model: {{name: mlp, hidden: []}}
loss: {{name: squared_error}}
optimizer: {{name: adam, lr: 0.05}}
schedule: {{name: linear}}
train: {{epochs: 300, eval_every: never}}
"""


@pytest.fixture(scope="module")
def frame() -> Any:
    """A price around 1.7e9, of which float32 knows multiples of 128 alone."""
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame({"area": draw.normal(90, 25, 240), "town": draw.choice(["Rome", "Oslo", "Bern"], 240)})
    extra = 40.0 * (frame["town"] == "Oslo") - 30.0 * (frame["town"] == "Bern")
    frame["price"] = 1.7e9 + 2 * frame["area"] + extra + draw.normal(0, 5, 240)
    return frame


@pytest.fixture(scope="module")
def run(frame: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prices")
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "r.yaml").write_text(RECIPE.format(path=folder / "rows.csv"))
    assert dlkit(["train", str(folder / "r.yaml"), "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def rows_of(run: Path, split: str) -> list[int]:
    names = request_evaluation(run).open().trained.dataset.dataset.names[split]  # type: ignore[union-attr]
    count = {"train": 180, "test": 60}[split]
    return [int(names(row).split()[-1]) - 1 for row in range(count)]


def test_it_finds_least_squares(here: Any, run: Path, frame: Any) -> None:
    """The scores of scikit-learn's exact solution on the same rows."""
    inputs = np.column_stack([frame["area"], *(frame["town"] == town for town in ("Bern", "Oslo", "Rome"))])
    train, test = rows_of(run, "train"), rows_of(run, "test")
    y = frame["price"].to_numpy()
    f = LinearRegression().fit(inputs[train], y[train]).predict(inputs[test])
    found = here("eval", str(run)).record
    assert (found["n"], found["split"]) == (60, "test")
    assert found["metrics"]["rmse"] == pytest.approx(root_mean_squared_error(y[test], f), rel=1e-2)
    assert found["metrics"]["r2"] == pytest.approx(float(r2_score(y[test], f)), abs=1e-3)
    assert float(here("eval", str(run), "-q").out) == found["metrics"]["r2"]


def test_predict_gives_the_number_in_its_unit(here: Any, piped: Any, run: Path, frame: Any) -> None:
    test = rows_of(run, "test")
    lines = "".join(json.dumps(row) + "\n" for row in frame.iloc[test].drop(columns="price").to_dict("records"))
    result = piped(lines, "predict", str(run), "-")
    assert (result.code, set(result.records[0])) == (0, {"input", "value", "error"})
    f, y = np.array([record["value"] for record in result.records]), frame["price"].to_numpy()[test]
    metrics = here("eval", str(run)).record["metrics"]
    assert metrics["mse"] == pytest.approx(mean_squared_error(y, f), rel=1e-6)
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(y, f), rel=1e-6)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(y, f), rel=1e-6)
    assert metrics["r2"] == pytest.approx(float(r2_score(y, f)), rel=1e-6)
    assert metrics["loss"] == pytest.approx(mean_squared_error(y, f) / np.var(frame["price"][rows_of(run, "train")]))
    failed = piped('{"area": 1, "town": "Paris"}\n', "predict", str(run), "-")
    assert (failed.code, failed.record["value"]) == (1, None)
    assert "town" in failed.record["error"]


def test_a_run_knows_its_scale(here: Any, run: Path, frame: Any, tmp_path: Path) -> None:
    """Rows of other prices are measured on the scale of training."""
    other = frame.assign(price=frame["price"] + 1000)
    other.to_parquet(tmp_path / "other.parquet")
    found = here("eval", str(run), "data.name=parquet", f"data.path={tmp_path / 'other.parquet'}").record
    whole = here("eval", str(run), "--split", "all").record
    assert (found["n"], whole["n"]) == (240, 240)
    assert found["metrics"]["mae"] == pytest.approx(1000, rel=1e-2)
    assert whole["metrics"]["mae"] < 10
    target = request_evaluation(run).open().trained.dataset.describe()["target"]
    assert target["mean"] == pytest.approx(frame["price"][rows_of(run, "train")].mean(), rel=1e-15)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["loss.name=cross_entropy"], 2, "cross_entropy is for classes"),
        (["data.label=town"], 2, "label 'town' is string, not numbers\nhint: to predict classes: dlkit train csv-mlp"),
        (["task=tabular-classification"], 2, "loss.name: squared_error is not for tabular-classification"),
        (["task=tabular-classification", "loss.name=cross_entropy"], 1,
         "but a class is a whole number or text\nhint: to predict numbers from a table: dlkit train csv-regression"),
    ],
)  # fmt: skip
def test_wrong_requests(here: Any, run: Path, tmp_path: Path, changes: list[str], code: int, said: str) -> None:
    result = here("train", str(run / "recipe.yaml"), *changes, "--run-dir", str(tmp_path / "run"))
    assert (result.code, result.out) == (code, "")
    assert said in result.err


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_the_shipped_recipe_learns(here: Any, run: Path, tmp_path: Path, loss: str) -> None:
    changes = (f"data.path={run.parent / 'rows.csv'}", "data.label=price", f"loss.name={loss}", "train.epochs=15")
    found = here("train", "csv-regression", *changes, "--run-dir", str(tmp_path / "run"))
    assert found.code == 0, found.err
    assert found.record["metrics"]["val/r2"] > 0.5
    record = here("data", "csv-regression", *changes).record
    assert record["target"]["std"] == pytest.approx(60, rel=0.3)
    assert (record["classes"], record["balance"]) == ([], None)
