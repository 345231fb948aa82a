"""Other rows are read as a model knows its own: columns and classes by name, numbers in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from dlkit.data.batch import Batch
from dlkit.data.dataset import Split, mean_and_deviation, standardize
from dlkit.data.known import Known
from dlkit.data.row_batches import RowBatches
from dlkit.data.tables import table_data as tables
from dlkit.data.text.labelled import labelled_texts
from dlkit.errors import DlkitError, RequestError

KNOWN = Known(("0", "1"), {"a": "number", "b": "number"})
WRITERS: dict[str, Callable[[pandas.DataFrame, Path], Any]] = {
    "csv": lambda frame, file: frame.to_csv(file, index=False),
    "jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True),
    "parquet": lambda frame, file: frame.to_parquet(file),
}


def read(frame: pandas.DataFrame, kind: str, folder: Path, known: Known | None = None, **keys: Any) -> Any:
    file = folder / f"t.{kind}"
    WRITERS[kind](frame, file)
    return getattr(tables, kind)(known, path=file, label="y", test=0.0, **keys)


def said_by(data: Any) -> str:
    return " ".join(data.sources["remarks"])


@pytest.mark.parametrize("kind", WRITERS)
def test_columns_are_read_by_name(kind: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"b": [1, 2, 3], "more": [0.5, 0, 0], "y": [1, 0, 1], "text": ["r", "s", "t"]})
    frame["a"] = [7.5, 8, 9]
    data = read(frame, kind, tmp_path, KNOWN)
    assert data.splits["train"].inputs.tolist() == [[7.5, 1], [8, 2], [9, 3]]
    assert data.splits["train"].targets.tolist() == [1, 0, 1]
    assert data.sources["left_out"] == ["more", "text"]
    assert data.sources["taken"].endswith("3 rows of a, b; label y: 0, 1; left out: 'more', 'text'")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"p": [1.5], "q": [2]}, "has no column 'a', 'b'; its columns are p (double), q (int64), y"),
        ({"a": [1.5], "q": [2]}, "has no column 'b'; its columns are a (double), q (int64), y"),
        ({"a": ["x"], "b": [2]}, "has column 'a' as string, which was a number in training; its columns are a (string"),
    ],
)
def test_columns_that_do_not_fit_are_refused_with_both_lists(
    kind: str, columns: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        read(pandas.DataFrame({**columns, "y": [1]}), kind, tmp_path, KNOWN)
    message = caught.value.message.replace("large_string", "string")
    assert fault in message
    assert message.endswith("those trained on a (number), b (number)")


@pytest.mark.parametrize("kind", WRITERS)
def test_true_is_one(kind: str, tmp_path: Path) -> None:
    booleans = pandas.DataFrame({"a": [1.5, 2.5], "b": [True, False], "y": [True, False]})
    found = read(booleans, kind, tmp_path, KNOWN)
    assert found.splits["train"].inputs.tolist() == booleans[["a", "b"]].astype(float).to_numpy().tolist()
    assert found.splits["train"].targets.tolist() == [1, 0]
    assert "column 'b' has false and true, and had numbers in training: false is 0, true is 1" in said_by(found)
    assert "label 'y': false is 0, true is 1, as the classes were called in training" in said_by(found)

    known = Known(("false", "true"), {"a": "number", "b": "boolean"})
    found = read(booleans.astype({"b": int, "y": int}), kind, tmp_path, known)
    assert found.splits["train"].inputs.tolist() == [[1.5, 1], [2.5, 0]]
    assert found.splits["train"].targets.tolist() == [1, 0]
    assert "column 'b' has 0 and 1, and had false and true in training: false is 0, true is 1" in said_by(found)
    assert "label 'y': 0 is false, 1 is true, as the classes were called in training" in said_by(found)
    with pytest.raises(RequestError, match=r"has column 'b' as (int64|double), which was a boolean in training"):
        read(booleans.assign(b=[1, 2]), kind, tmp_path, known)
    with pytest.raises(DlkitError, match="a missing value"):
        read(booleans.assign(b=[1, None]), kind, tmp_path, known)
    with pytest.raises(DlkitError, match=r"class '1', .*, is not in the training rows"):
        read(booleans.assign(y=[1, 2]), kind, tmp_path, known)


def test_the_numbers_of_a_test_file_may_be_the_booleans_of_the_training_rows(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [True, False] * 4, "y": [True, False] * 4})
    frame.astype(int).to_csv(tmp_path / "test.csv", index=False)
    found = read(frame, "csv", tmp_path, test_path=tmp_path / "test.csv")
    assert found.splits["test"].inputs.tolist() == found.splits["train"].inputs.tolist()
    assert found.splits["test"].targets.tolist() == found.splits["train"].targets.tolist()
    assert "0 is false" in said_by(found)
    assert "has 0 and 1" in said_by(found)


def test_columns_of_the_request_may_only_be_those_of_the_model(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1.5], "b": [2], "c": [3], "y": [1]})
    assert read(frame, "csv", tmp_path, KNOWN, columns=("b", "a")).splits["train"].inputs.tolist() == [[1.5, 2]]
    with pytest.raises(RequestError, match=r"data.columns is a, c; the model was trained on a, b"):
        read(frame, "csv", tmp_path, KNOWN, columns=("a", "c"))
    with pytest.raises(RequestError, match="has 'a' as its label, a feature in training"):
        tables.csv(KNOWN, path=tmp_path / "t.csv", label="a")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("classes", "labels", "places"),
    [
        (("1", "2"), ["2", "1"], [1, 0]),
        (("1", "2"), [2, 1], [1, 0]),
        (("1", "2"), [2.0, 1.0], [1, 0]),
        (("1.0", "2.0"), [2, 1], [1, 0]),
        (("2", "10"), [10, 2], [1, 0]),
        (("False", "True"), [True, False], [1, 0]),
        (("false", "true"), [True, False], [1, 0]),
        (("false", "true"), ["True", "FALSE"], [1, 0]),
        (("dog", "cat"), ["cat ", " dog"], [1, 0]),
        (("cat", "dog"), ["dog", "dog"], [1, 1]),
    ],
)
def test_classes_are_met_by_name(
    kind: str, classes: tuple[str, ...], labels: list[Any], places: list[int], tmp_path: Path
) -> None:
    data = read(pandas.DataFrame({"a": [1, 2], "y": labels}), kind, tmp_path, Known(classes, {"a": "number"}))
    assert (data.classes, data.splits["train"].targets.tolist()) == (classes, places)


@pytest.mark.parametrize("labels", [["x", "z"], [0, 1], ["01", "02"]])
def test_another_class_is_refused_with_both_lists(labels: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DlkitError) as caught:
        read(pandas.DataFrame({"a": [1, 2], "y": labels}), "csv", tmp_path, Known(("1", "x"), {"a": "number"}))
    place = 3 if labels[0] == "x" else 2
    assert f"line {place}, is not in the training rows' data, which has 1, x" in caught.value.message
    assert f"has {labels[0]}, {labels[1]};" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ("01 1 02 2", ("01", "02", "1", "2"), "'01', '1' are 2 classes, as they are written"),
        ("007 010 100", ("007", "010", "100"), ""),
        ("1 1.0 2", ("1", "2"), "'1', '1.0' are one class, 1"),
        ("10 9 99999999999999999999", ("9", "10", "99999999999999999999"), ""),
        ("Cat cat dog", ("Cat", "cat", "dog"), "'Cat', 'cat' are 2 classes"),
        ("caf\u00e9 cafe\u0301", ("cafe\u0301", "caf\u00e9"), "are 2 classes"),
        ("NA ZA", ("NA", "ZA"), ""),
        ("true FALSE", ("false", "true"), ""),
        ("x 1.5", ("1.5", "x"), ""),
    ],
)
def test_labels_of_csv_are_taken_as_they_are_written(
    labels: str, classes: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels.split())))
    data = tables.csv(path=tmp_path / "t.csv", label="y", test=0.0)
    assert data.classes == classes
    assert [data.classes[place] for place in data.splits["train"].targets[:1]] == [
        labels.split()[0].lower() if "FALSE" in labels else labels.split()[0]
    ]
    assert said in said_by(data) if said else not data.sources["remarks"]


@pytest.mark.parametrize("kind", WRITERS)
def test_spaces_around_a_label_are_left_out_and_said(kind: str, tmp_path: Path) -> None:
    data = read(pandas.DataFrame({"a": [1, 2, 3], "y": ["cat", " cat", "dog"]}), kind, tmp_path)
    assert (data.classes, data.splits["train"].targets.tolist()) == (("cat", "dog"), [0, 0, 1])
    assert data.sources["remarks"] == ["label 'y': spaces around a class are left out, as in ' cat' (1 row)"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a,y\r\n1,0\r\n\r\n2,1\r\nnan,1\r\n", "nan,1"),
        ('\ufeffname,a,y\n"two\nlines, ""quoted""",1,0\n\n5" pipe,2,1\nlast,,1\n', "last,,1"),
        ("\n\na,y\n1,0\n2,\n", "2,"),
    ],
)
def test_the_line_that_is_named_is_that_of_the_file(content: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content.encode())
    line = content.replace("\r\n", "\n").split("\n").index(what) + 1
    with pytest.raises(DlkitError, match=f"a missing value .*, line {line}$"):
        tables.csv(path=file, label="y", columns=("a",))


