"""`dlkit entropy --code` and `--check-code`: codes for the symbols of a distribution, as records."""

from __future__ import annotations

from typing import Any

from dlkit.cli.console import Output
from dlkit.cli.entropy import view
from dlkit.errors import RequestError


def coded(code: str, names: list[str], weights: Any, base: float) -> dict[str, Any]:
    """A code for the symbols, as a record; lengths are in bits."""
    from dlkit.information import codes
    from dlkit.information.distributions import as_distributions

    p = as_distributions(weights, counts=True)
    probabilities: list[float] = p.tolist()
    words = codes.CODES[code](probabilities) if code != "range" else None
    lengths = [len(word) for word in words] if words is not None else codes.range_lengths(probabilities)
    used = [index for index, probability in enumerate(probabilities) if probability > 0]
    record = _judged(probabilities, [lengths[index] for index in used], used)
    record = {"name": code, **record}
    if len(used) <= view.MOST_WORDS:
        record["words"] = [
            {"symbol": names[i], "p": probabilities[i], "length": lengths[i], **({"word": words[i]} if words else {})}
            for i in used
        ]
    return record


def _judged(p: list[float], lengths: list[float] | list[int], used: list[int]) -> dict[str, Any]:
    import numpy as np

    from dlkit.information import code_properties, measures

    mean = code_properties.expected_length([p[index] for index in used], lengths)
    bits = float(measures.shannon_entropy(np.array(p), 2.0))
    return {
        "expected_length": mean,
        "entropy_bits": bits,
        "redundancy": mean - bits,
        "kraft_sum": code_properties.kraft_sum(lengths),
    }


def check(text: str, p: str | None, counts: bool, base: float, output: Output) -> None:
    from dlkit.information import code_properties
    from dlkit.information.distributions import as_distributions
    from dlkit.information.rows import read_rows

    words: dict[str, str] = {}
    for part in text.split(","):
        symbol, equals, word = part.partition("=")
        if not equals or symbol in words:
            wrong = "stands twice" if equals else "has no word"
            raise RequestError(f"--check-code: {symbol or part!r} {wrong}", "write A=0,B=10,C=11")
        words[symbol.strip()] = word.strip()
    found = code_properties.ambiguity(words)
    violation = code_properties.prefix_violation(words)
    record: dict[str, Any] = {
        "code": words,
        "kraft_sum": code_properties.kraft_sum([len(word) for word in words.values()]),
        "prefix_free": violation is None,
        "uniquely_decodable": found is None,
    }
    if violation is not None:
        record["prefix"] = list(violation)
    if found is not None:
        record["ambiguous"] = {"bits": found[0], "first": found[1], "second": found[2]}
    if p is not None:
        table = read_rows(p, "p", counts=counts)
        if table.form is not None:
            output.say(f"p: {table.form}")
        if table.values.shape != (1, len(words)):
            raise RequestError(f"the code has {len(words)} words, p has {table.values.size} numbers", "give one each")
        if table.columns and set(table.columns) != set(words):
            raise RequestError("the code and p label their symbols differently", "give both the same labels")
        columns = table.columns or tuple(words)
        probabilities = as_distributions(table.values[0], counts).tolist()
        used = [index for index, probability in enumerate(probabilities) if probability > 0]
        record |= _judged(probabilities, [len(words[columns[index]]) for index in used], used) | {
            "kraft_sum": record["kraft_sum"]
        }
    output.emit(record, "yes" if found is None else "no", lambda: view.check_table(record))
