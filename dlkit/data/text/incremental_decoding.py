"""Tokens that come one by one, as text."""

from __future__ import annotations

from collections.abc import Sequence

from dlkit.data.text.tokenizer import Tokenizer

_AROUND = 8  # tokens that the spelling of one may depend on


class IncrementalDecoder:
    """The bytes of tokens that come one by one, and go on behind others.

    A byte-level token is its bytes. Others are spelled by the tokens around them: `##s` has no space before it, and
    GPT-1's `cat</w>` has one behind it as soon as a word follows.

    Args:
        tokenizer: of the tokens.
        before: the tokens that they follow.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._window = list(before[-_AROUND:])
        self._told = "" if tokenizer.byte_level else tokenizer.decode(self._window)

    def push(self, number: int) -> bytes:
        """The bytes that a token adds for certain."""
        if self._tokenizer.byte_level:
            return self._tokenizer.bytes_of(number)
        self._window.append(number)
        text = self._tokenizer.decode(self._window)
        if text.endswith("\ufffd") and len(self._window) <= 2 * _AROUND:
            return b""  # a part of a character, perhaps
        new = text[len(self._told) :]
        self._window = self._window[-_AROUND:]
        self._told = self._tokenizer.decode(self._window)
        return new.encode()

    def finish(self) -> bytes:
        """What is left."""
        if self._tokenizer.byte_level:
            return b""
        return self._tokenizer.decode(self._window)[len(self._told) :].encode()
