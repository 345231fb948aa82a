"""What would mend a request about a table is shown as a whole command, which a shell takes as it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas
import pytest

COUNT = 40
KIND = ["u", "v"] * (COUNT // 2)
NUMBERS = [float(i) for i in range(COUNT)]
NOTES = [f"note {i}" for i in range(COUNT)]
# what is wrong -> the columns, what is given too, and what the command is to end with
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing value": ({"a": [None, *NUMBERS[1:]]}, "data.missing=error", "data.missing=mean"),
    "no values": ({"a": [None] * COUNT}, "data.missing=drop", "data.missing=mean"),
    "texts": ({"a; b, 'c'": NUMBERS, "é: \"d\"": NUMBERS, "note": NOTES}, "",
              'data.columns=["a; b, \'c\'", "é: \\"d\\"", "b"]'),
    "a column without values": ({"a": [None] * COUNT}, "data.missing=median", 'data.columns=["b"]'),
    "an unknown encoding": ({"a": NUMBERS}, "data.encoding=utf9", "data.encoding=utf"),
    "another encoding": ({"é": NUMBERS}, "data.encoding=ascii", "data.encoding=auto"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_hint_is_a_command_to_paste(fault: str, here: Any, tmp_path: Path) -> None:
    columns, more, end = FAULTS[fault]
    file = tmp_path / "my rows.csv"
    pandas.DataFrame({**columns, "b": NUMBERS, "kind": KIND}).to_csv(file, index=False)
    given = [f"data.path={file}", "data.label=kind", *([more] if more else [])]
    command = here("data", "csv-mlp", *given).err.splitlines()[-1].rpartition(": dlkit ")[2]
    words = shlex.split(command)
    kept = [word for word in given if word.partition("=")[0] != end.partition("=")[0]]
    assert words == ["data", "csv-mlp", *kept, end]
    again = here(*words)
    # a column without any value has no mean either, which the next hint is about
    assert again.code == 0 or fault == "no values"


def test_the_hint_of_parquet_by_another_name_and_of_utf_16_without_a_mark(here: Any, tmp_path: Path) -> None:
    rows = pandas.DataFrame({"a": NUMBERS, "kind": KIND})
    rows.to_parquet(tmp_path / "one.csv")
    rows.to_csv(tmp_path / "two.csv", index=False, encoding="utf-16-le")
    for name, end in (("one", "data.name=parquet"), ("two", "data.encoding=utf-16-le")):
        given = ["data", "csv-mlp", f"data.path={tmp_path / name}.csv", "data.label=kind"]
        words = shlex.split(here(*given).err.splitlines()[-1].rpartition(": dlkit ")[2])
        assert words == [*given, end]
        assert here(*words).code == 0
