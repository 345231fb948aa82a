"""Codes for the symbols of a distribution, and code words as they are given, as records; lengths are in bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlkit.errors import RequestError
from dlkit.information import code_properties, codes, measures
from dlkit.information.distributions import as_distributions
from dlkit.information.rows import Rows

MOST_WORDS = 1000  # alphabets up to this size get their code words written out


def code_record(code: str, symbols: Sequence[str], weights: Any) -> dict[str, Any]:
    """What a code for the symbols is worth.

    Args:
        code: one of `codes.CODES`, or `range`.
        symbols: the k symbols.
        weights: (k,), their counts or probabilities.

    Raises:
        RequestError: there is no such code, or the numbers are not a distribution.
    """
    if code not in (*codes.CODES, "range"):
        raise RequestError(f"no code {code!r}", f"there are {', '.join(codes.CODES)}, range")
    probabilities: list[float] = as_distributions(weights, counts=True).tolist()
    words = codes.CODES[code](probabilities) if code != "range" else None
    lengths = [len(word) for word in words] if words is not None else codes.range_lengths(probabilities)
    used = [index for index, probability in enumerate(probabilities) if probability > 0]
    record = {"name": code, **_worth(probabilities, [lengths[index] for index in used])}
    if len(used) <= MOST_WORDS:
        record["words"] = [
            {"symbol": symbols[i], "p": probabilities[i], "length": lengths[i], **({"word": words[i]} if words else {})}
            for i in used
        ]
    return record


def _worth(p: list[float], lengths: list[float] | list[int]) -> dict[str, Any]:
    """The code of a distribution; `lengths` are those of the symbols whose probability is above 0."""
    mean = code_properties.expected_length([probability for probability in p if probability > 0], lengths)
    bits = float(measures.shannon_entropy(np.array(p), 2.0))
    return {
        "expected_length": mean,
        "entropy_bits": bits,
        "redundancy": mean - bits,
        "kraft_sum": code_properties.kraft_sum(lengths),
    }


def parse_code(text: str) -> dict[str, str]:
    """Symbol -> word of `A=0,B=10,C=11`. Raises RequestError where a symbol has no word, or two."""
    words: dict[str, str] = {}
    for part in text.split(","):
        symbol, equals, word = part.partition("=")
        if not equals or symbol in words:
            wrong = "appears twice" if equals else "has no word"
            raise RequestError(f"`check_code`: {symbol or part!r} {wrong}", "write A=0,B=10,C=11")
        words[symbol.strip()] = word.strip()
    return words


def code_check_record(words: Mapping[str, str], table: Rows | None, counts: bool) -> dict[str, Any]:
    """Whether code words can be decoded, and what they are worth.

    Args:
        words: symbol -> word.
        table: the distribution of the symbols, one row; None for none.
        counts: whether its numbers are counts.

    Raises:
        RequestError: a word is not of 0 and 1, or the distribution is of other symbols.
    """
    found = code_properties.ambiguity(words)
    violation = code_properties.prefix_violation(words)
    record: dict[str, Any] = {
        "code": dict(words),
        "kraft_sum": code_properties.kraft_sum([len(word) for word in words.values()]),
        "prefix_free": violation is None,
        "uniquely_decodable": found is None,
    }
    if violation is not None:
        record["prefix"] = list(violation)
    if found is not None:
        record["ambiguous"] = {"bits": found[0], "first": found[1], "second": found[2]}
    if table is not None:
        if table.values.shape != (1, len(words)):
            raise RequestError(f"the code has {len(words)} words, p has {table.values.size} numbers", "give one each")
        if table.columns and set(table.columns) != set(words):
            raise RequestError("the code and p label their symbols differently", "give both the same labels")
        columns = table.columns or tuple(words)
        p: list[float] = as_distributions(table.values[0], counts).tolist()
        lengths = [len(words[column]) for column, probability in zip(columns, p, strict=True) if probability > 0]
        record |= _worth(p, lengths) | {"kraft_sum": record["kraft_sum"]}
    return record
