"""Whether there is a stream for `dlkit entropy` to read."""

from __future__ import annotations

import sys
from pathlib import Path

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
