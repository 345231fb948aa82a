"""The symbols of a stream, block by block - bytes, characters, words or lines - and what counts them."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from dlkit.errors import RequestError
from dlkit.information.byte_counts import ByteCounts, LongByteCounts, PairCounts, TripleCounts
from dlkit.information.symbol_counts import CharacterCounts, ItemCounts, SymbolCounts


def blocks(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """The bytes of a file, as they come."""
    read = getattr(file, "read1", file.read)
    while block := read(size):
        yield block


def characters(stream: Iterable[bytes]) -> Iterator[str]:
    """UTF-8 decoded block by block. Raises RequestError at the first byte that is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    try:
        for block in stream:
            yield decoder.decode(block)
            position += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"not UTF-8: near byte {position + error.start:,}", "use --symbols bytes, which takes anything"
        ) from None


def words(stream: Iterable[bytes]) -> Iterator[list[str]]:
    """What stands between white space, block by block."""
    begun: list[str] = []  # pieces of a word that may go on
    for text in characters(stream):
        parts = text.split()
        if begun and text[:1].isspace():
            yield ["".join(begun)]
            begun = []
        if parts and len(parts) == 1 and not text[-1].isspace():
            begun.append(parts[0])
            continue
        if parts and begun:
            parts[0] = "".join((*begun, parts[0]))
            begun = []
        if parts and not text[-1].isspace():
            begun = [parts.pop()]
        yield parts
    yield ["".join(begun)] if begun else []


def lines(stream: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines without their ends, block by block; the last one need not have an end."""
    begun: list[bytes] = []  # pieces of a line that goes on
    for block in stream:
        *whole, rest = block.split(b"\n")
        if whole:
            whole[0] = b"".join((*begun, whole[0]))
            begun = []
            yield whole
        if rest:
            begun.append(rest)
    yield [b"".join(begun)] if begun else []


def single_bytes(stream: Iterable[bytes]) -> Iterator[Iterable[int]]:
    """The bytes themselves."""
    yield from stream


SPLIT: dict[str, Any] = {"bytes": single_bytes, "chars": characters, "words": words, "lines": lines}


def counter(symbols: str, order: int) -> ByteCounts | SymbolCounts:
    """What counts a stream of these symbols up to this order."""
    if symbols == "bytes":
        tables = (ByteCounts, PairCounts, TripleCounts)
        return tables[order]() if order < len(tables) else LongByteCounts(order)
    return CharacterCounts(order) if symbols == "chars" else ItemCounts(order)
