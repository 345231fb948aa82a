"""Prequential coding: no model is sent, since encoder and decoder learn the same one while they code
(Dawid 1984; Blier & Ollivier, arXiv:1802.07044).

Each byte is coded under what was learned from the bytes before it, so the code describes the data completely: there are
no weights to add. The model is `context_mixing.ContextMixing`.
"""

from __future__ import annotations

import zlib
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.compression.container import CODED, STORED, Chunk
from dlkit.compression.mixing_tables import ONE, RATES_BY_TABLES, TABLES
from dlkit.compression.prequential_learner import CHUNK_BYTES, Advance, PrequentialLearner, ignore_progress
from dlkit.compression.range_coder import CodeError, RangeDecoder, RangeEncoder
from dlkit.errors import DlkitError


class PrequentialCodec:
    """Codes chunks with a model that learns from the chunks before.

    Args:
        streams: coded side by side, at most; None chooses by the first chunk.
    """

    chunk_bytes = CHUNK_BYTES
    model_bytes = 0

    def __init__(self, streams: int | None = None) -> None:
        self._learner = PrequentialLearner(streams)
        self.ideal_bits = 0.0
        self.payload_bytes = 0

    @property
    def streams(self) -> int | None:
        """The number of streams; None before the first chunk."""
        return self._learner.streams

    def begin(self, data: bytes) -> dict[str, Any]:
        """Make a new model for a file that begins with this chunk; returns the header."""
        self._learner.start(len(data))
        bits = self._learner.table_bits
        return {"method": "prequential", "tables": TABLES, "bits": bits, "streams": self._learner.streams}

    def check(self, header: dict[str, Any]) -> None:
        """Make a new model for a file with this header.

        Raises:
            DlkitError: the tables differ, because this machine rounds logarithms differently.
        """
        if header["tables"] not in RATES_BY_TABLES:
            raise DlkitError(
                "this machine's logarithm and exponential differ from those that the file was coded with",
                "decompress it on the kind of machine that it was made on; nothing was written",
            )
        self._learner = PrequentialLearner(header["streams"])
        self._learner.start(0, header["bits"], RATES_BY_TABLES[header["tables"]])

    def encode(self, data: bytes, advance: Advance = ignore_progress) -> Chunk:
        """Encode a chunk. One that would not get shorter is stored as it is, but learned all the same."""
        coder, before = RangeEncoder(), self._learner.bits

        def code_bits(p: NDArray[np.int64], bit: NDArray[np.int64]) -> NDArray[np.int64]:
            coder.put(bit.astype(np.int32), _weights(p))
            return bit

        streams, crc = self._learner.streams_for(len(data)), zlib.crc32(data)
        self._learner.encode(data, code_bits, advance)
        payload = coder.finish()
        if len(payload) < len(data):
            self.ideal_bits += self._learner.bits - before
            self.payload_bytes += len(payload)
            return Chunk(CODED, len(data), len(data), streams, payload, crc)
        self.ideal_bits += 8 * len(data)
        self.payload_bytes += len(data)
        return Chunk(STORED, len(data), 0, streams, data, crc)

    def decode(self, chunk: Chunk, header: dict[str, Any], advance: Advance = ignore_progress) -> bytes:
        """Decode a chunk.

        Raises:
            DlkitError: the bytes are not those that were encoded.
        """
        if chunk.kind == STORED:
            self._learner.encode(chunk.payload, lambda p, bit: bit, advance)
            data = chunk.payload
        else:
            coder = RangeDecoder(chunk.payload)

            def code_bits(p: NDArray[np.int64], _: NDArray[np.int64]) -> NDArray[np.int64]:
                return cast("NDArray[np.int64]", coder.take(_weights(p)).astype(np.int64))

            try:
                data = self._learner.decode(chunk.size, chunk.streams, code_bits, advance)
            except CodeError:
                data = b""
        if len(data) != chunk.size or zlib.crc32(data) != chunk.crc:
            raise DlkitError(
                "the model learned something else here than where the file was coded",
                "decompress it with the release of dlkit that made it; nothing was written",
            )
        return data


def _weights(p: NDArray[np.int64]) -> NDArray[np.float32]:
    """The range coder's weights of the bits 0 and 1, (N, 2), of P(bit = 1), (N,)."""
    weights = np.empty((len(p), 2), dtype=np.float32)
    weights[:, 0], weights[:, 1] = ONE - p, p
    return weights
