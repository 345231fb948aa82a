"""Displaying tokens safely: every character of a hostile or invisible token is visible, and none takes effect.

A token may hold any text: control characters, bidirectional marks, lone surrogates. Characters that would take effect
or be invisible are replaced by a symbol or their code point; ordinary, combining and joining characters stay.
"""

from __future__ import annotations

import unicodedata

# Symbols for common invisible characters in the tokens of byte-level tokenizers.
SYMBOLS = {" ": "·", "\n": "↵", "\t": "⇥"}
_JOINERS = "\u200c\u200d"  # they shape Persian and Indic words, and emoji sequences


def token_runs(token: str) -> list[tuple[str, str]]:
    """A token as runs of (displayed, original) text, which differ where a character had to be made visible."""
    runs: list[tuple[str, str]] = []
    for index, character in enumerate(token):
        shown = _shown(token, index)
        if shown == character and runs and runs[-1][0] == runs[-1][1]:
            runs[-1] = (runs[-1][0] + character, runs[-1][1] + character)
        else:
            runs.append((shown, character))
    return runs or [("∅", "")]


def display_token(token: str) -> str:
    """A token as one line of safe text: without control characters, bidirectional marks or surrogates."""
    return "".join(shown for shown, _ in token_runs(token))


def display_line(text: str) -> str:
    """A text as one line of safe text, with its spaces kept."""
    return "".join(" " if meant == " " else shown for shown, meant in token_runs(text)) if text else ""


def _shown(token: str, index: int) -> str:
    character = token[index]
    if character in SYMBOLS:
        return SYMBOLS[character]
    if character in _JOINERS and 0 < index < len(token) - 1 and min(token[index - 1], token[index + 1]) > "\x7f":
        return character
    # Cc control, Cf format (direction, zero width), Cs surrogate, Zl Zp line ends, Zs blanks, Co private, Cn unassigned
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Co", "Cn"):
        return f"⟨{ord(character):02X}⟩"
    if index == 0 and category in ("Mn", "Me", "Mc"):  # it would combine with whatever precedes the token
        return "◌" + character
    return character
