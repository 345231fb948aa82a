"""What a code is worth: expected length, Kraft sum, prefix-freeness and unique decodability."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence

from dlkit.errors import RequestError


def expected_length(p: Sequence[float], lengths: Sequence[float]) -> float:
    """The expected code length L, in bits per symbol."""
    # L = sum_i p_i l_i
    return math.fsum(probability * length for probability, length in zip(p, lengths, strict=True))


def kraft_sum(lengths: Sequence[float]) -> float:
    """The Kraft sum K, at most 1 for every uniquely decodable code (Kraft 1949, McMillan 1956)."""
    # K = sum_i 2^-l_i
    return math.fsum(2.0**-length for length in lengths)


def prefix_violation(words: Mapping[str, str]) -> tuple[str, str] | None:
    """Two symbols (a, b) such that a's word is a prefix of b's; None for a prefix-free code."""
    ordered = sorted(words.items(), key=lambda item: item[1])
    for (a, shorter), (b, longer) in itertools.pairwise(ordered):  # sorted: a prefix comes right before
        if longer.startswith(shorter):
            return a, b
    return None


def ambiguity(words: Mapping[str, str]) -> tuple[str, list[str], list[str]] | None:
    """A shortest string of bits with two decodings, and both of them; None for a uniquely decodable code.

    Sardinas & Patterson 1953: follow the dangling suffix, by which one sequence of words is ahead of the other, until
    it is empty.

    Raises:
        RequestError: a word is empty, or has characters other than 0 and 1.
    """
    for symbol, word in words.items():
        if not word or set(word) - {"0", "1"}:
            raise RequestError(f"the code word of {symbol} is {word!r}", "words are made of 0 and 1")
    # (length so far, tie-break, dangling suffix of the first sequence, first, second)
    heap: list[tuple[int, int, str, tuple[str, ...], tuple[str, ...]]] = []
    tie_break, seen = itertools.count(), set[str]()
    for (a, longer), (b, shorter) in itertools.permutations(words.items(), 2):
        if longer.startswith(shorter):
            heapq.heappush(heap, (len(longer), next(tie_break), longer[len(shorter) :], (a,), (b,)))
    while heap:
        length, _, dangling, first, second = heapq.heappop(heap)
        if not dangling:
            return "".join(words[symbol] for symbol in first), list(first), list(second)
        if dangling in seen:
            continue
        seen.add(dangling)
        for symbol, word in words.items():
            if dangling.startswith(word):
                heapq.heappush(heap, (length, next(tie_break), dangling[len(word) :], first, (*second, symbol)))
            elif word.startswith(dangling):
                rest = word[len(dangling) :]
                heapq.heappush(heap, (length + len(rest), next(tie_break), rest, (*second, symbol), first))
    return None
