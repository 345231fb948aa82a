"""Statistics of streams, block by block: how often each sequence of up to k + 1 symbols occurs, and what follows.

The entropy of order k is that of a symbol given the k before it, by the plug-in estimate from counts c:

    H_k = -sum over contexts w and symbols x of c(w x) / n_k * log (c(w x) / c(w)),   n_k = n - k

with c(w) the times that w has a successor. Order 0 is the entropy of single symbols.
"""

from __future__ import annotations

import codecs
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import RequestError
from dlkit.information.measures import miller_madow

# Sizes of the blocks that are counted at once: what lies between is in the cache.
BLOCK, TRIPLE_BLOCK = 1 << 20, 1 << 16
# A table of all 256^3 sequences of three bytes is 134 MB; longer ones are counted by those that occur.
TABLE_ORDER = 2
MOST_SEQUENCES = 20_000_000

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """The entropy of one order in bits: by plug-in, and with Miller's and Madow's correction of its bias."""

    order: int
    entropy: float
    corrected: float
    contexts: int


class ByteCounts:
    """Counts of bytes and of sequences of up to three, in tables: constant memory, whatever the length.

    Args:
        order: 0, 1 or 2.
    """

    def __init__(self, order: int = 0) -> None:
        self.order = order
        self.n = 0
        # pairs are counted at every order, since the serial correlation needs them; at order 2 triples tell them
        self.pairs = np.zeros(1 << 16, dtype=np.int64)
        self.triples = np.zeros(1 << 24, dtype=np.int64) if order == 2 else None
        self.first = b""  # the first bytes, at most two
        self.tail = b""  # the last bytes, at most two

    def update(self, block: bytes) -> None:
        """Take in the next bytes of the stream."""
        size = BLOCK if self.triples is None else TRIPLE_BLOCK
        for start in range(0, len(block), size):
            self._take(block[start : start + size])

    def _take(self, block: bytes) -> None:
        if len(self.first) < 2:
            self.first = (self.first + block)[:2]
        if self.triples is None:
            joined = self.tail[-1:] + block
            for offset in (0, 1):  # pairs that begin at even and at odd places, two bytes read as one number
                count = (len(joined) - offset) // 2
                numbers = np.frombuffer(joined, dtype="<u2", count=count, offset=offset)
                self.pairs += np.bincount(numbers, minlength=1 << 16)
        else:
            symbols = np.frombuffer(self.tail + block, dtype=np.uint8)
            numbers = np.left_shift(symbols[:-2], 16, dtype=np.int64)
            numbers |= np.left_shift(symbols[1:-1], 8, dtype=np.int64)
            numbers |= symbols[2:]
            np.add.at(self.triples, numbers, 1)
        self.tail = (self.tail + block)[-2:]
        self.n += len(block)

    def pair_table(self) -> Integers:
        """(256, 256) counts of a byte and its successor."""
        if self.triples is None:
            return self.pairs.reshape(256, 256).T  # little-endian: the first byte is the low one
        table = self.triples.reshape(256, 256, 256).sum(2)  # every pair that has a successor ...
        if self.n >= 2:
            table[self.tail[0], self.tail[1]] += 1  # ... and the last one
        return table

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
        orders = [_order(0, self.counts()[None, :])]
        if self.order >= 1:
            orders.append(_order(1, self.pair_table()))
        if self.triples is not None:
            orders.append(_order(2, self.triples.reshape(-1, 256)))
        return orders

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


