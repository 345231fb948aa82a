"""The texts that `dlkit inspect-attention` reads, and the places of the files that it writes. No torch."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from dlkit import text_input
from dlkit.errors import DlkitError, RequestError

MOST_BYTES = 1 << 26  # of texts
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
        found = _read(None, "standard input").rstrip("\r\n")
    if not found:
        raise RequestError("the text is empty", "give a TEXT, or pipe one in")
    return found


def read_lines(path: Path, run: str) -> list[str]:
    """The lines of a file, or of standard input for `-`, without empty ones. Raises DlkitError if there are none."""
    if str(path) == run == "-":
        raise RequestError("RUN and --lines cannot both come from standard input", "name one of them")
    text = _read(None if str(path) == "-" else path, f"--lines {path}")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    found = [line for line in lines if line.strip()]
    if not found:
        raise DlkitError(f"--lines {path} has no text", "one text a line")
    return found


def _read(source: Path | None, name: str) -> str:
    try:
        data = text_input.read_bytes(source, MOST_BYTES, "a text to look at")
    except OSError as error:
        raise DlkitError(f"cannot read {name}: {error.strerror}") from error
    return text_input.decoded(data, name)


def check_targets(files: dict[str, Path]) -> None:
    """Raise where a file cannot be written, before the work is done and not after.

    Raises:
        RequestError: the wrong suffix, or a folder that is not there.
        DlkitError: the folder or the file cannot be written.
    """
    for option, path in files.items():
        if path.suffix.lower() != SUFFIXES[option]:
            raise RequestError(
                f"{option} {path} does not end in {SUFFIXES[option]}", f"like {option} heads{SUFFIXES[option]}"
            )
        if path.is_dir():
            raise RequestError(f"{option} {path} is a folder", "give a file in it")
        if not path.parent.is_dir():
            raise RequestError(f"{option} {path}: there is no folder {path.parent}", "make it first")
        if path.exists() and not os.access(path, os.W_OK):
            raise DlkitError(f"{option} {path} cannot be written", "check its permissions")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise DlkitError(f"{option} {path}: cannot write into {path.parent}: {error.strerror}") from error
