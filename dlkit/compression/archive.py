"""Whole files: a stream of bytes to a `.dlk` and back, chunk by chunk, in memory that does not grow with the file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from dlkit.compression.container import Chunk, Reader, Writer

Advance = Callable[[int], None]


class Codec(Protocol):
    """What turns bytes into chunks and back."""

    chunk_bytes: int
    ideal_bits: float
    payload_bytes: int
    model_bytes: int
    streams: int | None

    def begin(self, data: bytes, /) -> dict[str, Any]:
        """Get ready to encode a file that begins with these bytes; returns its header."""
        ...

    def check(self, header: dict[str, Any], /) -> None:
        """Get ready to decode a file with this header. Raises DlkitError where that cannot be done."""
        ...

    def encode(self, data: bytes, advance: Advance, /) -> Chunk:
        """The next chunk."""
        ...

    def decode(self, chunk: Chunk, header: dict[str, Any], advance: Advance, /) -> bytes:
        """The bytes of the next chunk. Raises DlkitError rather than return others."""
        ...


@dataclass(frozen=True)
class Written:
    """What `compress` did: bytes in and out, and the sha256 of what came in."""

    bytes_in: int
    bytes_out: int
    sha256: str


def compress(source: BinaryIO, target: BinaryIO, codec: Codec, advance: Advance) -> Written:
    """Write the compressed form of everything in `source`; `advance` hears of bytes as they are coded."""
    digest, size = hashlib.sha256(), 0
    parts = pieces(source, codec.chunk_bytes)
    first = next(parts, b"")
    writer = Writer(target, codec.begin(first))
    part = first
    while part:
        digest.update(part)
        size += len(part)
        writer.add(codec.encode(part, advance))
        part = next(parts, b"")
    writer.finish()
    return Written(size, writer.written, digest.hexdigest())


def decompress(reader: Reader, write: Callable[[bytes], Any], codec: Codec, advance: Advance) -> int:
    """Hand the bytes of a compressed file to `write`, in order; returns how many.

    Raises:
        DlkitError: the file is damaged, or was made with another model or on another machine.
    """
    codec.check(reader.header)
    size = 0
    for chunk in reader.chunks():
        data = codec.decode(chunk, reader.header, advance)
        size += len(data)
        write(data)
    return size


def pieces(source: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a file in pieces of at most `size`, cut behind a line where there is one near the end of a piece."""
    rest = b""
    while True:
        block = rest + _read(source, size - len(rest))
        if len(block) < size:
            if block:
                yield block
            return
        cut = block.rfind(b"\n", size - size // 16) + 1 or size
        yield block[:cut]
        rest = block[cut:]


def _read(source: BinaryIO, count: int) -> bytes:
    """So many bytes, fewer only at the end: a pipe hands out what it has."""
    found: list[bytes] = []
    while count and (block := source.read(count)):
        found.append(block)
        count -= len(block)
    return b"".join(found)
