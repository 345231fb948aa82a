"""Tables: the same rows from three formats, and one clear line for whatever can be wrong with a file."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from dlkit.data.tables import table_data as tables
from dlkit.errors import DlkitError, RequestError

Columns = dict[str, list[Any]]


def write_csv(file: Path, columns: Columns) -> None:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    file.write_text("\n".join(lines) + "\n")


def write_jsonl(file: Path, columns: Columns) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(file: Path, columns: Columns) -> None:
    pyarrow.parquet.write_table(pa.table(columns), file)


FORMATS = [(tables.csv, write_csv), (tables.jsonl, write_jsonl), (tables.parquet, write_parquet)]


def some(count: int = 40) -> Columns:
    generator = np.random.default_rng(0)
    return {
        "a": generator.normal(5, 3, count).tolist(),
        "b": generator.integers(-9, 9, count).tolist(),
        "kind": ["cat", "dog", "ant", "bee"] * (count // 4),
    }


def csv_file(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(("read", "write"), FORMATS, ids=["csv", "jsonl", "parquet"])
def test_every_row_is_read_once(read: Callable[..., Any], write: Callable[..., None], tmp_path: Path) -> None:
    columns = some()
    write(tmp_path / "pets.x", columns)
    data = read(path=tmp_path / "pets.x", label="kind", validation=0.25)
    assert data.name == "pets"
    assert data.classes == ("ant", "bee", "cat", "dog")
    assert data.input_shape == (2,)
    assert data.sources["rows"] == {"train": 24, "val": 8, "test": 8}
    assert data.sources["columns"] == ["a", "b"]
    seen = {
        (*map(float, row), data.classes[target])
        for split in data.splits.values()
        for row, target in zip(split.inputs, split.targets, strict=True)
    }
    rows = zip(columns["a"], columns["b"], columns["kind"], strict=True)
    assert seen == {(float(a), float(b), kind) for a, b, kind in rows}
    train = data.splits["train"].inputs
    torch.testing.assert_close(data.mean, train.mean(0))
    torch.testing.assert_close(data.std, train.std(0, correction=0))


def test_formats_agree(tmp_path: Path) -> None:
    datasets = []
    for read, write in FORMATS:
        write(tmp_path / "t", some())
        datasets.append(read(path=tmp_path / "t", label="kind"))
    assert len({data.sources["sha256"] for data in datasets}) == 1


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2, 1], ("1", "2", "9", "10")),
        ([1.0, 0.0, -1.0, 0.0], ("-1", "0", "1")),
        ([True, False, True, False], ("false", "true")),
        (["b", "a", "B", "\u00e9"], ("B", "a", "b", "\u00e9")),
    ],
)
@pytest.mark.parametrize(("read", "write"), FORMATS, ids=["csv", "jsonl", "parquet"])
def test_classes_are_sorted(
    read: Callable[..., Any], write: Callable[..., None], labels: list[Any], classes: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path / "t", {"y": labels * 3, "a": list(range(12))})
    data = read(path=tmp_path / "t", label="y", test=0.0)
    assert data.classes == classes
    expected = [str(label).lower() if isinstance(label, bool) else str(label).removesuffix(".0") for label in labels]
    assert [data.classes[target] for target in data.splits["train"].targets] == expected * 3


def test_dictionary_decimal_and_boolean_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "y": pa.array(["x", "z"] * 2).dictionary_encode(),
            "d": pa.array([1, 2, 3, 4], pa.decimal128(5, 1)),
            "b": [True, False, False, True],
            "h": pa.array(np.array([1, 2, 3, 4], np.float16)),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "t")
    data = tables.parquet(path=tmp_path / "t", label="y", test=0.0)
    assert data.splits["train"].inputs.tolist() == [[1, 1, 1], [2, 0, 2], [3, 0, 3], [4, 1, 4]]
    assert data.splits["train"].targets.tolist() == [0, 1, 0, 1]


def test_columns_choose_and_order_the_features(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "name,a,y,b\nx,1,0,5\nz,2,1,6\n")
    data = tables.csv(path=path, label="y", columns=("b", "a"), test=0.0)
    assert data.splits["train"].inputs.tolist() == [[5, 1], [6, 2]]


def test_a_test_file_keeps_the_classes_and_columns_of_training(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b,y\n1,2,3\n4,5,20\n")
    other = csv_file(tmp_path, "y,extra,b,a\n20,q,8,7\n", "test.csv")
    data = tables.csv(path=path, label="y", test_path=other)
    assert data.sources["rows"] == {"train": 2, "test": 1}
    assert data.splits["test"].inputs.tolist() == [[7, 8]]
    assert data.splits["test"].targets.tolist() == [1]


def test_types_are_inferred_from_the_whole_file(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 2}\n" for i in range(200_000))  # more than pyarrow's block of 1 MB, whole numbers only
    data = tables.csv(path=csv_file(tmp_path, "a,y\n" + rows + "0.5,1\n"), label="y", test=0.0)
    assert data.splits["train"].inputs[-1].item() == 0.5


def test_a_late_row_is_named_by_its_number(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 2}\n" for i in range(200_000))  # the header is line 1
    with pytest.raises(DlkitError, match="line 200002: Expected 2 columns, got 3"):
        tables.csv(path=csv_file(tmp_path, "a,y\n" + rows + "1,2,3\n"), label="y")
    objects = "".join(f'{{"a": {i}, "y": {i % 2}}}\n' for i in range(100_000))
    with pytest.raises(DlkitError, match=r"in line 100001$"):
        tables.jsonl(path=csv_file(tmp_path, objects + '{"a": "x", "y": 1}\n'), label="y")


def test_a_constant_feature_has_the_standard_deviation_one(tmp_path: Path) -> None:
    data = tables.csv(path=csv_file(tmp_path, "a,y\n0.1,0\n0.1,1\n0.1,1\n"), label="y", test=0.0)
    assert data.std.tolist() == [1]


WRONG_REQUESTS = [
    ("a,kind\n1,2\n", {"label": "kid"}, "no column 'kid' \\(did you mean 'kind'\\?\\)"),
    ("a,kind\n1,2\n", {"label": "zzz"}, "no column 'zzz'$"),
    ("a,y\n1,2\n", {"columns": ("b",)}, "no column 'b'"),
    ("a,y\n1,2\n", {"columns": ("a", "y")}, "'y' is the label"),
    ("a,y\n1,2\n", {"columns": ("a", "a")}, "given twice"),
    ("a,y\n1,2\n", {"columns": ()}, "no column for a feature"),
    ("y\n1\n", {}, "no column for a feature"),
    ("a,a,y\n1,1,2\n", {}, "two columns named 'a'"),
    ("a,b,y\n1,red,2\n3,blue,4\n", {}, "column 'b' is not numeric: 2 texts in 2 rows, such as 'blue'"),
    ("a,b,y\n1,2020-01-02,2\n", {}, "column 'b' is not numeric but date32"),
    ("a,b,y\n1,3,2\n", {"columns": ("a",), "categorical": ("b",)}, "categorical: 'b' is not among the features a"),
    ("a,y\n1,2\n", {"encoding": "utf9"}, "data.encoding is 'utf9', which is no encoding .did you mean 'utf"),
    ("a,,y\n0,1,2\n", {}, "column 2 has no name"),
    ("a,y\n1,2020-01-02\n", {}, "label 'y' is date32"),
]


@pytest.mark.parametrize(("content", "keys", "message"), WRONG_REQUESTS)
def test_wrong_requests(content: str, keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        tables.csv(path=csv_file(tmp_path, content), **{"label": "y", **keys})
    assert "\n" not in caught.value.message
    assert any(word in caught.value.message for word in ("t.csv", "columns", "data.", "categorical"))


BROKEN = [
    (tables.csv, "", "the file is empty"),
    (tables.csv, "\n", "Empty CSV file"),
    (tables.csv, "a,y\n", "no rows"),
    (tables.csv, "a,y\n1,0\n2,1,9\n", "line 3: Expected 2 columns, got 3"),
    (tables.csv, b"a,\x81,y\n1,2,3\n", "cannot read .*0x81 at offset 2 is not cp1252"),
    (tables.csv, b"a\0,\0y\0", "is no text: byte 1 is 0"),
    (tables.csv, "a,y\n1,0\n,1\n,1\n", "2 missing values: a 2; .* 'a', line 3"),
    (tables.csv, "a,y\n1,0\nnan,1\n", "missing value .* 'a', line 3"),
    (tables.csv, "a,y\n,0\n,1\n", "2 missing values: a 2; .* 'a', line 2"),
    (tables.csv, "a,y\n1,0\n2,1\n-inf,1\n", "infinite value in column 'a', line 4"),
    (tables.csv, "a,y\n1,x\n1,\n", "missing value in column 'y', line 3"),
    (tables.csv, "a,y\n1,1\n1,\n", "missing value in column 'y', line 3"),
    (tables.csv, "a,y\n1,\n1,\n", "missing value in column 'y', line 2"),
    (tables.csv, "a,y\n1,1.0\n1,2.5\n", "label 'y' is 2.5 in line 3"),
    (tables.csv, "a,y\n1,1.0\n1,inf\n", "label 'y' is inf in line 3"),
    (tables.csv, "a,y\n1,x\n2,x\n", "only one class, 'x'"),
    (tables.csv, "a,y\n1,x\n2,x\n3,z\n", "class 'z' has too few rows"),
    (tables.jsonl, "", "the file is empty"),
    (tables.jsonl, "\n", "no rows"),
    (tables.jsonl, '{"a": 1, "y": 0}\n{"a": "x", "y": 1}\n', "changed from number to string in line 2"),
    (tables.jsonl, '{"a": 1, "y": 0}\n{"a": 2\n', "in line 2"),
    (tables.jsonl, '{"a": 1, "y": 0}\n{"y": 1}\n', "missing value .* 'a', line 2"),
    (tables.jsonl, '{"a": NaN, "y": 0}\n{"a": 1, "y": 1}\n', "missing value .* 'a', line 1"),
    (tables.jsonl, b'{"a": 1, "y": "\xff"}\n{"a": 1, "y": "x"}\n', "not UTF-8"),
    (tables.parquet, "hello, this is no table", "cannot read .*Parquet magic bytes not found"),
]


@pytest.mark.parametrize(("read", "content", "message"), BROKEN)
def test_broken_files(read: Callable[..., Any], content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match=message) as caught:
        read(path=csv_file(tmp_path, content), label="y")
    assert caught.value.exit_code == 1
    assert "\n" not in caught.value.message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DlkitError, match="no such file"):
        tables.csv(path=tmp_path / "none.csv", label="y")
    with pytest.raises(DlkitError, match="not a file"):
        tables.parquet(path=tmp_path, label="y")


def test_a_class_that_only_the_test_file_has(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,y\n1,x\n1,z\n")
    other = csv_file(tmp_path, "a,y\n1,x\n1,new\n", "test.csv")
    with pytest.raises(DlkitError, match=r"test\.csv: class 'new', line 3"):
        tables.csv(path=path, label="y", test_path=other)
    with pytest.raises(RequestError, match=r"test\.csv has no column 'a'"):
        tables.csv(path=path, label="y", test_path=csv_file(tmp_path, "b,y\n1,x\n", "test.csv"))


def test_a_pandas_index_is_left_out_and_named(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1.5, 2.5] * 4, "y": [0, 1] * 4}, index=[7, 3, 5, 1, 0, 2, 4, 6])
    frame.to_csv(tmp_path / "first.csv")
    pandas.read_csv(tmp_path / "first.csv").to_csv(tmp_path / "twice.csv")  # an index, and one called Unnamed: 0
    write_parquet(tmp_path / "t.parquet", {"a": [1, 2] * 2, "y": [0, 1] * 2, "__index_level_0__": [0, 1, 2, 3]})
    for file, left_out in (
        ("first.csv", [""]),
        ("twice.csv", ["", "Unnamed: 0"]),
        ("t.parquet", ["__index_level_0__"]),
    ):
        read = tables.parquet if file.endswith("parquet") else tables.csv
        sources = read(path=tmp_path / file, label="y").sources
        assert (sources["columns"], sources["left_out"]) == (["a"], left_out), file
        assert "rows of a; label y: 0, 1; left out: " in sources["taken"]
        assert "(pandas' row index)" in sources["taken"]
    named = tables.csv(path=tmp_path / "twice.csv", label="y", columns=("Unnamed: 0", "a"))
    assert named.sources["columns"] == ["Unnamed: 0", "a"]


def test_annotations_resolve_and_every_key_is_documented() -> None:
    keys = set(typing.get_type_hints(tables.table_dataset, include_extras=True)) - {
        "format",
        "known",
        "answer",
        "return",
    }
    assert keys == {
        "path", "label", "columns", "categorical", "category_encoding", "missing", "unknown",
        "test_path", "test", "validation", "group", "time", "separator", "decimal", "encoding",
    }  # fmt: skip
    assert all(f"\n    {key}: " in (inspect.getdoc(tables.table_dataset) or "") for key in keys)


def test_parquet_may_hold_its_columns_as_dictionaries_and_views(tmp_path: Path) -> None:
    numbers, names = [0.5, 1.5, 0.5, 2.5] * 9, ["cat", "dog", "dog", "cat"] * 9
    plain = pa.table({"x": numbers, "label": names})
    other = pa.table({"x": pa.array(numbers).dictionary_encode(), "label": pa.array(names, type=pa.string_view())})
    for name, table in (("plain", plain), ("other", other)):
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    first, second = (tables.parquet(path=tmp_path / f"{name}.parquet", label="label") for name in ("plain", "other"))
    assert first.classes == second.classes == ("cat", "dog")
    assert first.columns == second.columns == {"x": "number"}
    for split in first.splits:
        torch.testing.assert_close(first.splits[split].inputs, second.splits[split].inputs)
        assert first.splits[split].targets.equal(second.splits[split].targets)
