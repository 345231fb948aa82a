"""Files of tables: compressed ones, and those that are of another kind than they are called."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from dlkit.data.tables import table_data as tables
from dlkit.errors import DlkitError


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_compressed_table_is_read_and_its_lines_are_named(tmp_path: Path, form: str) -> None:
    frame = pandas.DataFrame({"x": [*range(30), None], "label": ["cat", "dog", "cat"] * 10 + ["dog"]})
    whole, broken = tmp_path / f"whole.{form}.gz", tmp_path / f"broken.{form}.gz"
    for file, rows in ((whole, frame[:-1]), (broken, frame)):
        rows.to_csv(file, index=False) if form == "csv" else rows.to_json(file, orient="records", lines=True)
    read = getattr(tables, form)
    assert read(path=whole, label="label").sources["rows"] == {"train": 24, "test": 6}
    with pytest.raises(DlkitError, match=f"column 'x', line {32 if form == 'csv' else 31}"):
        read(path=broken, label="label")


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("jsonl", ' [{"x": 1, "label": "cat"}]\n', "is a JSON array, not JSON Lines"),
        ("jsonl", '{"x": 1, "label": "cat"}\n'.encode("utf-16-le"), "JSON parse error"),
        ("jsonl", '\ufeff{"x": 1, "label": "cat"}\n'.encode("utf-16-le"), "is UTF-16, not UTF-8"),
    ],
)
def test_a_table_of_another_kind_is_called_so(tmp_path: Path, form: str, content: str | bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DlkitError, match=message):
        getattr(tables, form)(path=path, label="label")
