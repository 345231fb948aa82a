"""Any bytes as tokens of a byte-level vocabulary: text by its tokenizer, what is no UTF-8 byte by byte."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError

# How Python writes a byte that is no UTF-8 (PEP 383).
_NO_TEXT = re.compile("([\udc80-\udcff]+)")


class ByteTokens:
    """Bytes to tokens and back.

    Args:
        tokenizer: of bytes.

    Raises:
        RequestError: its tokens do not stand for bytes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not tokenizer.byte_level:
            raise RequestError(
                "the model's tokenizer is not of bytes: what it drops could not come back",
                "take a model with tokenizer.name=byte or bpe, or one of the GPT-2 family",
            )
        self._tokenizer = tokenizer
        table = [tokenizer.bytes_of(number) for number in range(tokenizer.size)]
        self._bytes = table
        self._single = {token: number for number, token in reversed(list(enumerate(table))) if len(token) == 1}

    def encode(self, data: bytes) -> NDArray[np.int64] | None:
        """Tokens whose bytes are the data; None where the vocabulary lacks a byte that it needs."""
        pieces = _NO_TEXT.split(data.decode("utf-8", "surrogateescape"))  # text, no text, text, ...
        texts = [piece for piece in pieces[::2] if piece]
        encoded = iter(self._tokenizer.encode(texts))
        found: list[list[int]] = []
        for index, piece in enumerate(pieces):
            if not piece:
                continue
            raw = piece.encode("utf-8", "surrogateescape")
            numbers = next(encoded) if index % 2 == 0 else None
            # some tokenizers tidy the text up: what does not come back is spelled out
            if numbers is None or b"".join([self._bytes[number] for number in numbers]) != raw:
                try:
                    numbers = [self._single[raw[i : i + 1]] for i in range(len(raw))]
                except KeyError:
                    return None
            found.append(numbers)
        return np.concatenate([np.asarray(numbers, dtype=np.int64) for numbers in found or [[]]])

    def decode(self, numbers: NDArray[np.int64]) -> bytes:
        """The bytes of tokens; of numbers beyond the vocabulary, none."""
        size = len(self._bytes)
        return b"".join([self._bytes[number] for number in numbers.tolist() if number < size])
