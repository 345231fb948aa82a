"""Which bytes of a text each token stands for, and whether the tokenizer's own offsets agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding

from dlkit.data.text.tokenizer import Tokenizer

Span = tuple[int, int]  # from and to, in bytes


def token_spans(tokenizer: Tokenizer, text: str, encoding: Encoding) -> list[Span]:
    """The bytes of the text that each token stands for."""
    if tokenizer.byte_level:
        return byte_spans(tokenizer, encoding.ids)
    starts = _character_starts(text)
    return [(int(starts[a]), int(starts[b])) for a, b in encoding.offsets]


def byte_spans(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[Span]:
    """The spans of byte-level tokens, from their lengths: each begins where the one before it ends."""
    ends = list(itertools.accumulate((len(tokenizer.bytes_of(token_id)) for token_id in token_ids), initial=0))
    return list(itertools.pairwise(ends))


def offsets_agree(tokenizer: Tokenizer, text: str, encoding: Encoding) -> bool:
    """Whether byte-level tokens spell the text, and their spans match the offsets of the tokenizers library.

    The library's offsets count characters, round a part of a character to all of it, and may exclude spaces. So both
    are widened to whole characters, and spaces at either end are ignored.
    """
    if b"".join(tokenizer.bytes_of(token_id) for token_id in encoding.ids) != text.encode():
        return False
    starts = _character_starts(text)  # (characters + 1,)
    for (a, b), offsets in zip(byte_spans(tokenizer, encoding.ids), encoding.offsets, strict=True):
        first = int(np.searchsorted(starts, a, side="right")) - 1
        stop = int(np.searchsorted(starts, b, side="left"))
        if _without_spaces(text, first, stop) != _without_spaces(text, *offsets):
            return False
    return True


def _without_spaces(text: str, start: int, stop: int) -> Span | None:
    while start < stop and text[start].isspace():
        start += 1
    while start < stop and text[stop - 1].isspace():
        stop -= 1
    return (start, stop) if start < stop else None


def _character_starts(text: str) -> np.ndarray:
    """The byte at which each character begins, then the number of bytes."""
    return np.cumsum([0, *(len(character.encode()) for character in text)])
