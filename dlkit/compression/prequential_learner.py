"""The pass over data in which a `ContextMixing` model learns: the same whether bytes are measured, encoded or decoded.

A chunk is cut into N streams of neighbouring bytes that advance side by side and share everything that is learned.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dlkit.compression.context_mixing import BIT_POSITIONS, ContextMixing
from dlkit.compression.mixing_tables import ONE, RATES, LearningRates
from dlkit.errors import RequestError

CHUNK_BYTES = 1 << 22
MOST_STREAMS = 64
BYTES_PER_STREAM = 448  # at least, where the number of streams is chosen here
_WINDOW = 1 << 24
_MOST_BITS = 22  # of an index into the tables: 200 MB

Ints = NDArray[np.int64]
Advance = Callable[[int], None]
# From P(bit = 1) and the bits of N streams, if they are known, to the bits.
CodeBits = Callable[[Ints, Ints], Ints]


def ignore_progress(_: int) -> None:
    """An `Advance` that does nothing."""


class PrequentialLearner:
    """A model and its pass over chunks.

    Args:
        streams: N, at most; None chooses by the size of the first chunk.

    Raises:
        RequestError: N is not from 1 to `MOST_STREAMS`.
    """

    def __init__(self, streams: int | None) -> None:
        if streams is not None and not 1 <= streams <= MOST_STREAMS:
            raise RequestError(f"{streams} streams: prequential coding takes 1 to {MOST_STREAMS}")
        self.streams = streams
        self.bits = 0.0  # the code length so far, under the model itself
        self.table_bits = 0
        self._model: ContextMixing | None = None
        self._position = 0  # in the window

    def start(self, size: int, table_bits: int | None = None, rates: LearningRates = RATES) -> None:
        """Make a new model, for data whose first chunk has `size` bytes."""
        self.streams = self.streams or max(1, min(MOST_STREAMS, size // BYTES_PER_STREAM))
        self.table_bits = table_bits or max(12, min(_MOST_BITS, (16 * size).bit_length()))
        self._model, self._position = ContextMixing(self.streams, self.table_bits, _WINDOW, rates), 0

    def streams_for(self, size: int) -> int:
        """The number of streams for a chunk of `size` bytes."""
        assert self.streams is not None
        return max(1, min(self.streams, size))

    def encode(self, data: bytes, code_bits: CodeBits, advance: Advance) -> None:
        """Learn a chunk; `code_bits` gets the probability of each bit being 1, and the bit."""
        self._pass(np.frombuffer(data, np.uint8).astype(np.int64), self.streams_for(len(data)), code_bits, advance)

    def decode(self, size: int, streams: int, code_bits: CodeBits, advance: Advance) -> bytes:
        """Learn a chunk whose bits `code_bits` decodes."""
        return self._pass(np.zeros(size, dtype=np.int64), streams, code_bits, advance).astype(np.uint8).tobytes()

    def _pass(self, data: Ints, streams: int, code_bits: CodeBits, advance: Advance) -> Ints:
        model = self._model
        assert model is not None
        # stream i is the bytes from starts[i] on; the first `longer` streams have one byte more than the others
        shorter, longer = divmod(len(data), streams)
        starts = np.arange(streams) * shorter + np.minimum(np.arange(streams), longer)
        model.begin(streams, (self._position + starts) % _WINDOW)
        self._position = (self._position + len(data)) % _WINDOW
        for step in range(shorter + (longer > 0)):
            if step == shorter:
                starts = starts[:longer]
                model.narrow(longer)
            known = (data[starts + step] >> BIT_POSITIONS) & 1  # (8, N)
            predicted: list[Ints] = []
            for i in range(8):
                p = model.probabilities()
                predicted.append(p)
                model.learn(code_bits(p, known[i]))
            data[starts + step] = model.byte
            # L = -sum log2 P(bit)
            bits, p = (model.byte >> BIT_POSITIONS) & 1, np.array(predicted)
            self.bits -= float(np.log2(np.where(bits == 1, p, ONE - p) / ONE).sum())
            advance(len(starts))
        return data