class SymbolCounts:
    """Counts of any symbols and of their sequences of up to k + 1: memory grows with how many different ones occur.

    Args:
        order: k, 0 or more.
    """

    def __init__(self, order: int = 0) -> None:
        self.order = order
        self.n = 0
        self.sequences = Counter[tuple[Any, ...]]()
        self.first: list[Any] = []  # the first k symbols: sequences shorter than k + 1 begin there too
        self.tail: list[Any] = []

    def update(self, block: Iterable[Any]) -> None:
        """Take in the next symbols. Raises RequestError when there are too many different sequences to count."""
        symbols = list(block)
        if len(self.first) < self.order:
            self.first = (self.first + symbols)[: self.order]
        if self.order:
            joined = self.tail + symbols
            self.sequences.update(zip(*(joined[shift:] for shift in range(self.order + 1)), strict=False))
            self.tail = joined[-self.order :]
        else:
            for symbol, count in Counter(symbols).items():
                self.sequences[symbol,] += count
        self.n += len(symbols)
        if len(self.sequences) > MOST_SEQUENCES:
            raise RequestError(
                f"more than {MOST_SEQUENCES:,} different sequences of {self.order + 1} symbols", "lower --order"
            )

    def orders(self) -> list[Order]:
        return [self._order(order) for order in range(self.order + 1)]

    def distinct(self) -> int:
        return len(self._table(0))

    def alphabet(self) -> tuple[list[str], list[int]]:
        """The symbols that occur, the most frequent first, and how often."""
        table = self._table(0).most_common()
        names = [
            symbol.decode("utf-8", "backslashreplace") if isinstance(symbol, bytes) else symbol
            for (symbol,), _ in table
        ]
        return names, [count for _, count in table]

    def _table(self, order: int) -> Counter[tuple[Any, ...]]:
        """Counts of sequences of order + 1 symbols: the ends of the longest ones, and those among the first symbols."""
        if order == self.order:
            return self.sequences
        table = Counter[tuple[Any, ...]]()
        for sequence, count in self.sequences.items():
            table[sequence[self.order - order :]] += count
        for start in range(len(self.first) - order):
            table[tuple(self.first[start : start + order + 1])] += 1
        return table

    def _order(self, order: int) -> Order:
        table = self._table(order)
        contexts = Counter[tuple[Any, ...]]()
        for sequence, count in table.items():
            contexts[sequence[:-1]] += count
        n = sum(contexts.values())
        bits = _log_sum(contexts.values()) - _log_sum(table.values())
        correction = miller_madow(len(table), n) - miller_madow(len(contexts), n)
        entropy = max(bits / n, 0.0) if n else 0.0
        return Order(order, entropy, entropy + correction, len(contexts) if n else 0)


class LongByteCounts(ByteCounts):
    """Counts of bytes, and of sequences that are too long for a table by those that occur.

    Args:
        order: 3 or more.
    """

    def __init__(self, order: int) -> None:
        super().__init__(1)
        self.sequences = SymbolCounts(order)

    def update(self, block: bytes) -> None:
        super().update(block)
        self.sequences.update(block)

    def orders(self) -> list[Order]:
        return self.sequences.orders()


def _log_sum(counts: Iterable[int]) -> float:
    """sum_i c_i log2 c_i"""
    values = np.fromiter(counts, dtype=np.float64)
    return float((values * np.log2(values, out=np.zeros_like(values), where=values > 0)).sum())


def _order(order: int, table: Integers) -> Order:
    """The entropy of an order from its (contexts, symbols) table."""
    totals = table.sum(1)
    n = int(totals.sum())
    occurring = table[table > 0]
    used = totals[totals > 0]
    # n H_k = sum_w c(w) log c(w) - sum_wx c(wx) log c(wx)
    bits = _log_sum(used) - _log_sum(occurring)
    correction = miller_madow(len(occurring), n) - miller_madow(len(used), n)
    entropy = max(bits / n, 0.0) if n else 0.0
    return Order(order, entropy, entropy + correction, len(used))


# ------------------------------------------------------------------ symbols of a stream


def blocks(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """The bytes of a file, as they come."""
    read = getattr(file, "read1", file.read)
    while block := read(size):
        yield block


def characters(stream: Iterable[bytes]) -> Iterator[str]:
    """UTF-8 decoded block by block. Raises RequestError at the first byte that is none."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    try:
        for block in stream:
            yield decoder.decode(block)
            position += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise RequestError(
            f"not UTF-8: near byte {position + error.start:,}", "use --symbols bytes, which takes anything"
        ) from None


def words(stream: Iterable[bytes]) -> Iterator[list[str]]:
    """What stands between white space, block by block."""
    rest = ""
    for text in characters(stream):
        parts = (rest + text).split()
        rest = parts.pop() if parts and not (rest + text)[-1].isspace() else ""
        yield parts
    yield [rest] if rest else []


def lines(stream: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines without their ends, block by block; the last one need not have an end."""
    rest = b""
    for block in stream:
        *whole, rest = (rest + block).split(b"\n")
        yield whole
    yield [rest] if rest else []


def single_bytes(stream: Iterable[bytes]) -> Iterator[Iterable[int]]:
    """The bytes themselves."""
    yield from stream


SPLIT: dict[str, Any] = {"bytes": single_bytes, "chars": characters, "words": words, "lines": lines}


def counter(symbols: str, order: int) -> ByteCounts | SymbolCounts:
    """What counts a stream of these symbols up to this order."""
    if symbols == "bytes":
        return ByteCounts(order) if order <= TABLE_ORDER else LongByteCounts(order)
    return SymbolCounts(order)
