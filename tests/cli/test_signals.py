"""A lost connection (SIGHUP) ends a command as SIGTERM does: nothing unfinished is left, and what can be is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlkit import __main__ as program
from dlkit.cli import app as cli
from dlkit.cli import recipes
from dlkit.cli.signals import GracefulStop, unwinding
from dlkit.errors import DlkitError
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("made", [ImportError("initialization failed"), DlkitError("the tokenizer is broken")])
def test_an_error_that_a_library_makes_of_a_signal_is_no_failure(
    number: signal.Signals, made: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def command(*_: Any, **__: Any) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(9)
        except BaseException as interrupt:
            raise made from interrupt

    monkeypatch.setattr(cli, "app", command)
    monkeypatch.setattr(cli.console, "drop_output", lambda: None)
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert cli.run([]) == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert capfd.readouterr().err == ""


def test_an_interrupt_that_the_shell_took_away_stays_away() -> None:
    """A shell starts what is in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with unwinding() as state:
            os.kill(os.getpid(), signal.SIGINT)
        assert state.signal is None
    finally:
        signal.signal(signal.SIGINT, before)


COMPILER = "trap 'rm half; exit 1' TERM; touch half; while :; do sleep 0.1; done"
STARTS_IT = f"""
import subprocess
from dlkit.cli.signals import unwinding
with unwinding():
    subprocess.run(["sh", "-c", {COMPILER!r}])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_compiler_tidies_up_before_the_command_ends(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", STARTS_IT]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    ) as program:
        while not (tmp_path / "half").exists():
            assert program.poll() is None
            time.sleep(0.01)
        program.send_signal(number)
        program.wait(20)
    assert not (tmp_path / "half").exists()
    with pytest.raises(ProcessLookupError):  # nothing of its session is left, once it has been collected
        for _ in range(500):
            os.killpg(program.pid, 0)
            time.sleep(0.01)


def test_ctrl_c_while_the_program_is_being_imported_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "dlkit.cli.app", Interrupted("dlkit.cli.app"))
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert stopped.value.code == 130
