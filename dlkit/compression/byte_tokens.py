"""Any bytes as token ids of a byte-level vocabulary: UTF-8 by the tokenizer, everything else byte by byte."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import RequestError

# Bytes that are not UTF-8, as Python's "surrogateescape" decodes them (PEP 383).
_NOT_UTF8 = re.compile("([\udc80-\udcff]+)")


class ByteTokens:
    """Converts bytes to token ids and back, losslessly.

    Args:
        tokenizer: a byte-level one.

    Raises:
        RequestError: the tokenizer is not byte-level.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not tokenizer.byte_level:
            raise RequestError(
                "the model's tokenizer is not of bytes: what it drops could not come back",
                "take a model with tokenizer.name=byte or bpe, or one of the GPT-2 family",
            )
        self._tokenizer = tokenizer
        table = [tokenizer.bytes_of(token_id) for token_id in range(tokenizer.size)]
        self._bytes = table
        self._single = {token: token_id for token_id, token in reversed(list(enumerate(table))) if len(token) == 1}

    def encode(self, data: bytes) -> NDArray[np.int64] | None:
        """Token ids that spell the data, (T,); None if the vocabulary lacks one of its bytes."""
        pieces = _NOT_UTF8.split(data.decode("utf-8", "surrogateescape"))  # UTF-8, not UTF-8, UTF-8, ...
        texts = [piece for piece in pieces[::2] if piece]
        encoded = iter(self._tokenizer.encode(texts))
        found: list[list[int]] = []
        for index, piece in enumerate(pieces):
            if not piece:
                continue
            raw = piece.encode("utf-8", "surrogateescape")
            ids = next(encoded) if index % 2 == 0 else None
            # some tokenizers normalize the text: if the tokens do not spell it, it goes byte by byte
            if ids is None or b"".join([self._bytes[token_id] for token_id in ids]) != raw:
                try:
                    ids = [self._single[raw[i : i + 1]] for i in range(len(raw))]
                except KeyError:
                    return None
            found.append(ids)
        return np.concatenate([np.asarray(ids, dtype=np.int64) for ids in found or [[]]])

    def decode(self, token_ids: NDArray[np.int64]) -> bytes:
        """The bytes that token ids spell; ids beyond the vocabulary spell none."""
        size = len(self._bytes)
        return b"".join([self._bytes[token_id] for token_id in token_ids.tolist() if token_id < size])
