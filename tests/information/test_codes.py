"""Codes against brute force and Shannon's bounds; unique decodability against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.errors import RequestError
from dlkit.information import code_properties, codes

odds = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12).map(lambda w: [x / sum(w) for x in w])


def entropy(p: list[float]) -> float:
    return -math.fsum(x * math.log2(x) for x in p if x > 0)


def lengths(words: list[str]) -> list[int]:
    return [len(word) for word in words]


@given(odds)
def test_huffman_is_within_a_bit_of_entropy_and_prefix_free(p: list[float]) -> None:
    words = codes.huffman_code(p)
    mean = code_properties.expected_length(p, lengths(words))
    assert entropy(p) - 1e-9 <= mean < entropy(p) + 1 + 1e-9
    assert code_properties.prefix_violation(dict(enumerate(words))) is None  # pyright: ignore[reportArgumentType]
    assert code_properties.kraft_sum(lengths(words)) == pytest.approx(1.0 if len(p) > 1 else 0.5)


@given(odds)
def test_shannon_and_elias_keep_their_lengths_and_are_prefix_free(p: list[float]) -> None:
    for make, more in ((codes.shannon_code, 0), (codes.shannon_fano_elias_code, 1)):
        words = make(p)
        assert lengths(words) == [math.ceil(-math.log2(x) - 1e-12) + more for x in p]
        assert code_properties.kraft_sum(lengths(words)) <= 1
        if len(p) > 1:
            assert code_properties.prefix_violation(dict(enumerate(words))) is None  # pyright: ignore[reportArgumentType]


@settings(max_examples=40)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=5))
def test_no_prefix_code_is_shorter_than_huffmans(weights: list[int]) -> None:
    p = [w / sum(weights) for w in weights]
    best = min(
        code_properties.expected_length(p, choice)
        for choice in itertools.product(range(1, len(p)), repeat=len(p))
        if code_properties.kraft_sum(choice) <= 1
    ) if len(p) > 2 else 1.0  # fmt: skip
    assert code_properties.expected_length(p, codes.huffman_lengths(p)) == pytest.approx(best)


def test_erratum_the_reviews_code_is_not_decodable() -> None:
    found = code_properties.ambiguity({"A": "0", "B": "1", "C": "00"})
    assert found is not None
    bits, first, second = found
    assert bits == "00"
    assert sorted([first, second]) == [["A", "A"], ["C"]]
    assert code_properties.prefix_violation({"A": "0", "B": "1", "C": "00"}) == ("A", "C")
    assert code_properties.kraft_sum([1, 1, 2]) == 1.25
    assert codes.huffman_code([0.4, 0.4, 0.2]) == ["0", "10", "11"]


def test_codes_that_are_decodable_without_being_prefix_free() -> None:
    suffix_code = {"A": "0", "B": "01", "C": "11"}
    assert code_properties.prefix_violation(suffix_code) == ("A", "B")
    assert code_properties.ambiguity(suffix_code) is None


def shared_string(words: list[str], longest: int) -> str | None:
    """The shortest string with two readings, by trying every sequence of words."""
    readings: dict[str, tuple[int, ...]] = {}
    found: list[str] = []
    frontier: list[tuple[str, tuple[int, ...]]] = [("", ())]
    while frontier:
        text, sequence = frontier.pop()
        for index, word in enumerate(words):
            longer, reading = text + word, (*sequence, index)
            if len(longer) > longest:
                continue
            if readings.setdefault(longer, reading) != reading:
                found.append(longer)
            else:
                frontier.append((longer, reading))
    return min(found, key=len, default=None)


@settings(max_examples=150)
@given(st.lists(st.text("01", min_size=1, max_size=4), min_size=1, max_size=4, unique=True))
def test_ambiguity_against_enumeration(words: list[str]) -> None:
    found = code_properties.ambiguity({str(index): word for index, word in enumerate(words)})
    expected = shared_string(words, 12)
    if expected is None:
        assert found is None or len(found[0]) > 12
    else:
        assert found is not None
        bits, first, second = found
        assert len(bits) == len(expected)
        assert first != second
        assert bits == "".join(words[int(i)] for i in first) == "".join(words[int(i)] for i in second)


def test_equal_words_are_ambiguous() -> None:
    assert code_properties.ambiguity({"A": "10", "B": "10"}) == ("10", ["A"], ["B"])


@pytest.mark.parametrize("word", ["", "02", "a"])
def test_words_are_made_of_bits(word: str) -> None:
    with pytest.raises(RequestError, match="the code word of B"):
        code_properties.ambiguity({"A": "0", "B": word})


def test_range_coding_is_all_but_optimal() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(50)).tolist()
    spent = codes.range_lengths(p)
    assert code_properties.expected_length(p, spent) == pytest.approx(entropy(p), abs=1e-5)
    assert code_properties.kraft_sum(spent) == pytest.approx(1.0)
    assert codes.range_lengths([1.0, 0.0]) == [0.0, 0.0]


def test_impossible_and_certain_symbols() -> None:
    assert codes.huffman_code([0.0, 1.0, 0.0]) == ["", "0", ""]
    assert codes.shannon_code([1.0]) == [""]
    assert codes.huffman_code([0.5, 0.0, 0.5]) == ["0", "", "1"]


def test_very_unequal_odds_stay_exact() -> None:
    p = [1 - 2**-60, 2**-60]
    for make, expected in (
        (codes.shannon_code, [1, 60]),
        (codes.shannon_fano_elias_code, [2, 61]),
        (codes.huffman_code, [1, 1]),
    ):
        words = make(p)
        assert lengths(words) == expected
        assert code_properties.prefix_violation({"A": words[0], "B": words[1]}) is None
    fibonacci = [1, 1]
    while len(fibonacci) < 80:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    total = sum(fibonacci)
    assert max(codes.huffman_lengths([f / total for f in fibonacci])) == 78
