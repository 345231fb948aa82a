"""Displayed tokens: invisible and active characters are spelled out, everything else stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.attention.token_display import display_line, display_token, token_runs


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("animal", "animal"),
        (" the", "·the"),
        ("\n\t", "↵⇥"),
        ("", "∅"),
        ("\x00", "⟨00⟩"),
        ("\x1b[31m", "⟨1B⟩[31m"),
        ("\u202eabc", "⟨202E⟩abc"),
        ("\u2066\u200f", "⟨2066⟩⟨200F⟩"),
        ("\u2028", "⟨2028⟩"),
        ("\ud83d", "⟨D83D⟩"),
        ("a\u200bb", "a⟨200B⟩b"),
        ("\u00a0", "⟨A0⟩"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("\u200d", "⟨200D⟩"),
        ("\u06cc\u200c\u062e", "\u06cc\u200c\u062e"),  # a Persian plural
        ("<b>&amp;", "<b>&amp;"),
        ("\U000e0041", "⟨E0041⟩"),
    ],
)
def test_what_is_shown(token: str, shown: str) -> None:
    assert display_token(token) == shown


@given(st.text(st.characters(exclude_categories=()), max_size=12))
def test_no_character_acts_and_none_is_lost(token: str) -> None:
    assert "".join(meant for _, meant in token_runs(token)) == token
    for text in (display_token(token), display_line(token)):
        assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in text)
        assert all(unicodedata.category(c) != "Cf" or c in "\u200c\u200d" for c in text)
        text.encode("utf-8")


def test_prose_keeps_spaces() -> None:
    assert display_line("a  b\x07 c") == "a  b⟨07⟩ c"
    assert display_line("") == ""
