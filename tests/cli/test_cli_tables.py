"""Tables as spreadsheets write them, from training to prediction: separators, categories, missing values."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest

from dlkit.cli.app import run as dlkit

RECIPE = """task: tabular-classification
data: {{name: csv, path: {path}, label: kind, missing: mean, unknown: ignore, batch_size: 16}}
model: {{name: mlp, hidden: [8]}}
loss: {{name: cross_entropy}}
optimizer: {{name: adam, lr: 0.01}}
train: {{epochs: 12}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 rows as a German spreadsheet writes them; the class follows from the town alone."""
    path, draw = tmp_path_factory.mktemp("table") / "rows.csv", random.Random(0)
    lines = ["breite;ort;kind"]
    for i in range(200):
        town = draw.choice(["K\u00f6ln", "Ulm", "Jena"])
        width = ("", "NA")[i % 2] if i % 25 == 3 else f"{draw.gauss(0, 1):.3f}".replace(".", ",")
        lines.append(";".join([width, town, "west" if town == "K\u00f6ln" else "rest"]))
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("cp1252"))
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    (table.parent / "r.yaml").write_text(RECIPE.format(path=table))
    assert dlkit(["train", str(table.parent / "r.yaml"), "--run-dir", str(table.parent / "run"), "-q"]) == 0
    return table.parent / "run"


def test_predict_is_eval_on_the_same_rows(here: Any, piped: Any, run: Path, table: Path, tmp_path: Path) -> None:
    evaluated = here("eval", str(run), "--split", "all")
    assert evaluated.record["metrics"]["accuracy"] == 1.0
    assert any("missing values: breite 8; the training rows' mean" in line for line in evaluated.record["remarks"])
    expected = here("predict", str(run), str(table))
    assert expected.code == 0
    truth = [line.rpartition(";")[2] for line in table.read_text("cp1252").splitlines()[1:]]
    assert [record["label"] for record in expected.records] == truth
    assert expected.records[0]["input"]["ort"] in ("K\u00f6ln", "Ulm", "Jena")
    # the same rows in other forms: with points, in UTF-8, and as JSON
    plain = tmp_path / "plain.csv"
    plain.write_text(table.read_text("cp1252").replace(",", ".").replace(";", ","))
    rows = "".join(
        json.dumps({"ort": town, "breite": None if width in ("", "NA") else float(width.replace(",", "."))}) + "\n"
        for width, town, _ in (line.split(";") for line in table.read_text("cp1252").splitlines()[1:])
    )
    answers = [record["top"] for record in expected.records]
    assert [record["top"] for record in here("predict", str(run), str(plain)).records] == answers
    assert [record["top"] for record in piped(rows, "predict", str(run), "-").records] == answers
    assert [record["top"] for record in piped(plain.read_bytes(), "predict", str(run), "-").records] == answers
    other = here("eval", str(run), "data.name=csv", f"data.path={plain}")
    assert other.record["metrics"] == evaluated.record["metrics"]


def test_a_comma_beside_points_is_no_decimal_mark(here: Any, run: Path, tmp_path: Path) -> None:
    """1,005 is read as text by training, whose reader is pyarrow, and not as 1.005 by predict."""
    new = tmp_path / "new.csv"
    new.write_text("ort;breite\nUlm;0.5\nUlm;1,005\n")
    read = pyarrow.csv.read_csv(new, parse_options=pyarrow.csv.ParseOptions(delimiter=";"))
    assert read["breite"].to_pylist() == ["0.5", "1,005"]
    errors = [record["error"] for record in here("predict", str(run), str(new)).records]
    assert errors == [None, "column 'breite' is not a number: '1,005'"]


def test_what_was_understood_is_said(here: Any, run: Path, table: Path) -> None:
    sources = json.loads((run / "summary.json").read_text())["sources"]
    assert sources["dialect"] == {"separator": ";", "decimal": ",", "encoding": "cp1252"}
    assert sources["missing"] == {"policy": "mean", "values": {"breite": 8}}
    found = here("data", str(run / "recipe.yaml"))
    ort = next(column for column in found.record["columns"] if column["name"] == "ort")
    assert (ort["type"], ort["distinct"]) == ("category", 3)
    assert f"{table} (separated by semicolons, decimal commas, in cp1252): 200 rows of" in found.record["taken"]


def test_a_policy_can_be_changed_where_it_is_asked_for(here: Any, run: Path, table: Path) -> None:
    result = here("eval", str(run), "data.missing=error")
    assert result.code == 1
    first, second = result.err.splitlines()[:2]
    assert first.startswith(f"error: {table}: 8 missing values: breite 8; the first in column 'breite', line ")
    assert second.startswith("hint: data.missing=drop leaves out the 8 rows")
    assert here("eval", str(run), "data.missing=drop", "--split", "all").record["n"] == 192


def test_strange_categories_of_new_rows(here: Any, piped: Any, run: Path, table: Path, tmp_path: Path) -> None:
    rows = "ort,breite\nParis,1\nUlm,1\n"
    assert [record["error"] for record in piped(rows, "predict", str(run), "-").records] == [None, None]
    strict = here(
        "train", str(run / "recipe.yaml"), "data.unknown=error", "data.missing=drop", "train.epochs=1",
        "--run-dir", str(tmp_path / "strict"),
    )  # fmt: skip
    assert strict.code == 0, strict.err
    found = piped(rows + ",2\nUlm,\n", "predict", str(tmp_path / "strict"), "-")
    assert (found.code, [record["error"] for record in found.records]) == (1, [
        "column 'ort' has a category that no training row has: 'Paris'", None,
        "column 'ort' has no value", "column 'breite' has no value",
    ])  # fmt: skip


@pytest.mark.parametrize("change", ["data.category_encoding=one_hot", "data.missing=median"])
def test_every_way_trains_and_is_read_again(here: Any, run: Path, tmp_path: Path, change: str) -> None:
    result = here("train", str(run / "recipe.yaml"), change, "train.epochs=12", "--run-dir", str(tmp_path / "run"))
    assert result.code == 0, result.err
    assert here("eval", str(tmp_path / "run"), "--split", "all").record["metrics"]["accuracy"] == 1.0
    assert here("train", str(tmp_path / "run"), "--resume", "train.epochs=13").code == 0


@pytest.mark.parametrize("change", ["data.balance=true", "loss.class_weights=balanced", "loss.class_weights=[9, 1]"])
def test_a_rare_class_is_found(here: Any, tmp_path: Path, change: str) -> None:
    """5 % of the rows are hits, told by one noisy column: unweighted, a classifier of one step a row names none."""
    draw, lines = random.Random(0), ["x,kind"]
    for i in range(400):
        hit = i % 20 == 0
        lines.append(f"{draw.gauss(1.5 if hit else 0, 1):.4f},{'a hit' if hit else 'a miss'}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "r.yaml").write_text(RECIPE.format(path=tmp_path / "rows.csv"))
    found: list[float] = []
    for changes in ((), (change,)):
        run = tmp_path / f"run{len(found)}"
        result = here("train", str(tmp_path / "r.yaml"), *changes, "--run-dir", str(run))
        assert result.code == 0, result.err
        per_class = here("eval", str(run), "--split", "all").record["per_class"]
        found.append(next(one["recall"] for one in per_class if one["class"] == "a hit"))
    assert found[1] > found[0] + 0.3


def test_rows_of_a_customer_stay_together(here: Any, run: Path, table: Path, tmp_path: Path) -> None:
    lines = table.read_text("cp1252").splitlines()
    rows = [f"{line};{'' if i == 0 else i % 30}" for i, line in enumerate(lines)]
    (tmp_path / "rows.csv").write_text("\n".join([f"{lines[0]};kunde", *rows[1:]]) + "\n")
    changes = (f"data.path={tmp_path / 'rows.csv'}", "data.group=kunde", "train.epochs=2")
    result = here("train", str(run / "recipe.yaml"), *changes, "--run-dir", str(tmp_path / "run"))
    assert result.code == 0, result.err
    assert "left out: 'kunde' (rows are split by it)" in result.err
    assert "; 2 columns, 1 of categories; 8 missing values" in result.err
    # what is evaluated as a whole, or predicted, need not have it
    assert here("eval", str(tmp_path / "run"), f"data.path={table}").record["n"] == 200
    assert here("predict", str(tmp_path / "run"), str(table)).code == 0
