"""A model of bytes that learns while it codes: gated mixing of the predictions of contexts (Mahoney 2005, "PAQ";
Knoll & de Freitas, arXiv:1108.3298). It predicts bit by bit, the highest of a byte first.

Each context, such as the last three bytes, keeps a probability for every bit that may follow it. A one-layer network
mixes them in the domain of logits, and learns by gradient descent on the bits that the code spends:

    p = sigmoid(sum_k w_k x_k)        x_k = ln(p_k / (1 - p_k))        w_k <- w_k + eta (bit - p) x_k

Which row of weights is used depends on how many contexts are known (one gate) and on the bits of the byte so far (the
other). Everything is counted in whole numbers, so that a decoder on any machine comes to the same probabilities:
probabilities in units of 2^-16, logits of 2^-8, weights of 2^-16.

Shapes: N streams side by side that share all that is learned, K contexts, M inputs of the mixer.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ONE = 1 << 16  # probability 1
_NAT = 256  # logit 1
_MOST = 12 * _NAT - 1  # largest logit
_ORDERS = (0, 1, 2, 3, 4, 5, 6)  # bytes that a context holds; one more holds the word so far
_CONTEXTS = len(_ORDERS) + 1
_MATCH = 6  # bytes that a match begins with
_PHI, _SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)  # odd: products spread over all bits
_COUNTS, _BUCKETS = 16, 24  # of the table that corrects a context's probability
_STEP = 15  # the mixer's rate of learning: 2^-(_STEP - 8) = 1/128, in units of nats
_INPUTS = 2 * _CONTEXTS + 2
_COLUMNS = np.arange(_INPUTS)
_SURE = _CONTEXTS * 4 + 4  # rows of the gate that counts what is known
_PLACES = np.arange(7, -1, -1)[:, None]  # of a byte's bits


def _tables() -> tuple[Ints, Ints]:
    """logit of p / 4096 (4096 entries), sigmoid of logits from -_MOST to _MOST; both rounded."""
    logit = [round(_NAT * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)]
    sigmoid = [round(ONE / (1 + math.exp(-x / _NAT))) for x in range(-_MOST, _MOST + 1)]
    return np.array(logit), np.clip(np.array(sigmoid), 1, ONE - 1)


_LOGIT, _SIGMOID = _tables()
# Tables for numbers on both sides of 0, which Python counts from the end: by (p - ONE / 2) >> 4, and by logit.
_LOGIT_OF = np.roll(_LOGIT, -2048)
_BUCKET_OF = np.clip((_LOGIT_OF + 8 * _NAT) * _BUCKETS // (16 * _NAT), 0, _BUCKETS - 1)
_SIGMOID_OF = np.roll(_SIGMOID, -_MOST)
_SEEN_CELL = np.minimum(np.arange(256), _COUNTS - 1) * _BUCKETS
_NODE = np.arange(256, dtype=np.uint64) * _SPREAD  # by the bits of the byte so far


@dataclass(frozen=True)
class Pace:
    """How a model begins and learns; part of the format, in which `tables` names it.

    Args:
        weight: of each input of the mixer at first.
        limit: observations after which a context forgets old ones as fast as it learns.
        early: the n-th observation of a context counts 1 / (n + early).
    """

    weight: int
    limit: int
    early: float

    def rates(self) -> Ints:
        """(256,) by n."""
        return np.array([0] + [round(ONE / (n + self.early)) for n in range(1, 256)])


_TABLES = zlib.crc32(_LOGIT.astype("<i4").tobytes() + _SIGMOID.astype("<i4").tobytes())
_FIRST, PACE = Pace(ONE * 5 // 16, 60, 0.5), Pace(ONE * 9 // 64, 127, 0.6)
TABLES = zlib.crc32(PACE.rates().astype("<i4").tobytes(), _TABLES) % 100_000  # short: each file carries it
PACES = {_TABLES: _FIRST, TABLES: PACE}  # the first one is that of files that were written before


class Mixing:
    """The model. For every bit call `probabilities`, then `learn`.

    Few streams are limited by how often numpy is called, so what does not change within a byte is worked out at its
    beginning, and (K, N) arrays lie flat, (K N,), where they are indices.

    Args:
        streams: N.
        bits: of an index into a context's table.
        window: bytes that are remembered to find repetitions in.
        pace: of learning.
    """

    def __init__(self, streams: int, bits: int, window: int, pace: Pace = PACE) -> None:
        self._limit, self._rate = pace.limit, pace.rates()
        self._shift, self._mark_shift = np.uint64(64 - bits), np.uint64(56 - bits)
        size = _CONTEXTS << bits
        # zeros take no memory before they are written to
        self._q = np.zeros(size, dtype=np.int32)  # probability that the next bit is 1, less ONE / 2
        self._n = np.zeros(size, dtype=np.uint8)  # observations
        self._check = np.zeros(size, dtype=np.uint8)  # whose slot it is
        self._offset = (np.arange(_CONTEXTS) << bits)[:, None]
        # corrected probability by context, observations and logit
        logits = (np.arange(_BUCKETS) - _BUCKETS / 2 + 0.5) * (16 * _NAT // _BUCKETS)
        self._corrected = np.tile(_SIGMOID[logits.astype(np.int64) + _MOST], (_CONTEXTS * _COUNTS, 1)).ravel()
        self._right = np.full(32, ONE * 3 // 4)  # probability that a match of this length goes on
        # the weights of both gates: by how much is known, and by the bits so far
        self._gates = np.full((_SURE + 256) * _INPUTS, pace.weight)
        self._window = np.zeros(window, dtype=np.uint8)
        self._place_of = np.zeros(1 << min(bits, 20), dtype=np.int64)  # hash of bytes -> place behind them
        self._place_shift = np.uint64(64 - min(bits, 20))
        self._masks = np.array([(1 << 8 * order) - 1 for order in _ORDERS], dtype=np.uint64)[:, None]
        self._salt = (np.arange(1, _CONTEXTS + 1, dtype=np.uint64) * _SPREAD)[:, None]
        self.begin(streams, np.zeros(streams, dtype=np.int64))

    def begin(self, streams: int, places: Ints) -> None:
        """New streams, (N,) the places in the window where their bytes go; what was learned stays."""
        self._places = places.copy()
        self._recent = np.zeros(streams, dtype=np.uint64)  # the last eight bytes
        self._word = np.zeros(streams, dtype=np.uint64)
        self._matched = np.zeros(streams, dtype=np.int64)  # bytes that have agreed
        self._source = np.zeros(streams, dtype=np.int64)  # where the match goes on
        self._make_room(streams)
        self._begin_byte()

    def narrow(self, streams: int) -> None:
        """Go on with the first streams only, at the beginning of a byte."""
        for name in ("_places", "_recent", "_word", "_matched", "_source"):
            setattr(self, name, getattr(self, name)[:streams])
        self._make_room(streams)
        self._begin_byte()

    def _make_room(self, streams: int) -> None:
        """Arrays for so many streams, which every bit fills anew."""
        self._streams = streams
        self._x = np.empty((_CONTEXTS, streams), dtype=np.uint64)
        self._slots = np.empty((_CONTEXTS, streams), dtype=np.uint64)
        self._row = np.repeat(np.arange(_CONTEXTS) * _COUNTS * _BUCKETS, streams)
        self._ones = np.ones(_CONTEXTS * streams, dtype=np.uint8)
        self._inputs = np.zeros((_INPUTS, streams), dtype=np.int64)
        self._inputs[-1] = _NAT
        self._chosen = np.empty((2, streams, 1), dtype=np.int64)  # where the weights of a gate begin
        self._weights_at = np.empty((2, streams, _INPUTS), dtype=np.int64)
        self._dots = np.empty((3, streams), dtype=np.int64)

    def probabilities(self) -> Ints:
        """(N,) of the next bit being 1, from 1 to 65535."""
        shape = (_CONTEXTS, self._streams)
        x = np.bitwise_xor(self._hash, _NODE[self._partial], out=self._x)  # (K, N)
        x *= _PHI
        slots = np.right_shift(x, self._shift, out=self._slots).view(np.int64)
        slots += self._offset
        self._index = slots.reshape(-1)
        self._mark = (x >> self._mark_shift).astype(np.uint8).reshape(-1)
        self._seen, self._own = self._n[self._index], self._q[self._index]
        other = self._check[self._index] != self._mark  # the slot is another context's
        np.copyto(self._seen, 0, where=other)
        np.copyto(self._own, 0, where=other)
        high = self._own >> 4
        self._inputs[:_CONTEXTS] = _LOGIT_OF[high].reshape(shape)
        self._cell = _BUCKET_OF[high]
        self._cell += _SEEN_CELL[self._seen]
        self._cell += self._row
        self._was = self._corrected[self._cell]
        unseen = (self._seen == 0).reshape(shape)
        self._inputs[_CONTEXTS:-2] = _LOGIT[self._was >> 4].reshape(shape)
        np.copyto(self._inputs[_CONTEXTS:-2], 0, where=unseen)
        sure = 4 * _CONTEXTS - 4 * np.add.reduce(unseen, 0, dtype=np.int64)
        if self._matching:
            # a match says which bit comes next, as long as the bits of this byte agree
            self._trust = self._right[self._length]
            np.multiply(_LOGIT[self._trust >> 4], self._signs[self._done], out=self._inputs[-2])
            self._inputs[-2] *= self._agrees
            sure += self._level * self._agrees
        np.multiply(sure, _INPUTS, out=self._chosen[0, :, 0])
        np.multiply(self._partial + _SURE, _INPUTS, out=self._chosen[1, :, 0])
        weights_at = np.add(self._chosen, _COLUMNS, out=self._weights_at)
        # p = sigmoid(sum_k w_k x_k), by each gate; the code takes the mean of their logits
        dots = self._dots
        np.vecdot(self._gates[weights_at], self._inputs.T, out=dots[:2])
        dots[:2] >>= 16
        np.add(dots[0], dots[1], out=dots[2])
        dots[2] >>= 1
        np.minimum(dots, _MOST, out=dots)
        np.maximum(dots, -_MOST, out=dots)
        self._outputs = _SIGMOID_OF[dots]  # (3, N)
        return self._outputs[2]

    def learn(self, bits: Ints) -> None:
        """Say what the bit was, (N,)."""
        shape = (_CONTEXTS, self._streams)
        # w_k <- w_k + eta (bit - p) x_k
        one = bits * ONE
        steps = self._inputs.T * (one - self._outputs[:2])[:, :, None]  # (2, N, M)
        steps += 1 << (_STEP - 1)
        steps >>= _STEP
        np.add.at(self._gates, self._weights_at.reshape(-1), steps.reshape(-1))
        # p_k <- p_k + sum (bit - p_k) / (n + early), n with all new ones, where streams meet in a context
        target, index = one - bits, self._index
        self._q[index], self._n[index], self._check[index] = self._own, self._seen, self._mark
        np.add.at(self._n, index, self._ones)
        now = self._n[index]
        steps = np.subtract(target - ONE // 2, self._own.reshape(shape)).reshape(-1)
        steps *= self._rate[now]
        steps >>= 16
        np.add.at(self._q, index, steps.astype(np.int32))
        self._q[index] = np.maximum(np.minimum(self._q[index], ONE // 2 - 1), -ONE // 2)
        self._n[index] = np.minimum(now, self._limit)
        steps = np.subtract(target, self._was.reshape(shape)).reshape(-1)
        steps >>= 6
        steps += self._was
        self._corrected[self._cell] = steps
        if self._matching:
            right = self._says[self._done] == bits
            trust = self._trust + ((right * (ONE - 1) - self._trust) >> 6)
            matches = self._agrees.nonzero()[0]
            self._right[self._length[matches]] = trust[matches]
            self._agrees *= right
        self._partial = self._partial * 2 + bits
        self._done += 1
        if self._done == 8:
            self._learn_byte(self._partial & 255)

    def _learn_byte(self, byte: Ints) -> None:
        self.byte = byte
        self._window[self._places] = byte
        self._places = (self._places + 1) % len(self._window)
        # does the match go on?
        goes_on = (self._matched > 0) & (self._window[self._source] == byte)
        self._matched = np.where(goes_on, self._matched + 1, 0)
        self._source = (self._source + 1) % len(self._window)
        new = byte.astype(np.uint64)
        self._recent = (self._recent << np.uint64(8)) | new
        letter = ((byte | 32) >= ord("a")) & ((byte | 32) <= ord("z")) | (byte >= 128)
        self._word = np.where(letter, (self._word + new + np.uint64(1)) * _SPREAD, np.uint64(0))
        # the latest place behind the same bytes, then this one
        key = (((self._recent & np.uint64((1 << 8 * _MATCH) - 1)) * _PHI) >> self._place_shift).astype(np.int64)
        found = self._place_of[key]
        take = (self._matched == 0) & (found > 0)
        self._source = np.where(take, found - 1, self._source)
        self._matched = np.where(take, 1, self._matched)
        self._place_of[key] = self._places + 1
        self._begin_byte()

    def _begin_byte(self) -> None:
        orders = self._recent & self._masks  # (K - 1, N)
        self._hash = (np.vstack((orders, self._word)) + self._salt) * _PHI
        self._hash ^= self._hash >> np.uint64(29)
        self._partial = np.ones(self._streams, dtype=np.int64)  # 1, then the bits so far
        self._done = 0
        self._agrees = (self._matched > 0).astype(np.int64)
        self._matching = bool(self._agrees.any())
        self._inputs[-2] = 0
        if self._matching:
            self._says = (self._window[self._source] >> _PLACES) & 1  # (8, N): the bits of the expected bytes
            self._signs = self._says * 2 - 1
            self._length = np.minimum(self._matched, 31)
            self._level = 1 + (self._length > 15) + (self._length > 23)
