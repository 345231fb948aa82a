"""Binary codes for the symbols of a distribution: Shannon, Shannon-Fano-Elias, Huffman, and range coding.

A range coder has no code words: it spends a fractional number of bits on each symbol.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

# A range coder works with integers: probabilities are in units of 2^-24.
RANGE_BITS = 24


def shannon_code(p: Sequence[float]) -> list[str]:
    """Code words of ceil(-log2 p_i) bits (Shannon 1948), in canonical form.

    A symbol of probability 0 gets the empty word, since it is never coded.
    """
    alone = len(_possible(p)) == 1
    return _canonical([_shannon_length(probability, alone) for probability in p], p)


def shannon_fano_elias_code(p: Sequence[float]) -> list[str]:
    """Code words of ceil(-log2 p_i) + 1 bits, in the given order of symbols (Cover & Thomas, section 5.9)."""
    words, possible = [""] * len(p), _possible(p)
    below, total = Fraction(0), sum(map(Fraction, p))
    for index in possible:
        probability = Fraction(p[index]) / total
        # the first ceil(-log2 p_i) + 1 bits of the middle of the symbol's interval, F_i + p_i / 2
        middle, count = below + probability / 2, _shannon_length(p[index], len(possible) == 1) + 1
        words[index] = format(middle.numerator * (1 << count) // middle.denominator, f"0{count}b")
        below += probability
    return words


def huffman_code(p: Sequence[float]) -> list[str]:
    """The code words of least expected length (Huffman 1952), in canonical form."""
    return _canonical(huffman_lengths(p), p)


def _canonical(lengths: Sequence[int], p: Sequence[float]) -> list[str]:
    """The canonical prefix code with these lengths: counting up, shortest words first, ties in the order of symbols."""
    words, value, previous = [""] * len(p), 0, 0
    for index in sorted(_possible(p), key=lambda i: (lengths[i], i)):
        value <<= lengths[index] - previous
        previous = lengths[index]
        words[index] = format(value, f"0{previous}b") if previous else ""
        value += 1
    return words


def huffman_lengths(p: Sequence[float]) -> list[int]:
    """The lengths of Huffman code words, in bits. The only possible symbol takes 1 bit."""
    lengths = [0] * len(p)
    possible = _possible(p)
    if len(possible) == 1:
        lengths[possible[0]] = 1
        return lengths
    # ties: later symbols first, then older subtrees, which keeps the longest word short
    tie_break = itertools.count()
    heap: list[tuple[float, int, list[int]]] = [(p[index], -index - 1, [index]) for index in possible]
    heapq.heapify(heap)
    # join the two least likely subtrees until one is left; each join adds a bit to every symbol below it
    while len(heap) > 1:
        a, _, left = heapq.heappop(heap)
        b, _, right = heapq.heappop(heap)
        for index in (*left, *right):
            lengths[index] += 1
        heapq.heappush(heap, (a + b, next(tie_break), left + right))
    return lengths


def range_lengths(p: Sequence[float]) -> list[float]:
    """The bits a range coder spends on each symbol: -log2 of its probability, rounded to 2^-24 but at least that."""
    total = 1 << RANGE_BITS
    units = [max(1, round(probability * total)) if probability > 0 else 0 for probability in p]
    return [math.log2(sum(units) / unit) if unit else 0.0 for unit in units]


CODES: dict[str, Callable[[Sequence[float]], list[str]]] = {
    "shannon": shannon_code,
    "shannon-fano-elias": shannon_fano_elias_code,
    "huffman": huffman_code,
}


def _possible(p: Sequence[float]) -> list[int]:
    return [index for index, probability in enumerate(p) if probability > 0]


def _shannon_length(probability: float, alone: bool) -> int:
    """ceil(-log2 p), exactly; at least 1 unless `alone`, since p may have been rounded up to 1."""
    if not probability > 0:
        return 0
    numerator, denominator = Fraction(probability).as_integer_ratio()
    n = max(0, denominator.bit_length() - numerator.bit_length() - 1)
    while numerator << n < denominator:
        n += 1
    return n if alone else max(n, 1)
