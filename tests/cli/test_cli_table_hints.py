"""What would mend a request about a table is shown as a whole command, which a shell takes as it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any


def test_a_hint_is_a_command_to_paste(here: Any, tmp_path: Path) -> None:
    rows = [f"{'' if i == 3 else i},{i},{'uv'[i % 2]}" for i in range(40)]
    file = tmp_path / "my rows.csv"
    file.write_text("a,b,kind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    given = ["csv-mlp", f"data.path={file}", "data.label=kind", "train.epochs=1", "data.missing=error"]
    result = here("train", *given, "--run-dir", str(tmp_path / "run"))
    command = result.err.splitlines()[-1].rpartition(": ")[2]
    words = shlex.split(command)
    assert words == ["dlkit", "train", *given[:-1], "--run-dir", str(tmp_path / "run"), "data.missing=mean"]
    assert here(*words[1:]).code == 0
