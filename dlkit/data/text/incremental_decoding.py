"""Decoding token ids that arrive one by one."""

from __future__ import annotations

from collections.abc import Sequence

from dlkit.data.text.tokenizer import Tokenizer

_AROUND = 8  # so many preceding tokens may affect how a token is decoded


class IncrementalDecoder:
    """Decodes token ids to bytes one by one.

    A byte-level token is decoded on its own. Others depend on their neighbours: `##s` has no space before it, GPT-1's
    `cat</w>` has one after it only if a word follows, and `<0xC3>` `<0xA9>` are one letter.

    Args:
        tokenizer: of the tokens.
        before: the token ids that precede them.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._shown = list(before[-_AROUND:])  # tokens whose text is out: where they begin, a letter does
        self._held: list[int] = []  # those behind them, whose text is not

    def push(self, token_id: int) -> bytes:
        """Add a token; returns the bytes that are now certain."""
        if self._tokenizer.byte_level:
            return self._tokenizer.bytes_of(token_id)
        self._held.append(token_id)
        new = self._new_text()
        if new.endswith("\ufffd") and len(self._held) <= _AROUND:
            return b""  # perhaps part of a character
        self._shown, self._held = self._held, []
        return new.encode()

    def finish(self) -> bytes:
        """The remaining bytes."""
        return b"" if self._tokenizer.byte_level else self._new_text().encode()

    def _new_text(self) -> str:
        """The text of the held tokens where they stand."""
        before, text = self._tokenizer.decode(self._shown), self._tokenizer.decode(self._shown + self._held)
        if text.startswith(before):
            return text[len(before) :]
        return self._tokenizer.decode(self._held)  # bytes that are no text make what is before them unreadable too
