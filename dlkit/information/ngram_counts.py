"""Counts of the (k + 1)-grams of a stream, by sorting instead of a Python object for each.

An n-gram is an integer if its symbols fit into 64 bits, else a row of bytes. Once sorted, equal n-grams are neighbours,
and so are those with a common prefix. Counted blocks are merged like the runs of a merge sort, so that each n-gram is
moved a logarithmic number of times.

Shapes: n symbols of a block, m distinct n-grams of k + 1 symbols.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError

MOST_BYTES = 1 << 30  # of distinct n-grams and their counts
_BATCH = 1 << 26  # bytes of n-grams sorted at once
_ROWS = 1 << 12  # rows compared at once

Integers = NDArray[np.int64]
Keys = NDArray[Any]  # (m,) n-grams: uint64, or void if they are longer


class NgramCounts:
    """How often each (k + 1)-gram occurs.

    Args:
        order: k, 0 or more.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.n = 0
        self.tail = np.empty(0, dtype=np.uint32)  # the last k symbols
        self.bits = min(64 // (order + 1), 32)  # of a symbol in an integer; 0 if n-grams are rows of bytes
        self.symbol: Any = np.uint32 if self.bits else np.uint8
        if order + 1 > 8:
            self.bits, self.symbol = 0, np.uint8
        self._runs: list[tuple[Keys, Integers]] = []

    def update(self, ids: NDArray[Any]) -> None:
        """Count the next symbols, given as ids from 0 to 2^32 - 1. Raises RequestError above `MOST_BYTES`."""
        self.n += len(ids)
        symbols = np.concatenate((self.tail, ids.astype(np.uint32)))
        self.tail = symbols[max(0, len(symbols) - self.order) :]
        if len(symbols) <= self.order:
            return
        self._widen(int(symbols.max()))
        batch = max(1, _BATCH // (8 if self.bits else (self.order + 1) * np.dtype(self.symbol).itemsize))
        for start in range(0, len(symbols) - self.order, batch):
            self._add(*_grouped(self._keys(symbols[start : start + batch + self.order]), None))
            self._check_size()

    def _check_size(self) -> None:
        stored = sum(keys.nbytes + counts.nbytes for keys, counts in self._runs)
        if stored > MOST_BYTES:
            distinct = sum(len(keys) for keys, _ in self._runs)
            raise RequestError(
                f"some {distinct:,} different sequences of {self.order + 1} symbols take more than "
                f"{MOST_BYTES >> 20:,} MiB",
                "lower `order`",
            )

    def _keys(self, symbols: NDArray[np.uint32]) -> Keys:
        """The n-grams of consecutive symbols, (n - k,)."""
        if self.bits:
            count = len(symbols) - self.order
            keys = symbols[:count].astype(np.uint64)
            for shift in range(1, self.order + 1):
                keys <<= np.uint64(self.bits)
                keys |= symbols[shift : shift + count]
            return keys
        rows = np.lib.stride_tricks.sliding_window_view(symbols.astype(self.symbol), self.order + 1)
        return _void(rows)

    def _widen(self, largest: int) -> None:
        """Store symbols in more bits if the largest one needs them."""
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
        """The distinct n-grams, sorted, (m, k + 1), and their counts, (m,)."""
        while len(self._runs) > 1:
            self._merge_last()
        if not self._runs:
            return np.empty((0, self.order + 1), dtype=np.uint32), np.empty(0, dtype=np.int64)
        keys, counts = self._runs[0]
        if self.bits:
            return _symbols(keys, self.bits, self.order), counts
        return keys.view(self.symbol).reshape(-1, self.order + 1), counts

    def counts_by_order(self) -> list[tuple[Integers, Integers]]:
        """For each order 0 ... k: the counts of its n-grams, and of their contexts as far as these have a successor.

        N-grams with a common prefix are neighbours, so the counts of shorter ones are sums over neighbours. The last k
        symbols of the stream begin n-grams that are too short to be among the longer ones: they are added as rows.
        """
        rows, counts = self.table()
        if self.bits:
            rows = rows.astype(">u4")  # big-endian: the rows stay sorted when compared as bytes
        rows, counts, lengths, common = _with_ends(rows, counts, self.tail, self.order)
        return [
            (_prefix_counts(counts, lengths, common, k + 1, 0), _prefix_counts(counts, lengths, common, k, 1))
            for k in range(self.order + 1)
        ]


def _symbols(keys: Keys, bits: int, order: int) -> NDArray[np.uint32]:
    """N-grams in integers as rows of symbols, (m, k + 1)."""
    shifts = np.arange(order, -1, -1, dtype=np.uint64) * np.uint64(bits)
    return ((keys[:, None] >> shifts) & np.uint64((1 << bits) - 1)).astype(np.uint32)


def _void(rows: NDArray[Any]) -> Keys:
    """Rows as single values that compare byte by byte."""
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)


def _grouped(keys: Keys, counts: Integers | None) -> tuple[Keys, Integers]:
    """The sorted distinct keys, and the sum of the counts of each; None for counts of 1."""
    if counts is None:
        keys = np.sort(keys)
        begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        return keys[begins], np.diff(np.append(begins, len(keys)))
    order = np.argsort(keys, kind="stable")  # fast on two sorted runs, which it merges
    keys, counts = keys[order], counts[order]
    begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[begins], np.add.reduceat(counts, begins)


def _with_ends(
    rows: NDArray[Any], counts: Integers, tail: NDArray[np.uint32], order: int
) -> tuple[NDArray[Any], Integers, Integers, Integers]:
    """Insert the last 1, 2, ... k symbols of the stream into sorted rows, padded with zeros.

    Returns:
        The rows, their counts, their lengths without padding, and the length of the prefix that each row has in common
        with the row before.
    """
    ends = np.zeros((len(tail), order + 1), dtype=rows.dtype)
    for length in range(1, len(tail) + 1):
        ends[length - 1, :length] = tail[len(tail) - length :]
    rows = np.concatenate((rows, ends))
    ranking = np.argsort(_void(rows), kind="stable") if len(rows) else np.empty(0, dtype=np.intp)
    rows = rows[ranking]
    counts = np.concatenate((counts, np.ones(len(tail), dtype=np.int64)))[ranking]
    lengths = np.concatenate((np.full(len(rows) - len(tail), order + 1), np.arange(1, len(tail) + 1)))[ranking]
    common = np.zeros(len(rows), dtype=np.int64)
    for start in range(1, len(rows), _ROWS):
        chunk = rows[start - 1 : start + _ROWS]
        differs = chunk[1:] != chunk[:-1]
        common[start : start + _ROWS] = np.where(differs.any(1), differs.argmax(1), order + 1)
    return rows, counts, lengths, common


def _prefix_counts(counts: Integers, lengths: Integers, common: Integers, length: int, more: int) -> Integers:
    """The counts of the distinct prefixes of `length` symbols that are followed by at least `more` symbols."""
    begins = np.flatnonzero(common < length) if length else np.zeros(min(len(common), 1), dtype=np.intp)
    if not len(begins):
        return np.empty(0, dtype=np.int64)
    begins[0] = 0
    sums = np.add.reduceat(np.where(lengths >= length + more, counts, 0), begins)
    return sums[sums > 0]
