"""Lines of a file or of standard input, split the same way by all commands. Free of torch."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

T = TypeVar("T")

_MARK = b"\xef\xbb\xbf"  # the byte-order mark of UTF-8 files of Windows, which is not text


def decode_lines(stream: BinaryIO, errors: str = "strict") -> Iterator[str]:
    r"""Lines without their line endings, which are \n or \r\n.

    Form feeds, Unicode line separators and lone \r are ordinary characters, as for `grep` and `wc -l`.

    Args:
        stream: UTF-8, read line by line.
        errors: how to treat invalid bytes, as in `bytes.decode`.

    Raises:
        UnicodeDecodeError: there are invalid bytes; `start` counts from the beginning of the stream.
    """
    offset = 0
    for number, raw in enumerate(stream):
        line = raw.removeprefix(_MARK) if number == 0 else raw
        line = line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line
        try:
            yield line.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            begin = offset + (len(_MARK) if number == 0 and raw.startswith(_MARK) else 0)
            raise UnicodeDecodeError("utf-8", raw, begin + error.start, begin + error.end, error.reason) from None
        offset += len(raw)


def lines_as_they_come(stream: BinaryIO, patience: float = 0.2) -> Iterator[bytes | None]:
    """Lines without their line endings; None whenever nothing more has come for `patience` seconds.

    So whoever handles lines in batches need not keep a slow producer waiting for a whole one. The splitting is that of
    `decode_lines`.
    """
    for number, line in enumerate(_raw_lines(stream, patience)):
        yield line.removeprefix(_MARK) if line is not None and number == 0 else line


def _raw_lines(stream: BinaryIO, patience: float) -> Iterator[bytes | None]:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # a stand-in, which has everything already
        descriptor = None
    if descriptor is None or os.name == "nt":  # select is for sockets there
        for line in stream:
            yield line[:-1].removesuffix(b"\r") if line.endswith(b"\n") else line
        return
    begun: list[bytes] = []  # pieces of a line that has no end yet
    while True:
        if not select.select([descriptor], [], [], patience)[0]:
            yield None
        data = os.read(descriptor, 1 << 16)
        if not data:
            break
        first, *others = data.split(b"\n")
        begun.append(first)
        for piece in others:
            yield b"".join(begun).removesuffix(b"\r")
            begun = [piece]
    if last := b"".join(begun):
        yield last


def batched_as_they_come(items: Iterable[T | None], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in their order; a shorter one, perhaps empty, wherever None says that there is a pause."""
    batch: list[T] = []
    for item in items:
        if item is not None:
            batch.append(item)
        if item is None or len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
