"""Compressing a stream of bytes to a `.dlk` file and back, chunk by chunk, in constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from dlkit.compression.container import Chunk, ContainerReader, ContainerWriter

Advance = Callable[[int], None]


class Codec(Protocol):
    """Encodes bytes as chunks and decodes them."""

    chunk_bytes: int
    ideal_bits: float
    payload_bytes: int
    model_bytes: int
    streams: int | None

    def begin(self, data: bytes, /) -> dict[str, Any]:
        """Prepare to encode a file that begins with these bytes; returns its header."""
        ...

    def check(self, header: dict[str, Any], /) -> None:
        """Prepare to decode a file with this header. Raises DlkitError if that is impossible here."""
        ...

    def encode(self, data: bytes, advance: Advance, /) -> Chunk:
        """Encode the next chunk."""
        ...

    def decode(self, chunk: Chunk, header: dict[str, Any], advance: Advance, /) -> bytes:
        """Decode the next chunk. Raises DlkitError rather than return wrong bytes."""
        ...


@dataclass(frozen=True)
class CompressionResult:
    """The sizes of input and output in bytes, and the input's sha256."""

    bytes_in: int
    bytes_out: int
    sha256: str


def compress(source: BinaryIO, target: BinaryIO, codec: Codec, advance: Advance) -> CompressionResult:
    """Compress all of `source`; `advance` is called with the number of bytes coded since its last call."""
    digest, size = hashlib.sha256(), 0
    chunks = split_at_lines(source, codec.chunk_bytes)
    data = next(chunks, b"")
    writer = ContainerWriter(target, codec.begin(data))
    while data:
        digest.update(data)
        size += len(data)
        writer.add(codec.encode(data, advance))
        data = next(chunks, b"")
    writer.finish()
    return CompressionResult(size, writer.written, digest.hexdigest())


def decompress(reader: ContainerReader, write: Callable[[bytes], Any], codec: Codec, advance: Advance) -> int:
    """Decompress a file, passing its bytes to `write` chunk by chunk; returns how many there are.

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


def split_at_lines(source: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a file in chunks of at most `size`, which end with a line if one ends near the end of the chunk."""
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
    """`count` bytes, fewer only at the end of the file: a single read of a pipe returns what is there."""
    found: list[bytes] = []
    while count and (block := source.read(count)):
        found.append(block)
        count -= len(block)
    return b"".join(found)
