"""Labels of tokens: every character of a hostile or invisible token can be seen, and none of them acts.

A token's text may hold anything: control characters, marks that turn the writing direction, halves of surrogate pairs.
What would act or vanish is shown by a sign or by its code point; what is written, combined and joined stays as it is.
"""

from __future__ import annotations

import unicodedata

# Signs for what is common and invisible in the tokens of byte-level tokenizers.
SIGNS = {" ": "·", "\n": "↵", "\t": "⇥"}
_JOINERS = "\u200c\u200d"  # they shape Persian and Indic words, and families of emoji


def pieces(token: str) -> list[tuple[str, str]]:
    """A token as runs of (what is shown, what it stands for); they differ where a character was made visible."""
    runs: list[tuple[str, str]] = []
    for place, character in enumerate(token):
        shown = _shown(token, place)
        if shown == character and runs and runs[-1][0] == runs[-1][1]:
            runs[-1] = (runs[-1][0] + character, runs[-1][1] + character)
        else:
            runs.append((shown, character))
    return runs or [("∅", "")]


def visible(token: str) -> str:
    """A token as one line of text that acts on nothing: no control character, no mark of direction, no surrogate."""
    return "".join(shown for shown, _ in pieces(token))


def prose(text: str) -> str:
    """A text as one line that acts on nothing, its spaces kept."""
    return "".join(" " if meant == " " else shown for shown, meant in pieces(text)) if text else ""


def _shown(token: str, place: int) -> str:
    character = token[place]
    if character in SIGNS:
        return SIGNS[character]
    if character in _JOINERS and 0 < place < len(token) - 1 and min(token[place - 1], token[place + 1]) > "\x7f":
        return character
    # Cc control, Cf format (direction, zero width), Cs surrogate, Zl Zp line ends, Zs blanks, Co private, Cn unassigned
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Co", "Cn"):
        return f"⟨{ord(character):02X}⟩"
    if place == 0 and category in ("Mn", "Me", "Mc"):  # it would sit on whatever stands before the token
        return "◌" + character
    return character
