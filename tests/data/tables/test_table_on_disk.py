"""Tables larger than memory: read by blocks from files, and equal to what pyarrow and pandas read as a whole."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from pyarrow import json as arrow_json

from dlkit.data import scratch
from dlkit.data.tables import table_data, table_on_disk
from dlkit.data.tables.dialect import RFC_4180
from dlkit.data.tables.table_file import CSV, FORMATS, JSONL, read_table
from dlkit.errors import DlkitError


@pytest.fixture
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is too large for memory, and blocks are small."""
    monkeypatch.setattr(scratch, "free_memory", lambda: 0)
    monkeypatch.setattr(table_on_disk, "_BLOCK", 256)
    monkeypatch.setattr(table_on_disk, "_ROWS", 7)


pytestmark = pytest.mark.usefixtures("_no_memory")

EARLY = {"1": "1", "": "", "date": "2026-01-31", "true": "true", "0": "0", "1.5": "1.5", "zone": "2026-01-31T10:00:00Z"}
LATE = {
    **EARLY, "2": "2", "1e3": "1e3", "+1": "+1", "text": "a text", "quoted": 'said "so"', "NA": "NA",
    "time": "10:30:00", "moment": "2026-01-31 10:00:00", "fine": "2026-01-31 10:00:00.125", "large": str(2**63),
}  # fmt: skip


@pytest.mark.parametrize("early", EARLY)
def test_a_value_far_down_widens_its_column_as_pyarrow_does(early: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    columns = {late: [EARLY[early]] * 40 + [LATE[late]] + [EARLY[early]] * 5 for late in LATE}
    pandas.DataFrame(columns).to_csv(file, index=False)
    whole = csv.read_csv(file)
    found = table_on_disk.read_large_csv(file, (), RFC_4180)
    assert found.schema == whole.schema
    assert found.equals(whole)
    assert found[0].num_chunks > 1


def test_lines_within_quotation_marks_and_literal_columns(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": ["one\ntwo, three"] * 90, "code": ["007"] * 90, "x": np.arange(90) / 8})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    found = read_table(CSV, tmp_path / "rows.csv", ["code"]).rows
    pandas.testing.assert_frame_equal(found.to_pandas(), frame)


JSON_LATE = [[1, 2.5], [None, 3], [None, "x"], ["2026-01-31 10:00:00", "never"], [True, None], [[1], [2.5]]]


@pytest.mark.parametrize(("early", "late"), JSON_LATE)
def test_json_lines_have_the_types_of_the_whole(early: Any, late: Any, tmp_path: Path) -> None:
    rows = [{"a": index, "b": early} for index in range(100)] + [{"a": 100, "b": late, "c": 1}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    whole = arrow_json.read_json(file)
    found = read_table(JSONL, file).rows
    assert found.schema == whole.schema
    assert found.equals(whole)


def test_a_fault_of_json_lines_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n' * 300 + "{'a': 1}\n", encoding="utf-8")
    with pytest.raises(DlkitError, match="in line 301"):
        read_table(JSONL, file)
    file.write_text('{"a": 1}\n' * 300 + '{"a": "x"}\n', encoding="utf-8")
    with pytest.raises(DlkitError, match="changed from number to string in line 301"):
        read_table(JSONL, file)


def test_a_row_of_csv_that_is_too_short_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n" + "1,2\n" * 300 + "3\n", encoding="utf-8")
    with pytest.raises(DlkitError, match="line 302: Expected 2 columns, got 1"):
        read_table(CSV, file)


def table(count: int = 240) -> Any:
    draw = np.random.default_rng(0)
    frame: Any = pandas.DataFrame({"x": draw.normal(1e9, 2, count), "n": draw.integers(-5, 5, count)})
    frame["town"] = pandas.Categorical(draw.choice(["Rome", "Oslo", "Bern"], count))
    frame["customer"] = draw.integers(0, 30, count)
    frame["y"] = draw.choice(["no", "yes", "perhaps"], count)
    frame.loc[draw.choice(count, 9, replace=False), "x"] = np.nan
    return frame


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".csv": lambda frame, file: frame.to_csv(file, index=False),
    ".csv.gz": lambda frame, file: frame.to_csv(file, index=False),
    ".jsonl": lambda frame, file: frame.to_json(file, orient="records", lines=True, double_precision=15),
    ".parquet": lambda frame, file: parquet.write_table(pa.Table.from_pandas(frame), file, row_group_size=50),
}


@pytest.mark.parametrize("missing", ["drop", "mean"])
@pytest.mark.parametrize("suffix", WRITERS)
def test_every_number_of_a_data_set_is_that_of_pandas(suffix: str, missing: Any, tmp_path: Path) -> None:
    frame, file = table(), tmp_path / f"rows{suffix}"
    WRITERS[suffix](frame, file)
    made: Any = table_data.table_dataset(
        FORMATS["." + suffix.split(".")[1]], path=file, label="y", group="customer", missing=missing
    )
    inputs = np.concatenate([split.inputs.numpy() for split in made.splits.values()])
    where = np.concatenate(
        [[int(made.names[name](row).split()[-1]) - 1 for row in range(len(split.targets))]
         for name, split in made.splits.items()]
    )  # fmt: skip
    train = where[: len(made.splits["train"].targets)]
    present = frame["x"].notna() if missing == "drop" else frame["y"].notna()
    assert sorted(where) == np.flatnonzero(present).tolist()
    x = frame["x"].fillna(frame["x"].iloc[train].mean())
    np.testing.assert_allclose(inputs[:, 0], x.iloc[where], rtol=1e-12)
    np.testing.assert_array_equal(inputs[:, 1], frame["n"].iloc[where])
    assert [made.categories["town"][int(code) - 1] for code in inputs[:, 2]] == frame["town"].iloc[where].tolist()
    targets = np.concatenate([split.targets.numpy() for split in made.splits.values()])
    assert [made.classes[target] for target in targets] == frame["y"].iloc[where].tolist()
    customers = [set(frame["customer"].iloc[rows]) for rows in (train, where[len(train) :])]
    assert not customers[0] & customers[1]
    np.testing.assert_allclose(made.std[0], x.iloc[train].std(ddof=0), rtol=1e-6)
    assert not list(Path(tempfile.gettempdir()).glob("dlkit-*.arrow"))


def test_an_array_that_is_large_is_mapped() -> None:
    made = scratch.empty_array((5, 3), np.float64, "F")
    assert isinstance(made, np.memmap)
    made[:] = 2
    assert made.flags.f_contiguous
    assert made.sum() == 30


@pytest.mark.parametrize("make", ["array", "table"])
def test_a_full_disk_is_one_line(make: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.os, "posix_fallocate", full)
    monkeypatch.setattr(pa.ipc, "new_file", full)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DlkitError) as caught:
        if make == "array":
            scratch.empty_array((5, 3), np.float64)
        else:
            read_table(CSV, tmp_path / "rows.csv")
    assert caught.value.message.startswith(f"no room in {tempfile.gettempdir()} for ")
    assert "TMPDIR=FOLDER" in (caught.value.hint or "")
    assert "\n" not in caught.value.message
