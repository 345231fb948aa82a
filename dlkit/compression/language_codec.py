"""Coding chunks of bytes with a GPT: as tokens in N streams, under the model's distributions.

A chunk of T tokens becomes N streams of T / N neighbouring tokens each, a batch that keeps all cores busy. But each
stream begins without context, so a short chunk gets few streams.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dlkit.compression import gpt_distributions, numerics
from dlkit.compression.byte_tokens import ByteTokens
from dlkit.compression.container import CODED, STORED, Chunk
from dlkit.compression.range_coder import CodeError, RangeDecoder, RangeEncoder
from dlkit.data.text.tokenizer import Tokenizer
from dlkit.errors import DlkitError
from dlkit.models.gpt import GPT

CHUNK_BYTES = 1 << 20
MOST_STREAMS = 64
TOKENS_PER_STREAM = 1024  # at least, where the number of streams is chosen here
CACHE_BYTES = 1 << 30  # of keys and values, at most, where the number of streams is chosen here

Advance = Callable[[int], None]


def _ignore(_: int) -> None:
    pass


class LanguageCodec:
    """Codes chunks with a model. To be used within `numerics.reproducible(threads)`.

    Args:
        model: in evaluation mode.
        tokenizer: the model's, a byte-level one.
        threads: how many torch uses.
        streams: coded side by side, at most; None chooses by the first chunk.
        name: of the model, for the header.

    Raises:
        RequestError: the tokenizer is not byte-level.
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
        self.ideal_bits = 0.0  # of the coded chunks, under the model itself
        self.payload_bytes = 0
        self.model_bytes = gpt_distributions.weight_bytes(model) + len(tokenizer.to_json().encode())
        self._identity = {"model": gpt_distributions.model_fingerprint(model), "tokenizer": tokenizer.fingerprint[:32]}

    @property
    def device(self) -> torch.device:
        return self.model.tokens.weight.device

    def begin(self, data: bytes) -> dict[str, Any]:
        """Choose the number of streams by the first chunk; returns the header."""
        if self.streams is None:
            token_ids = self.tokens.encode(data)
            self.streams = self._streams_for(0 if token_ids is None else len(token_ids), self._most_streams())
        return {
            "method": "model",
            "name": self.name,
            **self._identity,
            **numerics.describe_numerics(self.threads, self.device),
            "context": self.model.context,
            "keep": self.keep,
            "streams": self.streams,
            "probe": gpt_distributions.probe_crc(self.model, self.first, self.streams, self.keep),
        }

    def identify(self, header: dict[str, Any]) -> None:
        """Raise DlkitError if a file was made with another model or tokenizer."""
        for key, words in (("model", "model"), ("tokenizer", "tokenizer")):
            if header[key] != self._identity[key]:
                raise DlkitError(
                    f"the file was made with another {words}: {header[key][:12]}... ({header['name']}), "
                    f"this is {self._identity[key][:12]}... ({self.name})",
                    "give the `model` that it was made with",
                )

    def check(self, header: dict[str, Any]) -> None:
        """Adopt a file's settings, if this model and this machine can decode it.

        Raises:
            DlkitError: the file was made with another model or tokenizer, or under another arithmetic.
        """
        self.identify(header)
        self.keep, self.streams = header["keep"], header["streams"]
        if gpt_distributions.probe_crc(self.model, self.first, header["streams"], self.keep) != header["probe"]:
            raise self._cannot(header, "the first distributions")

    def encode(self, data: bytes, advance: Advance = _ignore) -> Chunk:
        """Encode a chunk. One that would not get shorter is stored as it is."""
        crc, token_ids = zlib.crc32(data), self.tokens.encode(data)
        if token_ids is not None and len(token_ids):
            assert self.streams is not None
            streams = self._streams_for(len(token_ids), self.streams)
            payload, bits = self._encode(token_ids, streams, advance, len(data))
            if len(payload) < len(data):
                self.ideal_bits += bits
                self.payload_bytes += len(payload)
                return Chunk(CODED, len(data), len(token_ids), streams, payload, crc)
        else:
            advance(len(data))
        self.ideal_bits += 8 * len(data)
        self.payload_bytes += len(data)
        return Chunk(STORED, len(data), 0, 0, data, crc)

    def decode(self, chunk: Chunk, header: dict[str, Any], advance: Advance = _ignore) -> bytes:
        """Decode a chunk.

        Raises:
            DlkitError: this machine does not reproduce the distributions that the chunk was coded under.
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

    def _encode(self, token_ids: Any, streams: int, advance: Advance, size: int) -> tuple[bytes, float]:
        coder, bits = RangeEncoder(), 0.0
        predictor = gpt_distributions.TokenPredictor(self.model, self.first, streams, self.keep)
        rows, shorter = _rows(token_ids, streams)  # (N, L)
        for step in range(rows.shape[1]):
            logits = predictor.logits()  # (N, V)
            active = streams if step < shorter else len(token_ids) % streams
            symbols = rows[:active, step]
            coder.put(symbols.astype(np.int32), gpt_distributions.coder_weights(logits)[:active])
            bits += gpt_distributions.ideal_bits(logits[:active], symbols)
            predictor.feed(rows[:, step])
            advance(size * (step + 1) // rows.shape[1] - size * step // rows.shape[1])
        return coder.finish(), bits

    def _decode(self, chunk: Chunk, advance: Advance) -> bytes:
        coder, streams, size = RangeDecoder(chunk.payload), chunk.streams, chunk.size
        predictor = gpt_distributions.TokenPredictor(self.model, self.first, streams, self.keep)
        rows, shorter = _rows(np.zeros(chunk.tokens, dtype=np.int64), streams)
        for step in range(rows.shape[1]):
            active = streams if step < shorter else chunk.tokens % streams
            rows[:active, step] = coder.take(gpt_distributions.coder_weights(predictor.logits())[:active])
            predictor.feed(rows[:, step])
            advance(size * (step + 1) // rows.shape[1] - size * step // rows.shape[1])
        longer = chunk.tokens % streams
        return self.tokens.decode(np.concatenate((rows[:longer].ravel(), rows[longer:, :shorter].ravel())))

    def _most_streams(self) -> int:
        """How many streams' keys and values fit into `CACHE_BYTES`."""
        width = self.model.tokens.weight.shape[1]
        each = len(self.model.blocks) * 2 * width * self.model.context * 4
        return max(1, min(MOST_STREAMS, CACHE_BYTES // each))

    @staticmethod
    def _streams_for(tokens: int, most: int) -> int:
        return max(1, min(most, tokens // TOKENS_PER_STREAM))

    def _cannot(self, header: dict[str, Any], what: str) -> DlkitError:
        here = numerics.numerics_differences(header, numerics.describe_numerics(self.threads, self.device))
        return DlkitError(
            f"this machine does not reproduce {what} that the file was coded under"
            f" ({here or 'no recorded setting differs'})",
            "decompress it with the same torch on the same kind of processor; nothing was written",
        )


def _rows(token_ids: Any, streams: int) -> tuple[Any, int]:
    """Token ids (T,) in N rows of neighbours, (N, L), and the length of the shorter rows.

    The first T % N rows have one more; the others are padded with 0.
    """
    shorter, longer = divmod(len(token_ids), streams)
    rows = np.zeros((streams, shorter + (longer > 0)), dtype=np.int64)
    cut = longer * (shorter + 1)
    if longer:
        rows[:longer] = token_ids[:cut].reshape(longer, shorter + 1)
    rows[longer:, :shorter] = token_ids[cut:].reshape(streams - longer, shorter)
    return rows, shorter
