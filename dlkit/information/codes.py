"""Binary codes for the symbols of a distribution, and what a code is worth: Kraft sum, prefixes, unique decodability.

In order of rising efficiency: Shannon, Shannon-Fano-Elias (in which order matters), Huffman, and range coding, which
has no code words because it gives each symbol a fraction of a bit.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from dlkit.errors import RequestError

# A range coder works with whole numbers: probabilities in units of 2^-24.
RANGE_BITS = 24


def shannon(p: Sequence[float]) -> list[str]:
    """Words of ceil(-log2 p_i) bits (Shannon 1948), in canonical form.

    A symbol of probability 0 gets the empty word: it never has to be written.
    """
    alone = len(_possible(p)) == 1
    return _canonical([_shannon_length(probability, alone) for probability in p], p)


def shannon_fano_elias(p: Sequence[float]) -> list[str]:
    """Words of ceil(-log2 p_i) + 1 bits in the given order of symbols (Cover & Thomas, section 5.9)."""
    words, possible = [""] * len(p), _possible(p)
    below, total = Fraction(0), sum(map(Fraction, p))
    for index in possible:
        probability = Fraction(p[index]) / total
        # the first ceil(-log2 p_i) + 1 bits of the middle of the symbol's interval, F_i + p_i / 2
        middle, count = below + probability / 2, _shannon_length(p[index], len(possible) == 1) + 1
        words[index] = format(middle.numerator * (1 << count) // middle.denominator, f"0{count}b")
        below += probability
    return words


def huffman(p: Sequence[float]) -> list[str]:
    """The words of least expected length (Huffman 1952), in canonical form."""
    return _canonical(huffman_lengths(p), p)


def _canonical(lengths: Sequence[int], p: Sequence[float]) -> list[str]:
    """Prefix-free words of these lengths: counting upwards, the shortest first and the earlier symbol among equals."""
    words, value, previous = [""] * len(p), 0, 0
    for index in sorted(_possible(p), key=lambda i: (lengths[i], i)):
        value <<= lengths[index] - previous
        previous = lengths[index]
        words[index] = format(value, f"0{previous}b") if previous else ""
        value += 1
    return words


def huffman_lengths(p: Sequence[float]) -> list[int]:
    """Lengths of Huffman's words: k numbers. A single possible symbol takes 1 bit."""
    lengths = [0] * len(p)
    possible = _possible(p)
    if len(possible) == 1:
        lengths[possible[0]] = 1
        return lengths
    # among equals later symbols go first, then the older subtrees: that keeps the longest word short
    order = itertools.count()
    heap: list[tuple[float, int, list[int]]] = [(p[index], -index - 1, [index]) for index in possible]
    heapq.heapify(heap)
    # join the two least likely subtrees until one is left; each join is one more bit for every symbol below
    while len(heap) > 1:
        a, _, left = heapq.heappop(heap)
        b, _, right = heapq.heappop(heap)
        for index in (*left, *right):
            lengths[index] += 1
        heapq.heappush(heap, (a + b, next(order), left + right))
    return lengths


def range_lengths(p: Sequence[float]) -> list[float]:
    """Bits that a range coder spends on each symbol: -log2 of its probability rounded to 2^-24, at least one unit."""
    total = 1 << RANGE_BITS
    units = [max(1, round(probability * total)) if probability > 0 else 0 for probability in p]
    return [math.log2(sum(units) / unit) if unit else 0.0 for unit in units]


WORDS: dict[str, Callable[[Sequence[float]], list[str]]] = {
    "shannon": shannon,
    "shannon-fano-elias": shannon_fano_elias,
    "huffman": huffman,
}


def expected_length(p: Sequence[float], lengths: Sequence[float]) -> float:
    """Mean bits a symbol."""
    # L = sum_i p_i l_i
    return math.fsum(probability * length for probability, length in zip(p, lengths, strict=True))


def kraft_sum(lengths: Sequence[float]) -> float:
    """At most 1 for every uniquely decodable code (Kraft 1949, McMillan 1956)."""
    # K = sum_i 2^-l_i
    return math.fsum(2.0**-length for length in lengths)


def prefix_violation(words: Mapping[str, str]) -> tuple[str, str] | None:
    """Two symbols of which the first's word begins the second's, or None for a prefix-free code."""
    ordered = sorted(words.items(), key=lambda item: item[1])
    for (a, shorter), (b, longer) in itertools.pairwise(ordered):  # sorted, so a prefix stands right before
        if longer.startswith(shorter):
            return a, b
    return None


def ambiguity(words: Mapping[str, str]) -> tuple[str, list[str], list[str]] | None:
    """A shortest string that two sequences of symbols share, with both of them; None if there is none.

    Sardinas & Patterson 1953: follow what one sequence is ahead of the other by, the dangling suffix, until it is gone.

    Raises:
        RequestError: a word is empty, or has other characters than 0 and 1.
    """
    for symbol, word in words.items():
        if not word or set(word) - {"0", "1"}:
            raise RequestError(f"the code word of {symbol} is {word!r}", "words are made of 0 and 1")
    # (length so far, tie-break, suffix that the first sequence is ahead by, first, second)
    heap: list[tuple[int, int, str, tuple[str, ...], tuple[str, ...]]] = []
    order, seen = itertools.count(), set[str]()
    for (a, longer), (b, shorter) in itertools.permutations(words.items(), 2):
        if longer.startswith(shorter):
            heapq.heappush(heap, (len(longer), next(order), longer[len(shorter) :], (a,), (b,)))
    while heap:
        length, _, ahead, first, second = heapq.heappop(heap)
        if not ahead:
            return "".join(words[symbol] for symbol in first), list(first), list(second)
        if ahead in seen:
            continue
        seen.add(ahead)
        for symbol, word in words.items():
            if ahead.startswith(word):
                heapq.heappush(heap, (length, next(order), ahead[len(word) :], first, (*second, symbol)))
            elif word.startswith(ahead):
                rest = word[len(ahead) :]
                heapq.heappush(heap, (length + len(rest), next(order), rest, (*second, symbol), first))
    return None


def _possible(p: Sequence[float]) -> list[int]:
    return [index for index, probability in enumerate(p) if probability > 0]


def _shannon_length(probability: float, alone: bool) -> int:
    """ceil(-log2 p) exactly; at least 1 beside other possible symbols, where a float may have rounded p up to 1."""
    if not probability > 0:
        return 0
    numerator, denominator = Fraction(probability).as_integer_ratio()
    n = max(0, denominator.bit_length() - numerator.bit_length() - 1)
    while numerator << n < denominator:
        n += 1
    return n if alone else max(n, 1)
