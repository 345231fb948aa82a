"""How often each byte and each sequence of bytes occurs in a stream, and what `ent` tells about it."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.information import conditional_entropy
from dlkit.information.conditional_entropy import Integers, Order
from dlkit.information.ngram_counts import SequenceCounts

# Sizes of the blocks that are counted at once: what lies between is in the cache.
_BLOCK, _TRIPLE_BLOCK, _SORTED_BLOCK = 1 << 20, 1 << 16, 1 << 22
_SAMPLE, _MOST = 1 << 13, (1 << 32) - 1
_THREADS = 2


class ByteCounts:
    """Counts of bytes and of pairs, in tables: constant memory, whatever the length."""

    def __init__(self) -> None:
        self.n = 0
        self.pairs = np.zeros(1 << 16, dtype=np.int64)  # the serial correlation needs them at every order
        self.first = b""  # the first bytes, at most two
        self.tail = b""  # the last bytes, at most two

    def update(self, block: bytes) -> None:
        """Take in the next bytes of the stream."""
        for start in range(0, len(block), _BLOCK):
            self._take(block[start : start + _BLOCK])

    def _take(self, block: bytes) -> None:
        self._count(block)
        if len(self.first) < 2:
            self.first = (self.first + block)[:2]
        self.tail = (self.tail + block)[-2:]
        self.n += len(block)

    def _count(self, block: bytes) -> None:
        joined = self.tail[-1:] + block
        for offset in (0, 1):  # pairs that begin at even and at odd places, two bytes read as one number
            count = (len(joined) - offset) // 2
            numbers = np.frombuffer(joined, dtype="<u2", count=count, offset=offset)
            self.pairs += np.bincount(numbers, minlength=1 << 16)

    def pair_table(self) -> Integers:
        """(256, 256) counts of a byte and its successor."""
        return self.pairs.reshape(256, 256).T  # little-endian: the first byte is the low one

    def counts(self) -> Integers:
        """(256,) counts of bytes."""
        counts = self.pair_table().sum(1)  # every byte that has a successor ...
        if self.n:
            counts[self.tail[-1]] += 1  # ... and the last one
        return counts

    def distinct(self) -> int:
        return int(np.count_nonzero(self.counts()))

    def alphabet(self) -> tuple[list[str], list[int]]:
        """The bytes that occur, printable ASCII as such and others in hexadecimal, and how often."""
        counts = self.counts()
        used = np.flatnonzero(counts).tolist()
        return [chr(byte) if 33 <= byte < 127 else f"0x{byte:02x}" for byte in used], counts[used].tolist()

    def orders(self) -> list[Order]:
        """From 0 up."""
        return [conditional_entropy.of_counts(0, self.counts(), np.array([self.n]))]

    def mean(self) -> float:
        """Mean of the bytes as numbers; that of random ones is 127.5."""
        return float(self.counts() @ np.arange(256)) / self.n if self.n else math.nan

    def chi_square(self) -> dict[str, float]:
        """Distance of the counts from equal ones, and how often random bytes would be as far or farther away."""
        from scipy.special import chdtrc

        if not self.n:
            return {"chi_square": math.nan, "chi_square_p": math.nan}
        # X^2 = sum_i (c_i - n / 256)^2 / (n / 256), with 255 degrees of freedom
        expected = self.n / 256
        statistic = float(((self.counts() - expected) ** 2).sum() / expected)
        return {"chi_square": statistic, "chi_square_p": float(chdtrc(255, statistic))}

    def serial_correlation(self) -> float:
        """Correlation of each byte with its successor, the first one following the last (Knuth, volume 2, 3.3.2 K).

        NaN where all bytes are the same.
        """
        if not self.n:
            return math.nan
        values = np.arange(256, dtype=object)  # exact whole numbers, whatever the length
        counts = self.counts().astype(object)
        products = values @ self.pair_table().astype(object) @ values + self.tail[-1] * self.first[0]
        total, squares = counts @ values, counts @ values**2
        # (n sum x_i x_(i+1) - (sum x_i)^2) / (n sum x_i^2 - (sum x_i)^2)
        spread = self.n * squares - total**2
        return float((self.n * products - total**2) / spread) if spread else math.nan


class PairCounts(ByteCounts):
    """Bytes up to order 1."""

    def orders(self) -> list[Order]:
        table = self.pair_table()
        return [*super().orders(), conditional_entropy.of_counts(1, table.reshape(-1), table.sum(1))]


class TripleCounts(ByteCounts):
    """Bytes up to order 2, by a table of all 256^3 sequences of three (67 MB).

    The counts of text lie close together: they stay in the cache and are simply raised. Those of random bytes lie
    all over the table; there the sequences of a block are sorted first, by threads, and then counted in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.triples = np.zeros(1 << 24, dtype=np.uint32)
        self._raised = 0  # how much, at most, is in a count of `triples`
        self._whole: Integers | None = None  # what did not fit into 32 bits
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[NDArray[np.uint8]] = []  # to be sorted together
        self._sorting: deque[Future[NDArray[np.intp]]] = deque()

    def _count(self, block: bytes) -> None:
        symbols = np.frombuffer(self.tail + block, dtype=np.uint8)
        if len(symbols) < 3:
            return
        if self._raised + len(symbols) > _MOST:
            self._empty()
        self._raised += len(symbols)
        sample = _numbers(symbols[:_SAMPLE], np.uint32)
        if len(symbols) > 4 * _SAMPLE and len(np.unique(sample)) > 0.75 * len(sample):
            self._waiting.append(symbols)
            if sum(map(len, self._waiting)) >= _SORTED_BLOCK:
                self._sort()
            return
        for start in range(0, len(symbols) - 2, _TRIPLE_BLOCK):
            numbers = _numbers(symbols[start : start + _TRIPLE_BLOCK + 2], np.intp)
            np.add.at(self.triples, numbers, np.uint32(1))

    def _sort(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS)
        self._sorting.append(self._pool.submit(_sorted_numbers, self._waiting))
        self._waiting = []
        if len(self._sorting) > _THREADS:
            np.add.at(self.triples, self._sorting.popleft().result(), np.uint32(1))

    def _finish(self) -> None:
        """Count what the threads have sorted."""
        if self._waiting:
            self._sort()
        while self._sorting:
            np.add.at(self.triples, self._sorting.popleft().result(), np.uint32(1))

    def _empty(self) -> None:
        """Move the counts to where there is room for large ones."""
        self._finish()
        self._whole = self.triples.astype(np.int64) if self._whole is None else self._whole + self.triples
        self.triples[:] = 0
        self._raised = 0

    def triple_table(self) -> NDArray[Any]:
        """(65,536, 256) counts of two bytes and their successor."""
        self._finish()
        whole = self.triples if self._whole is None else self._whole + self.triples
        return whole.reshape(-1, 256)

    def pair_table(self) -> Integers:
        table = self.triple_table().sum(1, dtype=np.int64).reshape(256, 256)  # every pair with a successor ...
        if self.n >= 2:
            table[self.tail[0], self.tail[1]] += 1  # ... and the last one
        return table

    def orders(self) -> list[Order]:
        triples, pairs = self.triple_table(), self.pair_table()
        return [
            *super().orders(),
            conditional_entropy.of_counts(1, pairs.reshape(-1), pairs.sum(1)),
            conditional_entropy.of_counts(2, triples.reshape(-1), triples.sum(1, dtype=np.int64)),
        ]


class LongByteCounts(ByteCounts):
    """Bytes up to a higher order, by the sequences that occur.

    Args:
        order: 3 or more.
    """

    def __init__(self, order: int) -> None:
        super().__init__()
        self.sequences = SequenceCounts(order)

    def _count(self, block: bytes) -> None:
        super()._count(block)
        self.sequences.update(np.frombuffer(block, dtype=np.uint8))

    def orders(self) -> list[Order]:
        return [conditional_entropy.of_counts(k, *counts) for k, counts in enumerate(self.sequences.orders())]


def _numbers(symbols: NDArray[np.uint8], dtype: type[np.integer]) -> NDArray[np.integer]:
    """Each three bytes as one number of 24 bits."""
    numbers = np.left_shift(symbols[:-2], 16, dtype=dtype)
    numbers |= np.left_shift(symbols[1:-1], 8, dtype=dtype)
    numbers |= symbols[2:]
    return numbers


def _sorted_numbers(parts: list[NDArray[np.uint8]]) -> NDArray[np.intp]:
    numbers = np.concatenate([_numbers(symbols, np.uint32) for symbols in parts])
    numbers.sort()
    return numbers.astype(np.intp)
