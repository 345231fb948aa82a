"""When to retry a failed request, how to wait, and how to be cancelled meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dlkit.download.failures import FetchError

_LONGEST_WAIT = 30.0  # seconds between two retries, unless the server asks for more


class CancelledError(Exception):
    """The download was cancelled."""


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    Args:
        retries: retries in a row without progress.
        timeout: seconds to wait for the network each time.
        first_wait: seconds before the first retry, doubled for each later one up to 30 s.
        longest_request: the longest wait in seconds that a server may ask for (Retry-After).
    """

    retries: int = 5
    timeout: float = 20.0
    first_wait: float = 0.5
    longest_request: float = 300.0

    def wait(self, failure: FetchError, tries: int) -> float:
        """Seconds to wait after `tries` failed tries in a row. Raises the failure if it is time to give up."""
        limit = min(self.retries, failure.most if failure.reached else 2)
        asked = failure.retry_after
        if not failure.transient or tries > limit:
            raise failure
        if asked is not None and asked > self.longest_request:
            failure.reason += f"; the server asks to wait {asked:.0f} s"
            raise failure
        wait = min(_LONGEST_WAIT, self.first_wait * 2 ** (tries - 1)) * random.uniform(0.75, 1.25)
        return max(wait, asked or 0.0)


@dataclass
class TransferMonitor:
    """Callbacks of a transfer, called from its own thread, and its stop signal.

    Args:
        at: called with the path of a file and the number of its bytes that are here.
        note: called with a remark for the user.
        stop: set it to cancel every transfer.
    """

    at: Callable[[str, int], None]
    note: Callable[[str], None]
    stop: threading.Event

    def sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise CancelledError

    def check(self) -> None:
        if self.stop.is_set():
            raise CancelledError
