"""The file format: what is written is read back, and no damage goes unnoticed."""

from __future__ import annotations

import io
import zlib

import pytest

from dlkit.compression.container import CODED, STORED, Chunk, ContainerReader, ContainerWriter
from dlkit.errors import DlkitError

HEADER = {"method": "model", "name": "a", "threads": 2, "more": [1, None, "ü"]}
CHUNKS = [
    Chunk(CODED, 11, 7, 2, b"abc\0\xff", 123),
    Chunk(STORED, 4, 0, 0, b"\0\0\0\0", zlib.crc32(bytes(4))),
    Chunk(CODED, 1, 1, 1, b"", 1),
]


def written(chunks: list[Chunk] = CHUNKS) -> bytes:
    file = io.BytesIO()
    writer = ContainerWriter(file, HEADER)
    for chunk in chunks:
        writer.add(chunk)
    writer.finish()
    assert writer.written == len(file.getvalue())
    return file.getvalue()


def read(data: bytes) -> tuple[dict[str, object], list[Chunk]]:
    reader = ContainerReader(io.BytesIO(data), "x.dlk")
    return reader.header, list(reader.chunks())


def test_what_goes_in_comes_out() -> None:
    assert read(written()) == (HEADER, CHUNKS)
    assert read(written([])) == (HEADER, [])


def test_every_flipped_bit_is_seen() -> None:
    data = written()
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(DlkitError):
                read(bytes(damaged))


def test_every_changed_missing_doubled_or_added_byte_is_seen() -> None:
    data = written()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] = 255 - changed[position]
        for damaged in (data[:position] + data[position + 1 :], data[: position + 1] + data[position:], bytes(changed)):
            if damaged != data:
                with pytest.raises(DlkitError):
                    read(damaged)
        with pytest.raises(DlkitError, match=r"cut off after|is empty|not a \.dlk"):
            read(data[:position])
    with pytest.raises(DlkitError, match="goes on behind its end"):
        read(data + b"\0")


def test_chunks_cannot_be_reordered_or_lost() -> None:
    one, two = Chunk(STORED, 2, 0, 0, b"ab", 5), Chunk(STORED, 2, 0, 0, b"cd", 6)
    data = written([one, two])
    record = 1 + 14 + 2 + 4 + 4
    start = len(data) - 13 - 2 * record
    first, second, end = data[start : start + record], data[start + record : start + 2 * record], data[-13:]
    assert data == data[:start] + first + second + end
    for order in (second + first, first, second, first + first + second):
        with pytest.raises(DlkitError, match="damaged"):
            read(data[:start] + order + end)


def test_other_files_and_versions_are_named() -> None:
    with pytest.raises(DlkitError, match="is empty"):
        read(b"")
    with pytest.raises(DlkitError, match=r"is not a \.dlk file"):
        read(b"PK\3\4 something else entirely")
    newer = bytearray(written())
    newer[8] = 2
    with pytest.raises(DlkitError, match="version 2 of the format, this dlkit knows 1"):
        read(bytes(newer))
