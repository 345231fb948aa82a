"""The prequential code length of data: its cost under a model that learns from it (Dawid 1984; Blier & Ollivier,
arXiv:1802.07044), measured without writing the code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dlkit.compression.prequential_learner import CHUNK_BYTES, Advance, PrequentialLearner, ignore_progress


@dataclass(frozen=True)
class CodeLength:
    """A prequential code length.

    Args:
        bytes: how many were coded.
        bits: the code length.
        curve: (bytes so far, bits so far) after every block, the last at the end: its slope shows what remains to be
            learned.
    """

    bytes: int
    bits: float
    curve: list[tuple[int, float]]

    @property
    def bits_per_byte(self) -> float:
        """The mean, 0 for no bytes."""
        return self.bits / self.bytes if self.bytes else 0.0


def code_length(
    data: bytes | Iterable[bytes], *, streams: int | None = None, block: int = 4096, advance: Advance = ignore_progress
) -> CodeLength:
    """The length of the code that `dlkit compress --prequential` writes, without its header and rounding.

    Needs no torch, takes 20 to 60 kB a second on one core, and 200 MB of memory for long data. Memory does not grow
    with the data:

        with file.open("rb") as source, Progress("coding", total, live_console()) as progress:
            length = code_length(file_blocks(source), advance=progress.advance)

    Args:
        data: the bytes, or blocks of them of any sizes.
        streams: coded side by side, at most; None chooses by the size. 1 gives the shortest code for small data, and
            is the slowest.
        block: bytes between two points of the curve.
        advance: called with the number of bytes coded since the last call.

    Raises:
        RequestError: more than 64 streams.
    """
    learner, curve = PrequentialLearner(streams), list[tuple[int, float]]()
    size = 0

    def measured(count: int) -> None:
        nonlocal size
        size += count
        if size // block > (curve[-1][0] if curve else 0) // block:
            curve.append((size, learner.bits))
        advance(count)

    for chunk in _chunks(data):
        if not size:
            learner.start(len(chunk))
        learner.encode(chunk, lambda p, bit: bit, measured)
    if size and (not curve or curve[-1][0] < size):
        curve.append((size, learner.bits))
    return CodeLength(size, learner.bits, curve)


def _chunks(data: bytes | Iterable[bytes]) -> Iterable[bytes]:
    """Chunks of CHUNK_BYTES, the last one shorter."""
    held = bytearray()
    for block in [data] if isinstance(data, bytes) else data:
        held += block
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)
