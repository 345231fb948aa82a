"""What the tests share that repeat a fault at random positions: a large file, how to fetch it, what an error says."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlkit.download.remote_files import RemoteFile
from dlkit.download.retries import RetryPolicy, TransferMonitor
from dlkit.download.transfer import fetch_file

NAME = "glue/cola"
CHUNK = 1 << 20
BIG = 3 * CHUNK + 12_345
# The whole in `slow`, a few of each in the default suite.
TIMES = [pytest.param(3, id="3"), pytest.param(50, id="50", marks=pytest.mark.slow)]


def get(file: RemoteFile, folder: Path, also: Callable[[str], None] = lambda _: None, **changes: Any) -> list[str]:
    """Fetch it, check it; the remarks made, each of which goes to `also` when it is made."""
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        also(text)

    monitor = TransferMonitor(lambda *_: None, note, threading.Event())
    done = fetch_file(
        file, folder, None, RetryPolicy(**{"retries": 4, "timeout": 0.4, "first_wait": 0.001, **changes}), monitor
    )
    content = (folder / file.path).read_bytes()
    assert (done.size, done.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert file.check == ("sha256", done.sha256)
    return notes


def one_line(caught: Any, start: str, *said: str) -> None:
    message = caught.value.message
    assert message.startswith(start)
    assert all(text in message for text in said), message
    assert "\n" not in message
    assert caught.value.hint
