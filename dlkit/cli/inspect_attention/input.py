"""The texts that `dlkit inspect-attention` reads. No torch."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from dlkit import text_input
from dlkit.errors import DlkitError, RequestError
from dlkit.lines import decode_lines

MOST_BYTES = 1 << 26  # of texts


def read_text(text: str | None, run: str) -> str:
    """The text of the command line or of standard input. Raises RequestError where there is none."""
    if text not in (None, "-"):
        found = text
    elif run == "-":
        raise RequestError("RUN and TEXT cannot both come from standard input", "name one of them")
    elif text is None and sys.stdin.isatty():
        raise RequestError("no text", 'give a TEXT, or pipe one in: echo "..." | dlkit inspect-attention RUN')
    else:
        found = _read(None, "standard input").rstrip("\r\n")
    if not found:
        raise RequestError("the text is empty", "give a TEXT, or pipe one in")
    return found


def read_lines(path: Path, run: str) -> list[str]:
    """The lines of a file, or of standard input for `-`, without empty ones. Raises DlkitError if there are none."""
    if str(path) == run == "-":
        raise RequestError("RUN and --lines cannot both come from standard input", "name one of them")
    text = _read(None if str(path) == "-" else path, f"--lines {path}")
    found = [line for line in decode_lines(io.BytesIO(text.encode())) if line.strip()]
    if not found:
        raise DlkitError(f"--lines {path} has no text", "one text a line")
    return found


def _read(source: Path | None, name: str) -> str:
    try:
        data = text_input.read_bytes(source, MOST_BYTES, "a text to inspect")
    except OSError as error:
        raise DlkitError(f"cannot read {name}: {error.strerror}") from error
    return text_input.decode_text(data, name)
