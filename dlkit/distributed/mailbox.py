"""Messages between the processes of a job that do not work in step: none waits in a collective operation.

Each leaves its messages in the store at which they meet, and reads those of the others when it suits. Values go as
pickles between processes of one job, which trust each other.
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
        process: this one.
        name: of what the messages are about.

    Raises DlkitError if there is nobody where the processes meet.
    """

    def __init__(self, process: LaunchedProcess, name: str) -> None:
        self._store = meeting_store(process, name)

    def put(self, key: str, value: Any) -> None:
        """Leave a value for the other processes."""
        text: Any = pickle.dumps(value)
        self._store.set(key, text)

    def has(self, key: str) -> bool:
        """Whether there is a value yet."""
        return self._store.check([key])

    def get(self, key: str) -> Any:
        """A value that is there."""
        return pickle.loads(self._store.get(key))

    def wait(self, key: str, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a value. Returns True once it is there, and False if `give_up` says so before."""
        while not self.has(key):
            if give_up():
                return False
            time.sleep(POLL_SECONDS)
        return True
