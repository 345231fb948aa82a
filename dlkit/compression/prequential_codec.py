"""Prequential coding: no model is sent, since encoder and decoder learn the same one while they code
(Dawid 1984; Blier & Ollivier, arXiv:1802.07044).

Each byte is coded under what was learned from the bytes before it, so the whole length is that of a description of the
data alone: no weights to add. The model is `mixing.Mixing`.

A chunk is cut into N streams of neighbouring bytes that advance side by side and share everything that is learned.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.compression.container import CODED, STORED, Chunk
from dlkit.compression.context_mixing import ONE, PACE, PACES, TABLES, Mixing, Pace
from dlkit.compression.range_coder import CodeError, Decoder, Encoder
from dlkit.errors import DlkitError, RequestError

CHUNK_BYTES = 1 << 22
MOST_STREAMS = 64
BYTES_PER_STREAM = 448  # at least, where the number of streams is chosen here
_WINDOW = 1 << 24
_PLACES = np.arange(7, -1, -1)[:, None]  # of a byte's bits, the highest first
_MOST_BITS = 22  # of an index into the tables: 200 MB

Advance = Callable[[int], None]
Turn = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]


def _nothing(_: int) -> None:
    pass


@dataclass(frozen=True)
class CodeLength:
    """What a prequential code takes.

    Args:
        bytes: that were coded.
        bits: that they take.
        curve: (bytes so far, bits so far) after every block, the last at the end: its slope is what is left to learn.
    """

    bytes: int
    bits: float
    curve: list[tuple[int, float]]

    @property
    def bits_per_byte(self) -> float:
        """Mean, 0 for no bytes."""
        return self.bits / self.bytes if self.bytes else 0.0


def code_length(
    data: bytes | Iterable[bytes], *, streams: int | None = None, block: int = 4096, advance: Advance = _nothing
) -> CodeLength:
    """The prequential code length of bytes: what `dlkit compress --prequential` writes, less header and rounding.

    For `dlkit entropy FILE --prequential`: pass the blocks of the file as they are read (of any sizes; memory does not
    grow with the file) and a progress bar's `advance`, and print `.bits`, `.bits_per_byte` and `.curve`:

        with file.open("rb") as source, Progress("coding", total, live_console()) as progress:
            length = code_length(blocks(source), advance=progress.advance)

    It needs no torch, takes 20 to 60 kB a second on one core, and 200 MB of memory for long data.

    Args:
        data: the bytes, or blocks of them.
        streams: side by side, at most; None chooses by the size. 1 is the shortest for small data, and the slowest.
        block: bytes between two points of the curve.
        advance: hears how many bytes were coded since it was last called.

    Raises:
        RequestError: more than 64 streams.
    """
    coder, curve = _Learner(streams), list[tuple[int, float]]()
    size = 0

    def measured(count: int) -> None:
        nonlocal size
        size += count
        if size // block > (curve[-1][0] if curve else 0) // block:
            curve.append((size, coder.bits))
        advance(count)

    for part in _parts(data):
        if not size:
            coder.start(len(part))
        coder.encode(part, lambda p, bit: bit, measured)
    if size and (not curve or curve[-1][0] < size):
        curve.append((size, coder.bits))
    return CodeLength(size, coder.bits, curve)


def _parts(data: bytes | Iterable[bytes]) -> Iterable[bytes]:
    """Chunks of CHUNK_BYTES, the last one shorter."""
    held = bytearray()
    for part in [data] if isinstance(data, bytes) else data:
        held += part
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


class _Learner:
    """A model and the pass over chunks in which it learns, which is the same for every use of it."""

    def __init__(self, streams: int | None) -> None:
        if streams is not None and not 1 <= streams <= MOST_STREAMS:
            raise RequestError(f"{streams} streams: prequential coding takes 1 to {MOST_STREAMS}")
        self.streams = streams
        self.bits = 0.0  # so far, under the model itself
        self.table_bits = 0
        self._model: Mixing | None = None
        self._place = 0  # in the window

    def start(self, size: int, table_bits: int | None = None, pace: Pace = PACE) -> None:
        """A new model, for data whose first chunk has `size` bytes."""
        self.streams = self.streams or max(1, min(MOST_STREAMS, size // BYTES_PER_STREAM))
        self.table_bits = table_bits or max(12, min(_MOST_BITS, (16 * size).bit_length()))
        self._model, self._place = Mixing(self.streams, self.table_bits, _WINDOW, pace), 0

    def fitting(self, size: int) -> int:
        """Streams for a chunk."""
        assert self.streams is not None
        return max(1, min(self.streams, size))

    def encode(self, data: bytes, turn: Turn, advance: Advance) -> None:
        """Learn a chunk; `turn` gets the probabilities of each bit being 1, and the bits."""
        self._pass(np.frombuffer(data, np.uint8).astype(np.int64), self.fitting(len(data)), turn, advance)

    def decode(self, size: int, streams: int, turn: Turn, advance: Advance) -> bytes:
        """Learn a chunk whose bits `turn` finds out."""
        return self._pass(np.zeros(size, dtype=np.int64), streams, turn, advance).astype(np.uint8).tobytes()

    def _pass(self, data: NDArray[np.int64], streams: int, turn: Turn, advance: Advance) -> NDArray[np.int64]:
        model = self._model
        assert model is not None
        # stream i is the bytes from starts[i] on; the first `longer` streams have one byte more than the others
        shorter, longer = divmod(len(data), streams)
        starts = np.arange(streams) * shorter + np.minimum(np.arange(streams), longer)
        model.begin(streams, (self._place + starts) % _WINDOW)
        self._place = (self._place + len(data)) % _WINDOW
        for step in range(shorter + (longer > 0)):
            if step == shorter:
                starts = starts[:longer]
                model.narrow(longer)
            known = (data[starts + step] >> _PLACES) & 1  # (8, N)
            predicted: list[NDArray[np.int64]] = []
            for place in range(8):
                p = model.probabilities()
                predicted.append(p)
                model.learn(turn(p, known[place]))
            data[starts + step] = model.byte
            # L = -sum log2 P(bit)
            found, p = (model.byte >> _PLACES) & 1, np.array(predicted)
            self.bits -= float(np.log2(np.where(found == 1, p, ONE - p) / ONE).sum())
            advance(len(starts))
        return data


class PrequentialCodec:
    """Codes chunks with a model that learns from the chunks before.

    Args:
        streams: at most; None chooses by the first chunk.
    """

    chunk_bytes = CHUNK_BYTES
    model_bytes = 0

    def __init__(self, streams: int | None = None) -> None:
        self._learner = _Learner(streams)
        self.ideal_bits = 0.0
        self.payload_bytes = 0

    @property
    def streams(self) -> int | None:
        return self._learner.streams

    def begin(self, data: bytes) -> dict[str, Any]:
        """A new model, fit for the first chunk; returns the header."""
        self._learner.start(len(data))
        bits = self._learner.table_bits
        return {"method": "prequential", "tables": TABLES, "bits": bits, "streams": self._learner.streams}

    def check(self, header: dict[str, Any]) -> None:
        """A new model for a file with this header.

        Raises:
            DlkitError: the logarithm of this machine rounds otherwise.
        """
        if header["tables"] not in PACES:
            raise DlkitError(
                "this machine's logarithm and exponential differ from those that the file was coded with",
                "decompress it on the kind of machine that it was made on; nothing was written",
            )
        self._learner = _Learner(header["streams"])
        self._learner.start(0, header["bits"], PACES[header["tables"]])

    def encode(self, data: bytes, advance: Advance = _nothing) -> Chunk:
        """A chunk of bytes; those that do not get shorter are stored as they are, but learned all the same."""
        coder, before = Encoder(), self._learner.bits

        def turn(p: NDArray[np.int64], bit: NDArray[np.int64]) -> NDArray[np.int64]:
            coder.put(bit.astype(np.int32), _weights(p))
            return bit

        streams, crc = self._learner.fitting(len(data)), zlib.crc32(data)
        self._learner.encode(data, turn, advance)
        payload = coder.finish()
        if len(payload) < len(data):
            self.ideal_bits += self._learner.bits - before
            self.payload_bytes += len(payload)
            return Chunk(CODED, len(data), len(data), streams, payload, crc)
        self.ideal_bits += 8 * len(data)
        self.payload_bytes += len(data)
        return Chunk(STORED, len(data), 0, streams, data, crc)

    def decode(self, chunk: Chunk, header: dict[str, Any], advance: Advance = _nothing) -> bytes:
        """The bytes of a chunk.

        Raises:
            DlkitError: they are not those that were coded.
        """
        if chunk.kind == STORED:
            self._learner.encode(chunk.payload, lambda p, bit: bit, advance)
            data = chunk.payload
        else:
            coder = Decoder(chunk.payload)

            def turn(p: NDArray[np.int64], bit: NDArray[np.int64]) -> NDArray[np.int64]:
                return cast("NDArray[np.int64]", coder.take(_weights(p)).astype(np.int64))

            try:
                data = self._learner.decode(chunk.size, chunk.streams, turn, advance)
            except CodeError:
                data = b""
        if len(data) != chunk.size or zlib.crc32(data) != chunk.crc:
            raise DlkitError(
                "the model learned something else here than where the file was coded",
                "decompress it with the release of dlkit that made it; nothing was written",
            )
        return data


def _weights(p: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, 2): of 0 and of 1."""
    weights = np.empty((len(p), 2), dtype=np.float32)
    weights[:, 0], weights[:, 1] = ONE - p, p
    return weights
