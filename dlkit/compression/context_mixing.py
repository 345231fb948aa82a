"""Context mixing, a model of bytes that learns while it codes: gated mixing of the predictions of contexts
(Mahoney 2005, "PAQ"; Knoll & de Freitas, arXiv:1108.3298). It predicts bit by bit, the highest bit of a byte first.

Each context, such as the last three bytes, keeps a probability for every bit that may follow it. A one-layer network
mixes them in the logit domain, and learns online by gradient descent on the code length:

    p = sigmoid(sum_k w_k x_k)        x_k = ln(p_k / (1 - p_k))        w_k <- w_k + eta (bit - p) x_k

Two gates select rows of weights: one by how many contexts have been seen before, the other by the bits of the byte so
far. All arithmetic is in integers, so that a decoder on any machine computes the same probabilities: probabilities in
units of 2^-16, logits of 2^-8, weights of 2^-16.

Shapes: N streams side by side that share all that is learned, K contexts, M inputs of the mixer.
"""

from __future__ import annotations

import numpy as np

from dlkit.compression.mixing_tables import (
    LARGEST,
    LOGIT,
    LOGIT_OF,
    NAT,
    ONE,
    RATES,
    SIGMOID,
    SIGMOID_OF,
    Ints,
    LearningRates,
)

_ORDERS = (0, 1, 2, 3, 4, 5, 6)  # the number of bytes in a context; one more context is the word so far
_CONTEXTS = len(_ORDERS) + 1
_MATCH = 6  # the bytes that a match begins with
_PHI, _SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)  # odd: products spread over all bits
_COUNTS, _BUCKETS = 16, 24  # of the table that corrects a context's probability
_STEP = 15  # the mixer's learning rate: 2^-(_STEP - 8) = 1/128, in units of nats
_INPUTS = 2 * _CONTEXTS + 2
_COLUMNS = np.arange(_INPUTS)
_SURE = _CONTEXTS * 4 + 4  # rows of the gate by contexts seen
BIT_POSITIONS = np.arange(7, -1, -1)[:, None]  # of a byte, the highest first
_BUCKET_OF = np.clip((LOGIT_OF + 8 * NAT) * _BUCKETS // (16 * NAT), 0, _BUCKETS - 1)
_SEEN_CELL = np.minimum(np.arange(256), _COUNTS - 1) * _BUCKETS
_NODE = np.arange(256, dtype=np.uint64) * _SPREAD  # by the bits of the byte so far


class ContextMixing:
    """The model. For every bit call `probabilities`, then `learn`.

    With few streams, the number of numpy calls limits the speed. So what is constant within a byte is computed at its
    start, and (K, N) arrays of indices are flat, (K N,).

    Args:
        streams: N.
        bits: of an index into a context's table.
        window: how many bytes are remembered, to find repetitions in.
        rates: of learning.
    """

    def __init__(self, streams: int, bits: int, window: int, rates: LearningRates = RATES) -> None:
        self._limit, self._rate = rates.limit, rates.table()
        self._shift, self._mark_shift = np.uint64(64 - bits), np.uint64(56 - bits)
        size = _CONTEXTS << bits
        # zeros take no memory until they are written to
        self._q = np.zeros(size, dtype=np.int32)  # probability that the next bit is 1, minus ONE / 2
        self._n = np.zeros(size, dtype=np.uint8)  # observations
        self._check = np.zeros(size, dtype=np.uint8)  # checksum of the context that owns the slot
        self._offset = (np.arange(_CONTEXTS) << bits)[:, None]
        # corrected probability by context, observations and logit
        logits = (np.arange(_BUCKETS) - _BUCKETS / 2 + 0.5) * (16 * NAT // _BUCKETS)
        self._corrected = np.tile(SIGMOID[logits.astype(np.int64) + LARGEST], (_CONTEXTS * _COUNTS, 1)).ravel()
        self._right = np.full(32, ONE * 3 // 4)  # probability that a match of this length continues
        # the weights of both gates: by contexts seen, and by the bits so far
        self._gates = np.full((_SURE + 256) * _INPUTS, rates.weight)
        self._window = np.zeros(window, dtype=np.uint8)
        self._position_of = np.zeros(1 << min(bits, 20), dtype=np.int64)  # hash of bytes -> position after them
        self._position_shift = np.uint64(64 - min(bits, 20))
        self._masks = np.array([(1 << 8 * order) - 1 for order in _ORDERS], dtype=np.uint64)[:, None]
        self._salt = (np.arange(1, _CONTEXTS + 1, dtype=np.uint64) * _SPREAD)[:, None]
        self.begin(streams, np.zeros(streams, dtype=np.int64))

    def begin(self, streams: int, positions: Ints) -> None:
        """Begin new streams, whose bytes go to `positions` (N,) of the window; what was learned stays."""
        self._positions = positions.copy()
        self._recent = np.zeros(streams, dtype=np.uint64)  # the last eight bytes
        self._word = np.zeros(streams, dtype=np.uint64)
        self._matched = np.zeros(streams, dtype=np.int64)  # the length of the current match
        self._source = np.zeros(streams, dtype=np.int64)  # where the match continues
        self._allocate(streams)
        self._begin_byte()

    def narrow(self, streams: int) -> None:
        """Continue with the first `streams` streams only, at the beginning of a byte."""
        for name in ("_positions", "_recent", "_word", "_matched", "_source"):
            setattr(self, name, getattr(self, name)[:streams])
        self._allocate(streams)
        self._begin_byte()

    def _allocate(self, streams: int) -> None:
        """Allocate the arrays that every bit overwrites."""
        self._streams = streams
        self._x = np.empty((_CONTEXTS, streams), dtype=np.uint64)
        self._slots = np.empty((_CONTEXTS, streams), dtype=np.uint64)
        self._row = np.repeat(np.arange(_CONTEXTS) * _COUNTS * _BUCKETS, streams)
        self._ones = np.ones(_CONTEXTS * streams, dtype=np.uint8)
        self._inputs = np.zeros((_INPUTS, streams), dtype=np.int64)
        self._inputs[-1] = NAT
        self._chosen = np.empty((2, streams, 1), dtype=np.int64)  # where the weights of a gate begin
        self._weights_at = np.empty((2, streams, _INPUTS), dtype=np.int64)
        self._dots = np.empty((3, streams), dtype=np.int64)

    def probabilities(self) -> Ints:
        """The probability that the next bit is 1, (N,), from 1 to 65535."""
        shape = (_CONTEXTS, self._streams)
        x = np.bitwise_xor(self._hash, _NODE[self._partial], out=self._x)  # (K, N)
        x *= _PHI
        slots = np.right_shift(x, self._shift, out=self._slots).view(np.int64)
        slots += self._offset
        self._index = slots.reshape(-1)
        self._mark = (x >> self._mark_shift).astype(np.uint8).reshape(-1)
        self._seen, self._own = self._n[self._index], self._q[self._index]
        other = self._check[self._index] != self._mark  # the slot belongs to another context
        np.copyto(self._seen, 0, where=other)
        np.copyto(self._own, 0, where=other)
        high = self._own >> 4
        self._inputs[:_CONTEXTS] = LOGIT_OF[high].reshape(shape)
        self._cell = _BUCKET_OF[high]
        self._cell += _SEEN_CELL[self._seen]
        self._cell += self._row
        self._was = self._corrected[self._cell]
        unseen = (self._seen == 0).reshape(shape)
        self._inputs[_CONTEXTS:-2] = LOGIT[self._was >> 4].reshape(shape)
        np.copyto(self._inputs[_CONTEXTS:-2], 0, where=unseen)
        sure = 4 * _CONTEXTS - 4 * np.add.reduce(unseen, 0, dtype=np.int64)
        if self._matching:
            # a match predicts the next bit, as long as the bits of this byte agree
            self._trust = self._right[self._length]
            np.multiply(LOGIT[self._trust >> 4], self._signs[self._done], out=self._inputs[-2])
            self._inputs[-2] *= self._agrees
            sure += self._level * self._agrees
        np.multiply(sure, _INPUTS, out=self._chosen[0, :, 0])
        np.multiply(self._partial + _SURE, _INPUTS, out=self._chosen[1, :, 0])
        weights_at = np.add(self._chosen, _COLUMNS, out=self._weights_at)
        # p = sigmoid(sum_k w_k x_k), by each gate; the prediction is the mean of their logits
        dots = self._dots
        np.vecdot(self._gates[weights_at], self._inputs.T, out=dots[:2])
        dots[:2] >>= 16
        np.add(dots[0], dots[1], out=dots[2])
        dots[2] >>= 1
        np.minimum(dots, LARGEST, out=dots)
        np.maximum(dots, -LARGEST, out=dots)
        self._outputs = SIGMOID_OF[dots]  # (3, N)
        return self._outputs[2]

    def learn(self, bits: Ints) -> None:
        """Update everything with the actual bits, (N,)."""
        shape = (_CONTEXTS, self._streams)
        # w_k <- w_k + eta (bit - p) x_k
        one = bits * ONE
        steps = self._inputs.T * (one - self._outputs[:2])[:, :, None]  # (2, N, M)
        steps += 1 << (_STEP - 1)
        steps >>= _STEP
        np.add.at(self._gates, self._weights_at.reshape(-1), steps.reshape(-1))
        # p_k <- p_k + sum (bit - p_k) / (n + early); streams in the same context add up, and n counts them all
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
        self._window[self._positions] = byte
        self._positions = (self._positions + 1) % len(self._window)
        continues = (self._matched > 0) & (self._window[self._source] == byte)
        self._matched = np.where(continues, self._matched + 1, 0)
        self._source = (self._source + 1) % len(self._window)
        new = byte.astype(np.uint64)
        self._recent = (self._recent << np.uint64(8)) | new
        letter = ((byte | 32) >= ord("a")) & ((byte | 32) <= ord("z")) | (byte >= 128)
        self._word = np.where(letter, (self._word + new + np.uint64(1)) * _SPREAD, np.uint64(0))
        # a new match: the last position after the same bytes, which is then replaced by this one
        key = (((self._recent & np.uint64((1 << 8 * _MATCH) - 1)) * _PHI) >> self._position_shift).astype(np.int64)
        found = self._position_of[key]
        take = (self._matched == 0) & (found > 0)
        self._source = np.where(take, found - 1, self._source)
        self._matched = np.where(take, 1, self._matched)
        self._position_of[key] = self._positions + 1
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
            self._says = (self._window[self._source] >> BIT_POSITIONS) & 1  # (8, N): the bits of the predicted bytes
            self._signs = self._says * 2 - 1
            self._length = np.minimum(self._matched, 31)
            self._level = 1 + (self._length > 15) + (self._length > 23)
