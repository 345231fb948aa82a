"""Counts of characters, words or lines, and of their n-grams: each symbol gets an id when it first occurs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.information.conditional_entropy import ConditionalEntropy, Integers, entropy_of_counts
from dlkit.information.ngram_counts import NgramCounts

_UNICODE = 0x110000


class SymbolCounts:
    """Counts of symbols and of their n-grams. Memory grows with the number of distinct ones.

    Args:
        order: k, 0 or more: n-grams of up to k + 1 symbols are counted.
    """

    def __init__(self, order: int = 0) -> None:
        self.n = 0
        self.order = order
        self.ngrams = NgramCounts(order) if order else None
        self._counts = np.zeros(1024, dtype=np.int64)

    def update(self, block: Iterable[Any]) -> None:
        """Count the next symbols. Raises RequestError when there are too many distinct n-grams."""
        ids = self._ids(block)
        if not len(ids):
            return
        counts = np.bincount(ids, minlength=len(self._counts))
        if len(counts) > len(self._counts):
            self._counts = np.pad(self._counts, (0, 2 * len(counts) - len(self._counts)))
        self._counts[: len(counts)] += counts
        if self.ngrams is not None:
            self.ngrams.update(ids)
        self.n += len(ids)

    def _ids(self, block: Iterable[Any]) -> Integers:
        """The ids of symbols, (n,)."""
        raise NotImplementedError

    def _names(self) -> list[str]:
        """The symbol of each id."""
        raise NotImplementedError

    def conditional_entropies(self) -> list[ConditionalEntropy]:
        """The conditional entropies of order 0, 1, ... k."""
        if self.ngrams is None:
            return [entropy_of_counts(0, self._counts, np.array([self.n]))]
        return [entropy_of_counts(k, *counts) for k, counts in enumerate(self.ngrams.counts_by_order())]

    def distinct(self) -> int:
        """How many different symbols occur."""
        return int(np.count_nonzero(self._counts))

    def alphabet(self) -> tuple[list[str], list[int]]:
        """The symbols that occur, most frequent first, and their counts."""
        ids = np.argsort(-self._counts[: self.distinct()], kind="stable").tolist()
        names = self._names()
        return [names[i] for i in ids], self._counts[ids].tolist()


class CharacterCounts(SymbolCounts):
    """Counts of Unicode code points: blocks are strings."""

    def __init__(self, order: int = 0) -> None:
        super().__init__(order)
        self._id_of = np.full(_UNICODE, -1, dtype=np.int64)
        self._known: list[int] = []

    def _ids(self, block: Iterable[str]) -> Integers:
        points: NDArray[np.uint32] = np.frombuffer("".join(block).encode("utf-32-le"), dtype="<u4")
        ids = self._id_of[points]
        if len(ids) and ids.min() < 0:
            new = np.unique(points[ids < 0])
            self._id_of[new] = np.arange(len(self._known), len(self._known) + len(new))
            self._known += new.tolist()
            ids = self._id_of[points]
        return ids

    def _names(self) -> list[str]:
        return [chr(point) for point in self._known]


class ItemCounts(SymbolCounts):
    """Counts of words or lines: blocks are lists of them."""

    def __init__(self, order: int = 0) -> None:
        super().__init__(order)
        self._id_of = _Ids()

    def _ids(self, block: Iterable[Any]) -> Integers:
        items = list(block)
        return np.fromiter(map(self._id_of.__getitem__, items), dtype=np.int64, count=len(items))

    def _names(self) -> list[str]:
        return [item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else item for item in self._id_of]


class _Ids(dict[Any, int]):
    """Assigns consecutive ids to items on first access."""

    def __missing__(self, item: Any) -> int:
        self[item] = new = len(self)
        return new
