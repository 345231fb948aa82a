"""Relations between arms."""

from __future__ import annotations

import pytest

from dlkit.review.expectation import parse_expectation

QUANTITIES = {"unigram_entropy": 4.0}
VALUES = {"a": 5.0, "b": 2.0, "c": 1.0, "d": 7.0}


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("a > b", 3.0),
        ("a < b", -3.0),
        ("a - b > c - d", 3.0 - -6.0),
        ("a - b < c - d", -9.0),
        ("a > 4.5", 0.5),
        ("c < 1e-3", 0.001 - 1.0),
        ("a > b + 0.5", 2.5),
        ("b < unigram_entropy", 2.0),
        ("unigram_entropy - c > b", 1.0),
    ],
)
def test_contrast_is_positive_on_the_claimed_side(text: str, contrast: float) -> None:
    assert parse_expectation(text, list(VALUES)).contrast({**VALUES, **QUANTITIES}) == pytest.approx(contrast)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = b", "expected a relation"),
        ("a > b > c", "expected a relation"),
        ("a > e", "no arm 'e'"),
        ("a >", "one side is empty"),
        ("a b > c", "cannot read 'b"),
        ("a * 2 > c", "cannot read"),
        ("a > a", "compares nothing"),
        ("unigram_entropy > 3", "compares nothing"),
        ("a > unigram_entropie", "did you mean unigram_entropy"),
    ],
)
def test_what_is_no_relation_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_expectation(text, list(VALUES))
