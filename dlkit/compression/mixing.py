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
_LIMIT = 60  # observations after which a context forgets old ones as fast as it learns
_STEP = 15  # the mixer's rate of learning: 2^-(_STEP - 8) = 1/128, in units of nats
_INPUTS = 2 * _CONTEXTS + 2


def _tables() -> tuple[Ints, Ints]:
    """logit of p / 4096 (4096 entries), sigmoid of logits from -_MOST to _MOST; both rounded."""
    logit = [round(_NAT * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)]
    sigmoid = [round(ONE / (1 + math.exp(-x / _NAT))) for x in range(-_MOST, _MOST + 1)]
    return np.array(logit), np.clip(np.array(sigmoid), 1, ONE - 1)


_LOGIT, _SIGMOID = _tables()
# After n observations the next one counts 1 / (n + 1.5).
_RATE = np.array([round(ONE / (n + 1.5)) for n in range(256)])
TABLES = zlib.crc32(_LOGIT.astype("<i4").tobytes() + _SIGMOID.astype("<i4").tobytes())


class Mixing:
    """The model. For every bit call `probabilities`, then `learn`.

    Args:
        streams: N.
        bits: of an index into a context's table.
        window: bytes that are remembered to find repetitions in.
    """

    def __init__(self, streams: int, bits: int, window: int) -> None:
        self._shift = np.uint64(64 - bits)
        size = _CONTEXTS << bits
        self._p = np.full(size, ONE // 2, dtype=np.int32)  # that the next bit is 1
        self._n = np.zeros(size, dtype=np.uint8)  # observations
        self._check = np.zeros(size, dtype=np.uint8)  # whose slot it is
        self._offset = (np.arange(_CONTEXTS) << bits)[:, None]
        # corrected probability by context, observations and logit
        logits = (np.arange(_BUCKETS) - _BUCKETS / 2 + 0.5) * (16 * _NAT // _BUCKETS)
        self._corrected = np.tile(_SIGMOID[logits.astype(np.int64) + _MOST], (_CONTEXTS * _COUNTS, 1)).ravel()
        self._row = (np.arange(_CONTEXTS) * _COUNTS)[:, None]
        self._right = np.full(32, ONE * 3 // 4)  # probability that a match of this length goes on
        self._gates = [np.full((rows, _INPUTS), ONE * 5 // 16) for rows in (_CONTEXTS * 4 + 4, 256)]
        self._window = np.zeros(window, dtype=np.uint8)
        self._place_of = np.zeros(1 << min(bits, 20), dtype=np.int64)  # hash of bytes -> place behind them
        self._place_shift = np.uint64(64 - min(bits, 20))
        self._masks = np.array([(1 << 8 * order) - 1 for order in _ORDERS], dtype=np.uint64)[:, None]
        self._salt = (np.arange(1, _CONTEXTS + 1, dtype=np.uint64) * _SPREAD)[:, None]
        self.begin(streams, np.zeros(streams, dtype=np.int64))

    def begin(self, streams: int, places: Ints) -> None:
        """New streams, (N,) the places in the window where their bytes go; what was learned stays."""
        self._streams, self._places = streams, places.copy()
        self._recent = np.zeros(streams, dtype=np.uint64)  # the last eight bytes
        self._word = np.zeros(streams, dtype=np.uint64)
        self._matched = np.zeros(streams, dtype=np.int64)  # bytes that have agreed
        self._source = np.zeros(streams, dtype=np.int64)  # where the match goes on
        self._begin_byte()

    def narrow(self, streams: int) -> None:
        """Go on with the first streams only, at the beginning of a byte."""
        for name in ("_places", "_recent", "_word", "_matched", "_source", "_expected", "_partial"):
            setattr(self, name, getattr(self, name)[:streams])
        self._streams, self._hash = streams, self._hash[:, :streams]

    def probabilities(self) -> Ints:
        """(N,) of the next bit being 1, from 1 to 65535."""
        x = (self._hash ^ (self._partial.astype(np.uint64) * _SPREAD)) * _PHI  # (K, N)
        self._index = (x >> self._shift).astype(np.int64) + self._offset
        self._mark = ((x >> (self._shift - np.uint64(8))) & np.uint64(255)).astype(np.uint8)
        known = self._check[self._index] == self._mark
        self._seen = np.where(known, self._n[self._index], 0).astype(np.int64)
        self._own = np.where(known, self._p[self._index], ONE // 2).astype(np.int64)
        logits = _LOGIT[self._own >> 4]  # (K, N)
        bucket = np.clip((logits + 8 * _NAT) * _BUCKETS // (16 * _NAT), 0, _BUCKETS - 1)
        self._cell = (self._row + np.minimum(self._seen, _COUNTS - 1)) * _BUCKETS + bucket
        # a match says which bit comes next, as long as the bits of this byte agree
        self._agrees = (self._matched > 0) & ((self._expected >> (8 - self._done)) == self._partial)
        self._says = (self._expected >> (7 - self._done)) & 1
        self._length = np.minimum(self._matched, 31)
        trust = _LOGIT[self._right[self._length] >> 4]
        inputs = np.empty((_INPUTS, self._streams), dtype=np.int64)
        inputs[:_CONTEXTS] = logits
        inputs[_CONTEXTS : 2 * _CONTEXTS] = np.where(self._seen > 0, _LOGIT[self._corrected[self._cell] >> 4], 0)
        inputs[-2] = np.where(self._agrees, np.where(self._says == 1, trust, -trust), 0)
        inputs[-1] = _NAT
        self._inputs = inputs.T  # (N, M)
        sure = (self._seen > 0).sum(0) * 4 + np.where(self._agrees, 1 + (self._length > 15) + (self._length > 23), 0)
        self._chosen = (sure, self._partial)
        # p = sigmoid(sum_k w_k x_k), by each gate; the code takes the mean of their logits
        dots = [((gate[row] * self._inputs).sum(1) >> 16) for gate, row in zip(self._gates, self._chosen, strict=True)]
        self._outputs = [_SIGMOID[np.clip(dot, -_MOST, _MOST) + _MOST] for dot in dots]
        return _SIGMOID[np.clip((dots[0] + dots[1]) >> 1, -_MOST, _MOST) + _MOST]

    def learn(self, bits: Ints) -> None:
        """Say what the bit was, (N,)."""
        # w_k <- w_k + eta (bit - p) x_k
        for gate, row, output in zip(self._gates, self._chosen, self._outputs, strict=True):
            error = (bits * ONE - output)[:, None]
            np.add.at(gate, row, (self._inputs * error + (1 << (_STEP - 1))) >> _STEP)
        # p_k <- p_k + sum (bit - p_k) / (n + 1.5), n with the new ones but one, where streams meet in a context
        target, index = bits * (ONE - 1), self._index
        self._p[index], self._n[index], self._check[index] = self._own, self._seen, self._mark
        np.add.at(self._n, index, np.uint8(1))
        now = self._n[index]
        np.add.at(self._p, index, (((target - self._own) * _RATE[now - 1]) >> 16).astype(np.int32))
        self._p[index] = np.clip(self._p[index], 0, ONE - 1)
        self._n[index] = np.minimum(now, _LIMIT)
        before = self._corrected[self._cell]
        self._corrected[self._cell] = before + ((target - before) >> 6)
        length = self._length[self._agrees]
        if len(length):
            right = (self._says == bits)[self._agrees] * (ONE - 1)
            self._right[length] += (right - self._right[length]) >> 6
        self._partial = self._partial * 2 + bits
        self._done += 1
        if self._done == 8:
            self._learn_byte(self._partial & 255)

    def _learn_byte(self, byte: Ints) -> None:
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
        self._expected = self._window[self._source].astype(np.int64) | 256
        self._partial = np.ones(self._streams, dtype=np.int64)  # 1, then the bits so far
        self._done = 0
