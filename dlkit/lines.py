"""Lines of a file or of standard input, split the same way by all commands. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

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