def test_quoted_lines_are_read_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"  # more than one of pyarrow's blocks
    file.write_text("text,y\n" + "".join(f'"first {i}\nsecond, {i}",{i % 2}\n' for i in range(60_000)))
    data = labelled_texts(path=file, text="text", label="y", test=0.0)
    assert data.splits["train"].first == [f"first {i}\nsecond, {i}" for i in range(60_000)]


def columns_of_all_sizes(count: int = 400) -> Any:
    draw = np.random.default_rng(0)
    x = draw.normal(size=count)
    scales = (1, 1e-30, 1e30)
    return np.stack(
        [
            1_700_000_000 + np.arange(count),
            2.0**40 + np.arange(count),
            1e5 + x / 16,
            *(scale * x for scale in scales),
            np.full(count, 0.1),
            np.full(count, 1e9),
        ],
        axis=1,
    )


def test_rows_are_standardised_as_by_scikit_learn() -> None:
    rows, other = columns_of_all_sizes(), columns_of_all_sizes(80)[::-1].copy()
    scaler: Any = StandardScaler().fit(rows)
    mean, std = mean_and_deviation(torch.from_numpy(rows))
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-13)
    np.testing.assert_allclose(std, scaler.scale_, rtol=1e-8)
    for values in (rows, other):
        split = Split(torch.from_numpy(values), torch.arange(len(values)))
        expected = scaler.transform(values).astype(np.float32)
        for training in (False, True):
            batches = RowBatches(split, mean, std, torch.device("cpu"), 0, training, batch_size=64)
            seen = [(x, y) for x, y in map(Batch.tensors, batches.epoch(0))]
            x, y = (torch.cat(parts) for parts in zip(*seen, strict=True))
            assert x.dtype == torch.float32
            np.testing.assert_allclose(x[y.argsort()], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200, 1e300, 1.5e307])
