"""What is asked of a download, who is told of it, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dlkit.data.store import Manifest
from dlkit.download.transfer import CancelledError, RetryPolicy


class Reporter(Protocol):
    """Who is told of progress. Methods may be called from several threads."""

    def begin(self, name: str, sizes: dict[str, int | None]) -> None: ...
    def at(self, path: str, offset: int) -> None: ...
    def phase(self, name: str, what: str, total: int) -> None: ...
    def step(self, count: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class DownloadRequest:
    """How to fetch.

    Args:
        root: the data directory.
        mirror: a hub's address or a directory, or None for the public hub or $HF_ENDPOINT.
        verify: check the content of what is here, and repair it.
        force: fetch even what is here.
        allow_mismatch: accept other row counts than the published ones.
        offline: do not use the network.
        jobs: files at once.
        patience: with the network.
        stop: set to end everything.
        own: the user's own copy of ImageNet, to take instead.
    """

    root: Path
    mirror: str | None = None
    verify: bool = False
    force: bool = False
    allow_mismatch: bool = False
    offline: bool = False
    jobs: int = 4
    patience: RetryPolicy = field(default_factory=RetryPolicy)
    stop: threading.Event = field(default_factory=threading.Event)
    own: Path | None = None

    @property
    def directory(self) -> Path | None:
        """The mirror, if it is a directory."""
        return Path(self.mirror).expanduser() if self.mirror and "://" not in self.mirror else None

    def check(self) -> None:
        """Raise CancelledError once `stop` is set."""
        if self.stop.is_set():
            raise CancelledError


@dataclass
class DownloadResult:
    """What became of it: status is "downloaded", "built" or "present"; `repaired` names files that were broken."""

    manifest: Manifest
    path: Path
    status: str
    repaired: list[str]


def cancellable_step(order: DownloadRequest, reporter: Reporter) -> Callable[[int], None]:
    """Progress of a phase that ends once `order.stop` is set."""

    def step(count: int) -> None:
        order.check()
        reporter.step(count)

    return step
