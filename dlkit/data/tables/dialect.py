"""How a CSV file is written: what separates its columns, its decimal mark and its encoding, recognised or as set.

Free of torch and pyarrow.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Any, BinaryIO, Literal

from dlkit.annotations import Pattern
from dlkit.errors import DlkitError, RequestError
from dlkit.text_input import detect_encoding

# What `data.separator` and `data.decimal` may be; a name is easier to type in a shell than the character itself.
_NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
Separator = Annotated[
    str, Pattern(r"^(auto|comma|semicolon|tab|bar|space|[^\r\n\"])$", ("auto", "comma", "semicolon", "tab", "bar"))
]
Decimal = Literal["auto", "point", "comma"]

_PLURAL = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_GUESSED = (",", ";", "\t", "|")  # the more usual first
_SAMPLE = 1 << 20  # bytes at the beginning of a file that its separator and decimal mark are told from
_BLOCK = 1 << 20
_DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?\s*")
_DECIMAL_POINT = re.compile(r"\s*[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?\s*")
_MARKED = {"UTF-8": "utf-8", "UTF-16": "utf-16", "UTF-32": "utf-32"}
_OTHERS = bytes(set(range(256)) - {*b'"\n'})  # than those that tell whether a line ends within quotation marks
_LEGACY = "cp1252"  # Western Windows, of which the printable characters of Latin-1 are a part


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written. The default is RFC 4180 in UTF-8.

    Args:
        separator: the character between two columns.
        decimal: the decimal mark of its numbers.
        encoding: as Python calls it.
        multiline: whether values in quotation marks may span several lines.
    """

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    multiline: bool = True

    def described(self) -> str:
        """What is unusual about it, for the user; empty if nothing is."""
        shown = _PLURAL.get(self.separator, f"{self.separator!r}")
        parts = [f"separated by {shown}"] if self.separator != "," else []
        parts += ["decimal commas"] if self.decimal == "," else []
        parts += [f"in {self.encoding}"] if self.encoding != "utf-8" else []
        return ", ".join(parts)

    def record(self) -> dict[str, str]:
        """The same as fields of a record."""
        return {"separator": self.separator, "decimal": self.decimal, "encoding": self.encoding}


RFC_4180 = Dialect()


@dataclass(frozen=True)
class DialectRequest:
    """What the user says of a CSV file; `auto` is to be recognised.

    Raises RequestError where Python knows no such encoding.
    """

    separator: str = "auto"
    decimal: str = "auto"
    encoding: str = "auto"

    def __post_init__(self) -> None:
        if self.encoding == "auto":
            return
        try:
            "".encode(self.encoding)
        except (LookupError, UnicodeError):
            close = get_close_matches(self.encoding.lower(), _encodings(), n=1)
            guess = f" (did you mean {close[0]!r}?)" if close else ""
            raise RequestError(
                f"data.encoding is {self.encoding!r}, which is no encoding{guess}",
                f"such as utf-8, cp1252, latin-1 or utf-16; {'the closest name' if close else 'to have it recognised'}",
                f"data.encoding={close[0] if close else 'auto'}",
            ) from None

    def of_header(self, header: str) -> Dialect:
        """The dialect of rows that come one by one, from their first line. Their decimal mark shows in each number."""
        separator = self._separator([header])
        decimal = "," if self.decimal == "comma" or (self.decimal == "auto" and separator != ",") else "."
        return Dialect(separator, decimal, "utf-8" if self.encoding == "auto" else _name(self.encoding))

    def of_text(self, text: str, encoding: str) -> Dialect:
        """The dialect of the lines at the beginning of a file.

        A comma is the decimal mark where it stands within numbers and no point does, and does not separate columns.
        """
        lines = text.splitlines()
        separator = self._separator(lines)
        decimal = {"point": ".", "comma": ","}.get(self.decimal, "")
        if not decimal:
            cells = [cell for row in _cells(lines[1:], separator) for cell in row] if separator != "," else []
            pointed = any(map(_DECIMAL_POINT.fullmatch, cells))
            decimal = "," if not pointed and any(map(_DECIMAL_COMMA.fullmatch, cells)) else "."
        return Dialect(separator, decimal, encoding)

    def _separator(self, lines: Sequence[str]) -> str:
        """Of those that are usual, the one that gives every row the most columns, as many as the header has."""
        if self.separator != "auto":
            return _NAMED.get(self.separator, self.separator)
        best, most = ",", (False, 1)
        for separator in _GUESSED:
            widths = [len(row) for row in _cells(lines[:100], separator) if row]
            found = (len(set(widths)) == 1, widths[0] if widths else 0)
            if found[1] > 1 and found > most:
                best, most = separator, found
        return best


