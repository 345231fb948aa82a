"""JSON of anybody's is read, or refused as what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.data.store import Manifest
from dlkit.errors import DlkitError
from dlkit.storage.run_reference import resolve_run
from dlkit.strict_json import parse_json
from dlkit.sweep.sweep_folder import load_runs
from dlkit.text_input import read_json_mapping

DEEP = '{"a":' * 100_000
READERS: dict[str, Callable[[Path], Any]] = {
    "a race's runs": load_runs,
    "a data set's manifest": Manifest.read,
    "a configuration": lambda file: read_json_mapping(file, "look at it"),
}


@pytest.mark.parametrize("text", ["[" * 100_000, DEEP, "", "{", "1" * 5000, '"\\ud800'])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting|limit|Unterminated|escape"):
        parse_json(text)
    assert parse_json('{"a": [1, null]}') == json.loads('{"a": [1, null]}')


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["deep", "pipe"])
def test_a_hostile_file_is_named(tmp_path: Path, read: Callable[[Path], Any], kind: str) -> None:
    file = tmp_path / "file"
    if kind == "deep":
        file.write_text(DEEP + "\n")
    else:
        os.mkfifo(file)
    with pytest.raises(DlkitError, match="nested too deeply" if kind == "deep" else "it is a pipe") as caught:
        read(file)
    assert str(file) in caught.value.message
    with pytest.raises(DlkitError):
        resolve_run(str(file))
