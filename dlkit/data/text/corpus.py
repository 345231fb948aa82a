"""Running text in splits, read in pieces, so that it need not fit into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError

PIECE = 1 << 16  # bytes
_BLOCK = 1 << 22
_CONTINUES = range(0x80, 0xC0)  # the bytes of a UTF-8 character after its first


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `stop` of a file, or of bytes in memory."""

    source: Path | bytes
    start: int
    stop: int

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks. Raises DlkitError if the file cannot be read."""
        if isinstance(self.source, bytes):
            yield self.source[self.start : self.stop]
            return
        try:
            with self.source.open("rb") as file:
                file.seek(self.start)
                left = self.stop - self.start
                while left > 0:
                    block = file.read(min(left, _BLOCK))
                    if not block:
                        raise DlkitError(f"{self.source} became shorter while it was read")
                    left -= len(block)
                    yield block
        except OSError as error:
            raise DlkitError(f"cannot read {self.source}: {error.strerror}") from error


@dataclass(frozen=True)
class Text:
    """UTF-8 text, the concatenation of spans."""

    spans: tuple[Span, ...]

    @staticmethod
    def of(text: str) -> Text:
        """A text in memory."""
        data = text.encode()
        return Text((Span(data, 0, len(data)),))

    @cached_property
    def size(self) -> int:
        """The length in bytes."""
        return sum(span.stop - span.start for span in self.spans)

    @cached_property
    def sha256(self) -> str:
        """Of the bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for span in self.spans:
            for block in span.blocks():
                digest.update(block)
        return digest.hexdigest()

    def pieces(self, size: int = PIECE) -> Iterator[str]:
        """The text in pieces of at most `size` bytes, which end with a line if possible and else with a character.

        Raises:
            DlkitError: a byte is not UTF-8.
        """
        for span in self.spans:
            position = span.start
            for piece in split_into_pieces(span.blocks(), size):
                yield _decode(piece, span, position)
                position += len(piece)

    def read(self) -> str:
        """The whole text."""
        return "".join(self.pieces())


@dataclass(frozen=True)
class Corpus:
    """A text in splits: "train" and possibly "val" and "test". `sources` records where it came from."""

    name: str
    splits: dict[str, Text]
    sources: dict[str, Any]


def make_corpus(name: str, splits: dict[str, Text], **sources: Any) -> Corpus:
    """A corpus whose sources include the size and sha256 of each split."""
    sizes = {split: text.size for split, text in splits.items()}
    return Corpus(
        name, splits, {**sources, "bytes": sizes, "sha256": {split: text.sha256 for split, text in splits.items()}}
    )


def split_into_pieces(blocks: Iterable[bytes], size: int = PIECE) -> Iterator[bytes]:
    """The bytes of a stream in pieces of at most `size`, which end with a line if possible, else with a character."""
    rest = b""
    for block in blocks:
        rest += block
        begin = 0
        while len(rest) - begin > size:
            end = rest.rfind(b"\n", begin, begin + size) + 1
            end = end if end > begin else character_start(rest, begin + size)
            yield rest[begin:end]
            begin = end
        rest = rest[begin:]
    if rest:
        yield rest


def character_start(data: bytes, position: int) -> int:
    """The last position at or before `position` at which a character begins."""
    start = position
    while start > max(0, position - 4) and start < len(data) and data[start] in _CONTINUES:
        start -= 1
    return start


def _decode(data: bytes, span: Span, position: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        name = "the text" if isinstance(span.source, bytes) else span.source
        raise DlkitError(
            f"{name} is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {position + error.start}",
            "convert it, for example with iconv",
        ) from error
