"""Coding chunks of bytes with a GPT: tokens, cut into N streams side by side, under the model's distributions.

A chunk of T tokens becomes N streams of T / N neighbouring tokens each. Side by side they fill the cores, but each
begins without context; so a short chunk gets few streams.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dlkit.compression import environment
from dlkit.compression import gpt_distributions as source
from dlkit.compression.byte_tokens import ByteTokens
from dlkit.compression.container import CODED, STORED, Chunk
from dlkit.compression.range_coder import CodeError, Decoder, Encoder
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError
from dlkit.models.gpt import GPT

CHUNK_BYTES = 1 << 20
MOST_STREAMS = 64
TOKENS_PER_STREAM = 1024  # at least, where the number of streams is chosen here
CACHE_BYTES = 1 << 30  # of keys and values, at most, where it is chosen here

Advance = Callable[[int], None]


def _nothing(_: int) -> None:
    pass


class LanguageCodec:
    """Codes chunks with a model. Use it within `environment.reproducible(threads)`.

    Args:
        model: in evaluation mode.
        tokenizer: of it.
        threads: that torch uses.
        streams: at most; None chooses by the first chunk.
        name: of the model, for the header.

    Raises:
        RequestError: the tokenizer is not of bytes.
    """

    chunk_bytes = CHUNK_BYTES

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, threads: int, streams: int | None = None, name: str = ""
    ) -> None:
        self.model = model.float()
        self.tokens = ByteTokens(tokenizer)
        self.threads, self.name = threads, name
        self.streams = streams
        self.keep = model.context // 2
        self.first = tokenizer.separator or 0
        self.ideal_bits = 0.0  # of the chunks that were coded, under the model itself
        self.payload_bytes = 0
        self.model_bytes = source.size(model) + len(tokenizer.to_json().encode())
        self._identity = {"model": source.fingerprint(model), "tokenizer": tokenizer.fingerprint[:32]}

    @property
    def device(self) -> torch.device:
        return self.model.tokens.weight.device

    def begin(self, data: bytes) -> dict[str, Any]:
        """Choose the number of streams by the first chunk; returns the header."""
        if self.streams is None:
            tokens = self.tokens.encode(data)
            self.streams = self._fitting(0 if tokens is None else len(tokens), self._room())
        return {
            "method": "model",
            "name": self.name,
            **self._identity,
            **environment.describe(self.threads, self.device),
            "context": self.model.context,
            "keep": self.keep,
            "streams": self.streams,
            "probe": source.probe(self.model, self.first, self.streams, self.keep),
        }

    def identify(self, header: dict[str, Any]) -> None:
        """Raise DlkitError where a file was made with another model or tokenizer."""
        for key, words in (("model", "model"), ("tokenizer", "tokenizer")):
            if header[key] != self._identity[key]:
                raise DlkitError(
                    f"the file was made with another {words}: {header[key][:12]}... ({header['name']}), "
                    f"this is {self._identity[key][:12]}... ({self.name})",
                    "give the --model that it was made with",
                )

    def check(self, header: dict[str, Any]) -> None:
        """Take the settings of a file and see whether this model and this machine can decode it.

        Raises:
            DlkitError: another model, tokenizer or machine.
        """
        self.identify(header)
        self.keep, self.streams = header["keep"], header["streams"]
        if source.probe(self.model, self.first, header["streams"], self.keep) != header["probe"]:
            raise self._cannot(header, "the first distributions")

    def encode(self, data: bytes, advance: Advance = _nothing) -> Chunk:
        """A chunk of bytes; those that the model cannot make shorter are stored as they are."""
        crc, tokens = zlib.crc32(data), self.tokens.encode(data)
        if tokens is not None and len(tokens):
            assert self.streams is not None
            streams = self._fitting(len(tokens), self.streams)
            payload, bits = self._encode(tokens, streams, advance, len(data))
            if len(payload) < len(data):
                self.ideal_bits += bits
                self.payload_bytes += len(payload)
                return Chunk(CODED, len(data), len(tokens), streams, payload, crc)
        else:
            advance(len(data))
        self.ideal_bits += 8 * len(data)
        self.payload_bytes += len(data)
        return Chunk(STORED, len(data), 0, 0, data, crc)

    def decode(self, chunk: Chunk, header: dict[str, Any], advance: Advance = _nothing) -> bytes:
        """The bytes of a chunk.

        Raises:
            DlkitError: this machine does not compute the distributions that the chunk was coded under.
        """
        if chunk.kind == STORED:
            advance(chunk.size)
            data = chunk.payload
        else:
            try:
                data = self._decode(chunk, advance)
            except CodeError as error:
                raise self._cannot(header, "a distribution") from error
        if len(data) != chunk.size or zlib.crc32(data) != chunk.crc:
            raise self._cannot(header, "a distribution")
        return data

    def _encode(self, tokens: Any, streams: int, advance: Advance, size: int) -> tuple[bytes, float]:
        coder, bits = Encoder(), 0.0
        steps = source.Steps(self.model, self.first, streams, self.keep)
        rows, lengths = _rows(tokens, streams)  # (N, L)
        for step in range(rows.shape[1]):
            logits = steps.logits()  # (N, V)
            active = streams if step < lengths else len(tokens) % streams
            symbols = rows[:active, step]
            coder.put(symbols.astype(np.int32), source.weights(logits)[:active])
            bits += source.ideal_bits(logits[:active], symbols)
            steps.feed(rows[:, step])
            advance(size * (step + 1) // rows.shape[1] - size * step // rows.shape[1])
        return coder.finish(), bits

    def _decode(self, chunk: Chunk, advance: Advance) -> bytes:
        coder, streams, size = Decoder(chunk.payload), chunk.streams, chunk.size
        steps = source.Steps(self.model, self.first, streams, self.keep)
        rows, lengths = _rows(np.zeros(chunk.tokens, dtype=np.int64), streams)
        for step in range(rows.shape[1]):
            active = streams if step < lengths else chunk.tokens % streams
            rows[:active, step] = coder.take(source.weights(steps.logits())[:active])
            steps.feed(rows[:, step])
            advance(size * (step + 1) // rows.shape[1] - size * step // rows.shape[1])
        longer = chunk.tokens % streams
        return self.tokens.decode(np.concatenate((rows[:longer].ravel(), rows[longer:, :lengths].ravel())))

    def _room(self) -> int:
        """Streams whose keys and values fit into memory."""
        width = self.model.tokens.weight.shape[1]
        each = len(self.model.blocks) * 2 * width * self.model.context * 4
        return max(1, min(MOST_STREAMS, CACHE_BYTES // each))

    @staticmethod
    def _fitting(tokens: int, most: int) -> int:
        return max(1, min(most, tokens // TOKENS_PER_STREAM))

    def _cannot(self, header: dict[str, Any], what: str) -> DlkitError:
        here = environment.differences(header, environment.describe(self.threads, self.device))
        return DlkitError(
            f"this machine does not reproduce {what} that the file was coded under"
            f" ({here or 'no recorded setting differs'})",
            "decompress it with the same torch on the same kind of processor; nothing was written",
        )


def _rows(tokens: Any, streams: int) -> tuple[Any, int]:
    """Tokens in N rows of neighbours, (N, L), and the length of the shorter ones; the first T % N have one more.

    What a shorter row lacks is 0.
    """
    shorter, longer = divmod(len(tokens), streams)
    rows = np.zeros((streams, shorter + (longer > 0)), dtype=np.int64)
    cut = longer * (shorter + 1)
    if longer:
        rows[:longer] = tokens[:cut].reshape(longer, shorter + 1)
    rows[longer:, :shorter] = tokens[cut:].reshape(streams - longer, shorter)
    return rows, shorter
