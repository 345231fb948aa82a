"""A stream of bytes, from a file or standard input, in blocks. No torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from dlkit.errors import DlkitError
from dlkit.progress import stage


def stream_size(file: Path | None) -> int | None:
    """Bytes of a regular file; None if unknown, as of a pipe."""
    return file.stat().st_size if file is not None and file.is_file() else None


def stream_blocks(file: Path | None, reports: bool = True) -> Iterator[bytes]:
    """The stream in blocks.

    Args:
        file: None for standard input.
        reports: how much has been read, to who listens to `dlkit.progress`.

    Raises:
        DlkitError: it cannot be read.
    """
    from dlkit.information.streams import file_blocks

    try:
        with (
            nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source,
            stage("reading", stream_size(file)) if reports else nullcontext(_unheard) as advance,
        ):
            for block in file_blocks(source):
                advance(len(block))
                yield block
    except OSError as error:
        raise DlkitError(f"cannot read {file or 'standard input'}: {error.strerror}") from error


def _unheard(count: int) -> None:
    pass