AUTO = DialectRequest()


def dialect_request(data: Mapping[str, Any]) -> DialectRequest:
    """What the `data` section of a recipe says of a CSV file."""
    return DialectRequest(**{key: data[key] for key in ("separator", "decimal", "encoding") if data.get(key)})


def as_point(number: str) -> str:
    """A number with a decimal comma, such as 3,5, with a point; other text as it is."""
    return number.replace(",", ".") if _DECIMAL_COMMA.fullmatch(number) else number


def has_decimal_comma(text: str) -> bool:
    """Whether a text is a number with a decimal comma."""
    return _DECIMAL_COMMA.fullmatch(text) is not None


def recognise(stream: BinaryIO, name: str, request: DialectRequest) -> Dialect:
    """The dialect of a CSV file.

    Its encoding is the one that a byte-order mark states, or else UTF-8 where all of its bytes are that, or else
    Windows-1252.

    Args:
        stream: its bytes, decompressed.
        name: of the file, for messages.
        request: what is known of it.

    Raises:
        DlkitError: its bytes are not of the encoding, or of none that is recognised.
    """
    start, multiline = stream.read(_SAMPLE), True
    if request.encoding != "auto":
        encoding = _name(request.encoding)
    elif (marked := _MARKED[detect_encoding(start)]) != "utf-8":
        encoding = marked
    else:
        valid, multiline = _scanned(itertools.chain([start], iter(lambda: stream.read(_BLOCK), b"")))
        encoding = "utf-8" if valid else _LEGACY
    if start.startswith(b"PAR1"):
        raise DlkitError(f"{name} is Parquet, not CSV", "read it as that", "data.name=parquet")
    if b"\0" in start and not encoding.startswith(("utf-16", "utf-32")):
        guess = "utf-16-be" if start[:1] == b"\0" else "utf-16-le"
        raise DlkitError(
            f"{name} is no text: byte {start.find(0)} is 0",
            "if it is UTF-16 without a mark, say so",
            f"data.encoding={guess}",
        )
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start, final=len(start) < _SAMPLE)
    except UnicodeDecodeError as error:
        raise DlkitError(
            f"cannot read {name}: byte 0x{start[error.start]:02x} at offset {error.start} is not {encoding}",
            "data.encoding is the one it has, such as cp1252, cp1251, shift_jis or utf-16"
            if request.encoding == "auto"
            else "have it recognised",
            None if request.encoding == "auto" else "data.encoding=auto",
        ) from error
    text = text.removeprefix("\ufeff")
    whole = text if len(start) < _SAMPLE else text.rpartition("\n")[0]  # the last line may be cut
    return replace(request.of_text(whole, encoding), multiline=multiline)


def _scanned(blocks: Iterable[bytes]) -> tuple[bool, bool]:
    """Whether all blocks together are UTF-8, and whether a line may end within quotation marks."""
    decoder, multiline, open_quotes = codecs.getincrementaldecoder("utf-8")(), False, 0
    try:
        for block in blocks:
            decoder.decode(block)
            if not multiline and (open_quotes or b'"' in block):
                multiline, open_quotes = _ends_within_quotes(block, open_quotes)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False, True
    return True, multiline


def _ends_within_quotes(block: bytes, before: int) -> tuple[bool, int]:
    """Whether any line of a block ends behind an odd number of quotation marks, and the parity at its end.

    Args:
        block: of a file.
        before: 1 behind an odd number of quotation marks, else 0.
    """
    import numpy as np  # which not every command needs

    # the few bytes that count, found four times faster than by looking at all of them in numpy
    text = np.frombuffer(block.translate(None, _OTHERS), np.uint8)
    if not len(text):
        return False, before
    count = np.cumsum(text == ord('"'), dtype=np.uint8)  # modulo 256, which keeps the parity
    return bool(((count[text == ord("\n")] + before) % 2).any()), (int(count[-1]) + before) % 2


def _cells(lines: Iterable[str], separator: str) -> Iterable[list[str]]:
    """The cells of each row, as far as the lines can be read."""
    try:
        yield from csv.reader(lines, delimiter=separator)
    except csv.Error:
        return


def _name(encoding: str) -> str:
    return codecs.lookup(encoding).name.removesuffix("-sig")


def _encodings() -> list[str]:
    from encodings.aliases import aliases

    return sorted({*aliases, *aliases.values(), "utf-8", "utf-16", "utf-32", "latin-1", "iso-8859-1", "windows-1252"})
