"""Text that people hand over, from a file or from standard input: bounded, UTF-8, with or without a byte-order mark."""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

from dlkit.annotations import is_mapping
from dlkit.errors import DlkitError, RequestError

_MARKS = {  # the longer ones first: UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
# Where a shell puts what it has opened, such as `<(command)`.
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/[0-9]+/fd")


def ordinary_file(path: Path) -> Path:
    """The path of a file. Raises OSError if there is none: a pipe would be waited for, and a device never ends."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind := special_kind(path):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    return path


def special_kind(path: Path) -> str | None:
    """What stands at a path, if it is neither a file nor a folder. Raises OSError if nothing does."""
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode))


def opened_by_shell(path: Path) -> bool:
    """Whether it is a pipe that the shell has opened for this very call, as `<(command)` is."""
    place = path if path != Path("/dev/stdin") else Path("/dev/fd/0")
    return path.is_fifo() and bool(_DESCRIPTORS.fullmatch(os.path.realpath(place.parent)))


def read_start(source: Path | None, most: int) -> bytes:
    """What a file, or standard input for None, begins with; of pipes only those that the shell has opened are read.

    Args:
        source: a path.
        most: bytes.

    Raises:
        OSError: it cannot be read.
    """
    if source is None:
        return sys.stdin.buffer.read(most)
    with (source if opened_by_shell(source) else ordinary_file(source)).open("rb") as file:
        return file.read(most)


def read_bytes(source: Path | None, most: int, what: str) -> bytes:
    """All that a file, or standard input for None, holds.

    Args:
        source: a path.
        most: bytes; an endless input ends here.
        what: it ought to be, for the message.

    Raises:
        RequestError: there is more.
        OSError: it cannot be read.
    """
    data = read_start(source, most + 1)
    if len(data) > most:
        raise RequestError(f"{source_name(source)} is larger than {most:,} bytes: not {what}", "give less at once")
    return data


def source_name(source: Path | None) -> str:
    """For messages."""
    return "standard input" if source is None else str(source)


def detect_encoding(data: bytes) -> str:
    """UTF-8, or what a byte-order mark of another encoding says."""
    return next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), "UTF-8")


def decode_text(data: bytes, name: str, errors: str = "strict") -> str:
    """Bytes as text, without the byte-order mark that some editors put before it.

    Args:
        data: UTF-8.
        name: of where it comes from, for messages.
        errors: as of `bytes.decode`.

    Raises:
        RequestError: it is no UTF-8, or holds bytes of value 0, as no text does.
    """
    if (encoding := detect_encoding(data)) != "UTF-8":
        raise RequestError(f"{name} is {encoding}, not UTF-8", f"convert it: iconv -f {encoding} -t UTF-8")
    if (place := data.find(b"\0")) >= 0:
        raise RequestError(f"{name} is no text: byte {place} is 0", "give lines of text")
    try:
        return data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise RequestError(f"{name} is not UTF-8: {wrong}", "convert it, for example with iconv") from error


def read_json_mapping(file: Path, hint: str) -> dict[str, Any]:
    """The mapping that a JSON file holds. Raises DlkitError with the hint where there is none that can be read."""
    try:
        found = json.loads(ordinary_file(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DlkitError(f"cannot read {file}: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise DlkitError(f"{file} is not JSON: {error}", hint) from error
    if not is_mapping(found):
        raise DlkitError(f"{file} is no mapping", hint)
    return found
