"""The texts that `dlkit inspect-attention` reads, and the places of the files that it writes. No torch."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from dlkit.errors import DlkitError, RequestError
from dlkit.lines import lines
from dlkit.whole_file import require_target

SUFFIXES = {"--html": ".html", "--png": ".png", "--svg": ".svg", "--npz": ".npz"}


def read_text(text: str | None, run: str) -> str:
    """The text of the command line or of standard input. Raises RequestError where there is none."""
    if text not in (None, "-"):
        found = text
    elif run == "-":
        raise RequestError("RUN and TEXT cannot both come from standard input", "name one of them")
    elif text is None and sys.stdin.isatty():
        raise RequestError("no text", 'give a TEXT, or pipe one in: echo "..." | dlkit inspect-attention RUN')
    else:
        found = _decoded(sys.stdin.buffer.read(), "standard input").removeprefix("\ufeff").rstrip("\r\n")
    if not found:
        raise RequestError("the text is empty", "give a TEXT, or pipe one in")
    return found


def read_lines(path: Path, run: str) -> list[str]:
    """The lines of a file, or of standard input for `-`, without empty ones. Raises DlkitError if there are none."""
    if str(path) == "-":
        if run == "-":
            raise RequestError("RUN and --lines cannot both come from standard input", "name one of them")
        stream = sys.stdin.buffer
    else:
        try:
            stream = io.BytesIO(path.read_bytes())
        except OSError as error:
            raise DlkitError(f"cannot read --lines {path}: {error.strerror}") from error
    try:
        found = [line for line in lines(stream) if line.strip()]
    except UnicodeDecodeError as error:
        raise DlkitError(f"{path} is not UTF-8: byte {error.start}") from error
    if not found:
        raise DlkitError(f"--lines {path} has no text", "one text a line")
    return found


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DlkitError(f"{name} is not UTF-8: byte {error.start}") from error


def check_targets(files: dict[str, Path]) -> None:
    """Raise where a file cannot be written, as `require_target` does."""
    for option, path in files.items():
        require_target(option, path, (SUFFIXES[option],))
