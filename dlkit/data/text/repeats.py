"""Repeated random strings, which a model can predict only by copying from its context."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np

from dlkit.annotations import Count, Ge, Le
from dlkit.data.text.corpus import Corpus, Text, make_corpus
from dlkit.errors import RequestError

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def repeats(
    *,
    characters: Annotated[int, Ge(1), Le(10**9)] = 1_000_000,
    shortest: Count = 12,
    longest: Count = 24,
    length: Annotated[int, Ge(1), Le(10**6)] = 128,
) -> Corpus:
    """Random strings of distinct letters, each repeated for `length` characters: "train", "val" and "test".

    The strings vary in length, so that where to copy from is determined by the letters and not by the distance:
    induction (Olsson et al., arXiv:2209.11895). Everything but the first copy of each string can be predicted. The text
    is always the same; "val" and "test" have a twentieth of `characters` each.

    Args:
        characters: the approximate length of the training text.
        shortest: the fewest letters of a string.
        longest: the most letters of a string; the lengths are log-uniform.
        length: the number of characters after which the next string begins.

    Raises:
        RequestError: `shortest` exceeds `longest`, or `longest` exceeds the 26 letters or half of `length`.
    """
    if shortest > longest:
        raise RequestError(f"shortest: {shortest} is more than longest: {longest}")
    if longest > len(LETTERS):
        raise RequestError(f"longest: {longest} is more than the {len(LETTERS)} letters there are")
    if 2 * longest > length:
        raise RequestError(f"a string of {longest} letters does not fit twice into length: {length}")
    sizes = {"train": characters, "val": max(1, characters // 20), "test": max(1, characters // 20)}
    splits: dict[str, Text] = {}
    for number, (split, size) in enumerate(sizes.items()):
        rng = np.random.default_rng([number, shortest, longest, length])
        splits[split] = Text.of(_text(rng, size, shortest, longest, length))
    return make_corpus("repeats", splits)


def _text(rng: np.random.Generator, size: int, shortest: int, longest: int, length: int) -> str:
    letters = np.frombuffer(LETTERS.encode(), dtype=np.uint8)
    pieces: list[bytes] = []
    for _ in range(-(-size // length)):
        period = int(math.exp(rng.uniform(math.log(shortest), math.log(longest + 1))))
        once = rng.choice(letters, size=min(period, longest), replace=False)
        pieces.append(np.resize(once, length).tobytes())
    return b"".join(pieces).decode("ascii")
