"""dlkit predict on rows: columns by name, errors row by row, tables in and out."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch

from dlkit.app.evaluate import request_evaluation
from dlkit.cli.app import run as dlkit

NAMES = ("no", "yes", "why")
RECIPE = """task: tabular-classification
data: {{name: csv, path: {path}, label: kind, columns: [a, b, ok], batch_size: 16}}
model: {{name: mlp, hidden: [8]}}
loss: {{name: cross_entropy}}
optimizer: {{name: adam, lr: 0.01}}
train: {{epochs: 2}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 rows; `b` is around 1e9, where float32 knows multiples of 64 alone."""
    path, draw = tmp_path_factory.mktemp("table") / "rows.csv", random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "a", "b", "ok", "kind"])
        for i in range(100):
            c = i % 3
            values = (draw.gauss(c * 3, 1), draw.gauss(1e9 + c, 1), ("true", "false")[draw.random() < 0.5])
            writer.writerow([f"{i:03}, or so", *values, NAMES[c]])
    return path


@pytest.fixture(scope="module")
def run(table: Path) -> Path:
    (table.parent / "r.yaml").write_text(RECIPE.format(path=table))
    assert dlkit(["train", str(table.parent / "r.yaml"), "--run-dir", str(table.parent / "run"), "-q"]) == 0
    return table.parent / "run"


def test_equal_to_an_evaluation_of_the_same_rows(here: Any, run: Path, table: Path) -> None:
    found = here("predict", str(run), str(table), "--top", "3")
    opened = request_evaluation(run, split="all").open()
    with torch.inference_mode():
        batches = opened.trained.dataset.batches(opened.recipe, "all", opened.device, False).epoch(0)
        expected = torch.cat([opened.trained.model.eval()(batch.inputs).softmax(1) for batch in batches]).tolist()
    classes = opened.trained.dataset.classes
    for record, named, each in zip(found.records, found.probabilities, expected, strict=True):
        assert named == dict(zip(classes, each, strict=True))
        assert record["input"]["id"].endswith(", or so")
        assert (record["label"], record["probability"]) == (classes[each.index(max(each))], max(each))


def test_every_kind_of_table_gives_the_same(here: Any, piped: Any, run: Path, table: Path, tmp_path: Path) -> None:
    """Typed or not, columns in another order, from a file or a pipe."""
    rows = pyarrow.csv.read_csv(table).select(["kind", "ok", "b", "a", "id"])
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows.to_pylist())
    (tmp_path / "rows.jsonl").write_text(lines)

    def answers(result: Any) -> list[Any]:
        assert result.code == 0, result.err
        return [(record["label"], record["top"]) for record in result.records]

    expected = answers(here("predict", str(run), str(table)))
    assert answers(here("predict", str(run), "--rows", str(tmp_path / "rows.parquet"))) == expected
    assert answers(here("predict", str(run), str(tmp_path / "rows.jsonl"))) == expected
    for suffix, compress in (("gz", gzip.compress), ("bz2", bz2.compress)):
        (tmp_path / f"rows.csv.{suffix}").write_bytes(compress(table.read_bytes()))
        (tmp_path / f"rows.jsonl.{suffix}").write_bytes(compress(lines.encode()))
        assert answers(here("predict", str(run), str(tmp_path / f"rows.csv.{suffix}"))) == expected
        assert answers(here("predict", str(run), str(tmp_path / f"rows.jsonl.{suffix}"))) == expected
    assert answers(piped(lines, "predict", str(run), "-")) == expected
    assert answers(piped(table.read_bytes(), "predict", str(run), "--rows", "-")) == expected
    assert answers(piped(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"), "predict", str(run))) == expected
    import dlkit as package

    work = package.predict(run, *rows.to_pylist())
    assert [prediction.label for prediction in work] == [label for label, _ in expected]


def test_a_row_that_cannot_be_read_takes_no_other_with_it(here: Any, piped: Any, run: Path) -> None:
    lines = [
        "a,b,ok,id", "1,1e9,true,0", "x,1e9,true,1", "1,,true,2", "1,inf,true,3", "1,1e9", '"1","1000000000",FALSE,"5',
        'and more"', "1,1e300,true,6", "1,1e9,true,7", "1_000,1e9,true,8", "\u0663,1e9,true,9",
    ]  # fmt: skip
    result = piped("\n".join(lines), "predict", str(run), "-")
    assert result.code == 1
    errors = [record["error"] for record in result.records]
    assert errors == [
        None,
        "column 'a' is not a number: 'x'",
        "column 'b' has no value",
        "column 'b' is infinite",
        "2 values for 4 columns",
        None,
        "a value is too far from the training rows' mean for float32",
        None,
        "column 'a' is not a number: '1_000'",  # as in training, where pyarrow takes both for text
        "column 'a' is not a number: '\u0663'",
    ]
    assert result.records[5]["input"] == {"a": "1", "b": "1000000000", "ok": "FALSE", "id": "5\nand more"}
    assert result.err.startswith(
        "error: 7 of 10 inputs have no prediction; the first is a=x, b=1e9, ok=true, id=1: column"
    )
    more = piped(
        '{"a": 1, "b": 2, "ok": 0}\n{"a": 1}\n[1]\n{"a"\n{"a": {}, "b": 1, "ok": 1}\n', "predict", str(run), "-"
    )
    assert [record["error"] for record in more.records][1:] == [
        "column 'b' has no value",
        "not a JSON object",
        "not JSON: Expecting ':' delimiter: line 1 column 5 (char 4)",
        "column 'a' is not a number: '{}'",
    ]


def test_quotation_marks_are_those_of_pyarrow(here: Any, run: Path, tmp_path: Path) -> None:
    """Within a value that does not begin with one, they are text."""
    new = tmp_path / "new.csv"
    new.write_text('id,a,b,ok\n5" disk,1,1e9,true\n"say ""so"",\n\nor not",2,1e9,true\n\n7" disk,3,1e9,false\n')
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    expected = pyarrow.csv.read_csv(new, parse_options=options)["id"].to_pylist()
    result = here("predict", str(run), str(new))
    assert (result.code, len(expected)) == (0, 3)
    assert [record["input"]["id"] for record in result.records] == expected


def test_no_rows_are_no_error(here: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_text("a,b,ok\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    for name in ("header.csv", "empty.jsonl"):
        result = here("predict", str(run), str(tmp_path / name))
        assert (result.code, result.out, result.err) == (0, "", "no inputs: nothing to predict\n")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_scored_tables(here: Any, run: Path, table: Path, tmp_path: Path, suffix: str) -> None:
    """Read back by pyarrow or json: the columns of the input as they were, the model's beside them."""
    out = tmp_path / f"scored{suffix}"
    expected = here("predict", str(run), str(table)).records
    result = here("predict", str(run), "--rows", str(table), "--out", str(out))
    assert result.code == 0, result.err
    assert {key: result.record[key] for key in ("run", "out", "inputs", "failed")} == {
        "run": str(run), "out": str(out), "inputs": 100, "failed": 0,
    }  # fmt: skip
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["top"] for row in rows] == [record["top"] for record in expected]
    else:
        read = pyarrow.csv.read_csv if suffix == ".csv" else pyarrow.parquet.read_table
        found = read(out)
        assert found.column_names == ["id", "a", "b", "ok", "kind", "label", "probability", "error"]
        rows = found.to_pylist()
        given = pyarrow.csv.read_csv(table)
        assert (found["a"], found["b"]) == (given["a"], given["b"])
        assert found.schema.field("probability").type == pa.float64()
    assert [row["id"] for row in rows] == [record["input"]["id"] for record in expected]
    assert [row["label"] for row in rows] == [record["label"] for record in expected]
    assert [row["probability"] for row in rows] == [record["probability"] for record in expected]
    assert here("predict", str(run), str(table), "--out", str(out), "-q").out == f"{out}\n"


