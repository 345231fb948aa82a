"""The processes of a case: all that its first process started, which leads a session of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_STATE, _SESSION, _TIMES = 0, 3, slice(11, 15)  # in /proc/PID/stat behind the name; proc(5) counts on from 3


def _processes(session: int) -> Iterator[list[str]]:
    """What /proc says of each process of a session."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # one that has ended meanwhile
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[_SESSION]) == session:
                yield fields


def worked_seconds(session: int) -> float:
    """Seconds of the processor that a session has had: its processes, and those that they have waited for."""
    ticks = sum(int(ticks) for fields in _processes(session) for ticks in fields[_TIMES])
    return ticks / os.sysconf("SC_CLK_TCK")


def end_session(session: int) -> bool:
    """Whether processes of a session still run after its first one; they are ended.

    What has ended and is not yet reaped, which is left to init, does not run.
    """
    for _ in range(40):  # those that it has told to end, say
        if all(fields[_STATE] == "Z" for fields in _processes(session)):
            return False
        time.sleep(0.025)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)
    return True