def test_numbers_of_any_size_are_standardised(scale: float) -> None:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 1)).clip(-3, 3))
    expected: Any = StandardScaler().fit_transform(x.numpy())
    rows = torch.cat((x * scale, x * scale - 8 * scale), 1)
    np.testing.assert_allclose(
        standardize(rows, *mean_and_deviation(rows)), np.repeat(expected, 2, 1), rtol=1e-5, atol=1e-6
    )


def test_whole_numbers_that_float64_merges_are_refused(tmp_path: Path) -> None:
    ids = [2**53, 2**53 + 1, 2**53 + 2]
    with pytest.raises(DlkitError, match=r"float64 cannot tell from another in column 'a', line 3"):
        read(pandas.DataFrame({"a": ids, "y": [0, 1, 0]}), "csv", tmp_path)
    nanoseconds = [1_700_000_000_000_000_000 + 10**9 * i for i in range(3)]
    data = read(pandas.DataFrame({"a": nanoseconds, "y": [0, 1, 0]}), "parquet", tmp_path)
    x = standardize(data.splits["train"].inputs, data.mean, data.std)
    np.testing.assert_allclose(x[:, 0], [-(1.5**0.5), 0, 1.5**0.5], atol=1e-6)


def test_a_value_too_far_from_the_training_rows_is_named(tmp_path: Path) -> None:
    known = Known(("0", "1"), {"a": "number"}, torch.zeros(1).double(), torch.ones(1).double())
    frame = pandas.DataFrame({"a": [1, -1e300, 1e299], "y": [0, 1, 0]})
    with pytest.raises(DlkitError, match=r"-1e\+300 in column 'a', line 3, is too far"):
        read(frame, "csv", tmp_path, known)
