"""The symbols of a stream - bytes, characters, words or lines - block by block, and the counters for them."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from dlkit.errors import RequestError
from dlkit.information.byte_counts import BigramCounts, ByteCounts, ByteNgramCounts, TrigramCounts
from dlkit.information.symbol_counts import CharacterCounts, ItemCounts, SymbolCounts


def file_blocks(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """The bytes of a file, in blocks as they arrive."""
    read = getattr(file, "read1", file.read)
    while block := read(size):
        yield block


def stream_characters(stream: Iterable[bytes]) -> Iterator[str]:
    """The characters of UTF-8, block by block. Raises RequestError at the first invalid byte."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    try:
        for block in stream:
            yield decoder.decode(block)
            position += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"not UTF-8: near byte {position + error.start:,}", "use `symbols` bytes, which takes anything"
        ) from None


def stream_words(stream: Iterable[bytes]) -> Iterator[list[str]]:
    """Words separated by white space, block by block."""
    begun: list[str] = []  # fragments of a word that may continue in the next block
    for text in stream_characters(stream):
        words = text.split()
        if begun and text[:1].isspace():
            yield ["".join(begun)]
            begun = []
        if words and len(words) == 1 and not text[-1].isspace():
            begun.append(words[0])
            continue
        if words and begun:
            words[0] = "".join((*begun, words[0]))
            begun = []
        if words and not text[-1].isspace():
            begun = [words.pop()]
        yield words
    yield ["".join(begun)] if begun else []


def stream_lines(stream: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines without their line feeds, block by block; the last line need not end in one."""
    begun: list[bytes] = []  # fragments of a line that continues in the next block
    for block in stream:
        *whole, rest = block.split(b"\n")
        if whole:
            whole[0] = b"".join((*begun, whole[0]))
            begun = []
            yield whole
        if rest:
            begun.append(rest)
    yield [b"".join(begun)] if begun else []


def stream_bytes(stream: Iterable[bytes]) -> Iterator[Iterable[int]]:
    """The bytes themselves, block by block."""
    yield from stream


SYMBOLS: dict[str, Any] = {
    "bytes": stream_bytes,
    "chars": stream_characters,
    "words": stream_words,
    "lines": stream_lines,
}


def make_counter(symbols: str, order: int) -> ByteCounts | SymbolCounts:
    """The counter for n-grams of `symbols`, one of `SYMBOLS`, up to `order` + 1 of them."""
    if symbols == "bytes":
        tables = (ByteCounts, BigramCounts, TrigramCounts)
        return tables[order]() if order < len(tables) else ByteNgramCounts(order)
    return CharacterCounts(order) if symbols == "chars" else ItemCounts(order)
