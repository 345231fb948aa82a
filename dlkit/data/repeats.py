"""Random strings, each written several times in a row: what a model can only predict by looking back and copying."""

from __future__ import annotations

import numpy as np

from dlkit.annotations import Count
from dlkit.data.corpus import Corpus, Text, corpus
from dlkit.errors import RequestError

ALPHABET = "".join(map(chr, range(0x20, 0x7F)))  # the 95 printable characters of ASCII: a byte each


def repeats(*, characters: Count = 2_000_000, shortest: Count = 8, longest: Count = 32, copies: Count = 2) -> Corpus:
    """Strings of independent, uniform characters, `copies` times each, end to end: "train", "val" and "test".

    The lengths vary, so that the place to copy from is told by the characters alone and not by their distance: induction
    (Olsson et al., arXiv:2209.11895). A first copy costs log2(95) = 6.57 bits a character under any model. The text is
    always the same; "val" and "test" are a twentieth of `characters` each.

    Args:
        characters: of the training text, about.
        shortest: least characters of a string.
        longest: most characters of a string.
        copies: how often it stands there.

    Raises:
        RequestError: `shortest` is more than `longest`.
    """
    if shortest > longest:
        raise RequestError(f"shortest: {shortest} is more than longest: {longest}")
    sizes = {"train": characters, "val": max(1, characters // 20), "test": max(1, characters // 20)}
    parts = {
        split: _text(np.random.default_rng([number, shortest, longest, copies]), size, shortest, longest, copies)
        for number, (split, size) in enumerate(sizes.items())
    }
    return corpus("repeats", {split: Text.of(text) for split, text in parts.items()})


def _text(random: np.random.Generator, size: int, shortest: int, longest: int, copies: int) -> str:
    letters = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)
    pieces: list[bytes] = []
    written = 0
    while written < size:
        once = letters[random.integers(len(letters), size=random.integers(shortest, longest + 1))].tobytes()
        pieces.append(once * copies)
        written += len(once) * copies
    return b"".join(pieces).decode("ascii")
