"""Random strings, each written over and over: what a model can only predict by looking back and copying."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np

from dlkit.annotations import Count, Ge, Le
from dlkit.data.text.corpus import Corpus, Text, corpus
from dlkit.errors import RequestError

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def repeats(
    *,
    characters: Annotated[int, Ge(1), Le(10**9)] = 1_000_000,
    shortest: Count = 12,
    longest: Count = 24,
    length: Annotated[int, Ge(1), Le(10**6)] = 128,
) -> Corpus:
    """Random strings of different letters, each over and over for `length` characters: "train", "val" and "test".

    The lengths vary, so that the place to copy from is told by the letters alone and not by its distance: induction
    (Olsson et al., arXiv:2209.11895). Whoever copies knows everything but the first copies. The text is always the
    same; "val" and "test" are a twentieth of `characters` each.

    Args:
        characters: of the training text, about.
        shortest: least letters of a string.
        longest: most letters of a string; the logarithm of their number is uniform.
        length: characters until the next string begins.

    Raises:
        RequestError: `shortest` is more than `longest`, this is more than the 26 letters or more than half of `length`.
    """
    if shortest > longest:
        raise RequestError(f"shortest: {shortest} is more than longest: {longest}")
    if longest > len(LETTERS):
        raise RequestError(f"longest: {longest} is more than the {len(LETTERS)} letters there are")
    if 2 * longest > length:
        raise RequestError(f"a string of {longest} letters does not fit twice into length: {length}")
    sizes = {"train": characters, "val": max(1, characters // 20), "test": max(1, characters // 20)}
    parts: dict[str, Text] = {}
    for number, (split, size) in enumerate(sizes.items()):
        random = np.random.default_rng([number, shortest, longest, length])
        parts[split] = Text.of(_text(random, size, shortest, longest, length))
    return corpus("repeats", parts)


def _text(random: np.random.Generator, size: int, shortest: int, longest: int, length: int) -> str:
    letters = np.frombuffer(LETTERS.encode(), dtype=np.uint8)
    pieces: list[bytes] = []
    for _ in range(-(-size // length)):
        period = int(math.exp(random.uniform(math.log(shortest), math.log(longest + 1))))
        once = random.choice(letters, size=min(period, longest), replace=False)
        pieces.append(np.resize(once, length).tobytes())
    return b"".join(pieces).decode("ascii")
