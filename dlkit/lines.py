"""The lines of a file or of standard input, as every command of dlkit understands them. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_MARK = b"\xef\xbb\xbf"  # of a UTF-8 file of Windows; it is no text


def decode_lines(stream: BinaryIO, errors: str = "strict") -> Iterator[str]:
    r"""Lines without their ends: a line ends at \n, before which a \r belongs to the end, and nowhere else.

    A form feed, a line separator of Unicode or a lone \r is a character like any other, as for `grep` and `wc -l`.

    Args:
        stream: of UTF-8; it is read line by line.
        errors: what to do about bytes that are no UTF-8, as for `bytes.decode`.

    Raises:
        UnicodeDecodeError: there are such bytes; `start` counts from the beginning of the stream.
    """
    place = 0
    for number, raw in enumerate(stream):
        line = raw.removeprefix(_MARK) if number == 0 else raw
        line = line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line
        try:
            yield line.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            begin = place + (len(_MARK) if number == 0 and raw.startswith(_MARK) else 0)
            raise UnicodeDecodeError("utf-8", raw, begin + error.start, begin + error.end, error.reason) from None
        place += len(raw)
