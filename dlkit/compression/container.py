"""The file format `.dlk`: a header, chunks and an end record, each with a CRC, so that no damage goes unnoticed.

    file    magic (8 bytes), version (1), length of the header (2), header (deflated JSON), CRC
    chunk   kind (1), bytes (4), tokens (4), streams (2), length of the payload (4), payload, CRC of the bytes, CRC
    end     kind 0 (1), bytes of the whole file (8), CRC

Numbers are little-endian, CRCs are CRC-32. Each record's CRC continues that of the record before it, so that records
cannot be reordered, and nothing may follow the end. A CRC-32 detects every change within 32 consecutive bits; it does
not protect against deliberate changes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from dlkit.errors import DlkitError
from dlkit.strict_json import parse_json

VERSION = 1
END, STORED, CODED = 0, 1, 2
MOST_BYTES = 1 << 24  # of a chunk

_MAGIC = b"\x89DLK\r\n\x1a\n"  # a transfer as text would change the line breaks, as in PNG
_CHUNK, _END, _CRC = struct.Struct("<IIHI"), struct.Struct("<Q"), struct.Struct("<I")
# deflate's preset dictionary: strings that occur in most headers. Part of the format.
_DICTIONARY = (
    b'{"method": "prequential", "tables": "bits": {"method": "model", "name": "runs/gpt-1", "model": "", "tokenizer": "'
    b'", "torch": "2.14.1+cpu", "capability": "AVX2", "AVX512", "processor": "Intel(R) Xeon(R) CPU @ GHz", "AMD EPYC '
    b'Processor", "machine": "x86_64", "threads": 2, "device": "cpu", "dtype": "float32", "context": 1024, "keep": 128,'
    b' "streams": 16, "probe": '
)


@dataclass(frozen=True)
class Chunk:
    """A chunk of the data.

    Args:
        kind: STORED, the payload is the data; or CODED.
        size: of the data, in bytes.
        tokens: how many tokens the data consists of.
        streams: how many streams were coded side by side.
        payload: the code.
        crc: CRC-32 of the data.
    """

    kind: int
    size: int
    tokens: int
    streams: int
    payload: bytes
    crc: int


class ContainerWriter:
    """Writes the format to a binary file.

    Args:
        file: to write to.
        header: JSON-ready.
    """

    def __init__(self, file: BinaryIO, header: dict[str, Any]) -> None:
        self._file, self._crc = file, 0
        self.written = 0
        self._size = 0
        text = json.dumps(header, ensure_ascii=False).encode()
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_DICTIONARY)
        packed = deflate.compress(text) + deflate.flush()
        self._write(_MAGIC + bytes([VERSION]) + struct.pack("<H", len(packed)) + packed)

    def add(self, chunk: Chunk) -> None:
        """Write a chunk."""
        self._size += chunk.size
        head = _CHUNK.pack(chunk.size, chunk.tokens, chunk.streams, len(chunk.payload))
        self._write(bytes([chunk.kind]) + head + chunk.payload + _CRC.pack(chunk.crc))

    def finish(self) -> None:
        """Write the end record."""
        self._write(bytes([END]) + _END.pack(self._size))

    def _write(self, record: bytes) -> None:
        self._crc = zlib.crc32(record, self._crc)
        self._file.write(record + _CRC.pack(self._crc))
        self.written += len(record) + _CRC.size


class ContainerReader:
    """Reads the format from a binary file: the header at once, the chunks one by one.

    Args:
        file: to read from.
        name: of the file, for error messages.

    Raises:
        DlkitError: it is not a .dlk file, has another version, or is damaged.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._crc, self.name = file, 0, name
        self.read = 0
        magic = file.read(len(_MAGIC))
        if magic != _MAGIC:
            problem = "is empty" if not magic else "is not a .dlk file"
            raise DlkitError(f"{name} {problem}", "`dlkit compress` writes them")
        self.read = len(magic)
        self._crc = zlib.crc32(magic)
        (version,) = self._take(1)
        if version != VERSION:
            raise DlkitError(
                f"{name} has version {version} of the format, this dlkit knows {VERSION}",
                "it is damaged, or another release of dlkit wrote it",
            )
        (length,) = struct.unpack("<H", self._take(2))
        packed = self._take(length)
        self._check("the header")
        self.header: dict[str, Any] = parse_json(zlib.decompressobj(-15, zdict=_DICTIONARY).decompress(packed))

    def chunks(self) -> Iterator[Chunk]:
        """The chunks in order, each verified.

        Raises:
            DlkitError: the file is damaged or truncated, or something follows its end.
        """
        size, number = 0, 0
        while (kind := self._take(1)[0]) != END:
            number += 1
            where = f"chunk {number}"
            if kind not in (STORED, CODED):
                raise self._damaged(where)
            length, tokens, streams, payload_length = _CHUNK.unpack(self._take(_CHUNK.size))
            if max(length, tokens, payload_length) > MOST_BYTES or (kind == CODED and not 0 < streams <= tokens):
                raise self._damaged(where)
            payload = self._take(payload_length)
            (crc,) = _CRC.unpack(self._take(_CRC.size))
            self._check(where)
            size += length
            yield Chunk(kind, length, tokens, streams, payload, crc)
        (whole,) = _END.unpack(self._take(_END.size))
        self._check("the end")
        if whole != size:
            raise self._damaged("the end")
        if self._file.read(1):
            raise DlkitError(f"{self.name} goes on behind its end, after {self.read} bytes", "it is damaged")

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        self.read += len(data)
        if len(data) < count:
            raise DlkitError(
                f"{self.name} is cut off after {self.read} bytes", "get the whole file; nothing was written"
            )
        self._crc = zlib.crc32(data, self._crc)
        return data

    def _check(self, where: str) -> None:
        """Verify the CRC that follows."""
        expected = self._crc
        (found,) = _CRC.unpack(self._take(_CRC.size))
        self._crc = expected
        if found != expected:
            raise self._damaged(where)

    def _damaged(self, where: str) -> DlkitError:
        return DlkitError(
            f"{self.name} is damaged in {where}, before byte {self.read}", "get the file again; nothing was written"
        )
