"""Counts of the bytes and byte n-grams of a stream."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.information.conditional_entropy import ConditionalEntropy, Integers, entropy_of_counts
from dlkit.information.ngram_counts import NgramCounts

# Bytes counted at once, so few that the intermediate arrays stay in the cache.
_BLOCK, _TRIGRAM_BLOCK, _SORTED_BLOCK = 1 << 20, 1 << 16, 1 << 22
_SAMPLE, _MOST = 1 << 13, (1 << 32) - 1
_THREADS = 2


class ByteCounts:
    """Counts of bytes and of bigrams, in tables: constant memory for a stream of any length."""

    def __init__(self) -> None:
        self.n = 0
        self.bigrams = np.zeros(1 << 16, dtype=np.int64)  # the serial correlation needs them at every order
        self.first = b""  # the first bytes, at most two
        self.tail = b""  # the last bytes, at most two

    def update(self, block: bytes) -> None:
        """Count the next bytes of the stream."""
        for start in range(0, len(block), _BLOCK):
            self._count_block(block[start : start + _BLOCK])

    def _count_block(self, block: bytes) -> None:
        self._count(block)
        if len(self.first) < 2:
            self.first = (self.first + block)[:2]
        self.tail = (self.tail + block)[-2:]
        self.n += len(block)

    def _count(self, block: bytes) -> None:
        joined = self.tail[-1:] + block
        for offset in (0, 1):  # bigrams at even and at odd positions, each read as a 16-bit integer
            count = (len(joined) - offset) // 2
            bigrams = np.frombuffer(joined, dtype="<u2", count=count, offset=offset)
            self.bigrams += np.bincount(bigrams, minlength=1 << 16)

    def bigram_table(self) -> Integers:
        """The counts of a byte and its successor, (256, 256)."""
        return self.bigrams.reshape(256, 256).T  # little-endian: the first byte is the low one

    def counts(self) -> Integers:
        """The counts of bytes, (256,)."""
        counts = self.bigram_table().sum(1)  # every byte that has a successor ...
        if self.n:
            counts[self.tail[-1]] += 1  # ... and the last one
        return counts

    def distinct(self) -> int:
        """How many of the 256 bytes occur."""
        return int(np.count_nonzero(self.counts()))

    def alphabet(self) -> tuple[list[str], list[int]]:
        """The bytes that occur, printable ASCII as characters and others in hexadecimal, and their counts."""
        counts = self.counts()
        used = np.flatnonzero(counts).tolist()
        return [chr(byte) if 33 <= byte < 127 else f"0x{byte:02x}" for byte in used], counts[used].tolist()

    def conditional_entropies(self) -> list[ConditionalEntropy]:
        """The conditional entropies of order 0, 1, ... up to the highest that is counted."""
        return [entropy_of_counts(0, self.counts(), np.array([self.n]))]


class BigramCounts(ByteCounts):
    """Counts of bytes up to order 1."""

    def conditional_entropies(self) -> list[ConditionalEntropy]:
        table = self.bigram_table()
        return [*super().conditional_entropies(), entropy_of_counts(1, table.reshape(-1), table.sum(1))]


class TrigramCounts(ByteCounts):
    """Counts of bytes up to order 2, in a table of all 256^3 trigrams (67 MB).

    The trigrams of text are few, so that their counts stay in the cache and are incremented directly. Those of random
    bytes are spread over the whole table: they are sorted first, a block at a time in threads, and counted in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trigrams = np.zeros(1 << 24, dtype=np.uint32)
        self._highest = 0  # an upper bound of the counts in `trigrams`
        self._moved: Integers | None = None  # counts moved out of `trigrams` before they could overflow
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[NDArray[np.uint8]] = []  # to be sorted together
        self._sorting: deque[Future[NDArray[np.intp]]] = deque()

    def _count(self, block: bytes) -> None:
        symbols = np.frombuffer(self.tail + block, dtype=np.uint8)
        if len(symbols) < 3:
            return
        if self._highest + len(symbols) > _MOST:
            self._move()
        self._highest += len(symbols)
        sample = _trigrams(symbols[:_SAMPLE], np.uint32)
        if len(symbols) > 4 * _SAMPLE and len(np.unique(sample)) > 0.75 * len(sample):
            self._waiting.append(symbols)
            if sum(map(len, self._waiting)) >= _SORTED_BLOCK:
                self._sort()
            return
        for start in range(0, len(symbols) - 2, _TRIGRAM_BLOCK):
            trigrams = _trigrams(symbols[start : start + _TRIGRAM_BLOCK + 2], np.intp)
            np.add.at(self.trigrams, trigrams, np.uint32(1))

    def _sort(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS)
        self._sorting.append(self._pool.submit(_sorted_trigrams, self._waiting))
        self._waiting = []
        if len(self._sorting) > _THREADS:
            np.add.at(self.trigrams, self._sorting.popleft().result(), np.uint32(1))

    def _finish(self) -> None:
        """Count what the threads have sorted."""
        if self._waiting:
            self._sort()
        while self._sorting:
            np.add.at(self.trigrams, self._sorting.popleft().result(), np.uint32(1))

    def _move(self) -> None:
        """Move the counts from 32 to 64 bits."""
        self._finish()
        self._moved = self.trigrams.astype(np.int64) if self._moved is None else self._moved + self.trigrams
        self.trigrams[:] = 0
        self._highest = 0

    def trigram_table(self) -> NDArray[Any]:
        """The counts of two bytes and their successor, (65,536, 256)."""
        self._finish()
        counts = self.trigrams if self._moved is None else self._moved + self.trigrams
        return counts.reshape(-1, 256)

    def bigram_table(self) -> Integers:
        table = self.trigram_table().sum(1, dtype=np.int64).reshape(256, 256)  # every bigram with a successor ...
        if self.n >= 2:
            table[self.tail[0], self.tail[1]] += 1  # ... and the last one
        return table

    def conditional_entropies(self) -> list[ConditionalEntropy]:
        trigrams, bigrams = self.trigram_table(), self.bigram_table()
        return [
            *super().conditional_entropies(),
            entropy_of_counts(1, bigrams.reshape(-1), bigrams.sum(1)),
            entropy_of_counts(2, trigrams.reshape(-1), trigrams.sum(1, dtype=np.int64)),
        ]


class ByteNgramCounts(ByteCounts):
    """Counts of bytes up to a higher order, of the n-grams that occur.

    Args:
        order: 3 or more.
    """

    def __init__(self, order: int) -> None:
        super().__init__()
        self.ngrams = NgramCounts(order)

    def _count(self, block: bytes) -> None:
        super()._count(block)
        self.ngrams.update(np.frombuffer(block, dtype=np.uint8))

    def conditional_entropies(self) -> list[ConditionalEntropy]:
        return [entropy_of_counts(k, *counts) for k, counts in enumerate(self.ngrams.counts_by_order())]


def _trigrams(symbols: NDArray[np.uint8], dtype: type[np.integer]) -> NDArray[np.integer]:
    """Every three consecutive bytes as one 24-bit integer."""
    trigrams = np.left_shift(symbols[:-2], 16, dtype=dtype)
    trigrams |= np.left_shift(symbols[1:-1], 8, dtype=dtype)
    trigrams |= symbols[2:]
    return trigrams


def _sorted_trigrams(blocks: list[NDArray[np.uint8]]) -> NDArray[np.intp]:
    trigrams = np.concatenate([_trigrams(symbols, np.uint32) for symbols in blocks])
    trigrams.sort()
    return trigrams.astype(np.intp)
