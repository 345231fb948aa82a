"""Data sets lie where platformdirs, which knows the customs of each system, would put them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from dlkit.data.data_folder import data_folder

platformdirs: Any = pytest.importorskip("platformdirs")


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("named", [None, "", "relative", "/somewhere/else"])
def test_the_folder_is_that_of_the_system(monkeypatch: pytest.MonkeyPatch, system: str, named: str | None) -> None:
    from platformdirs.macos import MacOS
    from platformdirs.unix import Unix

    monkeypatch.delenv("DLKIT_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if named is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setattr(sys, "platform", system)
    assert data_folder() == (MacOS if system == "darwin" else Unix)("dlkit").user_cache_path


def test_an_environment_variable_stands_above_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"
