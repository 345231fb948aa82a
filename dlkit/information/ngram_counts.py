"""Counts of the sequences of k + 1 symbols that occur in a stream, by sorting: no Python object for each.

A sequence is one whole number where its symbols fit into 64 bits, and else a row of bytes; sorted, equal sequences are
neighbours, and so are those that begin alike. Counted blocks are merged like the runs of a merge sort, so that each
sequence is moved a logarithmic number of times.

Shapes: n symbols of a block, m different sequences, k + 1 symbols a sequence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError

MOST_BYTES = 1 << 30  # of sequences and their counts that are kept
_BATCH = 1 << 26  # bytes of sequences that are sorted at once
_ROWS = 1 << 12  # rows that are compared at once

Integers = NDArray[np.int64]
Keys = NDArray[Any]  # (m,) uint64, or void where a sequence is longer


class SequenceCounts:
    """How often each sequence of `order` + 1 symbols occurs.

    Args:
        order: k, 0 or more.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.n = 0
        self.tail = np.empty(0, dtype=np.uint32)  # the last k symbols
        self.bits = min(64 // (order + 1), 32)  # of a symbol in a whole number; 0 where it takes a row of bytes
        self.symbol: Any = np.uint32 if self.bits else np.uint8
        if order + 1 > 8:
            self.bits, self.symbol = 0, np.uint8
        self._runs: list[tuple[Keys, Integers]] = []

    def update(self, numbers: NDArray[Any]) -> None:
        """Take in the next symbols, as numbers from 0 to 2^32 - 1. Raises RequestError when there is no room."""
        self.n += len(numbers)
        symbols = np.concatenate((self.tail, numbers.astype(np.uint32)))
        self.tail = symbols[max(0, len(symbols) - self.order) :]
        if len(symbols) <= self.order:
            return
        self._make_room(int(symbols.max()))
        batch = max(1, _BATCH // (8 if self.bits else (self.order + 1) * np.dtype(self.symbol).itemsize))
        for start in range(0, len(symbols) - self.order, batch):
            self._add(*_grouped(self._keys(symbols[start : start + batch + self.order]), None))
            self._check_room()

    def _check_room(self) -> None:
        stored = sum(keys.nbytes + counts.nbytes for keys, counts in self._runs)
        if stored > MOST_BYTES:
            different = sum(len(keys) for keys, _ in self._runs)
            raise RequestError(
                f"some {different:,} different sequences of {self.order + 1} symbols take more than "
                f"{MOST_BYTES >> 20:,} MiB",
                "lower --order",
            )

    def _keys(self, symbols: NDArray[np.uint32]) -> Keys:
        """The (n - k,) sequences in a row of symbols."""
        if self.bits:
            count = len(symbols) - self.order
            keys = symbols[:count].astype(np.uint64)
            for shift in range(1, self.order + 1):
                keys <<= np.uint64(self.bits)
                keys |= symbols[shift : shift + count]
            return keys
        rows = np.lib.stride_tricks.sliding_window_view(symbols.astype(self.symbol), self.order + 1)
        return _void(rows)

    def _make_room(self, largest: int) -> None:
        """Give each symbol more bits if one needs them."""
        if self.bits and largest >> self.bits:
            runs = [(_void(_symbols(keys, self.bits, self.order)), counts) for keys, counts in self._runs]
            self.bits, self.symbol, self._runs = 0, np.uint32, []
            for keys, counts in runs:
                self._add(*_grouped(keys, counts))
        elif not self.bits and self.symbol is np.uint8 and largest > 255:
            runs, self._runs, self.symbol = self._runs, [], np.uint32
            for keys, counts in runs:
                rows = keys.view(np.uint8).reshape(-1, self.order + 1)
                self._add(*_grouped(_void(rows.astype(np.uint32)), counts))

    def _add(self, keys: Keys, counts: Integers) -> None:
        self._runs.append((keys, counts))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) >= len(self._runs[-2][0]):
            self._merge_last()

    def _merge_last(self) -> None:
        (a, a_counts), (b, b_counts) = self._runs[-2:]
        self._runs[-2:] = [_grouped(np.concatenate((a, b)), np.concatenate((a_counts, b_counts)))]

    def table(self) -> tuple[NDArray[np.uint32], Integers]:
        """The different sequences, (m, k + 1) in their order, and how often each occurs, (m,)."""
        while len(self._runs) > 1:
            self._merge_last()
        if not self._runs:
            return np.empty((0, self.order + 1), dtype=np.uint32), np.empty(0, dtype=np.int64)
        keys, counts = self._runs[0]
        if self.bits:
            return _symbols(keys, self.bits, self.order), counts
        return keys.view(self.symbol).reshape(-1, self.order + 1), counts

    def orders(self) -> list[tuple[Integers, Integers]]:
        """For each order 0 ... k: how often its sequences occur, and how often what they continue does.

        Sequences that begin alike stand together, so those of a lower order are sums over neighbours. The last k
        symbols begin sequences that are too short to be counted among the longer ones: they join as rows of their own.
        """
        rows, counts = self.table()
        if self.bits:
            rows = rows.astype(">u4")  # whose bytes have the order of the numbers: what is sorted stays so
        rows, counts, lengths, alike = _with_ends(rows, counts, self.tail, self.order)
        return [
            (_counts_of(counts, lengths, alike, k + 1, 0), _counts_of(counts, lengths, alike, k, 1))
            for k in range(self.order + 1)
        ]


def _symbols(keys: Keys, bits: int, order: int) -> NDArray[np.uint32]:
    """Whole numbers as rows of symbols, (m, k + 1)."""
    shifts = np.arange(order, -1, -1, dtype=np.uint64) * np.uint64(bits)
    return ((keys[:, None] >> shifts) & np.uint64((1 << bits) - 1)).astype(np.uint32)


def _void(rows: NDArray[Any]) -> Keys:
    """Rows as single values that compare byte by byte."""
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)