def test_columns_of_the_same_names_stay_the_inputs(here: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b,ok,label,error,predicted_label\n1,1e9,true,mine,none,too\n")
    result = here("predict", str(run), str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv"))
    assert result.code == 0
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header == ("a,b,ok,label,error,predicted_label,predicted_predicted_label,probability,predicted_error")
    assert row.startswith("1,1e9,true,mine,none,too,")


@pytest.mark.parametrize("suffix", [".CSV", ".Jsonl", ".PARQUET"])
def test_a_suffix_may_be_written_in_capitals(here: Any, run: Path, table: Path, tmp_path: Path, suffix: str) -> None:
    rows, out = tmp_path / "ROWS.CSV", tmp_path / f"out{suffix}"
    rows.write_bytes(table.read_bytes())
    assert here("predict", str(run), str(rows), "--out", str(out)).record["inputs"] == 100
    if suffix == ".PARQUET":
        assert pyarrow.parquet.ParquetFile(out).metadata.num_rows == 100
    else:
        assert len(out.read_text().splitlines()) == 100 + (suffix == ".CSV")


def test_a_scored_table_is_whole_though_rows_fail(here: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b,ok\n1,1e9,true\nx,1e9,true\n1,1e9\n1,1e9,false\n")
    for suffix in ("csv", "parquet", "jsonl"):
        out = tmp_path / f"out.{suffix}"
        result = here("predict", str(run), str(tmp_path / "new.csv"), "--out", str(out))
        assert (result.code, result.record["failed"]) == (1, 2)
        if suffix == "csv":
            assert len(out.read_text().splitlines()) == 5
        elif suffix == "parquet":
            assert pyarrow.parquet.read_table(out)["label"].null_count == 2
        else:
            rows = [json.loads(line) for line in out.read_text().splitlines()]
            assert [bool(row["error"]) for row in rows] == [False, True, True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["gone.csv"], 1, "error: no such file: gone.csv"),
        (["r.yaml"], 2, "error: r.yaml: not a table of a known kind"),
        (["empty.csv"], 1, "error: empty.csv: it is empty"),
        (["open.csv"], 1, "error: open.csv: the first line is not CSV: a quotation mark is not closed"),
        (["array.jsonl"], 1, "error: array.jsonl is a JSON array, not JSON Lines\nhint: write a line for each row: jq"),
        (["torn.csv.gz"], 1, "error: cannot read torn.csv.gz"),
        (["rows.parquet.gz"], 2, "error: rows.parquet.gz: not a table of a known kind"),
        (
            ["other.csv"],
            2,
            "error: the rows have no column 'a', 'b', 'ok'; theirs are x, y; the run was trained on a, b",
        ),
        (["twice.csv"], 2, "error: two columns are named 'a'"),
        (["torn.parquet"], 1, "error: cannot read torn.parquet"),
        (["other.csv", "--out", "out.txt"], 2, "error: --out out.txt does not end in .csv, .jsonl or .parquet"),
        (["other.csv", "--out", "no/out.csv"], 2, "error: --out no/out.csv: there is no folder no"),
    ],
)
def test_wrong_requests(
    here: Any,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "r.yaml": "a: 1", "empty.csv": "", "other.csv": "x,y\n1,2\n", "twice.csv": "a,a\n1,2\n", "torn.parquet": "PAR1",
        "open.csv": '"a,b\n', "array.jsonl": '[{"a": 1}]', "torn.csv.gz": "a,b",
        "rows.parquet.gz": "",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    result = here("predict", str(run), *arguments)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(expected)
    assert not (tmp_path / "out.csv").exists()
