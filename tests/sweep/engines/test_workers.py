"""The processes of a race, as it is stopped while they are still beginning."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dlkit.sweep.engines.workers import run_in_workers
from dlkit.sweep.trials import Trial

# A module of its own, since processes that are spawned import what they call by name.
BEGINNING = """
import pathlib, signal, time
folder = pathlib.Path(__file__).parent

def begin(stop):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    (folder / "blocked").write_text(" ".join(sorted(number.name for number in blocked)))
    (folder / "begins").touch()
    time.sleep(30)
    (folder / "began").touch()

def task(trial):
    raise AssertionError
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_stop_does_not_wait_for_processes_that_are_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a signal to the whole group is none of theirs: a traceback of each would stand on the terminal."""
    (tmp_path / "beginning_workers.py").write_text(BEGINNING)
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = importlib.import_module("beginning_workers")
    latest = time.monotonic() + 60

    def begins() -> bool:
        return (tmp_path / "begins").exists() or time.monotonic() > latest

    trials = [Trial("sgd", 0.1, seed) for seed in range(3)]
    assert list(run_in_workers(trials, module.task, module.begin, 1, begins)) == []
    assert (tmp_path / "begins").exists()
    assert not (tmp_path / "began").exists()
    assert multiprocessing.active_children() == []
    assert {"SIGINT", "SIGTERM", "SIGHUP"} <= set((tmp_path / "blocked").read_text().split())