def _grouped(keys: Keys, counts: Integers | None) -> tuple[Keys, Integers]:
    """Sorted different keys, and the sum of the counts of each (1 each where there are none)."""
    if counts is None:
        keys = np.sort(keys)
        begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        return keys[begins], np.diff(np.append(begins, len(keys)))
    order = np.argsort(keys, kind="stable")  # two sorted runs: they are merged
    keys, counts = keys[order], counts[order]
    begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[begins], np.add.reduceat(counts, begins)


def _with_ends(
    rows: NDArray[Any], counts: Integers, tail: NDArray[np.uint32], order: int
) -> tuple[NDArray[Any], Integers, Integers, Integers]:
    """Sorted rows with the ends of the stream among them: rows, their counts, their lengths (the end of j symbols has
    j, and zeros behind them), and how many symbols each row has in common with the one before it."""
    ends = np.zeros((len(tail), order + 1), dtype=rows.dtype)
    for length in range(1, len(tail) + 1):
        ends[length - 1, :length] = tail[len(tail) - length :]
    rows = np.concatenate((rows, ends))
    place = np.argsort(_void(rows), kind="stable") if len(rows) else np.empty(0, dtype=np.intp)
    rows = rows[place]
    counts = np.concatenate((counts, np.ones(len(tail), dtype=np.int64)))[place]
    lengths = np.concatenate((np.full(len(rows) - len(tail), order + 1), np.arange(1, len(tail) + 1)))[place]
    alike = np.zeros(len(rows), dtype=np.int64)
    for start in range(1, len(rows), _ROWS):
        part = rows[start - 1 : start + _ROWS]
        other = part[1:] != part[:-1]
        alike[start : start + _ROWS] = np.where(other.any(1), other.argmax(1), order + 1)
    return rows, counts, lengths, alike


def _counts_of(counts: Integers, lengths: Integers, alike: Integers, length: int, more: int) -> Integers:
    """How often the different first `length` symbols of rows occur with at least `more` symbols behind them."""
    begins = np.flatnonzero(alike < length) if length else np.zeros(min(len(alike), 1), dtype=np.intp)
    if not len(begins):
        return np.empty(0, dtype=np.int64)
    begins[0] = 0
    sums = np.add.reduceat(np.where(lengths >= length + more, counts, 0), begins)
    return sums[sums > 0]
