"""CSV as spreadsheets and programs write it, against pyarrow and pandas told how it is written."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from dlkit.data.new_rows import rows_of_file, rows_of_pipe
from dlkit.data.tables import table_data as tables
from dlkit.data.tables.dialect import Dialect, DialectRequest, recognise
from dlkit.data.text.labelled import labelled_texts
from dlkit.errors import DlkitError

FRAME: Any = pandas.DataFrame(
    {
        "breite": [1.5, -2.25, 3e-7, 4.0] * 3,
        "zahl": [1, 20, 300, 4000] * 3,
        "stra\u00dfe; nr, a": [0.5, 0.25, 0.75, 1.25] * 3,
        "art": ["K\u00f6ln", "Bonn"] * 6,
    }
)
WAYS = [
    (",", ".", "utf-8"),
    (";", ",", "utf-8"),
    (";", ",", "cp1252"),
    (";", ".", "utf-8"),
    ("\t", ",", "utf-16"),
    ("\t", ".", "utf-8-sig"),
    ("|", ".", "utf-8"),
]


@pytest.mark.parametrize(("separator", "decimal", "encoding"), WAYS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_what_pandas_writes_is_recognised(
    separator: str, decimal: str, encoding: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding, lineterminator=ending)
    read = pandas.read_csv(path, sep=separator, decimal=decimal, encoding=encoding)
    ways: list[dict[str, Any]] = [
        {},
        {"separator": separator, "decimal": {".": "point", ",": "comma"}[decimal], "encoding": encoding},
    ]
    for keys in ways:
        data = tables.csv(path=path, label="art", test=0.0, **keys)
        assert list(data.columns or ()) == list(read.columns[:3])
        np.testing.assert_array_equal(data.splits["train"].inputs, read[read.columns[:3]].astype(float))
        assert data.classes == ("Bonn", "K\u00f6ln")
        told = {"separator": separator, "decimal": decimal, "encoding": encoding.removesuffix("-sig")}
        assert data.sources["dialect"] == told
        said = {";": "separated by semicolons", "\t": "separated by tabs", "|": "separated by bars"}.get(separator, "")
        assert said in data.sources["taken"]
        assert ("decimal commas" in data.sources["taken"]) == (decimal == ",")
        assert ("in cp1252" in data.sources["taken"]) == (encoding == "cp1252")


@pytest.mark.parametrize(("separator", "decimal", "encoding"), WAYS)
def test_rows_to_predict_are_recognised(separator: str, decimal: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False, sep=separator, decimal=decimal, encoding=encoding)
    expected = pandas.read_csv(path, sep=separator, encoding=encoding, dtype=str).to_dict("records")
    assert list(rows_of_file(path)) == expected
    if encoding != "utf-16":  # which cannot be cut into lines
        request = DialectRequest(encoding="cp1252") if encoding == "cp1252" else DialectRequest()
        assert list(rows_of_pipe(io.BytesIO(path.read_bytes()), request)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", Dialect()),
        ("a;b\n1,5;2\n", Dialect(";", ",")),
        ("a;b\n1.5;2\n", Dialect(";", ".")),
        ("a;b\n1.5;2,5\n", Dialect(";", ".")),  # a comma is no decimal mark where a point is one
        ('"x;y",b\n1,2\n', Dialect()),
        ("x;y,b\n1,2\n", Dialect()),
        ('text,label\n"one; two; three",x\n', Dialect()),
        ('a;b\n"1,5";"x;y"\n', Dialect(";", ",")),
        ("a\n1,5\n", Dialect()),
        ("", Dialect()),
        ("a\tb\n1\t2,5\n", Dialect("\t", ",")),
    ],
)
def test_one_way_explains_all_rows(text: str, expected: Dialect) -> None:
    assert DialectRequest().of_text(text, "utf-8") == expected


def test_what_is_set_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b,y\n"1,5",2,x\n"2,5",3,z\n')
    data = tables.csv(path=path, label="y", test=0.0, decimal="comma")
    assert data.splits["train"].inputs.tolist() == [[1.5, 2], [2.5, 3]]
    with pytest.raises(DlkitError, match="column 'a' is not numeric") as caught:
        tables.csv(path=path, label="y", test=0.0)
    assert caught.value.hint == "data.decimal=comma"
    path.write_text("a/b/y\n1/2/x\n2/3/z\n")
    assert tables.csv(path=path, label="y", test=0.0, separator="/").columns == {"a": "number", "b": "number"}
    path.write_bytes("a,y\n1,\u0434\u0430\n2,\u043d\u0435\u0442\n".encode("cp1251"))
    assert tables.csv(path=path, label="y", test=0.0, encoding="cp1251").classes == (
        "\u0434\u0430",
        "\u043d\u0435\u0442",
    )
    with pytest.raises(DlkitError, match="is not utf-8"):
        tables.csv(path=path, label="y", test=0.0, encoding="utf-8")


def test_lines_are_those_of_the_file_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i},5;K\u00f6ln {i % 2}\r\n" for i in range(50)]
    path.write_bytes(codecs.BOM_UTF16_LE + "".join(["x;y\r\n", *rows, ";K\u00f6ln 0\r\n"]).encode("utf-16-le"))
    with pytest.raises(DlkitError, match=r"a missing value .* column 'x', line 52"):
        tables.csv(path=path, label="y")


def test_bytes_late_in_a_large_file_tell_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{i},cat\n" for i in range(200_000)]  # more than one block
    path.write_bytes("".join(["x,y\n", *lines, "1,caf\u00e9\n"]).encode("cp1252"))
    data = tables.csv(path=path, label="y", test=0.0)
    assert (data.classes, data.sources["dialect"]["encoding"]) == (("caf\u00e9", "cat"), "cp1252")


@pytest.mark.parametrize(
    ("content", "multiline"),
    [
        ('"a","b"\n1,"x"\n', False),
        ('a,b\n1,"say ""x"""\n2,""\n', False),
        ('a,b\n1,"x\ny"\n', True),
        ('a,b\n1,5" disk\n', True),  # it may be
    ],
)
@pytest.mark.parametrize("before", [0, (1 << 20) - 7, (1 << 20) - 8, 1 << 20])  # around the end of a block
def test_values_of_several_lines_are_seen(content: str, multiline: bool, before: int) -> None:
    data = "1,2\n" * (before // 4) + content
    assert recognise(io.BytesIO(data.encode()), "t.csv", DialectRequest()).multiline == multiline


def test_texts_are_read_in_every_way(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"text": ["gr\u00fcn, sehr", "rot; wenig"] * 4, "label": ["a", "b"] * 4})
    frame.to_csv(tmp_path / "t.csv", sep=";", index=False, encoding="cp1252")
    data: Any = labelled_texts(path=tmp_path / "t.csv", text="text", label="label", test=0.0)
    assert data.splits["train"].first == frame["text"].tolist()
    assert "(separated by semicolons, in cp1252)" in data.sources["taken"]
