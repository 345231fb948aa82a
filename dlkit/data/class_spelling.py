"""Names of classes that are different strings but look the same to a reader."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE)
# Beside the characters of category Cf (soft hyphen, zero-width space, byte-order mark, marks of writing direction, ...)
# these show nothing: the grapheme joiner, the fillers of Hangul, Khmer's inherent vowels, Mongolian and other variation
# selectors, the blank of Braille (Unicode, Default_Ignorable_Code_Point).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_QUOTES = "\"'\u2018\u2019\u201c\u201d"
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
_WORDS = {"true": "1", "false": "0", "yes": "y", "no": "n"}


def is_number(text: str) -> bool:
    """Whether a text is a number as programs write it; hundreds of digits are none."""
    return len(text) <= 400 and _NUMBER.fullmatch(text) is not None


def visible(text: str) -> str:
    """The text without the characters that show nothing, and without spaces around it."""
    shown = (x for x in text if x.isspace() or unicodedata.category(x) not in ("Cf", "Cc"))
    return _INVISIBLE.sub("", "".join(shown)).strip()


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that look alike, each sorted.

    Case, the width of spaces, invisible characters, quotes around a name, the kind of a dash, the coding of accents,
    and the zeros and commas of a number do not count; true is 1 and yes is y.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(_appearance(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def quoted_name(name: str) -> str:
    """The name in quotes, with what cannot be seen in it written as \\u200b is."""
    plain = visible(name) == name.strip(" ") and unicodedata.is_normalized("NFC", name)
    return repr(name) if plain else ascii(name)


def remarks_on(what: str, names: Iterable[str], most: int = 4) -> list[str]:
    """A line for the user for each group of classes that look alike; `what` has them."""
    lines: list[str] = []
    for group in look_alikes(names):
        rest = f" and {len(group) - most} more" if len(group) > most else ""
        lines.append(
            f"{what}: {', '.join(map(quoted_name, group[:most]))}{rest} are {len(group)} classes, as they are written"
        )
    return lines


def _appearance(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", visible(name)).casefold().translate(_DASHES).split())
    text = text.strip(_QUOTES).strip() or text
    text = _WORDS.get(text, text)
    number = text.removesuffix("%").rstrip()
    number = number.replace(",", "") if _THOUSANDS.fullmatch(number) else number
    if is_number(number):
        return _value(number) + ("%" if text.endswith("%") else "")
    return text


def _value(number: str) -> str:
    """The same text for numbers of the same value, of any size."""
    try:
        sign, digits, exponent = Decimal(number).as_tuple()
    except InvalidOperation:  # an exponent beyond all bounds
        return number
    significant = "".join(map(str, digits)).lstrip("0")
    plain = significant.rstrip("0")
    if not isinstance(exponent, int):
        return f"{sign} {exponent}"
    return f"{sign} {plain} {exponent + len(significant) - len(plain)}" if plain else "0"
