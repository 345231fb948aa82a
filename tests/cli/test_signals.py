"""A lost connection (SIGHUP) ends a command as SIGTERM does: nothing unfinished is left, and what can be is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit.cli import recipes
from dlkit.cli.signals import GracefulStop, unwinding
from dlkit.storage.atomic_file import atomic_file

ENDINGS = [(signal.SIGHUP, 129), (signal.SIGTERM, 143)]


@pytest.fixture(autouse=True)
def as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_a_file_that_is_not_finished_goes(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "file").write_bytes(b"an older one")
    with pytest.raises(SystemExit) as ended, unwinding(), atomic_file(tmp_path / "file") as file:
        file.write(b"a part of it")
        os.kill(os.getpid(), number)
    assert ended.value.code == code
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"an older one"}
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_every_command_unwinds(here: Any, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int) -> None:
    monkeypatch.setattr(recipes.recipe, "shipped", lambda: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as ended:
        here("recipes", "list")
    assert ended.value.code == code


def test_nohup_is_kept() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with unwinding(), GracefulStop("stopping") as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.requested is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested == signal.SIGTERM


def test_a_hangup_that_comes_twice_is_one_wish_to_stop() -> None:
    for first in (signal.SIGHUP, signal.SIGTERM):
        with GracefulStop("stopping") as stop:
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), signal.SIGHUP)  # a second SIGTERM would end the process at once
            assert stop.requested == first


def test_before_there_is_anything_to_save_a_hangup_ends_the_program() -> None:
    with pytest.raises(SystemExit) as ended, GracefulStop("stopping", saves=False):
        os.kill(os.getpid(), signal.SIGHUP)
    assert ended.value.code == 129


ON_A_TERMINAL = """
import os, sys, time
from dlkit.cli.signals import GracefulStop
pid, terminal = os.forkpty()
if pid == 0:
    code = 1
    try:
        with GracefulStop("stopping") as stop:
            os.write(1, b"ready")
            while stop.requested is None:
                time.sleep(0.01)
            os.write(1, b"saved")
            code = stop.requested
    finally:
        os._exit(code)
assert os.read(terminal, 5) == b"ready"
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_terminal_that_is_gone_is_written_to_no_more() -> None:
    """It is closed while a process works on it; what that then writes must not be the end of it."""
    assert subprocess.run([sys.executable, "-c", ON_A_TERMINAL], timeout=60).returncode == signal.SIGHUP
