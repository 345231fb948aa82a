"""Hashing in a thread beside the transfer: hashlib releases the GIL, so another core does the work."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Sequence
from typing import Any, Protocol

_WAITING = 16  # blocks in the queue; hashing is faster than most networks, so few are needed


class Hash(Protocol):
    """What hashlib returns."""

    def update(self, data: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


def new_hash(algorithm: str, size: int | None) -> Hash:
    """A new hash. `git` is the sha1 of a blob: of a header and the content, of `size` bytes."""
    if algorithm == "git":
        return hashlib.sha1(b"blob %d\0" % (size or 0), usedforsecurity=False)
    return hashlib.new(algorithm, usedforsecurity=False)


class HashingThread:
    """Hashes one stream by several algorithms, in a thread of its own. End it by `finish` or `drop`.

    Args:
        algorithms: as in `new_hash`.
        size: of the stream in bytes, if known.
    """

    def __init__(self, algorithms: Sequence[str], size: int | None) -> None:
        self._hashes = {algorithm: new_hash(algorithm, size) for algorithm in algorithms}
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._dropped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            if not self._dropped:
                for digest in self._hashes.values():
                    digest.update(block)

    def update(self, block: bytes) -> None:
        """Add the next bytes; waits while the queue is full."""
        self._blocks.put(block)

    def finish(self) -> dict[str, str]:
        """Algorithm -> hexadecimal digest of the stream."""
        self._blocks.put(None)
        self._thread.join()
        return {algorithm: digest.hexdigest() for algorithm, digest in self._hashes.items()}

    def drop(self) -> None:
        """End without a result."""
        self._dropped = True
        self._blocks.put(None)
