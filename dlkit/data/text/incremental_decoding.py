"""Decoding token ids that arrive one by one."""

from __future__ import annotations

from collections.abc import Sequence

from dlkit.data.text.tokenizer import Tokenizer

_AROUND = 8  # so many preceding tokens may affect how a token is decoded


class IncrementalDecoder:
    """Decodes token ids to bytes one by one.

    A byte-level token is decoded on its own. Others depend on their neighbours: `##s` has no space before it, and
    GPT-1's `cat</w>` has one after it only if a word follows.

    Args:
        tokenizer: of the tokens.
        before: the token ids that precede them.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._window = list(before[-_AROUND:])
        self._emitted = "" if tokenizer.byte_level else tokenizer.decode(self._window)

    def push(self, token_id: int) -> bytes:
        """Add a token; returns the bytes that are now certain."""
        if self._tokenizer.byte_level:
            return self._tokenizer.bytes_of(token_id)
        self._window.append(token_id)
        text = self._tokenizer.decode(self._window)
        if text.endswith("\ufffd") and len(self._window) <= 2 * _AROUND:
            return b""  # perhaps part of a character
        new = text[len(self._emitted) :]
        self._window = self._window[-_AROUND:]
        self._emitted = self._tokenizer.decode(self._window)
        return new.encode()

    def finish(self) -> bytes:
        """The remaining bytes."""
        if self._tokenizer.byte_level:
            return b""
        return self._tokenizer.decode(self._window)[len(self._emitted) :].encode()
