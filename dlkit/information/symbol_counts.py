"""Counts of characters, words or lines, and of their sequences: each symbol gets a number when it first occurs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.information import conditional_entropy
from dlkit.information.conditional_entropy import Integers, Order
from dlkit.information.ngram_counts import SequenceCounts

_UNICODE = 0x110000


class SymbolCounts:
    """Counts of any symbols and of their sequences: memory grows with how many different ones occur.

    Args:
        order: k, 0 or more: sequences have up to k + 1 symbols.
    """

    def __init__(self, order: int = 0) -> None:
        self.n = 0
        self.order = order
        self.sequences = SequenceCounts(order) if order else None
        self._counts = np.zeros(1024, dtype=np.int64)

    def update(self, block: Iterable[Any]) -> None:
        """Take in the next symbols. Raises RequestError when there are too many different sequences to count."""
        numbers = self._number(block)
        if not len(numbers):
            return
        counts = np.bincount(numbers, minlength=len(self._counts))
        if len(counts) > len(self._counts):
            self._counts = np.pad(self._counts, (0, 2 * len(counts) - len(self._counts)))
        self._counts[: len(counts)] += counts
        if self.sequences is not None:
            self.sequences.update(numbers)
        self.n += len(numbers)

    def _number(self, block: Iterable[Any]) -> Integers:
        raise NotImplementedError

    def _names(self) -> list[str]:
        """By number."""
        raise NotImplementedError

    def orders(self) -> list[Order]:
        """From 0 up."""
        if self.sequences is None:
            return [conditional_entropy.of_counts(0, self._counts, np.array([self.n]))]
        return [conditional_entropy.of_counts(k, *counts) for k, counts in enumerate(self.sequences.orders())]

    def distinct(self) -> int:
        return int(np.count_nonzero(self._counts))

    def alphabet(self) -> tuple[list[str], list[int]]:
        """The symbols that occur, the most frequent first, and how often."""
        order = np.argsort(-self._counts[: self.distinct()], kind="stable").tolist()
        names = self._names()
        return [names[number] for number in order], self._counts[order].tolist()


class CharacterCounts(SymbolCounts):
    """Counts of Unicode code points: blocks are strings."""

    def __init__(self, order: int = 0) -> None:
        super().__init__(order)
        self._number_of = np.full(_UNICODE, -1, dtype=np.int64)
        self._known: list[int] = []

    def _number(self, block: Iterable[str]) -> Integers:
        points: NDArray[np.uint32] = np.frombuffer("".join(block).encode("utf-32-le"), dtype="<u4")
        numbers = self._number_of[points]
        if len(numbers) and numbers.min() < 0:
            new = np.unique(points[numbers < 0])
            self._number_of[new] = np.arange(len(self._known), len(self._known) + len(new))
            self._known += new.tolist()
            numbers = self._number_of[points]
        return numbers

    def _names(self) -> list[str]:
        return [chr(point) for point in self._known]


class ItemCounts(SymbolCounts):
    """Counts of words or lines: blocks are lists of them."""

    def __init__(self, order: int = 0) -> None:
        super().__init__(order)
        self._numbers = _Numbers()

    def _number(self, block: Iterable[Any]) -> Integers:
        items = list(block)
        return np.fromiter(map(self._numbers.__getitem__, items), dtype=np.int64, count=len(items))

    def _names(self) -> list[str]:
        return [item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else item for item in self._numbers]


class _Numbers(dict[Any, int]):
    """Numbers items in the order in which they are first asked for."""

    def __missing__(self, item: Any) -> int:
        self[item] = number = len(self)
        return number
