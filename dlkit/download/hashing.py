"""Hashes of what arrives, computed beside it: hashlib lets go of the interpreter, so that another core can do it."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Sequence
from typing import Any, Protocol

_WAITING = 16  # blocks that may wait to be hashed: it is faster than most networks, and memory has its price


class Hash(Protocol):
    """What hashlib returns."""

    def update(self, data: Any, /) -> None: ...
    def hexdigest(self) -> str: ...


def new_hash(algorithm: str, size: int | None) -> Hash:
    """A hash of the named algorithm; git's is that of a blob: sha1 of a header and the content."""
    if algorithm == "git":
        return hashlib.sha1(b"blob %d\0" % (size or 0), usedforsecurity=False)
    return hashlib.new(algorithm, usedforsecurity=False)


class HashingThread:
    """Several hashes of one stream, in a thread of their own. Use `finish` or `drop` to end it.

    Args:
        algorithms: as `hasher` knows them.
        size: of the whole in bytes, where it is known.
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
        """The next bytes; waits if too many are not hashed yet."""
        self._blocks.put(block)

    def finish(self) -> dict[str, str]:
        """Algorithm -> hexadecimal digest of all that came."""
        self._blocks.put(None)
        self._thread.join()
        return {algorithm: digest.hexdigest() for algorithm, digest in self._hashes.items()}

    def drop(self) -> None:
        """End without a result."""
        self._dropped = True
        self._blocks.put(None)
