"""An input that could not be read, and why. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UnreadInput:
    """An input without a prediction: what is shown of it, and why."""

    shown: str
    error: str


def decode_line(line: bytes) -> str | UnreadInput:
    """The text of a line, if it is UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        return UnreadInput(line.decode(errors="replace"), f"not UTF-8: byte 0x{line[error.start]:02x}")
