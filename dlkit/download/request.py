"""A download request, the reporter of its progress, and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dlkit.data.store import Manifest
from dlkit.download.retries import CancelledError, RetryPolicy


class Reporter(Protocol):
    """Receives progress. Methods may be called from several threads."""

    def begin(self, name: str, sizes: dict[str, int | None]) -> None: ...
    def at(self, path: str, offset: int) -> None: ...
    def phase(self, name: str, what: str, total: int) -> None: ...
    def step(self, count: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class DownloadRequest:
    """How to obtain data sets.

    Args:
        root: the data directory.
        mirror: address of a hub, or a local directory; None for the public hub or $HF_ENDPOINT.
        verify: hash the files that are here, and repair damaged ones.
        force: fetch again even if it is here.
        allow_mismatch: accept row counts other than the published ones.
        offline: do not use the network.
        jobs: files to transfer at once.
        retry_policy: of requests over the network.
        stop: set it to cancel.
        own: the user's own copy of ImageNet, to convert instead of downloading.
    """

    root: Path
    mirror: str | None = None
    verify: bool = False
    force: bool = False
    allow_mismatch: bool = False
    offline: bool = False
    jobs: int = 4
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    stop: threading.Event = field(default_factory=threading.Event)
    own: Path | None = None

    @property
    def directory(self) -> Path | None:
        """The mirror, if it is a local directory."""
        return Path(self.mirror).expanduser() if self.mirror and "://" not in self.mirror else None

    def check(self) -> None:
        """Raise CancelledError once `stop` is set."""
        if self.stop.is_set():
            raise CancelledError


@dataclass
class DownloadResult:
    """A data set that is here now. `status` is "downloaded", "built" or "present"; `repaired` lists damaged files."""

    manifest: Manifest
    path: Path
    status: str
    repaired: list[str]


Step = Callable[[int], None]  # called with the number of rows or bytes that were processed; may raise to stop


def cancellable_step(request: DownloadRequest, reporter: Reporter) -> Step:
    """A callback that reports progress, and raises CancelledError once `request.stop` is set."""

    def step(count: int) -> None:
        request.check()
        reporter.step(count)

    return step
