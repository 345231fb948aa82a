"""Text input from a file or standard input: bounded in size, UTF-8, with or without a byte-order mark."""

from __future__ import annotations

import codecs
import errno
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError, RequestError
from dlkit.strict_json import parse_json

_MARKS = {  # longer ones first: UTF-32's begins like UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
# The folders of process substitutions such as `<(command)`.
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/[0-9]+/fd")


def ordinary_file(path: Path) -> Path:
    """The path, if it is an ordinary file. Raises OSError otherwise: a pipe would block, and a device never ends."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind := special_kind(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    return path


def special_kind(path: Path) -> str | None:
    """The kind of a path that is neither a file nor a folder, else None. Raises OSError if it does not exist."""
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode))


def opened_by_shell(path: Path) -> bool:
    """Whether it is a pipe opened by the shell for this command, such as `<(command)`."""
    opened = path if path != Path("/dev/stdin") else Path("/dev/fd/0")
    return path.is_fifo() and bool(_DESCRIPTORS.fullmatch(os.path.realpath(opened.parent)))


def read_start(source: Path | None, most: int) -> bytes:
    """The first bytes of a file, or of standard input for None. Of pipes, only those opened by the shell are read.

    Args:
        source: a path.
        most: number of bytes.

    Raises:
        OSError: it cannot be read.
    """
    if source is None:
        return sys.stdin.buffer.read(most)
    with (source if opened_by_shell(source) else ordinary_file(source)).open("rb") as file:
        return file.read(most)


def read_bytes(source: Path | None, most: int, what: str) -> bytes:
    """The content of a file, or of standard input for None.

    Args:
        source: a path.
        most: limit in bytes.
        what: the input is supposed to be, for the message.

    Raises:
        RequestError: it is longer than the limit.
        OSError: it cannot be read.
    """
    data = read_start(source, most + 1)
    if len(data) > most:
        raise RequestError(f"{source_name(source)} is larger than {most:,} bytes: not {what}", "give less at once")
    return data


def source_name(source: Path | None) -> str:
    """The name of a source for messages."""
    return "standard input" if source is None else str(source)


def detect_encoding(data: bytes) -> str:
    """The encoding stated by a byte-order mark, else UTF-8."""
    return next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), "UTF-8")


def require_utf_8(data: bytes, name: str) -> None:
    """Raise RequestError if the bytes at the beginning of a source say that it is UTF-16 or UTF-32."""
    if (encoding := detect_encoding(data)) != "UTF-8":
        raise RequestError(f"{name} is {encoding}, not UTF-8", f"convert it: iconv -f {encoding} -t UTF-8")


def decode_text(data: bytes, name: str, errors: str = "strict") -> str:
    """Decode UTF-8, without a byte-order mark.

    Args:
        data: the bytes.
        name: of the source, for messages.
        errors: as in `bytes.decode`.

    Raises:
        RequestError: it is not UTF-8, or contains null bytes.
    """
    require_utf_8(data, name)
    if (offset := data.find(b"\0")) >= 0:
        raise RequestError(f"{name} is no text: byte {offset} is 0", "give lines of text")
    try:
        return data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise RequestError(f"{name} is not UTF-8: {wrong}", "convert it, for example with iconv") from error


def read_json_mapping(file: Path, hint: str) -> dict[str, Any]:
    """The mapping in a JSON file. Raises DlkitError with the hint if it cannot be read or is not a mapping."""
    try:
        found = parse_json(ordinary_file(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DlkitError(f"cannot read {file}: {error.strerror}", hint) from error
    except ValueError as error:
        raise DlkitError(f"{file} is not JSON: {error}", hint) from error
    if not is_mapping(found):
        raise DlkitError(f"{file} is not a mapping", hint)
    return found
