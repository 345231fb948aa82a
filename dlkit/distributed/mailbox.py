"""Asynchronous messages between the processes of a job, without collective operations.

Each process puts its messages into the rendezvous store and polls for those of others. Values are pickled, since the
processes of a job trust each other.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

from dlkit.distributed.meeting_store import meeting_store
from dlkit.distributed.torchrun import LaunchedProcess

POLL_SECONDS = 0.05


class Mailbox:
    """Values by key, which every process of a job can put and get.

    Args:
        process: this process.
        name: of the subject of the messages.

    Raises DlkitError if the rendezvous store cannot be reached.
    """

    def __init__(self, process: LaunchedProcess, name: str) -> None:
        self._store = meeting_store(process, name)

    def put(self, key: str, value: Any) -> None:
        """Publish a value for the other processes."""
        text: Any = pickle.dumps(value)
        self._store.set(key, text)

    def has(self, key: str) -> bool:
        """Whether there is a value yet."""
        return self._store.check([key])

    def get(self, key: str) -> Any:
        """A value that has been put."""
        return pickle.loads(self._store.get(key))

    def wait(self, key: str, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a value. Returns True once it has been put, False if `give_up` returns true first."""
        while not self.has(key):
            if give_up():
                return False
            time.sleep(POLL_SECONDS)
        return True
