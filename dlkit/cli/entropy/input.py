"""Where `dlkit entropy` reads from: a file, or standard input, in blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from dlkit.cli.console import live_console
from dlkit.errors import DlkitError, RequestError


def require_input(file: Path | None) -> None:
    """Raise RequestError where a person would have to type the stream, DlkitError where a file cannot be read."""
    if file is None:
        if sys.stdin.isatty():
            raise RequestError("nothing to read", "give a FILE, pipe something in, or give --p 0.4,0.6")
    elif not file.is_fifo():  # which can be opened only once
        try:
            file.open("rb").close()
        except OSError as error:
            raise DlkitError(f"cannot read {file}: {error.strerror}") from error


def blocks(file: Path | None, silent: bool = False) -> Iterator[bytes]:
    """The stream in blocks, with progress once it takes a while, unless it is to be silent."""
    from dlkit.cli.progress import Progress
    from dlkit.information.streams import stream_blocks

    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as source:
            total = file.stat().st_size if file is not None and file.is_file() else None
            with Progress("reading", total, None if silent else live_console(), plain=not silent) as progress:
                for block in stream_blocks(source):
                    progress.advance(len(block))
                    yield block
    except OSError as error:
        raise DlkitError(f"cannot read {file or 'standard input'}: {error.strerror}") from error
