"""CSV as it is found: read as pandas reads it, or refused in a line that says what is wrong."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from dlkit.data.tables import table_data
from dlkit.errors import DlkitError

N = 12


def text(row: str, header: str = "a,b,y", end: str = "\n") -> str:
    rows = [row.format(i=i, y="uv"[i % 2], day=f"{i + 1:02}", three=f"{i:03}") for i in range(N)]
    return end.join([header, *rows, ""])


# name -> the file, and how pandas is told to read it
READ: dict[str, tuple[bytes, dict[str, Any]]] = {
    "semicolons and decimal commas": (text("{i},5;{i};{y}", "a;b;y").encode(), {"sep": ";", "decimal": ","}),
    "tabs": (text("{i}.5\t{i}\t{y}", "a\tb\ty").encode(), {"sep": "\t"}),
    "UTF-16": (text("{i},{i}.25,{y}").encode("utf-16"), {"encoding": "utf-16"}),
    "Latin-1": (text("{i},{i}.25,{y}é").encode("latin-1"), {"encoding": "latin-1"}),
    "blank lines": (text("{i},{i}.25,{y}\n").encode(), {}),
    "keywords of Python": (text("{i},{i}.25,{y}", "class,lambda,y").encode(), {}),
    "a byte-order mark": (text("{i},{i}.25,{y}").encode("utf-8-sig"), {}),
    "CRLF": (text("{i},{i}.25,{y}", end="\r\n").encode(), {}),
    "CR": (text("{i},{i}.25,{y}", end="\r").encode(), {}),
    "a leading plus": (text("+{i}.5,+{i},{y}").encode(), {}),
    "exponents": (text("{i}.5E+01,{i}e-3,{y}").encode(), {}),
    "spaces": (text(" {i}.5 , {i},{y}").encode(), {}),
}


@pytest.mark.parametrize("name", READ)
def test_the_numbers_are_those_of_pandas(name: str, tmp_path: Path) -> None:
    content, how = READ[name]
    (tmp_path / "rows.csv").write_bytes(content)
    made = table_data.csv(path=tmp_path / "rows.csv", label="y", test=0.0)
    frame = pandas.read_csv(io.BytesIO(content), **how)
    np.testing.assert_array_equal(made.splits["train"].inputs, frame.iloc[:, :2].to_numpy(float))
    assert [made.classes[target] for target in made.splits["train"].targets] == frame["y"].tolist()


def test_a_row_longer_than_a_block_of_pyarrow(tmp_path: Path) -> None:
    rows = [f"{'x' * 1_500_000}{i % 2},{i},{'uv'[i % 2]}\n" for i in range(4)]
    (tmp_path / "rows.csv").write_text("a,b,y\n" + "".join(rows), encoding="utf-8")
    made = table_data.csv(path=tmp_path / "rows.csv", label="y", test=0.0)
    assert made.splits["train"].inputs.tolist() == [[1, 0], [2, 1], [1, 2], [2, 3]]


REFUSED = {
    '"1,{three}",{i},{y}': ("not numeric: 12 texts", "without separators of thousands"),
    "{i}%,{i},{y}": ("not numeric: 12 texts in 12 rows, such as '0%'", "data.columns takes the others"),
    "2026-01-{day},{i},{y}": ("not numeric but date32", "data.columns"),
    "{i}.5D+01,{i},{y}": ("not numeric: 12 texts in 12 rows, such as '0.5D+01'", "data.columns"),
    "{i},{i},{y},": ("line 2: Expected 3 columns, got 4", "sed 's/,$//' "),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_number_is_refused(row: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text(row), encoding="utf-8")
    with pytest.raises(DlkitError) as caught:
        table_data.csv(path=tmp_path / "rows.csv", label="y")
    message, hint = REFUSED[row]
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "\n" not in caught.value.message


def test_parquet_by_another_name_is_said(tmp_path: Path) -> None:
    pandas.DataFrame({"a": [1, 2], "y": [0, 1]}).to_parquet(tmp_path / "rows.csv")
    with pytest.raises(DlkitError, match="is Parquet, not CSV"):
        table_data.csv(path=tmp_path / "rows.csv", label="y")


@pytest.mark.parametrize("content", [text("{i},{i}.5,{y},"), "# made by hand\n" + text("{i},{i}.5,{y}")])
def test_the_hint_mends_the_file(content: str, tmp_path: Path) -> None:
    file = tmp_path / "my rows.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DlkitError, match="Expected") as caught:
        table_data.csv(path=file, label="y")
    command = (caught.value.hint or "").rpartition(": ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    frame = pandas.read_csv(io.StringIO(content), comment="#", index_col=False)
    made = table_data.csv(path=tmp_path / "mended.csv", label="y", test=0.0)
    np.testing.assert_array_equal(made.splits["train"].inputs, frame[["a", "b"]].to_numpy(float))
