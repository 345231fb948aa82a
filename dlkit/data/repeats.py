"""Random strings, each written over and over: what a model can only predict by looking back and copying."""

from __future__ import annotations

import numpy as np

from dlkit.annotations import Count
from dlkit.data.corpus import Corpus, Text, corpus
from dlkit.errors import RequestError

ALPHABET = "".join(map(chr, range(0x20, 0x7F)))  # the 95 printable characters of ASCII: a byte each


def repeats(*, characters: Count = 1_000_000, shortest: Count = 4, longest: Count = 32, length: Count = 128) -> Corpus:
    """Strings of independent, uniform characters, each over and over for `length` characters: "train", "val" and "test".

    The lengths vary, so that the place to copy from is told by the characters alone and not by its distance: induction
    (Olsson et al., arXiv:2209.11895). A first copy costs log2(95) = 6.57 bits a character under any model. The text is
    always the same; "val" and "test" are a twentieth of `characters` each.

    Args:
        characters: of the training text, about.
        shortest: least characters of a string; short ones are common, as the logarithm of the length is uniform.
        longest: most characters of a string.
        length: characters until the next string begins.

    Raises:
        RequestError: `shortest` is more than `longest`, or this more than half of `length`.
    """
    if shortest > longest:
        raise RequestError(f"shortest: {shortest} is more than longest: {longest}")
    if 2 * longest > length:
        raise RequestError(f"a string of {longest} characters does not fit twice into length: {length}")
    sizes = {"train": characters, "val": max(1, characters // 20), "test": max(1, characters // 20)}
    parts = {
        split: _text(np.random.default_rng([number, shortest, longest, length]), size, shortest, longest, length)
        for number, (split, size) in enumerate(sizes.items())
    }
    return corpus("repeats", {split: Text.of(text) for split, text in parts.items()})


def _text(random: np.random.Generator, size: int, shortest: int, longest: int, length: int) -> str:
    letters = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)
    pieces: list[bytes] = []
    for _ in range(-(-size // length)):
        period = int(np.exp(random.uniform(np.log(shortest), np.log(longest + 1))))
        once = letters[random.integers(len(letters), size=period)]
        pieces.append(np.resize(once, length).tobytes())
    return b"".join(pieces).decode("ascii")
